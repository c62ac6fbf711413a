"""A program that reads the store, and reports to it."""

from typing import Any

from zc.cimaa.config import open_database
from zc.cimaa.types import Agent, Dump, Fault, FoundFault, Heartbeat, NewFault, Squelch


class OurFault(NewFault, total=False):
    """With a key of our own."""

    runbook: str


class StoredFault(Fault, total=False):
    runbook: str


def line(fault: FoundFault) -> str:
    return f"{fault['severity']} {fault['agent']} {fault['name']} {fault['message']} since {fault['since']}"


def hosts(agent: Agent) -> list[str]:
    return [f"{one['host']} {one['pid'] or 'cron'} {one['last'] - one['first']} s" for one in agent["instances"]]


def ends(squelch: Squelch) -> int | None:
    return squelch.get("expires")


def silent(agents: list[Heartbeat]) -> list[tuple[str, int]]:
    return [(agent["name"], agent["updated"]) for agent in agents]


def severities(dump: Dump) -> dict[str, int]:
    """Of all faults; the heartbeats among them have none."""
    found: dict[str, int] = {}
    for fault in dump["faults"]:
        if "updated" in fault:
            continue
        found[fault["name"]] = fault["severity"]
    return found


with open_database({"class": "zc.cimaa.memory"}) as db:
    disk: OurFault = {"name": "//web1/disk", "severity": 40, "message": "full", "runbook": "https://wiki/disk"}
    db.set_faults("web1", [disk])
    stored: list[Fault] = db.get_faults("web1")
    db.set_faults("web1", stored)
    db.set_faults("web1", db.find_faults("web1"))
    computed: list[dict[str, Any]] = [{"name": "load", "severity": 30, "message": "", "values": [1.5, 2.5]}]
    db.set_faults("web2", computed)
    db.set_faults("web3", ({"name": f"f{number}", "severity": 50, "message": ""} for number in range(3)))
    db.squelch("^//web1/", "moving", "jane")
    print(stored[0]["message"], stored[0].get("runbook"))
    print([line(fault) for fault in db.find_faults(severity=30)])
    print([hosts(agent) for agent in [*db.get_agents(), *db.double_agents()]])
    print(silent(db.old_agents(900)), silent(db.offline_agents()))
    print([(squelch["regex"], ends(squelch)) for squelch in db.get_squelch_details()])
    print(severities(db.dump()))
