"""The processor time of the DynamoDB backend, compared with boto3's client alone: ``python -m benchmarks.dynamodb``.

A server in another process gives answers that it has ready, so that nothing is measured but the client: the
processor time of this process, of the variants alternately.  Bare is a client of boto3 with defaults.

Requests are counted; capacity is reckoned from the items' sizes as Amazon does (tests/store/test_dynamodb.py has
dynalite count that of the touch).
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import orjson

from zc.cimaa import faults
from zc.cimaa.agents import Row, SeenInstance, this_process
from zc.cimaa.dynamodb import DB, records

ACCESS = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
FAULTS, AGENTS = 20_000, 100_000
PAGE = 1024 * 1024
MICROSECONDS = 1_000_000


def main() -> None:
    address, port = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(port,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{address.recv()}"
    bare = boto3.client("dynamodb", endpoint_url=url, region_name="us-east-1", **ACCESS)
    with DB({**ACCESS, "endpoint_url": url, "region": "us-east-1"}) as db:
        db.old_agents(0)
        what_a_report_takes(url)
        what_a_touch_takes(db, bare)
        what_lists_take(db, bare)
    server.terminate()


# What is measured


def what_a_report_takes(url: str) -> None:
    print(f"{'a report':<44}{'requests':>9}{'WCU':>8}{'RCU':>8}")
    known = [fault(number) for number in range(100)]
    for what, before, now in (
        ("unchanged, no faults", [], []),
        ("unchanged, 100 faults", known, known),
        ("one of 100 faults changed", known, [{**known[0], "severity": 50}, *known[1:]]),
        ("the first, no faults", None, []),
        ("the first, 100 faults", None, known),
        ("the first, 10,000 faults", None, [fault(number) for number in range(10_000)]),
    ):
        with DB({**ACCESS, "endpoint_url": url, "region": "us-east-1"}) as db:
            sent = answered(db, before)
            db.set_faults("agent", now)
        writes, reads = capacity(sent, before or [])
        print(f"{what:<44}{len(sent):>9}{writes:>8}{reads:>8}")


def what_a_touch_takes(db: DB, bare: Any) -> None:
    known = [fault(number) for number in range(100)]
    update = {
        "TableName": "cimaa.agents",
        "Key": {"name": {"S": "agent"}},
        "UpdateExpression": "SET updated = :now",
        "ConditionExpression": "digest = :digest AND instance = :instance",
        "ExpressionAttributeValues": {":now": {"N": "1"}, ":digest": {"S": "d" * 32}, ":instance": {"S": "i" * 32}},
    }
    item = {key: {"S": "x" * 32} for key in ("name", "updated", "digest", "instance")}
    ways = {
        "bare update_item": lambda: bare.update_item(**update),
        "bare put_item": lambda: bare.put_item(TableName="cimaa.agents", Item=item),
        "unchanged report, no faults": lambda: db.set_faults("agent", []),
        "unchanged report, 10 faults": lambda: db.set_faults("agent", known[:10]),
        "unchanged report, 100 faults": lambda: db.set_faults("agent", known),
    }
    show("processor time of one request", by_turns(ways, 300), "bare update_item")


def what_lists_take(db: DB, bare: Any) -> None:
    def scanned(table: str) -> int:
        pages = bare.get_paginator("scan").paginate(TableName=table)
        return sum(len(page["Items"]) for page in pages)

    show(
        f"{FAULTS:,} faults",
        by_turns({"bare scan": lambda: scanned("cimaa.faults"), "find_faults": db.find_faults}, 5),
        "bare scan",
    )
    ways: dict[str, Callable[[], object]] = {
        "bare scan": lambda: scanned("cimaa.agents"),
        "old_agents": lambda: db.old_agents(0),
        "get_agents": db.get_agents,
    }
    show(f"{AGENTS:,} agents", by_turns(ways, 3), "bare scan")


def by_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median processor seconds of one call of each way."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            seconds[name].append(time.process_time() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def show(title: str, seconds: Mapping[str, float], base: str) -> None:
    print(f"\n{title:<44}{'ms':>9}{'ratio':>8}")
    for name, each in seconds.items():
        print(f"{name:<44}{each * 1000:>9.2f}{each / seconds[base]:>8.2f}")


# Requests and their capacity


def answered(db: DB, before: list[faults.FaultDict] | None) -> list[tuple[str, dict[str, Any]]]:
    """Answer the store's requests as if the agent had reported these; the list that is filled with what it sends."""
    sent: list[tuple[str, dict[str, Any]]] = []
    client = db._connection.client
    digest = None if before is None else faults.report("agent", before).digest

    def answer(model: Any, params: dict[str, Any], **_others: object) -> Any:
        body = orjson.loads(params["body"])
        sent.append((model.name, body))
        if model.name == "Query":
            return Answer(200), {"Items": [records.encode_fault("agent", {**one, "since": 1}) for one in before or ()]}
        wanted = body.get("ExpressionAttributeValues", {}).get(":digest", {}).get("S")
        if wanted is not None and wanted != digest:
            error = {"Error": {"Code": "ConditionalCheckFailedException", "Message": ""}}
            return Answer(400), error if digest is None else {**error, "Item": row(0, digest)}
        return Answer(200), {}

    client.meta.events.register("before-call.dynamodb", answer)
    return sent


