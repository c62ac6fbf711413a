"""A host with a daemon in simulated time that is asked to run a command, and says how often it ran."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.questions import Questions
from tests.support.simulation import START, SimulatedClock, Simulation
from zc.cimaa import memory
from zc.cimaa.actions.entries_of_actions import StoredAction
from zc.cimaa.agent.action_duty import ActionDuty
from zc.cimaa.agent.config import Settings
from zc.cimaa.agent.rules.check import Check
from zc.cimaa.config import Config
from zc.cimaa.outcomes import Finished

PROBLEM = "//web1/agent/actions"
COMMAND = "[command:note]\ncommand = sh -c 'echo ran >> {}'\n"
NOTE: dict[str, Any] = {"parameters": {"name": "note"}}


async def bad(clock: SimulatedClock, check: Check) -> Finished:
    return Finished(2, b"bad", b"")


class AskedHost:
    """A host with a daemon in simulated time, whose command ``note`` says that it ran."""

    def __init__(self, directory: Path) -> None:
        self.questions = Questions(directory)
        self.path = directory / "cimaa.cfg"
        self.ran = directory / "ran"
        self.clock = SimulatedClock(START)
        self.clock.HANGING = 20  # nothing hangs here, but ssh-keygen may be slow
        self.db = memory.DB(clock=lambda: self.clock.time())
        (directory / "checks").mkdir()

    def configure(self, sections: str | None = None, agent: str = "") -> None:
        if sections is None:
            sections = self.questions.sections(commands=COMMAND.format(self.ran))
        self.path.write_text(f"[agent]\nname = web1\ndirectory = checks\n{agent}{sections}")

    def run(self, count: int, **actions: Callable[[], Any]) -> Simulation:
        """Run ``count`` ticks; ``at3=...`` is called at the third."""
        config = Config.read(self.path)
        settings = Settings.load(config)
        simulation = Simulation(
            self.db, "[a]\ncommand = x\n", bad, self.path.parent / "checks", start=self.clock.time(), clock=self.clock
        )

        async def go() -> None:
            self.duty = ActionDuty(simulation.daemon, simulation.store, simulation.clock)
            self.duty.configure(config, settings)
            simulation.at_ticks(**actions)
            at_tick = simulation.on_tick
            simulation.on_tick = lambda tick: (at_tick(tick), self.duty.tick())
            await simulation.daemon.run(count)
            await self.duty.finish()

        asyncio.run(go())
        return simulation

    def ask(self, module: str = "command", who: str = "jane", **changed: Any) -> Any:
        """Send a question now."""
        if module == "command" and "parameters" not in changed:
            changed |= NOTE
        return self.questions.send(
            self.db, self.questions.document(module, self.clock.time(), **changed), "web1", who=who
        )

    def sign(self, action: StoredAction, who: str) -> None:
        """Send an action again, with one more signature."""
        self.questions.send(self.db, action.data, "web1", who=who)

    def reload(self) -> None:
        """Have the daemon read its configuration again."""
        config = Config.read(self.path)
        self.duty.configure(config, Settings.load(config))

    def faults(self) -> dict[str, str]:
        return {fault["name"]: fault["message"] for fault in self.db.get_faults("web1")}

    def times_run(self) -> int:
        return len(self.ran.read_text().splitlines()) if self.ran.exists() else 0
