"""The taxonomy: one list of emotions, each with a mood and a place on the circumplex."""

import numpy as np
import pytest

from ser_model.taxonomy import EMOTIONS, MOOD, VALENCE_AROUSAL, valence_arousal


def test_every_emotion_has_a_mood_and_a_place() -> None:
    assert len(set(EMOTIONS)) == len(EMOTIONS) == 11
    assert set(MOOD) == set(VALENCE_AROUSAL) == set(EMOTIONS)


@pytest.mark.parametrize(
    ("mood", "emotions"),
    [
        ("negative", {"sad", "angry", "fearful", "disgusted"}),
        ("positive", {"happy", "amused"}),
        ("neutral", {"neutral", "calm", "bored", "sleepy"}),
        ("ambiguous", {"surprised"}),
    ],
)
def test_moods_are_those_of_the_design(mood: str, emotions: set[str]) -> None:
    assert {emotion for emotion in EMOTIONS if MOOD[emotion] == mood} == emotions


@pytest.mark.parametrize(
    ("emotion", "valence_sign", "arousal_sign"),
    [
        ("neutral", 0, 0),
        ("calm", 1, -1),
        ("happy", 1, 1),
        ("amused", 1, 1),
        ("sad", -1, -1),
        ("angry", -1, 1),
        ("fearful", -1, 1),
        ("disgusted", -1, 1),
        ("bored", -1, -1),
    ],
)
def test_emotions_lie_in_their_quadrant(emotion: str, valence_sign: int, arousal_sign: int) -> None:
    valence, arousal = VALENCE_AROUSAL[emotion]
    assert (np.sign(valence), np.sign(arousal)) == (valence_sign, arousal_sign)
    assert max(abs(valence), abs(arousal)) <= 1


def test_valence_and_arousal_are_expectations() -> None:
    labels = ("happy", "sad", "neutral")
    probabilities = np.array([[1, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]])

    result = valence_arousal(probabilities, labels)

    assert result.dtype == np.float32
    np.testing.assert_allclose(
        result,
        [
            [0.85, 0.40],
            [0.5 * 0.85 - 0.5 * 0.75, 0.5 * 0.40 - 0.5 * 0.40],
            [0.2 * 0.85 - 0.3 * 0.75, 0.2 * 0.40 - 0.3 * 0.40],
        ],
        atol=1e-6,
    )


def test_no_row_gives_no_row() -> None:
    assert valence_arousal(np.empty((0, 2)), ("happy", "sad")).shape == (0, 2)


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_columns_and_labels_must_agree(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(n, 2\)"):
        valence_arousal(np.zeros(shape), ("happy", "sad"))


def test_an_unknown_label_is_refused() -> None:
    with pytest.raises(KeyError, match="joyful"):
        valence_arousal(np.zeros((1, 1)), ("joyful",))
