"""Does a web server respond as expected, and in time?"""

import base64
import re
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

import urllib3

from ..masking import mask_url, mask_urls
from .items import Item, Measurement
from .ranges import Thresholds
from .states import State

#: For the response time in seconds.
THRESHOLDS = (None, None)

# The most bytes of the response that are read.
_MOST = 1024 * 1024
_REDIRECTS = 10


class Request(NamedTuple):
    """The request, and the expected response."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = {}
    #: The first and the last status that is good.
    status: tuple[int, int] = (200, 399)
    #: A text that the response must contain.
    contains: str = ""
    follow: bool = True
    #: A file with the trusted certificates, in place of the system's.
    ca_file: str | None = None


def without_password(url: str) -> tuple[str, dict[str, str]]:
    """The URL without the ``USER:PASSWORD@`` that it may have, and the headers that replace them."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    credentials = base64.b64encode(unquote_to_bytes(user)).decode()
    return urlunsplit(parts._replace(netloc=host)), {"Authorization": f"Basic {credentials}"}


class Response(NamedTuple):
    """The response."""

    status: int
    reason: str
    body: bytes
    seconds: float


def read(limits: Thresholds, request: Request, timeout: float) -> list[Item]:
    """Send the request; each step may take ``timeout`` seconds."""
    try:
        answer = _send(request, timeout)
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        return [Item("", State.CRITICAL, f"{mask_url(request.url)}: {_reason(error, timeout)}")]
    return [judge(request, answer, limits)]


def judge(request: Request, answer: Response, limits: Thresholds) -> Item:
    """Judge the response to a request."""
    timed = Measurement("time", round(answer.seconds, 6), "s", limits, 0)
    size = Measurement("size", len(answer.body), "B", minimum=0)
    state, text = _content(request, answer)
    state = state if state is not State.OK else limits.state(answer.seconds)
    message = f"{mask_url(request.url)}: {text}, {answer.seconds:.3f} s"
    return Item("", state, message, (timed, size))


def _content(request: Request, answer: Response) -> tuple[State, str]:
    low, high = request.status
    text = f"{answer.status} {answer.reason}".strip()
    if not low <= answer.status <= high:
        wanted = f"{low}" if low == high else f"{low} to {high}"
        return State.CRITICAL, f"{text}, expected {wanted}"
    if request.contains.encode(errors="surrogateescape") not in answer.body:
        return State.CRITICAL, f"{text}, but the response does not contain {request.contains!r}"
    return State.OK, text


def _send(request: Request, timeout: float) -> Response:
    start = time.monotonic()
    retries = urllib3.Retry(total=None, connect=0, read=0, other=0, redirect=_REDIRECTS if request.follow else False)
    with urllib3.PoolManager(retries=retries, timeout=urllib3.Timeout(timeout), ca_certs=request.ca_file) as pool:
        response = pool.request(
            request.method, request.url, headers=dict(request.headers), preload_content=False, redirect=request.follow
        )
        try:
            body = response.read(_MOST)
        finally:
            response.close()
    return Response(response.status, response.reason or "", body, time.monotonic() - start)


def _reason(error: Exception, timeout: float) -> str:
    """The reason why there is no response, in a few words."""
    cause = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason else error
    refused = isinstance(cause, urllib3.exceptions.NewConnectionError)  # which urllib3 takes for a timeout
    if isinstance(cause, urllib3.exceptions.TimeoutError) and not refused:
        return f"no response within {timeout:g} s"
    text = mask_urls(str(cause))
    if "CERTIFICATE_VERIFY_FAILED" in text:
        found = re.search(r"certificate verify failed: ([^(]+)", text)
        return f"its certificate is not trusted: {(found[1] if found else text).strip()}"
    # urllib3 puts the object's repr in front.
    return re.sub(r"^.*?(?:object at 0x[0-9a-f]+>|Connection\([^)]*\)): ", "", text)
