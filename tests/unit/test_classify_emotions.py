"""Batches end where calls end, so that a call is judged as a whole."""

from __future__ import annotations

import pyarrow as pa
import pytest

from jobs.classify_emotions import whole_calls


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ([], []),
        (["a"], ["a"]),
        (["aab"], ["aa", "b"]),
        (["aab", "bbc"], ["aa", "bbb", "c"]),
        (["aa", "aa", "ab"], ["aaaaa", "b"]),
        (["aa", "bb"], ["aa", "bb"]),
        (["ab", "b", "b", "bc"], ["a", "bbbb", "c"]),
    ],
)
def test_whole_calls(batches: list[str], expected: list[str]) -> None:
    given = [pa.RecordBatch.from_pydict({"contact_id": list(calls)}) for calls in batches]
    found = ["".join(table.column("contact_id").to_pylist()) for table in whole_calls(given) if table.num_rows]
    assert found == expected
