"""Batches end where calls end, so that a call is judged as a whole; staged features are read as they were made."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs.classify_emotions import _features, whole_calls
from ser_model.features import FeatureSpec, InputSpec, WaveformSpec, model_input


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


@pytest.mark.parametrize("spec", [FeatureSpec(), WaveformSpec(sample_rate_hz=16000)], ids=lambda spec: spec.input_name)
def test_features_are_read_as_they_were_staged(spec: InputSpec) -> None:
    samples = (0.1 * np.random.default_rng(0).standard_normal(9000)).astype(np.float32)
    made = [model_input(spec)(samples[:n]) for n in (9000, 3000)]
    segments = pa.table({"features": [made[0].tobytes(), None, made[1].tobytes()]})
    classifier: Any = SimpleNamespace(card=SimpleNamespace(feature_spec=spec))
    read = _features(segments, classifier)
    for one, other in zip(read, made, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
