"""What networks make of clips: the rows that the report on a model is computed from. Pure: knows no network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ser_model.classifier import Probabilities
from ser_model.corpora import Clip
from ser_model.evaluate import mean_by_clip


@dataclass(frozen=True)
class Predictions:
    """What networks make of clips, a row a clip and run.

    Attributes
    ----------
    clips
        Each row's clip.
    seeds, runs
        Each row's seed and run.
    by_segment
        Probabilities of the segments, at each run's temperature, float32 ``[shape=(segments, classes)]``.
    row_of_segment, segment_s
        Which row a segment belongs to, and its length in seconds.
    uncalibrated
        Probabilities of the rows without temperature, ``[shape=(rows, classes)]``.
    thresholds
        Each row's conformal threshold, ``[shape=(rows, 1)]``.
    labels
        The classes.
    """

    clips: tuple[Clip, ...]
    seeds: npt.NDArray[np.intp]
    runs: tuple[str, ...]
    by_segment: Probabilities
    row_of_segment: npt.NDArray[np.intp]
    segment_s: npt.NDArray[np.float64]
    uncalibrated: Probabilities
    thresholds: npt.NDArray[np.float64]
    labels: tuple[str, ...]

    @property
    def probabilities(self) -> Probabilities:
        """Of the rows: the mean of their segments', float32 ``[shape=(rows, classes)]``."""
        return mean_by_clip(self.by_segment, self.row_of_segment)

    @property
    def truth(self) -> npt.NDArray[np.intp]:
        """Each row's true class, ``[shape=(rows,)]``."""
        return np.array([self.labels.index(clip.emotion) for clip in self.clips], dtype=np.intp)

    @property
    def speakers(self) -> npt.NDArray[np.str_]:
        """Each row's speaker."""
        return np.array([clip.speaker for clip in self.clips])

    def rows(self, chosen: npt.NDArray[np.bool_]) -> "Predictions":
        """Return some of the rows, with their segments."""
        of_segment = chosen[self.row_of_segment]
        new_row = np.cumsum(chosen) - 1
        indices = np.flatnonzero(chosen)
        return replace(
            self,
            clips=tuple(self.clips[index] for index in indices),
            seeds=self.seeds[chosen],
            runs=tuple(self.runs[index] for index in indices),
            by_segment=self.by_segment[of_segment],
            row_of_segment=new_row[self.row_of_segment[of_segment]],
            segment_s=self.segment_s[of_segment],
            uncalibrated=self.uncalibrated[chosen],
            thresholds=self.thresholds[chosen],
        )


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Return the rows of several, one after another."""
    starts = np.cumsum([0, *(len(part.clips) for part in parts[:-1])])
    return replace(
        parts[0],
        clips=tuple(clip for part in parts for clip in part.clips),
        seeds=np.concatenate([part.seeds for part in parts]),
        runs=tuple(run for part in parts for run in part.runs),
        by_segment=np.concatenate([part.by_segment for part in parts]),
        row_of_segment=np.concatenate([part.row_of_segment + start for part, start in zip(parts, starts, strict=True)]),
        segment_s=np.concatenate([part.segment_s for part in parts]),
        uncalibrated=np.concatenate([part.uncalibrated for part in parts]),
        thresholds=np.concatenate([part.thresholds for part in parts]),
    )
