"""Whole agents with real keys run exactly what was signed, for them, in its window, at most once.

The long form is ``python -m tests.support.hostile_agents``.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import hostile_agents
from tests.support.hostile_keys import RealKeys
from tests.support.hostile_papers import Broken
from tests.support.long_form import times
from tests.support.ssh_keys import ssh_agent
from zc.cimaa.actions import judging
from zc.cimaa.actions.journal import Journal
from zc.cimaa.actions.permissions import Permissions
from zc.cimaa.actions.signatures import Keygen
from zc.cimaa.actions.signers import Signer
from zc.cimaa.actions.targets import Target


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKeys]:
    with ssh_agent():
        yield RealKeys(tmp_path_factory.mktemp("people") / "keys")


def play_all(keys: RealKeys, histories: int) -> Counter[str]:
    states: Counter[str] = Counter()
    for seed in range(histories):
        states += hostile_agents.play(seed, keys).store.states
    return states


def test_a_hostile_store_makes_agents_run_nothing_else(keys: RealKeys) -> None:
    histories = times(3, 40)
    states = play_all(keys, histories)
    assert states["success"] > histories / 2
    assert states["refused"] > states["success"]


def trusting(*_: Any, **__: Any) -> Any:
    return True


FAILURE, LINE = Keygen.failure, Signer.line
WEAKNESSES = {
    "ssh-keygen is not asked": (Keygen, "failure", lambda *_, **__: ""),
    "the weights are not added up": (Permissions, "check", trusting),
    "every agent is in the target": (Target, "__new__", lambda cls, *_: tuple.__new__(cls, ("", (), trusting))),
    "the journal claims everything": (Journal, "claim", trusting),
    # These take longer to show; that the journal is asked about the clock only shows in the histories of hostile_store.
    "the window is not compared with the clock": (judging, "_outside", lambda document, now: None),
    "keys stay valid": (Signer, "invalid", lambda self, now: ""),
    "keys are never revoked": (Keygen, "failure", lambda *given, revoked: FAILURE(*given)),
    "keys may sign for any purpose": (Signer, "line", lambda self: LINE(self._replace(namespaces=None))),
}


@pytest.mark.parametrize("weakness", list(WEAKNESSES)[: times(4, len(WEAKNESSES))])
def test_the_judge_notices_agents_that_trust_their_store(
    monkeypatch: pytest.MonkeyPatch, keys: RealKeys, weakness: str
) -> None:
    monkeypatch.setattr(*WEAKNESSES[weakness])
    with pytest.raises(Broken):
        play_all(keys, 200)
