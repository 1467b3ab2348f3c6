"""From a recording to its segments: decoding, roles, speech activity, log-mel and prosody, in one pass.

The one place where the order of these is written down. Knows nothing of storage, tables or Spark.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from tempfile import TemporaryFile
from typing import BinaryIO, Final, Literal, Self, cast, get_args

import numpy as np

from ser_model.audio import AudioInfo, CallReader, ChannelRole, Role
from ser_model.channels import is_one_signal
from ser_model.errors import MonoNotSeparable, NoSpeech
from ser_model.features import (
    InputSpec,
    LogMel,
    ModelInput,
    Pcm16,
    PowerSpectra,
    Samples,
    WaveformSpec,
    analysis_spec,
    from_pcm16,
    quantize,
    to_pcm16,
)
from ser_model.prosody import Prosody, ProsodyExtractor
from ser_model.speech import (
    FRAME_S,
    N_BANDS,
    BandLevelsDb,
    Piece,
    Span,
    SpeechSpec,
    band_levels,
    in_turns,
    pauses,
    pieces_of,
    played,
    speech_spans,
)
from ser_model.voice import voice_evidence, voices

ChannelKind = Literal["two_channel", "identical", "mono"]

IN_MEMORY_BYTES: Final = 2**26
"""Of a channel whose samples take more than this (70 minutes at 8 kHz) they are kept in a temporary file."""
EXCERPT_S: Final = 1.0
"""Of a piece that is not classified, so much is looked at to tell a voice."""


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
        Of what is to be classified, else None; features are the model's input: uint8 ``[shape=(frames, n_mels)]``, or
        int16 ``[shape=(n,)]``.
    """

    role: Role
    turn_index: int
    segment_index: int
    start_s: float
    end_s: float
    prosody: Prosody | None = None
    features: ModelInput | None = None


