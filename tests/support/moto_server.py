"""moto's HTTP server in a separate process: it prints its address on the first line, and ends when its input is closed.

It handles one request at a time, because moto's transactions are not isolated: a failed one restores what it found, and
so undoes what other requests wrote in the meantime.

moto copies the whole table for each entry of a transaction, so a large report would take minutes.  Here a transaction
makes one copy, and only of the containers, because puts and deletes do not change items.  Responses are not searched
for each type of value, which would be two thirds of the time of a large response.
"""

import copy
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb.models.table import Table
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


class OneByOne:
    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application = application
        self.lock = threading.Lock()

    def __call__(self, environment: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with self.lock:
            copies.clear()
            return self.application(environment, start)


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True


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
    application = OneByOne(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()
    os._exit(0)  # without taking down what is in the tables, one item after the other


if __name__ == "__main__":
    main()
