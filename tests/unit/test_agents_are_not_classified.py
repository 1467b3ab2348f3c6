"""No agent's voice reaches the classifier unless somebody says so: what it is given does not depend on that channel.

Through what Spark's workers run, from the object's bytes to the rows of emotion_log.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import soundfile

from jobs import classify_emotions, extract_features
from jobs.classify_emotions import ClassifyTask
from jobs.extract_features import ExtractTask, Recording
from jobs.settings import Settings
from jobs.staging import RunStaging
from jobs.storage import LocalStorage
from schemas import TABLES
from ser_model.classifier import Classifier

RATE = 8000
DAY = date(2026, 11, 20)
Voice = Callable[..., npt.NDArray[np.float32]]


def call(voice: Voice, agent: npt.NDArray[np.float32]) -> bytes:
    """14 s: the customer speaks from 1 to 4 and from 9 to 12, the agent from 5 to 8."""
    sound = np.random.default_rng(0).standard_normal((14 * RATE, 2)).astype(np.float32) * 1e-3
    sound[RATE : 4 * RATE, 0] += voice(3.0, 180)
    sound[9 * RATE : 12 * RATE, 0] += voice(3.0, 180, level_dbfs=-18.0)
    sound[5 * RATE : 8 * RATE, 1] += agent
    written = io.BytesIO()
    soundfile.write(written, sound, RATE, format="WAV", subtype="PCM_16")
    return written.getvalue()


@pytest.fixture
def classified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[list[bytes], pa.Table]]:
    """Runs the workers' parts over one call; returns what the classifier was given, and the rows of emotion_log."""
    model = str(Settings.model_fields["model"].default)
    card = Classifier.load(Path(model)).card

    def run(content: bytes, roles: Sequence[str]) -> tuple[list[bytes], pa.Table]:
        given: list[bytes] = []
        probabilities = Classifier.probabilities

        def spy(self: Classifier, features: Sequence[Any], *more: Any) -> Any:
            given.extend(np.asarray(each).tobytes() for each in features)
            return probabilities(self, features, *more)

        class Store:
            def get_object(self, **_: Any) -> dict[str, io.BytesIO]:
                return {"Body": io.BytesIO(content)}

        monkeypatch.setattr(extract_features, "s3_client", lambda *_: Store())
        monkeypatch.setattr(Classifier, "probabilities", spy)
        staging = RunStaging(LocalStorage(tmp_path), DAY, f"run-{len(list(tmp_path.rglob('segments')))}")
        recording = Recording("c1", "s3://r/c1.wav", "e", None, None, len(content), ("customer", "agent"))
        task = ExtractTask(0, (recording,), staging, card.feature_spec, tuple(roles), None, "us-east-1", 60, 4000)
        extracted = extract_features.extract(task)
        results = [classify_emotions.classify(ClassifyTask(0, file, staging, model, 64)) for file in extracted.segments]
        staging.commit(TABLES["emotion_log"], [result.emotion_log for result in results])
        monkeypatch.setattr(Classifier, "probabilities", probabilities)
        return given, staging.read_table(TABLES["emotion_log"])

    return run


def test_what_the_classifier_is_given_is_the_same_whoever_the_agent_is(
    voice: Voice, classified: Callable[..., tuple[list[bytes], pa.Table]]
) -> None:
    default = Settings.model_fields["roles"].default
    agents = (voice(3.0, 110), voice(3.0, 230, level_dbfs=-12.0, syllables_hz=6.0), np.zeros(3 * RATE, np.float32))
    results = [classified(call(voice, agent), default) for agent in agents]
    (first, rows), *others = results
    assert len(first) >= 2
    for given, _ in others:
        assert given == first
    by_role = {role: rows.filter(pa.compute.field("role") == role) for role in ("customer", "agent")}
    assert by_role["agent"].num_rows > 0  # heard, for talk time and turns
    assert by_role["agent"]["classified"].to_pylist() == [False] * by_role["agent"].num_rows
    for name in rows.column_names:
        if name.startswith("p_") or name in (
            "emotion",
            "confidence",
            "valence",
            "arousal",
            "pitch_hz",
            "loudness_dbfs",
        ):
            assert by_role["agent"][name].null_count == by_role["agent"].num_rows, name
    assert sum(by_role["customer"]["classified"].to_pylist()) == len(first)


def test_with_agents_asked_for_it_is_not_the_same(
    voice: Voice, classified: Callable[..., tuple[list[bytes], pa.Table]]
) -> None:
    """So the test above could fail."""
    one, _ = classified(call(voice, voice(3.0, 110)), ("customer", "agent"))
    another, rows = classified(call(voice, voice(3.0, 230, level_dbfs=-12.0)), ("customer", "agent"))
    assert one != another
    assert {row["role"] for row in rows.to_pylist() if row["classified"]} == {"customer", "agent"}
