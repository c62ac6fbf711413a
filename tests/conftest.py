import pytest

pytest.register_assert_rewrite("zc.cimaa.testing")
