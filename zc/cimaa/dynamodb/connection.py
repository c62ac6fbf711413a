"""The DynamoDB client of a handle: created from its settings, and again after a fork."""

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from urllib.parse import urlsplit
from weakref import WeakSet

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ConfigParseError,
    InvalidRegionError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from ..errors import ConfigurationError
from ..masking import mask_url, mask_urls
from . import regions, responses

# The size of the connection pool: as many threads may use one handle without opening further connections.
_CONNECTIONS = 32
#: How often boto3 itself tries a request if :class:`~zc.cimaa.dynamodb.requests.Requests` is not used.
TRIES = 3


class Connection:
    """A client, and resources of the same session.  It may be used from several threads."""

    _all: ClassVar["WeakSet[Connection]"] = WeakSet()

    def __init__(self, settings: Mapping[str, Any], tries: int = 1) -> None:
        """Create the client, without sending a request.

        It tries each request ``tries`` times: once if
        :class:`~zc.cimaa.dynamodb.requests.Requests` retries.

        :raises ConfigurationError: if region, profile or credentials are invalid.
        """
        self._settings = settings
        self._tries = tries
        self._reset()
        self._all.add(self)
        self._check_region()  # creates the client now, to report invalid settings at once

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._session: Any = None
        self._client: Any = None

    @property
    def client(self) -> Any:
        """The client."""
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._session = _made(lambda: _session(self._settings))
                    self._client = _made(lambda: _client(self._session, self._settings, self._tries))
        return self._client

    @property
    def place(self) -> str:
        """The location of the store, for messages."""
        region, url = self.client.meta.region_name, self.client.meta.endpoint_url
        return f"DynamoDB in {region}" if ".amazonaws.com" in url else f"DynamoDB at {mask_url(url)} ({region})"

    @property
    def known_regions(self) -> set[str]:
        """The regions that botocore knows."""
        partitions = self._session.get_available_partitions()
        return {name for one in partitions for name in self._session.get_available_regions("dynamodb", one)}

    @property
    def unknown_region(self) -> str | None:
        """The region, if botocore does not know it and derived the endpoint from it."""
        region: str = self.client.meta.region_name
        host = urlsplit(self.client.meta.endpoint_url).hostname or ""
        given = self._settings["endpoint_url"] is not None or f".{region}." not in host
        return None if given or region in self.known_regions else region

    def _check_region(self) -> None:
        region = self.unknown_region
        if region is not None and not regions.may_exist(region, self.known_regions):
            source = "" if self._settings["region"] else " (from AWS_DEFAULT_REGION or the profile)"
            raise ConfigurationError(
                f"[database] region: AWS has no region {region!r}{source}{self.region_hint}"
                f" (a region that botocore {botocore.__version__} does not know needs an upgrade, or endpoint_url)"
            )

    @property
    def region_hint(self) -> str:
        """The known regions with the most similar names, to append to a message."""
        question = regions.suggestion(self.client.meta.region_name, self.known_regions)
        return question and f": {question}"

    def table(self, name: str) -> Any:
        """The table as a resource of boto3: convenient, and slower than the client."""
        self.client  # noqa: B018  # creates the session
        with self._lock:
            url, config = self._settings["endpoint_url"], _config(self._settings, TRIES)
            return self._session.resource("dynamodb", endpoint_url=url, config=config).Table(name)

    def close(self) -> None:
        """Close the pooled connections."""
        if self._client is not None:
            self._client.close()

    @classmethod
    def _after_fork(cls) -> None:
        """In the child: the sockets belong to the parent, and locks may be held by threads that do not exist."""
        for connection in cls._all:
            connection._reset()


os.register_at_fork(after_in_child=Connection._after_fork)


def inherited(settings: Mapping[str, Any]) -> Mapping[str, tuple[str, str]]:
    """The options that are not set, but that boto3 finds elsewhere: by name, the text and its source."""
    found = {}
    profile = settings["profile"] or os.environ.get("AWS_PROFILE") or "default"
    try:
        session = botocore.session.Session(profile=settings["profile"])
        region = session.get_config_variable("region")
    except (ConfigParseError, BotoCoreError):  # opening the store reports it
        return {}
    if settings["profile"] is None and "AWS_PROFILE" in os.environ:
        found["profile"] = profile, "environment variable AWS_PROFILE"
    if settings["region"] is None and region:
        variable = "AWS_DEFAULT_REGION"
        source = f"environment variable {variable}" if os.environ.get(variable) else f"AWS profile {profile}"
        found["region"] = region, source
    for variable in ("AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"):
        if settings["endpoint_url"] is None and (url := os.environ.get(variable)):
            found.setdefault("endpoint_url", (url, f"environment variable {variable}"))
    return found


def _session(settings: Mapping[str, Any]) -> Any:
    return boto3.session.Session(
        aws_access_key_id=settings["aws_access_key_id"],
        aws_secret_access_key=settings["aws_secret_access_key"],
        region_name=settings["region"],
        profile_name=settings["profile"],
    )


def _client(session: Any, settings: Mapping[str, Any], tries: int) -> Any:
    client = session.client("dynamodb", endpoint_url=settings["endpoint_url"], config=_config(settings, tries))
    client.meta.events.register("before-parse.dynamodb", responses.check)
    return client


def _config(settings: Mapping[str, Any], tries: int) -> Config:
    return Config(
        connect_timeout=settings["connect_timeout"],
        read_timeout=settings["read_timeout"],
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
        parameter_validation=False,  # what is sent was validated by the contract, or created here
        retries={"total_max_attempts": tries, "mode": "standard"},
    )


def _made(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except NoRegionError as error:
        raise ConfigurationError(
            "[database] region: none is set, here, in AWS_DEFAULT_REGION or in the profile; set one, such as us-east-1"
        ) from error
    except InvalidRegionError as error:
        raise ConfigurationError(f"[database] region: {error}") from error
    except ProfileNotFound as error:
        raise ConfigurationError(f"[database] profile: {error}; see ~/.aws/config, or AWS_PROFILE") from error
    except PartialCredentialsError as error:
        raise ConfigurationError(
            f"the AWS credentials are incomplete ({error}): set both aws_access_key_id and aws_secret_access_key"
        ) from error
    except (ConfigParseError, BotoCoreError, ValueError) as error:
        raise ConfigurationError(
            f"[database] no DynamoDB client can be created from the settings: {mask_urls(str(error))}"
        ) from error
