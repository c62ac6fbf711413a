"""``cimaa action send`` may be killed at any moment: when it is repeated, each agent gets one command, and is woken.

The long form is ``python -m tests.support.killed_senders STORE``.
"""

from pathlib import Path

import pytest

from tests.support.killed_senders import Senders
from tests.support.long_form import times

STORES = [("lmdb", 300), ("postgres", 1000), ("dynamodb", 40)]


@pytest.mark.parametrize(("store_settings", "agents"), STORES, indirect=["store_settings"])
def test_each_agent_gets_one_command_and_is_woken(store_settings: dict[str, str], agents: int, tmp_path: Path) -> None:
    senders = Senders(tmp_path, store_settings, agents, 7)
    with senders.db:
        senders.send_killed(times(4, 100))
    assert senders.found["actions"] > 1
