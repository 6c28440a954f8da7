import pickle

import pytest

from opsuite_kernel.errors import InvalidInput, Unavailable, Violation
from opsuite_scaler.adapters.simulator import Failed


def test_errors_survive_the_way_between_processes() -> None:
    wrong = (Violation("trace.values[1]", "is below 0"),)
    invalid = pickle.loads(pickle.dumps(Failed("it is wrong", "TRACE_INVALID", wrong))).error()
    away = pickle.loads(pickle.dumps(Failed("no fit", "NO_FIT", ()))).error()

    with pytest.raises(InvalidInput) as refused:
        raise invalid
    assert (refused.value.violations, refused.value.reason) == (wrong, "TRACE_INVALID")
    with pytest.raises(Unavailable, match="no fit") as gone:
        raise away
    assert gone.value.reason == "NO_FIT"
