"""How the configuration of this host judges an action.  Each agent judges by its own, which may differ."""

import time
from collections.abc import Mapping
from typing import NamedTuple

from ..actions import judging, permissions, signatures
from ..actions.config import SECTION, ActionSettings
from ..actions.documents import Document
from ..actions.permissions import Weighed
from ..actions.signatures import KnownSigner, Verifier
from ..config import Config
from ..errors import ActionRefused, ConfigurationError, InvalidAction
from ..text import cut
from .output import message

# Bytes of names and weights in a message.
_SHOWN = 200


class OperationCheck(NamedTuple):
    """An operation, and the weights of those who signed, and of those who still can."""

    weighed: Weighed
    #: The weights of the investigators who signed, by their names.
    signed: Mapping[str, int]
    #: The weights of those who did not sign.
    others: Mapping[str, int]

    @property
    def missing(self) -> int | None:
        """The weight that is missing; ``None`` if no section permits the operation."""
        permission = self.weighed.permission
        return permission and max(0, permission.minimum - self.weighed.weight)

    @property
    def reason(self) -> str:
        """Why the operation is not permitted, and who can change that; empty: it is permitted."""
        if not (reason := self.weighed.reason) or self.missing is None:
            return reason
        short = ", which is not enough" if sum(self.others.values()) < self.missing else ""
        return f"{reason}; still missing: {self.missing}; not signed yet: {shown(self.others) or 'nobody'}{short}"


class Checked(NamedTuple):
    """An action, who signed it, and whether this host permits it."""

    document: Document
    signers: list[KnownSigner]
    operations: list[OperationCheck]
    #: Why this host would refuse it with any signatures; empty: it would not.
    refused: str

    @property
    def reasons(self) -> list[str]:
        """Why this host does not permit it, each reason once; none: it does."""
        return list(dict.fromkeys(filter(None, [self.refused, *(each.reason for each in self.operations)])))


def checked(ours: Config, document: Document, data: bytes, given: bytes) -> Checked:
    """Who signed the action, and whether this host permits it.

    :raises InvalidAction: naming a signature that is not true, or whose key may not be used.
    :raises ConfigurationError: if the configuration is invalid.
    :raises SigningError: if ``ssh-keygen`` cannot be run.
    """
    settings = ActionSettings.load(ours)
    verifier = _verifier(settings)
    signers = verifier.signed_by(data, given, time.time()) if given.strip() else []
    granted = permissions.of_configuration(ours)
    for warning in permissions.unknown_names(granted, [signer.name for signer in verifier.investigators.values()]):
        message(f"Warning: {warning}")
    names = [signer.name for signer in signers if signer.name is not None]
    operations = [_operation(each, names) for each in granted.weigh(document.operations, names)]
    return Checked(document, signers, operations, too_long(document, settings))


def too_long(document: Document, settings: ActionSettings) -> str:
    """Why the window of an action is too long for these settings; empty: it is not."""
    try:
        judging.check_length(document, settings.longest)
    except ActionRefused as error:
        return str(error)
    return ""


def warn(
    ours: Config, document: Document, data: bytes, given: bytes, why: str = "by the configuration of this host"
) -> None:
    """Warn if this host would refuse a signed action.

    It may be sent all the same, because each agent judges for itself.  Without investigators there is nothing to judge
    by, and no warning.
    """
    try:
        if ActionSettings.load(ours).investigators is None:
            return
        reasons = checked(ours, document, data, given).reasons
    except InvalidAction as error:
        reasons = [str(error)]
    except ConfigurationError as error:
        message(f"Warning: whether this host would run it is unknown: {error}")
        return
    for reason in reasons:
        message(f"Warning: {why}, it would be refused: {reason}.")


def shown(weights: Mapping[str, int]) -> str:
    """Weights as a configuration has them; of many, the first."""
    return cut(", ".join(f"{name} {weight}" for name, weight in weights.items()), _SHOWN)


def _verifier(settings: ActionSettings) -> Verifier:
    keygen = signatures.find()
    if settings.investigators is None:
        message(f"Warning: the configuration names no [{SECTION}] investigators, so that all keys are unknown.")
        return Verifier(keygen.failure, {})
    return signatures.load(keygen, settings.investigators, settings.revoked)


def _operation(weighed: Weighed, names: list[str]) -> OperationCheck:
    weights = weighed.permission.weights if weighed.permission else {}
    others = {name: weight for name, weight in weights.items() if name not in names}
    return OperationCheck(weighed, {name: weights.get(name, 0) for name in names}, others)
