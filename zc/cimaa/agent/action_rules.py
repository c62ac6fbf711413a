"""What an agent needs to run actions, from its configuration."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..actions import judging, modules, permissions, signatures, targets
from ..actions.config import ActionSettings
from ..actions.documents import Document, Operation
from ..actions.journal import Journal
from ..actions.judging import AgentRules, Claims, Given, Judged
from ..actions.modules import Host, host_commands
from ..actions.signatures import Keygen
from ..agents import this_host
from ..config import Config
from ..filters import AgentItem
from .config import Settings, check_environment


class ActionRules(NamedTuple):
    """What decides about actions, and what they run with."""

    agent: AgentRules
    journal: Journal
    #: What every module is given.
    host: Host
    keygen: Keygen
    #: The private key that signs the answers.
    key: Path | None

    def take(self, given: Given, claim_in_store: Callable[[Document], bool], clock: Callable[[], float]) -> Judged:
        """Judge an action and claim it; :data:`~zc.cimaa.actions.judging.Decision.RAN` means that it is to run now.

        The answer is then its document.
        """
        claims = Claims(self.journal.see, claim_in_store, self.journal.claim)
        return judging.take(given, self.agent, claims, clock, lambda document: document)

    def host_of(self, operation: Operation) -> Host:
        """What the module of this operation is given."""
        permission = self.agent.permissions.of(operation)
        return self.host._replace(within=permission.within if permission else ())


def prepare(config: Config, settings: Settings, run_checks: modules.RunChecks) -> ActionRules | None:
    """What the agent needs; ``None`` if the configuration names no investigators.

    :raises ConfigurationError: for an invalid setting, or a file that is invalid or that others may write to.
    :raises SigningError: if there is no ``ssh-keygen`` that can verify signatures.
    :raises JournalError: if the journal cannot be used.
    """
    given = ActionSettings.load(config)
    if not given.check() or given.investigators is None or given.journal is None:
        return None
    granted, commands = permissions.of_configuration(config), host_commands.load(config)
    keygen = signatures.find()
    verifier = signatures.load(keygen, given.investigators, given.revoked)
    journal = Journal(given.journal, settings.name)
    rules = AgentRules(verifier, granted, modules.checks(), _facts(settings), given.longest)
    host = Host(commands=commands, run_checks=run_checks, environment=check_environment(config))
    return ActionRules(rules, journal, host, keygen, given.key)


def _facts(settings: Settings) -> AgentItem:
    host = this_host()
    return targets.facts(settings.name, host.host, host.os, host.version, settings.tags)
