"""moto's DynamoDB in a separate process: it prints its address on the first line, and ends when its input is closed.

It handles one request at a time, because moto's transactions are not isolated: a failed one restores what it found, and
so undoes what other requests wrote in the meantime.

It is moto's application for one service, so that it need not find out for each request which service this is for.
``PUT /<new>?<prefix>`` creates empty tables like those with the prefix, which would take twenty requests, and
``DELETE /<prefix>`` deletes them.

moto copies the whole table for each entry of a transaction, so a large report would take minutes.  Here a transaction
makes one copy, and only of the containers, because puts and deletes do not change items.  Responses are not searched
for each type of value, which would be two thirds of the time of a large response.
"""

import copy
import functools
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

import moto.core.responses
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.table import Table
from moto.moto_server.werkzeug_app import create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

REGION = "us-east-1"


class OneByOne:
    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application = application
        self.lock = threading.Lock()

    def __call__(self, environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with self.lock:
            copies.clear()
            return OWN.get(environment["REQUEST_METHOD"], self.application)(environment, start)


def put(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    prefix = environment["QUERY_STRING"]
    for table in tables_of(prefix):
        add_empty(table, environment["PATH_INFO"][1:] + table.name.removeprefix(prefix))
    return Response()(environment, start)


def delete(environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    for table in tables_of(environment["PATH_INFO"][1:]):
        del tables()[table.name]
    return Response()(environment, start)


OWN = {"PUT": put, "DELETE": delete}


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True


def tables() -> dict[str, Table]:
    found: dict[str, Table] = dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION].tables
    return found


def tables_of(prefix: str) -> list[Table]:
    return [table for name, table in tables().items() if name.startswith(f"{prefix}.")]


def add_empty(like: Table, name: str) -> None:
    """Add a table with the settings of an empty one."""
    table = object.__new__(Table)
    table.__dict__.update(copy.deepcopy(like.__dict__))
    table.name = name
    table.table_arn = like.table_arn.removesuffix(like.name) + name
    tables()[name] = table


copies: dict[int, Table] = {}


def copied(table: Table, _memo: dict[int, Any]) -> Table:
    if id(table) not in copies:
        twin = copies[id(table)] = copy.copy(table)
        twin.items = table.items.copy()
        if table.has_range_key:
            twin.items.update({key: dict(items) for key, items in table.items.items()})
    return copies[id(table)]


usual = BaseJSONSerializer._serialize_type_structure


def as_it_is(self: Any, serialized: dict[str, Any], value: Any, shape: Any, key: str) -> None:
    if shape.name == "AttributeValue" and isinstance(value, dict) and value.keys() <= {"S", "N", "BOOL", "SS"}:
        serialized[self.get_serialized_name(shape, key)] = value
    else:
        usual(self, serialized, value, shape, key)


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    Table.__deepcopy__ = copied
    BaseJSONSerializer._serialize_type_structure = as_it_is
    moto.core.responses.method_names_from_class = functools.cache(moto.core.responses.method_names_from_class)
    application = OneByOne(create_backend_app("dynamodb"))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()
    os._exit(0)  # without taking down what is in the tables, one item after the other


if __name__ == "__main__":
    main()
