"""A power failure takes no acknowledged change from an LMDB store, and at most 15 minutes from a heartbeat."""

import random
import shutil
import sys
from pathlib import Path

import lmdb
import pytest

from tests.support.lmdb_format_1 import FORMAT_1, ROW_1
from tests.support.needs import missing
from tests.support.power_failure import Disk, fail, record
from zc.cimaa.lmdb import DB

UPGRADE = "import sys; from zc.cimaa.lmdb import DB; DB({'path': sys.argv[1]}).get_agents()"


@pytest.fixture(autouse=True)
def strace() -> None:
    if shutil.which("strace") is None:
        missing("strace is not installed")


def test_a_power_failure_takes_nothing_that_was_acknowledged() -> None:
    """Many more of them: ``python -m tests.support.power_failure``."""
    assert fail(failures=50, seed=12) > 1000


def test_a_power_failure_during_an_upgrade_leaves_the_old_store_or_the_new_one(tmp_path: Path) -> None:
    path, dice = tmp_path / "root" / "store", random.Random(12)
    path.mkdir(parents=True)
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        transaction.cursor().putmulti([*FORMAT_1.items(), *((b"a:agent%d" % number, ROW_1) for number in range(100))])
    disk = Disk(tmp_path / "root")
    disk.add(path / "data.mdb")
    formats = set()
    for number, call in enumerate(record([sys.executable, "-c", UPGRADE, str(path)], tmp_path / "log")):
        if "/store/" in call.path:
            after = tmp_path / f"after{number}"
            disk.after_failure(dice, call, after)
            with lmdb.open(str(after / "store"), readonly=True, lock=False) as environment:
                formats.add(environment.begin().get(b"version"))
            with DB({"path": str(after / "store")}) as db:
                assert len(db.get_agents()) == 102
                assert len(db.get_faults("web1")) == 3
                assert db.get_squelches() == ["^//web1/"]
        disk.play(call)
    assert formats == {b"1", b"3"}
