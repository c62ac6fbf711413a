"""Which commands of an agent are to be judged.  Pure."""

from collections.abc import Collection, Sequence

from ...actions.entries_of_actions import REFUSED, SENT, Command


class PendingCommands:
    """What an agent knows of its commands from one look at them to the next.

    A command that was refused is judged again once after each time that the agent was woken, as the action may have
    been sent again, with more signatures.
    """

    def __init__(self) -> None:
        # Commands whose actions were cancelled, or are over: not to be read again.
        self._over: set[str] = set()
        self._woken = False
        # Of those that were refused, the commands that are to be judged again.
        self._again: set[str] = set()
        # Commands that were worked on when the agent was woken: what was read for them may be outdated.
        self._overtaken: set[str] = set()

    def wake(self) -> None:
        """Note that the agent was woken."""
        self._woken = True

    def reset(self) -> None:
        """Note that other rules hold: a command that counted as over is judged again."""
        self._over.clear()

    def choose(self, commands: Sequence[Command], active: Collection[str]) -> list[Command]:
        """The commands to begin with now, of all that the agent has; ``active`` are the ids of those worked on."""
        self._over.intersection_update(command.id for command in commands)
        if self._woken:
            self._woken = False
            self._again = {command.id for command in commands if command.state == REFUSED}
            self._overtaken.update(active)
        return [
            command
            for command in commands
            if (command.state == SENT or (command.state == REFUSED and command.id in self._again))
            and not (command.id in self._over or command.id in active)
        ]

    def is_over(self, command: str) -> None:
        """Note that the action of this command was cancelled, or its window is over."""
        self._over.add(command)

    def is_refused(self, command: str) -> None:
        """Note that this command was judged, and refused."""
        self._again.discard(command)

    def ended(self, command: str) -> bool:
        """Note that the work on a command has ended; true if the agent has to look again, as it was woken meanwhile."""
        if command not in self._overtaken:
            return False
        self._overtaken.remove(command)
        self._again.add(command)
        return True
