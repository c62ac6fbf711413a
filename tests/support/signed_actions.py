"""Documents of actions that hold for two hours from now."""

import json
import time
from typing import Any

from zc.cimaa.actions.documents import format_time

START = int(time.time())


def action_data(name: str = "who has it", **changed: Any) -> bytes:
    """The bytes of a document that asks all agents for a file."""
    document = {
        "name": name,
        "target": "agent=~.",
        "operations": [{"module": "file", "parameters": {"path": "/etc", "name": "shadow"}}],
        "validfrom": format_time(START),
        "expireafter": format_time(START + 7200),
        "syntaxversion": 3,
    }
    return json.dumps(document | changed).encode()
