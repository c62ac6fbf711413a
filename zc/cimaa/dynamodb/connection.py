"""The DynamoDB client of one handle: made from its settings, and again after a fork."""

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from weakref import WeakSet

import boto3
import botocore
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
from . import regions, responses

# Connections that are kept open: as many threads may use one handle without opening new ones all the time.
_CONNECTIONS = 32
#: How often boto3 itself tries a request, where :class:`~zc.cimaa.dynamodb.requests.Requests` is not used.
TRIES = 3


class Connection:
    """The client, and what is made from the same session.  It may be used from several threads."""

    _all: ClassVar["WeakSet[Connection]"] = WeakSet()

    def __init__(self, settings: Mapping[str, Any], tries: int = 1) -> None:
        """Make the client; nothing is sent.

        It tries each request ``tries`` times: once where
        :class:`~zc.cimaa.dynamodb.requests.Requests` retries.

        :raises ConfigurationError: if region, profile or credentials are wrong.
        """
        self._settings = settings
        self._tries = tries
        self._reset()
        self._all.add(self)
        self._check_region()  # makes the client now, so that wrong settings show at once

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
        """Where the store is, for messages."""
        region, url = self.client.meta.region_name, self.client.meta.endpoint_url
        return f"DynamoDB in {region}" if ".amazonaws.com" in url else f"DynamoDB at {url} ({region})"

    @property
    def known_regions(self) -> set[str]:
        """The regions that botocore knows."""
        partitions = self._session.get_available_partitions()
        return {name for one in partitions for name in self._session.get_available_regions("dynamodb", one)}

    @property
    def unknown_region(self) -> str | None:
        """The region, if botocore does not know it and the address was made from it."""
        region: str = self.client.meta.region_name
        return region if region in self.client.meta.endpoint_url and region not in self.known_regions else None

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
        """The known regions whose names are most like this one's, to be added to a message."""
        question = regions.suggestion(self.client.meta.region_name, self.known_regions)
        return question and f": {question}"

    def table(self, name: str) -> Any:
        """The table as boto3's resource: handy, and slower than the client."""
        self.client  # noqa: B018  # makes the session
        with self._lock:
            url, config = self._settings["endpoint_url"], _config(self._settings, TRIES)
            return self._session.resource("dynamodb", endpoint_url=url, config=config).Table(name)

    def close(self) -> None:
        """Close the connections that are kept open."""
        if self._client is not None:
            self._client.close()

    @classmethod
    def _after_fork(cls) -> None:
        """In the child: the sockets are the parent's, and the locks may be held by threads that are not there."""
        for connection in cls._all:
            connection._reset()


os.register_at_fork(after_in_child=Connection._after_fork)


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
        parameter_validation=False,  # what is sent was checked by the contract, or made here
        retries={"total_max_attempts": tries, "mode": "standard"},
    )


def _made(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except NoRegionError as error:
        raise ConfigurationError(
            "[database] region: none is set, here or in AWS_DEFAULT_REGION or the profile; set one, like us-east-1"
        ) from error
    except InvalidRegionError as error:
        raise ConfigurationError(f"[database] region: {error}") from error
    except ProfileNotFound as error:
        raise ConfigurationError(f"[database] profile: {error}; see ~/.aws/config, or AWS_PROFILE") from error
    except PartialCredentialsError as error:
        raise ConfigurationError(
            f"the AWS credentials are incomplete ({error}): aws_access_key_id and aws_secret_access_key belong together"
        ) from error
    except (ConfigParseError, BotoCoreError, ValueError) as error:
        raise ConfigurationError(f"[database] no DynamoDB client can be made from the settings: {error}") from error
