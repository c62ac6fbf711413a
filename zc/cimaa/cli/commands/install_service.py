"""The command that installs the agent as a systemd service."""

import shlex
from pathlib import Path

import click

from ...errors import ConfigurationError
from ..output import message, write
from ..params import examples


def _absolute(_ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and not path.is_absolute():
        raise click.BadParameter("give an absolute path.")
    return path


@click.command(
    name="install-service",
    epilog=examples(
        "cimaa install-service --print",
        "cimaa install-service --write --root package --program /usr/bin/cimaa",
    ),
)
@click.option("--print", "show", is_flag=True, help="Print the unit, and install nothing.")
@click.option("--write", "install", is_flag=True, help="Write the unit, its user, and an example configuration.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write below DIR, for a package or an image of another host.  [default: /]",
)
@click.option(
    "--program",
    type=click.Path(path_type=Path),
    metavar="PATH",
    callback=_absolute,
    help="The program that the service runs.  [default: that of this installation; with --root, if that is not in"
    " DIR, /usr/bin/cimaa]",
)
def install_service(show: bool, install: bool, root: Path | None, program: Path | None) -> None:
    """Install the agent as a systemd service.

    The service runs as a separate user with few privileges, and is restarted whenever it ends.  Existing files are not
    changed: a configuration in /etc/cimaa is kept; a different unit of this name is an error.  To change the unit,
    use a drop-in: systemctl edit cimaa-agent.
    """
    if show == install:
        raise click.UsageError("Give one of --print and --write.")
    if show and root is not None:
        raise click.UsageError("--root is for --write.")
    from ...systemd import install as systemd

    service = program or systemd.installed_program(root or Path("/"))
    if show:
        write(systemd.unit(service).rstrip("\n"))
    else:
        _install(service, root or Path("/"))
    if service == systemd.program() and (closed := systemd.closed(service)):
        message(f"Warning: the service's user will not be able to run {service}: {closed} is closed to others.")


def _install(service: Path, root: Path) -> None:
    from ...systemd import install as systemd

    again = shlex.join([str(systemd.program()), "install-service"])
    files = systemd.files(service, root)
    try:
        missing = systemd.missing(files)
    except ConfigurationError as error:
        hint = f"Nothing was written.  To see the new unit: {again} --print.  To write it: remove the file first."
        raise ConfigurationError(f"{error}.  {hint}") from error
    for file in files:
        if file in missing:
            try:
                systemd.write(file)
            except ConfigurationError as error:
                if not isinstance(error.__cause__, PermissionError):
                    raise
                hint = f"Only root may: sudo {again} --write.  To try it elsewhere: --root DIR."
                raise ConfigurationError(f"{error}.  {hint}") from error
        message(f"{file.path}: {'written' if file in missing else 'exists'}")
    message(f"The service runs {service}.")
    message(f"Next, as root: {systemd.NEXT}")
