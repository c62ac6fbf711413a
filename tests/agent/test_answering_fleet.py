"""The agents of a fleet answer a signed action within two ticks, on each store, and cost what ``cimaa costs`` says.

The long form, with 1,000 agents, is ``python -m tests.support.answering_fleet STORE``.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.support import answering_fleet
from tests.support.postgres_servers import new_schema
from zc.cimaa.dynamodb import costs

AGENTS, TICK = 12, 10


@pytest.fixture(params=["lmdb", "postgres", "dynamodb"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The section ``[database]`` of an empty store."""
    if request.param == "lmdb":
        yield {"class": "zc.cimaa.lmdb", "path": f"{tmp_path}/store"}
    elif request.param == "postgres":
        dsn = request.getfixturevalue("postgres_dsn")
        with new_schema(dsn) as schema:
            yield {"class": "zc.cimaa.postgres", "dsn": dsn, "schema": schema}
    else:
        yield {"class": "zc.cimaa.dynamodb", **request.getfixturevalue("dynamodb_settings")}


def test_all_answer_within_two_ticks(settings: dict[str, str], tmp_path: Path) -> None:
    figures, used = answering_fleet.ask(tmp_path, settings, AGENTS, TICK)
    assert (figures.states, figures.verified) == ({"success": AGENTS}, AGENTS)
    assert figures.last <= 2
    if "endpoint_url" in settings:
        # To send also reads the agents, and adds the action, once.
        assert used.writes == AGENTS * costs.ACTION_WRITES + 1
        assert AGENTS * costs.ACTION_READS <= used.reads <= AGENTS * costs.ACTION_READS + 4
        assert AGENTS * costs.ACTION_REQUESTS <= used.requests <= AGENTS * costs.ACTION_REQUESTS + 6
