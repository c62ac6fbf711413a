"""What an empty list of faults means: agents without faults, or agents that do not report."""

import time
from typing import TYPE_CHECKING

from ..db import DB
from ..errors import InvalidInput, StoreDenied, StoreError
from ..units import format_duration
from .fault_list import ago, counted
from .params import unknown

if TYPE_CHECKING:
    from ..filters import FaultItem, Filter

# Agents that have been silent for longer (seconds) are not taken for agents without faults.
_SILENT = 24 * 60 * 60
_NEVER = "no agent has reported to this store (see: cimaa agent --help, cimaa config)"


class AskedAgents:
    """The agents whose faults were asked for."""

    def __init__(self, db: DB, agent: str | None, wanted: "Filter[FaultItem] | None") -> None:
        """Read the times of their last reports, as far as these credentials may.

        :raises InvalidInput: for an agent that the store does not have.
        """
        self._agent = asked_agent(agent, wanted)
        try:
            known = {row["name"]: row["updated"] for row in db.get_agents()}
        except StoreDenied:
            self._heartbeats: dict[str, int] | None = None
            return
        if known and self._agent is not None and self._agent not in known:
            raise InvalidInput(unknown("agent", self._agent, known, "cimaa agents"))
        if known and self._agent is not None:
            self._heartbeats = {self._agent: known[self._agent]}
            return
        self._heartbeats = admitted(known, agent, wanted)
        if known and not self._heartbeats:
            raise InvalidInput("the filter's terms on agent hold for no agent of this store (see: cimaa agents)")

    def require_reports(self) -> None:
        """Refuse to say that there are no faults if there are no recent reports.

        :raises StoreError: if all agents are silent, or the one that was asked for.
        """
        if self._heartbeats is None:
            return
        if not self._heartbeats:
            raise StoreError(_NEVER)
        if (silent := time.time() - max(self._heartbeats.values())) > _SILENT:
            subject = "no agent has" if self._agent is None else f"{self._agent} has not"
            raise StoreError(f"{subject} reported for {format_duration(silent)}: the faults are not known")

    def message(self, none: str) -> str:
        """The message for an empty list."""
        if self._heartbeats is None:
            return f"{none}; these credentials may not read when agents reported."
        if not self._heartbeats:
            return f"{none}, but {_NEVER}."
        last = ago(max(self._heartbeats.values()), time.time())
        if self._agent is None:
            return f"{none}: {counted(len(self._heartbeats), 'agent')} reported, the last {last}."
        return f"{none}: {self._agent} reported {last}."


def asked_agent(agent: str | None, wanted: "Filter[FaultItem] | None") -> str | None:
    """The only agent that was asked for, with ``--agent`` or a term of the filter."""
    if agent is None and wanted is not None and (term := wanted.first("agent", "=")):
        return term.value
    return agent


def admitted(heartbeats: dict[str, int], agent: str | None, wanted: "Filter[FaultItem] | None") -> dict[str, int]:
    """The heartbeats of the agents that ``agent`` and the filter admit."""
    return {
        name: updated
        for name, updated in heartbeats.items()
        if agent in (None, name) and (wanted is None or wanted.admits("agent", name))
    }
