"""The table of the page doctests/roles.rst: what each role of each store may do."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "doctests" / "roles.rst"

#: The stores, each with its roles, in the order of the columns.
COLUMNS = {
    "PostgreSQL": ("agent", "confined", "operator", "investigator", "reader"),
    "DynamoDB": ("agent", "operator", "investigator", "reader", "setup"),
    "LMDB": ("owner",),
}
#: Commands that open no store of their own.
WITHOUT_STORE = {
    "backends",
    "cfengine",
    "check",
    "completion",
    "config",
    "costs",
    "install-service",
    "module",
    "run",
    "setup",
}


def role_table(store: str) -> dict[str, dict[str, str]]:
    """Each call and each command, as the page names it, with the word for each role of the store.

    Rows that do not concern the store are left out.
    """
    columns = [(name, role) for name, roles in COLUMNS.items() for role in roles]
    text = PAGE.read_text().partition("\n\n====")[2]
    _, head, rows, _ = re.split(r"^=[= ]+\n", text, maxsplit=3, flags=re.MULTILINE)
    assert head.split()[-len(columns) :] == [role for _, role in columns]
    table = {}
    for row in rows.splitlines():
        name, *words = re.split(r"\s{2,}", row)
        cells = dict(zip(columns, words, strict=True))
        if "n/a" not in (own := {role: cells[store, role] for role in COLUMNS[store]}).values():
            table[name.replace("`", "")] = own
    return table