@dataclass(frozen=True)
class RecordingSegments:
    """What a recording holds.

    Attributes
    ----------
    info
        What the recording is.
    channel_kind
        two_channel: a stream a side; identical: both are one signal; mono: one stream.
    clipped_share
        The share of the read channels' samples at full scale, 0 to 1.
    nonspeech_s
        Seconds of sound that is no voice, of all channels: music, tones, noise, announcements played again.
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
    """Finds and describes the segments of recordings, one at a time: not to be shared by threads.

    Parameters
    ----------
    features
        What the classifier hears; its rate is the rate that all works at.
    classify
        The roles whose speech gets features and prosody.
    speech
        How speech is told from the rest.

    Examples
    --------
    >>> from ser_model.features import FeatureSpec
    >>> extractor = SegmentExtractor(FeatureSpec(), classify={"customer"})
    >>> with open("call.wav", "rb") as file:  # doctest: +SKIP
    ...     extractor([file]).segments[0].role
    'agent'
    """

    def __init__(self, features: InputSpec, classify: Collection[str], speech: SpeechSpec | None = None) -> None:
        self.features = features
        self.classify = frozenset(classify)
        self.speech = speech or SpeechSpec()
        # Pitch and voice are told from spectra, also where the classifier hears samples.
        self._log_mel = LogMel(analysis_spec(features))
        self._prosody = ProsodyExtractor(self._log_mel.spec)
        self._excerpt = round(EXCERPT_S * features.sample_rate_hz)
        self._kept = [_Kept() for _ in get_args(Role)]

    def __call__(
        self, files: Sequence[BinaryIO], channel_roles: Sequence[ChannelRole] = ("customer", "agent")
    ) -> RecordingSegments:
        """Read a recording.

        Parameters
        ----------
        files
            The recording's bytes, seekable; two where each side has a file of its own, the shorter of which is taken
            to go on in digital silence.
        channel_roles
            Whose each channel is, from the left, a second file's after the first's: customer, agent, mixed, or none
            for a channel that is not read. Channels of one role are mixed down. The one channel of a recording for
            which several roles are given is mixed.

        Raises
        ------
        ser_model.errors.RecordingError
            With the reason why it cannot be scored; of two files it says whose.
        """
        rate_hz = self.features.sample_rate_hz
        call = CallReader(files, channel_roles, rate_hz)
        roles = call.roles
        if roles == ("mixed",):
            self._check_mixed("both sides in one channel")
        with _Listener(rate_hz, self._kept[: len(roles)]) as heard:
            for block in call.blocks():
                heard.listen(block)
            levels = heard.levels()
            kind: ChannelKind = "mono" if len(roles) == 1 else "two_channel"
            if len(roles) == 2 and is_one_signal(levels[:, 0], max_gain_db=self.speech.echo_margin_db):
                self._check_mixed("one signal in both channels")
                kind, roles, levels = "identical", ("mixed",), levels[:1]
            segments, nonspeech_s = self._segments(levels, roles, heard)
        if not segments:
            raise NoSpeech(f"found no speech in {call.info.duration_s:.0f} s; check the recorder's line")
        return RecordingSegments(
            info=call.info,
            channel_kind=kind,
            clipped_share=call.clipped_share,
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

    def _segments(self, levels: BandLevelsDb, roles: Sequence[Role], heard: _Listener) -> tuple[list[Segment], float]:
        """The segments of all channels, and the seconds of sound that are no voice."""
        voiced: list[list[_Piece]] = []
        nonspeech_s = 0.0
        for channel, (spans, role) in enumerate(zip(speech_spans(levels, self.speech), roles, strict=True)):
            spoken = spans
            if role == "agent":  # announcements are played to the customer, so they are on the other side
                is_played = played(spans, levels[channel], self.speech)
                spoken = [span for span, again in zip(spans, is_played, strict=True) if not again]
            pieces = [
                self._describe(span, heard.samples(channel, *span), role)
                for span in pieces_of(spoken, levels[channel, 0], self.speech)
            ]
            is_voice = voices(
                [(piece.start * FRAME_S, piece.end * FRAME_S) for piece in pieces],
                [piece.evidence for piece in pieces],
            )
            voiced.append([piece for piece, voice in zip(pieces, is_voice, strict=True) if voice])
            voiced_frames = sum(piece.end - piece.start for piece in voiced[-1])
            nonspeech_s += (sum(end - start for start, end in spans) - voiced_frames) * FRAME_S
        segments: list[Segment] = []
        for channel, role in enumerate(roles):
            voice_spans = [[(piece.start, piece.end) for piece in pieces] for pieces in voiced]
            others = [span for other, theirs in enumerate(voice_spans) if other != channel for span in theirs]
            turns = in_turns(voice_spans[channel], others, self.speech)
            segments += [_segment(role, turn, piece) for turn, piece in zip(turns, voiced[channel], strict=True)]
        return segments, nonspeech_s

    def _describe(self, span: Span, samples: Samples, role: Role) -> _Piece:
        """A piece of sound with its evidence; with its features where it is to be classified and long enough."""
        classified = role in self.classify
        if not classified and len(samples) > self._excerpt:
            # Whether it is a voice shows in a part of it.
            middle = (len(samples) - self._excerpt) // 2
            samples = samples[middle : middle + self._excerpt]
        power = self._log_mel.power_spectra(samples)
        track = self._prosody.track(power)
        piece = _Piece(*span, evidence=voice_evidence(power, track))
        if not classified or len(samples) < self.speech.min_segment_s * self.features.sample_rate_hz:
            return piece
        return replace(piece, prosody=self._prosody(samples, track), features=self._heard(samples, power))

    def _heard(self, samples: Samples, power: PowerSpectra) -> ModelInput:
        """What the classifier hears of a segment: of its spectra, which are there, or of its samples."""
        if isinstance(self.features, WaveformSpec):
            return to_pcm16(samples)
        return quantize(self._log_mel.from_power(power), self.features)


@dataclass(frozen=True)
class _Piece:
    """A piece of sound, by its first frame and the frame after its last, and what is known of it."""

    start: int
    end: int
    evidence: float
    prosody: Prosody | None = None
    features: ModelInput | None = None


def _segment(role: Role, turn: Piece, piece: _Piece) -> Segment:
    start_s, end_s = turn.start * FRAME_S, turn.end * FRAME_S
    return Segment(role, turn.turn_index, turn.segment_index, start_s, end_s, piece.prosody, piece.features)


class _Listener:
    """Hears a recording block by block: keeps the levels of its channels, and their samples in what it is given."""

    def __init__(self, sample_rate_hz: int, kept: Sequence[_Kept]) -> None:
        self._frame_length = round(FRAME_S * sample_rate_hz)
        self._kept = kept
        self._levels: list[BandLevelsDb] = []
        self._rest = np.empty((len(kept), 0), dtype=np.int16)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for kept in self._kept:
            kept.clear()

    def listen(self, block: Pcm16) -> None:
        """Take in a block, int16 ``[shape=(channels, n)]``."""
        for samples, kept in zip(block, self._kept, strict=True):
            kept.append(samples)
        if self._rest.size:
            block = np.concatenate((self._rest, block), axis=1)
        whole = block.shape[1] // self._frame_length * self._frame_length
        self._rest = block[:, whole:]
        # All channels at once, as one after the other.
        levels = band_levels(from_pcm16(block[:, :whole]).ravel(), self._frame_length)
        self._levels.append(levels.reshape(N_BANDS, len(block), -1).swapaxes(0, 1))

    def levels(self) -> BandLevelsDb:
        """Levels of all channels, dBFS, float32 ``[shape=(channels, N_BANDS, frames)]``."""
        return np.concatenate(self._levels, axis=-1)

    def samples(self, channel: int, start: int, end: int) -> Samples:
        """The samples of a channel's frames from `start` to before `end`, without their mean (DC).

        Returns
        -------
        float32 ``[shape=(n,)]``.
        """
        samples = from_pcm16(self._kept[channel].read(start * self._frame_length, end * self._frame_length))
        samples -= samples.mean()
        return samples


class _Kept:
    """A channel's samples as 16 bit: in memory that serves one recording after the other, long ones in a file."""

    def __init__(self) -> None:
        # Of memory that was never written to, none is taken. What is taken anew for each recording costs the kernel
        # as much time as its samples take to be written.
        self._memory = np.empty(IN_MEMORY_BYTES // 2, dtype=np.int16)
        self._file: BinaryIO | None = None
        self._length = 0

    def append(self, samples: Pcm16) -> None:
        """Keep more samples, int16 ``[shape=(n,)]``."""
        start, self._length = self._length, self._length + len(samples)
        if self._file is None and self._length > len(self._memory):
            self._file = cast(BinaryIO, TemporaryFile())  # noqa: SIM115 - closed by clear
            self._file.write(self._memory[:start].data)
        if self._file is None:
            self._memory[start : self._length] = samples
        else:
            self._file.write(samples.data)

    def read(self, start: int, end: int) -> Pcm16:
        """The samples from `start` to before `end`, as far as there are any; valid until the next recording."""
        if self._file is None:
            return self._memory[start : min(end, self._length)]
        self._file.seek(2 * start)
        return np.frombuffer(self._file.read(2 * (end - start)), dtype=np.int16)

    def clear(self) -> None:
        """Forget the recording."""
        self._length = 0
        if self._file is not None:
            self._file.close()
            self._file = None