class Answer:
    """All that a client asks of an HTTP response."""

    def __init__(self, status: int) -> None:
        self.status_code = status


def capacity(sent: list[tuple[str, dict[str, Any]]], before: list[faults.FaultDict]) -> tuple[int, int]:
    """Write and read units."""
    writes = reads = 0
    for operation, body in sent:
        if operation == "TransactWriteItems":
            writes += sum(2 * wcu(write["Item"]) for entry in body["TransactItems"] for write in entry.values())
        elif operation == "BatchWriteItem":
            [batch] = body["RequestItems"].values()
            writes += sum(wcu(one["PutRequest"]["Item"]) for one in batch)
        elif operation == "Query":
            size = sum(records.size(records.encode_fault("agent", {**one, "since": 1})) for one in before)
            reads += max(1, -(-size // 4096))
        else:
            writes += 1
    return writes, reads


def wcu(item: records.Item) -> int:
    return -(-records.size(item) // 1024)


# The server


def serve(port: Any) -> None:
    pages = {"cimaa.faults": list(paged(all_faults())), "cimaa.agents": list(paged(all_agents()))}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = b"{}"
            if self.headers["X-Amz-Target"].endswith(".Scan"):
                answer = page(pages[body["TableName"]], body)
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_port)
    server.serve_forever()


def page(pages: list[bytes], body: dict[str, Any]) -> bytes:
    """The page that is asked for: of N parts of a scan, each has every Nth."""
    parts = body.get("TotalSegments", 1)
    number = int(body["ExclusiveStartKey"]["page"]["N"]) if "ExclusiveStartKey" in body else body.get("Segment", 0)
    if number >= len(pages):
        return b'{"Items":[]}'
    last = b"" if number + parts >= len(pages) else b',"LastEvaluatedKey":{"page":{"N":"%d"}}' % (number + parts)
    return b'{"Items":' + pages[number] + last + b"}"


def paged(all_items: Iterator[records.Item]) -> Iterator[bytes]:
    listed: list[records.Item] = []
    size = 0
    for item in all_items:
        listed.append(item)
        size += sum(len(key) + len(str(value)) - 9 for key, value in item.items())
        if size > PAGE:
            yield orjson.dumps(listed)
            listed, size = [], 0
    yield orjson.dumps(listed)


def all_faults() -> Iterator[records.Item]:
    return (
        records.encode_fault(f"agent{number % 5000:06}.example.com", {**fault(number), "since": 1_764_000_000})
        for number in range(FAULTS)
    )


def all_agents() -> Iterator[records.Item]:
    return (row(number, "d" * 32) for number in range(AGENTS))


def fault(number: int) -> faults.FaultDict:
    return {"name": f"//agent/checks/check{number}", "severity": 40, "message": "it is bad: 95 % used"}


def row(number: int, digest: str) -> records.Item:
    now = 1_764_000_000 * MICROSECONDS + number
    seen = SeenInstance(this_process(), now - 3600 * MICROSECONDS, now)
    return records.encode_row(f"agent{number:06}.example.com", Row(now, digest, seen.instance.id, (seen,)), "r" * 32)


if __name__ == "__main__":
    main()
