"""What a report of the agent contains."""

from collections.abc import Callable

from ..faults import SEVERITIES, FaultDict
from ..naming import fault_name
from .check_state import CheckStates
from .exclusive import ExclusiveChecks
from .notifier import Notifier
from .rules import alerting, report, results
from .rules.results import Result, make_fault
from .store import StoreClient


class ReportContents:
    """The current report of an agent."""

    def __init__(
        self,
        agent: str,
        states: CheckStates,
        store: StoreClient,
        notifier: Notifier,
        exclusive: ExclusiveChecks,
    ) -> None:
        self._agent = agent
        self._states = states
        self._store = store
        self._notifier = notifier
        self._exclusive = exclusive
        #: Why the configuration could not be read again; ``None``: it was read.
        self.outdated: str | None = None
        #: Further faults of the agent itself.
        self.others: Callable[[], list[FaultDict]] = list

    def faults(self) -> list[FaultDict]:
        """The current report."""
        marked = [result._replace(faults=self._notifier.marked(result.faults)) for result in self._results()]
        return report.faults(self._agent, marked)

    def severities(self) -> list[int]:
        """The severities of the current faults."""
        found = (fault for result in self._results() for fault in result.faults)
        return [fault["severity"] for fault in results.worst(found).values()]

    def critical(self) -> dict[str, FaultDict]:
        """All faults about which alerts are sent if they are critical."""
        return results.worst([*self._states.faults(), *self._notifier.faults()])

    def _results(self) -> list[Result]:
        found = self._states.results()
        found.append(Result(alerting.ALERTERS, "", self._notifier.faults()))
        found.append(Result("agent", "", [*self._store.outage_notice(), *self._configuration(), *self.others()]))
        names = [fault["name"] for result in found for fault in result.faults]
        over = self._exclusive.marked(self._notifier.pending_resolutions(names))
        found.append(Result(alerting.ALERTERS, "over", over))
        return found

    def _configuration(self) -> list[FaultDict]:
        if self.outdated is None:
            return []
        name = fault_name(self._agent, "agent", "configuration")
        text = f"the configuration is unchanged, as it cannot be read: {self.outdated}"
        return [make_fault(name, SEVERITIES["error"], text)]
