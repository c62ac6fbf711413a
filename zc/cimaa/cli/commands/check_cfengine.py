"""The check of CFEngine, as a Nagios plugin and, with ``--json``, as a check of an agent with several faults."""

import time
from typing import Any

import click

from ...cfengine import state_files
from ...checks import cfengine_agent as checked
from ...checks import file_age
from ...checks.cfengine_agent import Limits
from ...checks.items import Item
from ...checks.ranges import Range, Thresholds
from ...checks.states import worst
from ...errors import Error
from ...faults import SEVERITIES
from ...threads import within
from ..nagios import Plugin, finish, plugin_options
from ..output import write_json
from ..params import DURATION, Parsed, examples
from .show_cfengine import state_option


@click.command(
    "cfengine",
    cls=Plugin,
    epilog=examples("cimaa check cfengine", "cimaa check cfengine -w 15m -c 1h --locks 2h --full 75,90 --json"),
)
@state_option
@click.option(
    "--locks",
    type=DURATION,
    default=checked.LOCKS,
    show_default=True,
    metavar="DURATION",
    help="How long a lock may be held: as CFEngine's expireafter.",
)
@click.option(
    "--full",
    type=Parsed("percentages", checked.parse_full),
    default=checked.FULL,
    show_default=True,
    metavar="WARNING,CRITICAL",
    help="The percentages that may be used of the size to which a file may grow.",
)
@click.option("--json", "as_json", is_flag=True, help="Write the faults as a check of an agent does.")
@plugin_options(*checked.THRESHOLDS, "how long ago the agent got something done (15m, 2h)", file_age.parse_range)
def cfengine(
    state: str | None,
    locks: int,
    full: Thresholds,
    as_json: bool,
    warning: Range | None,
    critical: Range | None,
    timeout: float,
    verbose: int,
) -> None:
    """Check CFEngine's agent: does it get things done, does a lock hang, are its files whole?

    Reads its databases, which are not touched.  A lock that is held for too long is critical if its process lives
    (it hangs), and a warning if it is gone (left over after a crash).  A file that is damaged is critical: the agent
    hangs on it.  As cf_lock.lmdb is only root's, run this as root, or let the agent's user read the files.
    """
    limits = Limits(Thresholds(warning, critical), full, locks)

    def look() -> list[Item]:
        return checked.read(state_files.state_directory(state), limits, time.time(), timeout * 0.9)

    if as_json:
        _write_faults(look, timeout)
    else:
        finish("cfengine", look, timeout, "the agent works, and its files are whole", verbose)


def _write_faults(look: Any, timeout: float) -> None:
    """Write what is wrong as a check of an agent does; that it could not look is a fault, too."""
    try:
        items = within(look, timeout)
    except (Error, TimeoutError) as error:
        write_json({"faults": [{"name": "", "severity": SEVERITIES["error"], "message": str(error)}]})
        raise click.exceptions.Exit(3) from error
    metrics = [
        {"name": metric.label, "value": metric.value, "unit": metric.unit} for item in items for metric in item.metrics
    ]
    write_json({"faults": [finding._asdict() for finding in checked.faults(items)], "metrics": metrics})
    raise click.exceptions.Exit(worst(item.state for item in items))
