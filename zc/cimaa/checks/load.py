"""Do more programs want to run than the processors can?"""

import psutil

from . import Problem
from .items import Item, Measurement, findings
from .ranges import Thresholds, thresholds

#: Of the load (of five minutes) per core.
THRESHOLDS = ("2", "4")


def check() -> list[Problem]:
    """What is wrong now."""
    return findings(read(thresholds(*THRESHOLDS)))


def read(limits: Thresholds) -> list[Item]:
    """The load now."""
    return judge(psutil.getloadavg(), psutil.cpu_count() or 1, limits)


def judge(loads: tuple[float, float, float], cores: int, limits: Thresholds) -> list[Item]:
    """Judge such loads of 1, 5 and 15 minutes on so many cores.

    The message has whole numbers, so that a report changes seldom.
    """
    per_core = loads[1] / cores
    plural = "" if cores == 1 else "s"
    message = f"the load of the last 5 minutes is {loads[1]:.0f} on {cores} core{plural}"
    each = (
        Measurement(f"load{minutes}", round(load, 2), minimum=0)
        for minutes, load in zip((1, 5, 15), loads, strict=True)
    )
    metrics = (Measurement("load5_per_core", round(per_core, 3), thresholds=limits, minimum=0), *each)
    return [Item("", limits.state(per_core), message, metrics)]
