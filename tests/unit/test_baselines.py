"""The baselines: a fold's test speakers take no part in its training, and the functionals are openSMILE's."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_model.baselines import functionals, svm_predictions
from ser_model.corpora import Clip
from ser_model.folds import random_folds, speaker_folds

EMOTIONS = ("neutral", "happy", "sad")
CLIPS = [
    Clip(Path(f"{speaker}-{emotion}-{take}.wav"), "ravdess", f"{speaker:02}", emotion)
    for speaker in range(1, 11)
    for emotion in EMOTIONS
    for take in range(4)
]
GROUPS = [[f"{speaker:02}", f"{speaker + 1:02}"] for speaker in range(1, 11, 2)]
TRUTH = np.array([clip.emotion for clip in CLIPS])


def test_what_all_speakers_share_is_learned() -> None:
    random = np.random.default_rng(0)
    ways = dict(zip(EMOTIONS, random.standard_normal((3, 6)), strict=True))
    features = np.array([ways[clip.emotion] + 0.3 * random.standard_normal(6) for clip in CLIPS])
    predictions = svm_predictions(features, CLIPS, speaker_folds(CLIPS, GROUPS))
    assert (predictions == TRUTH).mean() > 0.95


def test_what_a_speaker_has_of_his_own_helps_only_where_the_folds_leak() -> None:
    random = np.random.default_rng(1)
    ways = {emotion: 0.6 * random.standard_normal(12) for emotion in EMOTIONS}
    own = {(clip.speaker, clip.emotion): random.standard_normal(12) for clip in CLIPS}
    features = np.array([ways[clip.emotion] + own[clip.speaker, clip.emotion] for clip in CLIPS])
    features += 0.2 * random.standard_normal(features.shape)
    apart = svm_predictions(features, CLIPS, speaker_folds(CLIPS, GROUPS))
    leaking = svm_predictions(features, CLIPS, random_folds(CLIPS, 5, seed=0))
    assert (leaking == TRUTH).mean() > (apart == TRUTH).mean() + 0.2


@pytest.mark.parametrize(("feature_set", "count"), [("ComParE_2016", 6373), ("eGeMAPSv02", 88)])
def test_functionals_are_opensmiles(
    tmp_path: Path, voice: Callable[..., np.ndarray], feature_set: str, count: int
) -> None:
    pytest.importorskip("opensmile")
    clips = []
    for number, pitch_hz in enumerate((120, 240)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, voice(2.0, pitch_hz), 8000)
        clips.append(Clip(path, "ravdess", "01", "neutral"))
    features = functionals(clips, feature_set, "g711")  # type: ignore[arg-type]
    assert features.shape == (2, count)
    assert np.isfinite(features).all()
    if feature_set == "eGeMAPSv02":
        semitones = features[1, 0] - features[0, 0]  # the first is the mean pitch, in semitones
        assert semitones == pytest.approx(12, abs=0.7)
