"""The agents of a fleet answer a signed action within two ticks, on each store, and cost what ``cimaa costs`` says.

The long form, with 1,000 agents, is ``python -m tests.support.answering_fleet STORE``.
"""

from pathlib import Path

from tests.support import answering_fleet
from zc.cimaa.dynamodb import costs

AGENTS, TICK = 12, 10


def test_all_answer_within_two_ticks(store_settings: dict[str, str], tmp_path: Path) -> None:
    figures, used = answering_fleet.ask(tmp_path, store_settings, AGENTS, TICK)
    assert (figures.states, figures.verified) == ({"success": AGENTS}, AGENTS)
    assert figures.last <= 2
    if "endpoint_url" in store_settings:
        # To send also reads the agents, and adds the action, once.
        assert used.writes == AGENTS * costs.ACTION_WRITES + 1
        assert AGENTS * costs.ACTION_READS <= used.reads <= AGENTS * costs.ACTION_READS + 4
        assert AGENTS * costs.ACTION_REQUESTS <= used.requests <= AGENTS * costs.ACTION_REQUESTS + 6
