"""An agent runs exactly what was signed, for it, in its window, at most once, also if its store is hostile."""

from collections import Counter
from typing import Any

import pytest

from tests.support import hostile_store
from tests.support.hostile_papers import Broken
from zc.cimaa.actions import judging
from zc.cimaa.actions.journal import Journal
from zc.cimaa.actions.judging import Decision
from zc.cimaa.actions.permissions import Permissions
from zc.cimaa.actions.signatures import Verifier
from zc.cimaa.actions.signers import Signer
from zc.cimaa.actions.targets import Target

HISTORIES = 500


def play_all() -> Counter[Decision]:
    counts: Counter[Decision] = Counter()
    for seed in range(HISTORIES):
        counts.update(hostile_store.play(seed).decisions)
    return counts


def test_a_hostile_store_runs_nothing() -> None:
    """Many more of them: ``python -m tests.support.hostile_store``."""
    counts = play_all()
    assert set(counts) >= set(Decision) - {Decision.FAILED}
    assert counts[Decision.RAN] > HISTORIES / 4


def trusting(*_: Any, **__: Any) -> Any:
    """Approve everything."""
    return True


WEAKNESSES = {
    "the journal claims everything": (Journal, "claim", trusting),
    "the journal is not asked about the clock": (Journal, "see", trusting),
    "the window is not compared with the clock": (judging, "_outside", lambda document, now: None),
    "the weights are not added up": (Permissions, "check", trusting),
    "keys stay valid": (Signer, "invalid", lambda self, now: ""),
    "ssh-keygen is not asked": (Verifier, "signed_by", lambda self, data, given, now: self.investigators.values()),
    "every agent is in the target": (Target, "__new__", lambda cls, *_: tuple.__new__(cls, ("", (), trusting))),
}


@pytest.mark.parametrize("weakness", WEAKNESSES)
def test_the_judge_notices_an_agent_that_trusts_its_store(monkeypatch: pytest.MonkeyPatch, weakness: str) -> None:
    monkeypatch.setattr(*WEAKNESSES[weakness])
    with pytest.raises(Broken):
        play_all()
