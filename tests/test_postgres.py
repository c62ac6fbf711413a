"""The PostgreSQL backend keeps the contract."""

import pytest

from zc.cimaa.testing import Conformance, Opener


class TestPostgres(Conformance):
    @pytest.fixture
    def opener(self, postgres_opener: Opener) -> Opener:
        return postgres_opener
