"""The LMDB backend keeps the contract, and what it promises beyond."""

import functools
from pathlib import Path

import pytest

from zc.cimaa.lmdb import DB
from zc.cimaa.testing import Conformance, Opener


class TestLMDB(Conformance):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return functools.partial(DB, {"path": str(tmp_path / "store")})
