"""Wakes agents: marks their rows, several at a time."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from uuid import uuid4

from . import records
from .writes import AgentWrites, ConditionFailed

if TYPE_CHECKING:
    from .requests import Requests

# How many agents are woken at the same time.
_PARALLEL = 16


def wake(requests: "Requests", table: str, agents: Sequence[str]) -> int:
    """Mark the rows of these agents in ``table``, one request for each; return how many have a row."""

    def marked(agent: str) -> bool:
        try:
            requests.send("update_item", f"waking agent {agent!r}", **AgentWrites(table, agent).wake(uuid4().hex))
        except ConditionFailed as failed:  # it is marked, or there is no row
            return failed.item is not None and records.decode_row(failed.item).row is not None
        return True

    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="cimaa-wake") as pool:
        return sum(pool.map(marked, agents))
