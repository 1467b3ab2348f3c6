"""The emotions that this project knows: their order, their moods and their places on the circumplex.

The one list of emotions: corpora map their labels onto it, models name their classes from it and the tables
derive their columns from it. Knows nothing of models or audio.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

Mood = Literal["negative", "neutral", "positive", "ambiguous"]

EMOTIONS: Final[tuple[str, ...]] = (
    "neutral",
    "calm",
    "happy",
    "amused",
    "surprised",
    "sad",
    "angry",
    "fearful",
    "disgusted",
    "bored",
    "sleepy",
)

MOOD: Final[Mapping[str, Mood]] = MappingProxyType(
    {
        "neutral": "neutral",
        "calm": "neutral",
        "happy": "positive",
        "amused": "positive",
        "surprised": "ambiguous",
        "sad": "negative",
        "angry": "negative",
        "fearful": "negative",
        "disgusted": "negative",
        "bored": "neutral",
        "sleepy": "neutral",
    }
)
"""Mood of each emotion. ``surprised`` can be either: it counts in no share."""

VALENCE_AROUSAL: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "neutral": (0.0, 0.0),
        "calm": (0.40, -0.60),
        "happy": (0.85, 0.40),
        "amused": (0.70, 0.35),
        "surprised": (0.15, 0.75),
        "sad": (-0.75, -0.40),
        "angry": (-0.65, 0.75),
        "fearful": (-0.70, 0.65),
        "disgusted": (-0.70, 0.30),
        "bored": (-0.35, -0.65),
        "sleepy": (0.05, -0.90),
    }
)
"""Valence and arousal of each emotion, each in -1..1.

Fixed by us, rounded to 0.05, after the places of these words on the circumplex of affect (Russell, "A
circumplex model of affect", Journal of Personality and Social Psychology 39, 1980, figures 2 to 4) and in the
geography of emotions (Scherer, "What are emotions? And how can they be measured?", Social Science Information
44, 2005, figure 1). Both place words on a plane without agreeing on numbers, and Russell's unit circle puts
most words at its rim, so these are a convention, not a measurement: compare them between calls, never with
another system's. ``neutral`` is the origin by definition.
"""


def valence_arousal(probabilities: npt.ArrayLike, labels: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the expectation of valence and arousal over class probabilities.

    Parameters
    ----------
    probabilities
        Probabilities ``[shape=(n, classes)]``, each row summing to 1.
    labels
        The emotion of each column, all from `EMOTIONS`.

    Returns
    -------
    float32 ``[shape=(n, 2)]``: valence and arousal, each in -1..1.

    Raises
    ------
    ValueError
        If the number of columns is not the number of labels.
    KeyError
        If a label is not an emotion of the taxonomy.
    """
    coordinates = np.array([VALENCE_AROUSAL[label] for label in labels], dtype=np.float32)
    rows = np.asarray(probabilities, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != len(labels):
        raise ValueError(
            f"probabilities have shape {rows.shape}; expected (n, {len(labels)}), a column for each of {list(labels)}"
        )
    expectation: npt.NDArray[np.float32] = rows @ coordinates
    return expectation
