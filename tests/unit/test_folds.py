"""Folds: speakers apart, or not; and what the difference is worth where it is known."""

from pathlib import Path

import numpy as np
import pytest

from ser_model.corpora import Clip
from ser_model.errors import EvaluationError
from ser_model.folds import random_folds, speaker_folds

EMOTIONS = ("neutral", "happy", "sad", "angry")
CLIPS = [
    Clip(Path(f"{speaker}-{emotion}-{take}.wav"), "ravdess", f"{speaker:02}", emotion)
    for speaker in range(1, 9)
    for emotion in EMOTIONS
    for take in range(6)
]
GROUPS = [["01", "02"], ["03", "04"], ["05", "06"], ["07", "08"]]


def test_every_clip_is_tested_on_once_and_no_speaker_is_on_both_sides() -> None:
    folds = speaker_folds(CLIPS, GROUPS)
    assert (np.sum(folds, axis=0) == 1).all()
    for fold, group in zip(folds, GROUPS, strict=True):
        assert {clip.speaker for clip, tested in zip(CLIPS, fold, strict=True) if tested} == set(group)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (GROUPS[:3], "speaker 07 is in 0 groups"),
        ([*GROUPS, ["01"]], "speaker 01 is in 2 groups"),
        ([*GROUPS, ["21"]], "has no clip"),
    ],
)
def test_groups_that_do_not_split_the_speakers_are_refused(groups: list[list[str]], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        speaker_folds(CLIPS, groups)


def test_random_folds_have_the_same_mix_of_emotions_and_of_speakers() -> None:
    folds = random_folds(CLIPS, 4, seed=0)
    assert (np.sum(folds, axis=0) == 1).all()
    for fold in folds:
        tested = [clip for clip, chosen in zip(CLIPS, fold, strict=True) if chosen]
        assert [sum(clip.emotion == emotion for clip in tested) for emotion in EMOTIONS] == [12] * 4
        assert len({clip.speaker for clip in tested}) == 8
    assert not np.array_equal(folds, random_folds(CLIPS, 4, seed=1))


def test_random_folds_reward_knowing_the_speaker() -> None:
    """Each speaker shows each emotion in an own way, which says nothing of another's."""
    random = np.random.default_rng(0)
    ways = {(clip.speaker, clip.emotion): random.standard_normal(8) for clip in CLIPS}
    heard = np.array([ways[clip.speaker, clip.emotion] + 0.05 * random.standard_normal(8) for clip in CLIPS])
    emotions = np.array([clip.emotion for clip in CLIPS])

    def accuracy(folds: list[np.ndarray]) -> float:
        right = []
        for fold in folds:
            distances = np.linalg.norm(heard[fold][:, None] - heard[~fold], axis=2)
            right.extend(emotions[~fold][distances.argmin(axis=1)] == emotions[fold])
        return float(np.mean(right))

    assert accuracy(random_folds(CLIPS, 4, seed=0)) == 1
    assert accuracy(speaker_folds(CLIPS, GROUPS)) < 0.5
