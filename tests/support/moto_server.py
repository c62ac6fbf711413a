"""moto's DynamoDB in a separate process: it prints its address on the first line, and ends when its input is closed.

It handles one request at a time, because moto's transactions are not isolated: a failed one restores what it found, and
so undoes what other requests wrote in the meantime.

It leaves out moto's own HTTP server, which finds out for each request which service it is for, and then closes the
connection: half of the time of a small request.  ``PUT /<new>?<prefix>`` creates empty tables like those with the
prefix, which would take twenty requests, and ``DELETE /<prefix>`` deletes them.

moto copies the whole table for each entry of a transaction, so a large report would take minutes.  Here a transaction
makes one copy, and only of the containers, because puts and deletes do not change items.  Responses are not searched
for each type of value, which would be two thirds of the time of a large response.
"""

import copy
import functools
import io
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import moto.core.responses
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.request import Request, environ_key_for_header
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.models.table import Table
from moto.dynamodb.responses import DynamoHandler

REGION = "us-east-1"
one_by_one = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # the head and the body of a response in one packet

    def do_POST(self) -> None:
        request = Request(self._environment())
        with one_by_one:
            copies.clear()
            status, headers, body = DynamoHandler.dispatch(request, request.raw_url, dict(request.headers))
        self._answer(int(status), body if isinstance(body, bytes) else body.encode(), headers)

    def do_PUT(self) -> None:
        new, _, prefix = self.path[1:].partition("?")
        with one_by_one:
            for table in tables_of(prefix):
                add_empty(table, new + table.name.removeprefix(prefix))
        self._answer(200, b"", {})

    def do_DELETE(self) -> None:
        with one_by_one:
            for table in tables_of(self.path[1:]):
                del tables()[table.name]
        self._answer(200, b"", {})

    def _environment(self) -> dict[str, Any]:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        named = {environ_key_for_header(name): text for name, text in self.headers.items()}
        return {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": self.path,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": str(self.server.server_address[1]),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            **named,
        }

    def _answer(self, status: int, body: bytes, headers: dict[str, Any]) -> None:
        self.send_response(status)
        for name, text in headers.items():
            if name.lower() not in ("server", "date", "content-length"):
                self.send_header(name, str(text))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


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
    Table.__deepcopy__ = copied
    BaseJSONSerializer._serialize_type_structure = as_it_is
    moto.core.responses.method_names_from_class = functools.cache(moto.core.responses.method_names_from_class)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()
    os._exit(0)  # without taking down what is in the tables, one item after the other


if __name__ == "__main__":
    main()
