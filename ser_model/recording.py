"""From a recording to its segments: decoding, roles, speech activity, log-mel and prosody, in one pass.

The one place where the order of these is written down. Knows nothing of storage, tables or Spark.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO, Final, Literal

import numpy as np
import numpy.typing as npt

from ser_model.audio import CLIPPED_LEVEL, AudioInfo, AudioReader
from ser_model.errors import MonoNotSeparable, NoSpeech
from ser_model.features import FeatureSpec, LogMel, QuantizedLogMel, quantize
from ser_model.prosody import Prosody, ProsodyExtractor
from ser_model.speech import (
    FRAME_S,
    LevelsDb,
    Piece,
    SpeechSpec,
    frame_levels,
    pauses,
    segments_of,
    speech_spans,
)

Role = Literal["customer", "agent", "mixed"]
ChannelKind = Literal["two_channel", "identical", "mono"]

IDENTICAL_CORRELATION: Final = 0.98
"""Two channels that correlate this much are one signal twice: a mono call in a stereo container."""
_PCM16: Final = np.float32(32767)


@dataclass(frozen=True)
class Segment:
    """A piece of a turn of one role.

    Attributes
    ----------
    role
        Who speaks.
    turn_index, segment_index
        The turn's number within the role, and the segment's within the turn, from 0.
    start_s, end_s
        Where it lies in the recording, seconds.
    prosody, features
        Of what is to be classified, else None; features are uint8 ``[shape=(frames, n_mels)]``.
    """

    role: Role
    turn_index: int
    segment_index: int
    start_s: float
    end_s: float
    prosody: Prosody | None = None
    features: QuantizedLogMel | None = None


@dataclass(frozen=True)
class RecordingSegments:
    """What a recording holds.

    Attributes
    ----------
    info
        What the container says.
    channel_kind
        two_channel: a side a channel; identical: the same signal twice; mono.
    clipped_share
        The share of samples at full scale, 0 to 1.
    nonspeech_s
        Seconds of sound in the classified channels that are no voice: tones, noise.
    pauses_s
        Start and end of stretches of digital silence, seconds.
    segments
        In order of start.
    """

    info: AudioInfo
    channel_kind: ChannelKind
    clipped_share: float
    nonspeech_s: float
    pauses_s: Sequence[tuple[float, float]]
    segments: Sequence[Segment]


class SegmentExtractor:
    """Finds and describes the segments of recordings.

    Parameters
    ----------
    features
        The classifier's feature specification; its rate is the rate that all works at.
    classify
        The roles whose speech gets features and prosody.
    speech
        How speech is told from the rest.

    Examples
    --------
    >>> extractor = SegmentExtractor(FeatureSpec(), classify={"customer"})
    >>> with open("call.wav", "rb") as file:  # doctest: +SKIP
    ...     extractor(file).segments[0].role
    'agent'
    """

    def __init__(self, features: FeatureSpec, classify: Collection[str], speech: SpeechSpec | None = None) -> None:
        self.features = features
        self.classify = frozenset(classify)
        self.speech = speech or SpeechSpec()
        self._log_mel = LogMel(features)
        self._prosody = ProsodyExtractor(features)

    def __call__(self, file: BinaryIO, channel_roles: Sequence[Role] = ("customer", "agent")) -> RecordingSegments:
        """Read a recording.

        Parameters
        ----------
        file
            The recording's bytes, seekable.
        channel_roles
            Whose each channel is, from the left.

        Raises
        ------
        ser_model.errors.RecordingError
            With the reason why it cannot be scored.
        """
        reader = AudioReader(file, self.features.sample_rate_hz)
        roles: Sequence[Role] = channel_roles if reader.info.channels == 2 else ("mixed",)
        if roles == ("mixed",):
            self._check_mixed("one channel")
        rate_hz = self.features.sample_rate_hz
        # Where two channels may turn out to be one, the first is that one.
        keep = [role in self.classify or ("mixed" in self.classify and role == roles[0]) for role in roles]
        heard = _Listener(rate_hz, keep, n_samples=round((reader.info.duration_s + 1) * rate_hz))
        for block in reader.blocks():
            heard.listen(block)
        kind: ChannelKind = "mono" if reader.info.channels == 1 else "two_channel"
        if kind == "two_channel" and heard.identical():
            self._check_mixed("two channels with one and the same signal")
            kind, roles = "identical", ("mixed",)
        levels = heard.levels()[: len(roles)]
        segments, nonspeech_s = self._segments(levels, roles, heard)
        if not segments:
            raise NoSpeech(f"found no speech in {reader.info.duration_s:.0f} s; check the recorder's line")
        return RecordingSegments(
            info=reader.info,
            channel_kind=kind,
            clipped_share=heard.clipped_share(),
            nonspeech_s=nonspeech_s,
            pauses_s=[(start * FRAME_S, end * FRAME_S) for start, end in pauses(levels, self.speech)],
            segments=sorted(segments, key=lambda segment: (segment.start_s, segment.role)),
        )

    def _check_mixed(self, found: str) -> None:
        if "mixed" not in self.classify:
            raise MonoNotSeparable(
                f"found {found}, in which customer and agent cannot be told apart; record a side a channel, or "
                "add mixed to the roles that are classified: the agent's emotions are then included"
            )

    def _segments(self, levels: LevelsDb, roles: Sequence[Role], heard: _Listener) -> tuple[list[Segment], float]:
        spans = speech_spans(levels, self.speech)
        segments: list[Segment] = []
        nonspeech_s = 0.0
        for channel, role in enumerate(roles):
            others = spans[1 - channel] if len(roles) == 2 else []
            for piece in segments_of(spans[channel], levels[channel], others, self.speech):
                segment = _segment(role, piece)
                if role not in self.classify:
                    segments.append(segment)
                    continue
                samples = heard.samples(channel, piece)
                described = self._describe(segment, samples)
                if described is None:
                    nonspeech_s += segment.end_s - segment.start_s
                else:
                    segments.append(described)
        return segments, nonspeech_s

    def _describe(self, segment: Segment, samples: npt.NDArray[np.float32]) -> Segment | None:
        """The segment with its features; without them where it is too short for that; None where it is no voice."""
        if len(samples) < self.speech.min_segment_s * self.features.sample_rate_hz:
            return segment
        power = self._log_mel.power_spectra(samples)
        prosody, is_voice = self._prosody(samples, power)
        if not is_voice:
            return None
        return replace(segment, prosody=prosody, features=quantize(self._log_mel.from_power(power), self.features))


def _segment(role: Role, piece: Piece) -> Segment:
    return Segment(role, piece.turn_index, piece.segment_index, piece.start * FRAME_S, piece.end * FRAME_S)


class _Listener:
    """Hears a recording block by block: keeps all levels, and as 16 bit the samples that are needed again."""

    def __init__(self, sample_rate_hz: int, keep: Sequence[bool], n_samples: int) -> None:
        self._frame_length = round(FRAME_S * sample_rate_hz)
        # The pages of what is announced and does not come are never touched.
        self._kept = [np.empty(n_samples if wanted else 0, dtype=np.int16) for wanted in keep]
        self._levels: list[LevelsDb] = []
        self._rest = np.empty((len(keep), 0), dtype=np.float32)
        self._moments = np.zeros((len(keep), len(keep)))
        self._clipped = 0
        self._n_samples = 0

    def listen(self, block: npt.NDArray[np.float32]) -> None:
        """Take in a block, float32 ``[shape=(channels, n)]``."""
        self._moments += block @ block.T
        self._clipped += int(np.count_nonzero(np.abs(block) >= CLIPPED_LEVEL))
        start, end = self._n_samples, self._n_samples + block.shape[1]
        self._n_samples = end
        for samples, kept in zip(block, self._kept, strict=True):
            if len(kept):
                kept[start:end] = np.clip(samples * _PCM16, -32768, 32767)[: len(kept) - start]
        block = np.concatenate((self._rest, block), axis=1)
        whole = block.shape[1] // self._frame_length * self._frame_length
        self._rest = block[:, whole:]
        self._levels.append(
            np.stack([frame_levels(np.ascontiguousarray(channel[:whole]), self._frame_length) for channel in block])
        )

    def levels(self) -> LevelsDb:
        """Levels of all channels, dBFS, float32 ``[shape=(channels, frames)]``."""
        return np.concatenate(self._levels, axis=1)

    def identical(self) -> bool:
        """Whether the two channels are one signal, but for gain and sign."""
        energy = self._moments[0, 0] * self._moments[1, 1]
        return bool(energy > 0 and abs(self._moments[0, 1]) / np.sqrt(energy) >= IDENTICAL_CORRELATION)

    def clipped_share(self) -> float:
        """Share of all samples at full scale."""
        return self._clipped / max(1, self._n_samples * len(self._kept))

    def samples(self, channel: int, piece: Piece) -> npt.NDArray[np.float32]:
        """The samples of a piece of a kept channel, float32 ``[shape=(n,)]``."""
        start, end = piece.start * self._frame_length, piece.end * self._frame_length
        return self._kept[channel][start:end].astype(np.float32) / _PCM16
