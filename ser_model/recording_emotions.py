"""The emotions in a recording, without the pipeline: for a look at a few files from the command line.

The same steps as the jobs': `SegmentExtractor`, then `Classifier`. Knows nothing of storage or tables.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from ser_model.audio import ChannelRole
from ser_model.classifier import Classifier, ModelCard, emotion_set
from ser_model.recording import RecordingSegments, SegmentExtractor

_NUMBER: Final = 4


@dataclass(frozen=True)
class SegmentEmotion:
    """A segment of a recording, and what the model says of it.

    Attributes
    ----------
    start_s, end_s
        Where it lies, seconds.
    role
        Who speaks.
    probabilities
        Of each label; empty where the segment was not classified: another role's, or too short.
    emotion, confidence
        The most probable label and its probability; None where not classified.
    emotion_set
        The labels that hold the true one in 90% of the cases, the most probable first.
    """

    start_s: float
    end_s: float
    role: str
    probabilities: tuple[float, ...] = ()
    emotion: str | None = None
    confidence: float | None = None
    emotion_set: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecordingEmotions:
    """A recording and its segments."""

    name: str
    recording: RecordingSegments
    card: ModelCard
    segments: tuple[SegmentEmotion, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        info = self.recording.info
        return {
            "file": self.name,
            "model_id": self.card.model_id,
            "duration_s": round(info.duration_s, 2),
            "codec": info.codec,
            "sample_rate_hz": info.sample_rate_hz,
            "channel_kind": self.recording.channel_kind,
            "segments": [self._segment(segment) for segment in self.segments],
        }

    def _segment(self, segment: SegmentEmotion) -> dict[str, Any]:
        known = dict(zip(self.card.labels, segment.probabilities, strict=False))
        return {
            "start_s": segment.start_s,
            "end_s": segment.end_s,
            "role": segment.role,
            "emotion": segment.emotion,
            "confidence": segment.confidence,
            "emotion_set": list(segment.emotion_set),
            "probabilities": known or None,
        }


def classify_recording(
    name: str,
    files: Sequence[BinaryIO],
    channel_roles: Sequence[ChannelRole],
    extractor: SegmentExtractor,
    classifier: Classifier,
) -> RecordingEmotions:
    """Classify a recording.

    Parameters
    ----------
    name
        What to call it.
    files, channel_roles
        As `SegmentExtractor` takes them.
    extractor, classifier
        Of one feature specification.

    Raises
    ------
    ser_model.errors.RecordingError
        With the reason why it cannot be scored.
    ser_model.errors.SegmentError
        If the model fails on it.
    """
    found = extractor(files, channel_roles)
    heard = [segment.features for segment in found.segments if segment.features is not None]
    rows = iter(classifier.probabilities(heard))
    card = classifier.card
    segments = []
    for segment in found.segments:
        start_s, end_s = round(segment.start_s, 2), round(segment.end_s, 2)
        if segment.features is None:
            segments.append(SegmentEmotion(start_s, end_s, segment.role))
            continue
        row = next(rows)
        chosen = emotion_set(row, card.labels, card.conformal_threshold)
        probabilities = tuple(round(float(value), 4) for value in row)
        segments.append(
            SegmentEmotion(start_s, end_s, segment.role, probabilities, chosen[0], max(probabilities), tuple(chosen))
        )
    return RecordingEmotions(name, found, card, tuple(segments))


def table_lines(result: RecordingEmotions) -> Iterator[str]:
    """Yield a recording as lines to read: a row a segment, a column a label."""
    info, labels = result.recording.info, result.card.labels
    classified = sum(segment.emotion is not None for segment in result.segments)
    yield (
        f"{result.name}: {info.codec}, {info.sample_rate_hz} Hz, {result.recording.channel_kind}, "
        f"{info.duration_s:.1f} s; {len(result.segments)} segments, {classified} classified by {result.card.model_id}"
    )
    widths = [max(len(label), _NUMBER) + 2 for label in labels]
    columns = "".join(f"{label:>{width}}" for label, width in zip(labels, widths, strict=True))
    yield f"{'start_s':>8}{'end_s':>8}  {'role':<9}{'emotion':<10}{columns}  90% set"
    for segment in result.segments:
        values = "".join(f"{value:>{width}.2f}" for value, width in zip(segment.probabilities, widths, strict=False))
        yield (
            f"{segment.start_s:>8.2f}{segment.end_s:>8.2f}  {segment.role:<9}{segment.emotion or '-':<10}"
            f"{values:{sum(widths)}}  {', '.join(segment.emotion_set)}"
        ).rstrip()


def csv_header(card: ModelCard) -> str:
    """Return the first line of the rows that `csv_rows` gives."""
    probabilities = [f"p_{label}" for label in card.labels]
    return _csv_line(["file", "start_s", "end_s", "role", "emotion", "confidence", *probabilities, "emotion_set"])


def csv_rows(result: RecordingEmotions) -> Iterator[str]:
    """Yield a line of CSV a segment; empty where it was not classified."""
    for segment in result.segments:
        probabilities = segment.probabilities or [None] * len(result.card.labels)
        yield _csv_line(
            [
                result.name,
                segment.start_s,
                segment.end_s,
                segment.role,
                segment.emotion,
                segment.confidence,
                *probabilities,
                " ".join(segment.emotion_set),
            ]
        )


def _csv_line(values: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()
