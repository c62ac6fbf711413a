"""Servers that speak DynamoDB's protocol: moto, dynalite, and a proxy that gets in the way of requests."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import boto3

from tests.needs import missing

DYNALITE = "dynalite@4.0.0"
#: What the servers take for credentials and region: anything.
ACCESS = {"region": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "a-secret-of-the-tests"}


@contextmanager
def moto() -> Iterator[str]:
    """The address of a moto of one's own."""
    script = Path(__file__).with_name("moto_server.py")
    with subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate("")


@contextmanager
def dynalite() -> Iterator[str]:
    """The address of a dynalite of one's own; it is fetched with npm when it is first needed."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        missing("there is no node with npm here, which dynalite needs")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "zc.cimaa").expanduser()
    if not (cache / "node_modules" / "dynalite").is_dir():
        subprocess.run(["npm", "install", "--silent", "--prefix", cache, DYNALITE], check=True, timeout=300)
    script = (
        f"const server = require({json.dumps(str(cache / 'node_modules' / 'dynalite'))})({{createTableMs: 0}});"
        "server.listen(0, '127.0.0.1', () => console.log(server.address().port));"
        "process.stdin.on('end', () => process.exit()).resume()"
    )
    with subprocess.Popen(["node", "-e", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.communicate("")


def plain_client(url: str) -> Any:
    """A client of boto3's as anybody would make it."""
    access = {key: text for key, text in ACCESS.items() if key.startswith("aws_")}
    return boto3.client("dynamodb", endpoint_url=url, region_name=ACCESS["region"], **access)


class Answer(NamedTuple):
    status: int
    body: bytes


#: Stands between a request and its answer: gets the request's body, and a function that passes one on.
#: ``None`` as an answer breaks the connection.
Way = Callable[[dict[str, Any], Callable[[dict[str, Any]], Answer]], Answer | None]


class Proxy:
    """Passes requests on, keeps what it saw, and does what it is told to the next requests of a kind."""

    def __init__(self, target: str, address: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        self.target = urlsplit(target).netloc
        #: Each request that came: the operation, what was asked for, and what was answered.
        self.seen: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        self._ways: dict[str, list[Way]] = {}
        self._server = ThreadingHTTPServer(address, self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def operations(self) -> list[str]:
        return [operation for operation, _, _ in self.seen]

    def next(self, operation: str, *ways: Way) -> None:
        """So the next requests for this operation fare, one way each; those after them pass."""
        self._ways.setdefault(operation, []).extend(ways)

    def always(self, operation: str, way: Way) -> None:
        self._ways[operation] = [way] * 1000

    def clear(self) -> None:
        self._ways.clear()
        self.seen.clear()

    def answer(self, headers: dict[str, str], body: dict[str, Any]) -> Answer | None:
        operation = headers["X-Amz-Target"].partition(".")[2]

        def forward(body: dict[str, Any]) -> Answer:
            connection = http.client.HTTPConnection(self.target, timeout=60)
            try:
                kept = {key: text for key, text in headers.items() if key.lower() not in ("host", "content-length")}
                connection.request("POST", "/", json.dumps(body), kept)
                response = connection.getresponse()
                return Answer(response.status, response.read())
            finally:
                connection.close()

        ways = self._ways.get(operation)
        answer = ways.pop(0)(body, forward) if ways else forward(body)
        try:
            told = json.loads(answer.body) if answer else {}
        except ValueError:
            told = {}
        self.seen.append((operation, body, told))
        return answer

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = proxy.answer(dict(self.headers), body)
                if answer is None:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


def refused(code: str, message: str = "no", status: int = 400, **more: Any) -> Way:
    """The request is not done, with this error for an answer."""
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message, **more}
    return lambda _body, _forward: Answer(status, json.dumps(body).encode())


def cancelled(*codes: str) -> Way:
    """The transaction is not done, for these reasons."""
    reasons = [{"Code": code, "Message": "m"} for code in codes]
    return refused("TransactionCanceledException", f"[{', '.join(codes)}]", CancellationReasons=reasons)


throttled = refused("ProvisionedThroughputExceededException", "The level of configured throughput was exceeded")


def lost(_body: dict[str, Any], _forward: Any) -> None:
    """The request is lost on the way there."""


def unanswered(body: dict[str, Any], forward: Callable[[dict[str, Any]], Answer]) -> None:
    """The request is done, and its answer is lost on the way back."""
    assert forward(body).status == 200


def after(first: Callable[[], object]) -> Way:
    """Something else happens just before the request is done."""

    def way(body: dict[str, Any], forward: Callable[[dict[str, Any]], Answer]) -> Answer:
        first()
        return forward(body)

    return way


def altered(change: Callable[[dict[str, Any]], object]) -> Way:
    """The answer is another."""

    def way(body: dict[str, Any], forward: Callable[[dict[str, Any]], Answer]) -> Answer:
        answer = json.loads(forward(body).body)
        change(answer)
        return Answer(200, json.dumps(answer).encode())

    return way


def partly(body: dict[str, Any], forward: Callable[[dict[str, Any]], Answer]) -> Answer:
    """Half of a batch is done; the rest comes back as unprocessed."""
    [(table, writes)] = body["RequestItems"].items()
    half = (len(writes) + 1) // 2
    answer = json.loads(forward({"RequestItems": {table: writes[:half]}}).body)
    if writes[half:]:
        answer["UnprocessedItems"] = {table: writes[half:]}
    return Answer(200, json.dumps(answer).encode())


def counted(body: dict[str, Any], forward: Callable[[dict[str, Any]], Answer]) -> Answer:
    """The answer tells what the request consumed."""
    return forward({**body, "ReturnConsumedCapacity": "TOTAL"})
