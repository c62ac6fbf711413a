"""Runs some of the agent's checks now."""

from collections.abc import Sequence
from typing import Any

from ...text import storable
from ..answers import Answer, failed
from ..parameters import TEXTS, Parameter, ParameterValues
from . import CheckRun, Host, Operator


class Module(Operator):
    """Runs checks of the agent."""

    name = "check"
    summary = "run some of the agent's checks now, and report what they find"
    only_looks = True  # at what the agent looks at anyway
    parameters = (Parameter("names", TEXTS, "the checks: FILE/SECTION, or the section alone", required=True),)

    @classmethod
    async def operate(cls, values: ParameterValues, host: Host) -> Answer:
        """Have the agent run them: it ends their child processes, also when this is cancelled."""
        if host.run_checks is None:
            return failed("this agent cannot run checks for an action")
        return judge(await host.run_checks(list(dict.fromkeys(values["names"]))))


def judge(runs: Sequence[CheckRun]) -> Answer:
    """The faults that the checks found."""
    return Answer(
        found=any(run.faults for run in runs),
        success=not any(run.error for run in runs),
        elements=[_shape(run) for run in runs if not run.error],
        statistics={"checks": len(runs), "faults": sum(len(run.faults) for run in runs)},
        errors=[f"{run.check}: {run.error}" for run in runs if run.error],
    )


def _shape(run: CheckRun) -> dict[str, Any]:
    return {"check": storable(run.check), "faults": [dict(fault) for fault in run.faults]}
