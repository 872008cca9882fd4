"""Errors that have to come through from another process."""

import pytest

from atlas.core.errors import DataError
from atlas.core.parallel import by_processes


def refuse(where: str) -> None:
    raise DataError(where, ["line 3: no label", "line 9: no label"])


def test_what_another_process_refuses_is_told_in_full() -> None:
    with pytest.raises(DataError) as told:
        by_processes(refuse, [("train.csv",)] * 2, processes=True)
    assert told.value.problems == ("line 3: no label", "line 9: no label")
    assert str(told.value).splitlines() == [
        "train.csv: 2 problems to mend before going on:",
        "  line 3: no label",
        "  line 9: no label",
    ]
