"""The conformance suite: every promise of the contract, by number, for every backend, other people's included.

A backend's tests inherit it::

    class TestMine(Conformance):
        @pytest.fixture
        def opener(self, tmp_path):
            return functools.partial(DB, {"path": str(tmp_path)})

``opener`` is a callable that takes ``instance`` and ``clock`` and opens a
:class:`~zc.cimaa.db.DB`: for each test an empty store, and in one test the same
store at each call.  It is pickled for the tests that report from several processes.

The numbers are those of the page on the contract.  It needs pytest and hypothesis.
"""

from .conformance import Conformance
from .tools import Clock, Opener, fault

__all__ = ["Clock", "Conformance", "Opener", "fault"]
