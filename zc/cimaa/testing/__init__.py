"""The conformance suite for backends, including those of other projects: every promise of the contract, by number.

The tests of a backend inherit it::

    class TestMine(Conformance):
        @pytest.fixture
        def opener(self, tmp_path):
            return functools.partial(DB, {"path": str(tmp_path)})

``opener`` is a callable that takes ``instance`` and ``clock`` and opens a
:class:`~zc.cimaa.db.DB`.  Each test gets an empty store, and opens the same store with
each call.  The tests with several processes pickle the opener.

The numbers are those of the page on the contract.  The suite needs pytest and hypothesis.
"""

from .conformance import Conformance
from .tools import Clock, Opener, fault

__all__ = ["Clock", "Conformance", "Opener", "fault"]
