"""The command that writes a draft of an action."""

import time

import click

from ...actions import targets
from ...actions.documents import SYNTAX_VERSION, format_time
from ...agent.config import Settings
from ...filters import quote
from ..action_files import complete_modules, module_checks
from ..output import write_json
from ..params import INTERVAL, configuration, examples, unknown
from ..users import login_name


@click.command(
    epilog=examples(
        "cimaa action new file > question.json",
        "cimaa action new package --target 'tag=db os=~Linux' --for 2h --name 'who has openssl 3.0' > question.json",
    )
)
@click.argument("module", shell_complete=complete_modules)
@click.option("--name", default="", help="The name of the action, as lists show it.")
@click.option("--target", help="Which agents it is for.  [default: the agent of this host]")
@click.option(
    "--for",
    "duration",
    type=INTERVAL,
    metavar="DURATION",
    default="1h",
    help="The window in which agents may run it begins now, and is this long.  [default: 1h]",
)
@click.pass_context
def new(ctx: click.Context, /, module: str, name: str, target: str | None, duration: int) -> None:
    """Write a draft of an action that uses MODULE.

    Put it into a file, and fill in the parameters of the module.  In --target, terms are joined by blanks, and all must
    hold, as in 'agent=~^web tag=db version>=0.2'.  The keys are agent, host, os, version and tag.  Every agent is
    agent=~.
    """
    if module not in (known := module_checks()):
        raise click.UsageError(unknown("module", module, known, "cimaa module"))
    wanted = f"agent={quote(Settings.load(configuration(ctx)).name)}" if target is None else target
    targets.of_terms(wanted)
    now = int(time.time())
    write_json(
        {
            "name": name or f"{module}, by {login_name()}",
            "target": wanted,
            "operations": [{"module": module, "parameters": {}}],
            "validfrom": format_time(now),
            "expireafter": format_time(now + duration),
            "description": {"author": login_name(), "email": "", "url": "", "revision": 1},
            "threat": {"ref": "", "level": "", "family": "", "type": ""},
            "syntaxversion": SYNTAX_VERSION,
        }
    )
