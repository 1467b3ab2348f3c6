"""Batches end where calls end; staged features are read as they were made, and those of another model are refused."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from small_models import SPEC, write_model

from jobs.classify_emotions import ClassifyTask, _features, classify, whole_calls
from jobs.errors import StepOrderError
from jobs.extract_features import FEATURE_HASH
from jobs.staging import RunStaging
from jobs.storage import LocalStorage
from schemas.staging import SEGMENTS
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


NOT_CLASSIFIED = {
    "call_date": date(2026, 11, 20),
    "contact_id": "c",
    "role": "agent",
    "turn_index": 0,
    "segment_index": 0,
    "start_s": 0.0,
    "end_s": 1.0,
    "classified": False,
    "source_uri": "s3://bucket/c.wav",
}


@pytest.mark.parametrize("said", [{}, {FEATURE_HASH: "of another specification"}])
def test_features_of_another_specification_are_refused(tmp_path: Path, said: dict[str, str]) -> None:
    staging = RunStaging(LocalStorage(tmp_path / "staging"), date(2026, 11, 20), "run-1")
    model = str(write_model(tmp_path / "model"))

    def staged(metadata: dict[str, str]) -> ClassifyTask:
        with staging.writer(SEGMENTS, metadata=metadata) as segments:
            segments.write(pa.Table.from_pylist([NOT_CLASSIFIED], schema=SEGMENTS.schema))
        return ClassifyTask(0, segments.file, staging, model, batch_size=64)

    assert classify(staged({FEATURE_HASH: SPEC.hash})).emotion_log.rows == 1
    with pytest.raises(StepOrderError, match=f"the model needs {SPEC.hash}; run extract_features again"):
        classify(staged(said))
