"""What the classifier hears: the log-mel spectrogram, defined once for training and for the jobs; or the waveform.

`FeatureSpec` says what is computed and its hash travels with models and feature files. `reference_log_mel` is
the definition (librosa); `LogMel` is the fast path that equals it. A model that hears samples has a `WaveformSpec`
instead. Knows nothing of files, channels or segments: samples at the specification's rate come in, what a network hears
comes out, as decibels or, to be kept and sent, in steps of 8 or 16 bits.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import scipy.fft

from ser_model.errors import FeatureSpecError, SamplesError

Samples = npt.NDArray[np.float32]
"""Samples of one channel, full scale 1.0, ``[shape=(n,)]``."""
PowerSpectra = npt.NDArray[np.float32]
"""Normalised power, ``[shape=(frames, bins)]``."""
LogMelDb = npt.NDArray[np.float32]
"""Decibels, ``[shape=(frames, n_mels)]``."""
QuantizedLogMel = npt.NDArray[np.uint8]
"""Steps of the specification's decibel range, ``[shape=(frames, n_mels)]``."""

Pcm16 = npt.NDArray[np.int16]
"""16-bit samples, ``[shape=(n,)]``."""
ModelInput = QuantizedLogMel | Pcm16
"""A segment as a model's specification has it, along its first axis."""

_QUANTIZER_STEPS: Final = 255
_PCM16_SCALE: Final = np.float32(1 / 32768)
MIN_RATE_HZ: Final = 8000
MAX_RATE_HZ: Final = 48000
WAVEFORM_RATES_HZ: Final = (8000, 16000)
_MAX_COUNT: Final = 65_536
_TOO_LARGE: Final = 1e9
# A block's frames, spectra and powers stay in a core's second-level cache.
_BLOCK_FRAMES: Final = 256


@dataclass(frozen=True, kw_only=True)
class _Spec:
    """What all specifications share: numbers alone, and a hash of them.

    Attributes
    ----------
    sample_rate_hz
        Rate of the samples.
    """

    sample_rate_hz: int

    def _check_counts(self, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if not isinstance(value, int) or not 0 < value <= _MAX_COUNT:
                raise FeatureSpecError(f"{name} is {value!r}; expected a positive whole number up to {_MAX_COUNT}")

    @property
    def hash(self) -> str:
        """Sixteen hexadecimal digits that change when any number of the specification does."""
        # Every number as a float, so that 50 and 50.0 (as YAML may bring them) are one specification.
        canonical = {name: float(value) for name, value in self.to_dict().items()}
        text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, int | float]:
        """Return the attributes as a dictionary of plain numbers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the specification that `to_dict` gave.

        Raises
        ------
        FeatureSpecError
            If a key is missing or unknown (a hash of half a specification would mean nothing), or a value is
            none.
        """
        expected = {field.name: field.type for field in fields(cls)}
        if set(values) != set(expected):
            raise FeatureSpecError(
                f"feature specification: missing {sorted(set(expected) - set(values))}, "
                f"unknown {sorted(map(str, set(values) - set(expected)))}; expected exactly {sorted(expected)}"
            )
        numbers: dict[str, Any] = {}
        for name, kind in expected.items():
            value = values[name]
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _TOO_LARGE
            if not is_number or (kind is int and value != int(value)):
                raise FeatureSpecError(f"{name} is {value!r}; expected a {'whole ' if kind is int else ''}number")
            numbers[name] = int(value) if kind is int else float(value)
        return cls(**numbers)


@dataclass(frozen=True, kw_only=True)
class FeatureSpec(_Spec):
    """What is computed from samples, down to the last number.

    Attributes
    ----------
    sample_rate_hz
        Rate of the samples.
    window_length
        Samples in a frame; the window is a periodic Hann window and the FFT has this length.
    hop_length
        Samples between the starts of two frames.
    n_mels
        Mel bands (Slaney's scale, triangles of height 1).
    f_min_hz, f_max_hz
        Lower edge of the first band, upper edge of the last.
    min_db, max_db
        Range that decibels are clipped to; a full-scale sine reads about 0 dB.
    pad_frames
        A segment is padded at its end with `min_db` to a multiple of this many frames.
    """

    input_name: ClassVar[str] = "log_mel"
    dtype: ClassVar[type[np.integer[Any]]] = np.uint8

    sample_rate_hz: int = 8000
    window_length: int = 400
    hop_length: int = 128
    n_mels: int = 64
    f_min_hz: float = 50.0
    f_max_hz: float = 4000.0
    min_db: float = -100.0
    max_db: float = 0.0
    pad_frames: int = 16

    def __post_init__(self) -> None:
        """Refuse what cannot be computed.

        Raises
        ------
        FeatureSpecError
            If a count is not positive or a range is empty or beyond half the sampling rate.
        """
        self._check_counts("sample_rate_hz", "window_length", "hop_length", "n_mels", "pad_frames")
        if not MIN_RATE_HZ <= self.sample_rate_hz <= MAX_RATE_HZ:
            raise FeatureSpecError(f"sample_rate_hz is {self.sample_rate_hz}; expected {MIN_RATE_HZ} to {MAX_RATE_HZ}")
        if not (self.window_length <= self.sample_rate_hz and self.n_mels <= self.n_bins and self.pad_frames <= 1024):
            raise FeatureSpecError(
                f"a window of {self.window_length} samples, {self.n_mels} bands and segments padded to multiples of "
                f"{self.pad_frames} frames; expected a window of at most a second, no more bands than the "
                f"{self.n_bins} bins of its spectrum, and at most 1024 frames"
            )
        if not 0 <= self.f_min_hz < self.f_max_hz <= self.sample_rate_hz / 2:
            raise FeatureSpecError(
                f"bands from {self.f_min_hz} to {self.f_max_hz} Hz; expected 0 <= f_min_hz < f_max_hz <= "
                f"{self.sample_rate_hz / 2}, half of sample_rate_hz"
            )
        if not self.min_db < self.max_db:
            raise FeatureSpecError(f"range from {self.min_db} to {self.max_db} dB; expected min_db < max_db")

    @property
    def n_bins(self) -> int:
        """Bins of a power spectrum."""
        return self.window_length // 2 + 1

    @property
    def frame_s(self) -> float:
        """Seconds between the starts of two frames."""
        return self.hop_length / self.sample_rate_hz

    @property
    def padding(self) -> int:
        """A padded segment is a multiple of so long."""
        return self.pad_frames

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of a frame."""
        return (self.n_mels,)

    def network_input(self, segments: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return what a network hears of segments, in decibels, float32 of the same shape."""
        return dequantize(segments, self)

    def n_frames(self, n_samples: int) -> int:
        """Return how many whole frames lie in `n_samples` samples (0 if they are fewer than a window)."""
        if n_samples < self.window_length:
            return 0
        return 1 + (n_samples - self.window_length) // self.hop_length


@dataclass(frozen=True, kw_only=True)
class WaveformSpec(_Spec):
    """What a model hears that takes samples.

    Attributes
    ----------
    sample_rate_hz
        Their rate, 8000 or 16000.
    pad_samples
        A segment is padded at its end with silence to a multiple of this many samples.
    """

    input_name: ClassVar[str] = "waveform"
    dtype: ClassVar[type[np.integer[Any]]] = np.int16

    sample_rate_hz: int = 8000
    pad_samples: int = 1600

    def __post_init__(self) -> None:
        """Refuse what is none.

        Raises
        ------
        FeatureSpecError
            If the rate is another, or the padding no positive whole number.
        """
        self._check_counts("sample_rate_hz", "pad_samples")
        if self.sample_rate_hz not in WAVEFORM_RATES_HZ:
            raise FeatureSpecError(f"sample_rate_hz is {self.sample_rate_hz}; expected one of {WAVEFORM_RATES_HZ}")

    @property
    def padding(self) -> int:
        """A padded segment is a multiple of so long."""
        return self.pad_samples

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of a sample."""
        return ()

    def network_input(self, segments: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return what a network hears of 16-bit samples: full scale 1.0, float32 of the same shape."""
        return from_pcm16(segments)


InputSpec = FeatureSpec | WaveformSpec
"""What a model hears: what training and the jobs compute, and its hash."""


def analysis_spec(spec: InputSpec) -> FeatureSpec:
    """Return the frames by which pitch and voice are told: a model's own, or, where it hears samples, the usual."""
    if isinstance(spec, FeatureSpec):
        return spec
    factor = spec.sample_rate_hz // MIN_RATE_HZ
    usual = FeatureSpec()
    return FeatureSpec(
        sample_rate_hz=spec.sample_rate_hz,
        window_length=usual.window_length * factor,
        hop_length=usual.hop_length * factor,
    )


def model_input(spec: InputSpec) -> Callable[[Samples], ModelInput]:
    """Return what makes a segment's samples, float32 at the specification's rate, into a model's input."""
    if isinstance(spec, WaveformSpec):
        return to_pcm16
    log_mel = LogMel(spec)
    return lambda samples: quantize(log_mel(samples), spec)


def to_pcm16(samples: Samples) -> Pcm16:
    """Return samples in 16 bits, clipped at full scale, int16 of the same shape."""
    steps = samples * (1 / _PCM16_SCALE)
    np.rint(steps, out=steps)
    pcm: Pcm16 = np.clip(steps, -32768, 32767, out=steps).astype(np.int16)
    return pcm


def from_pcm16(pcm: Pcm16) -> Samples:
    """Return 16-bit samples as floats, full scale 1.0, float32 of the same shape."""
    samples = pcm.astype(np.float32)
    samples *= _PCM16_SCALE
    return samples


def hann_window(spec: FeatureSpec) -> npt.NDArray[np.float64]:
    """Return the periodic Hann window of a frame, float64 ``[shape=(window_length,)]``."""
    phase = 2 * np.pi * np.arange(spec.window_length) / spec.window_length
    window: npt.NDArray[np.float64] = 0.5 - 0.5 * np.cos(phase)
    return window


def mel_filters(spec: FeatureSpec) -> npt.NDArray[np.float32]:
    """Return the triangular mel filters, float32 ``[shape=(n_mels, bins)]``.

    The same numbers as ``librosa.filters.mel(htk=False, norm=None)``, by test. They are computed here because
    importing librosa takes a worker three seconds.
    """
    edges_hz = _slaney_mel_to_hz(
        np.linspace(_slaney_hz_to_mel(spec.f_min_hz), _slaney_hz_to_mel(spec.f_max_hz), spec.n_mels + 2)
    )
    bins_hz = np.fft.rfftfreq(spec.window_length, 1 / spec.sample_rate_hz)
    widths_hz = np.diff(edges_hz)
    distances_hz = edges_hz[:, None] - bins_hz[None, :]
    rising = -distances_hz[:-2] / widths_hz[:-1, None]
    falling = distances_hz[2:] / widths_hz[1:, None]
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


# Slaney's scale (Auditory Toolbox, 1998): linear below 1 kHz, 27 steps a factor of 6.4 above.
_SLANEY_HZ_A_MEL: Final = 200 / 3
_SLANEY_KNEE_HZ: Final = 1000.0
_SLANEY_KNEE_MEL: Final = _SLANEY_KNEE_HZ / _SLANEY_HZ_A_MEL
_SLANEY_LOG_STEP: Final = np.log(6.4) / 27


def _slaney_hz_to_mel(hz: float) -> float:
    if hz < _SLANEY_KNEE_HZ:
        return hz / _SLANEY_HZ_A_MEL
    return float(_SLANEY_KNEE_MEL + np.log(hz / _SLANEY_KNEE_HZ) / _SLANEY_LOG_STEP)


def _slaney_mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(
        mel < _SLANEY_KNEE_MEL,
        mel * _SLANEY_HZ_A_MEL,
        _SLANEY_KNEE_HZ * np.exp(_SLANEY_LOG_STEP * (mel - _SLANEY_KNEE_MEL)),
    )


def reference_log_mel(samples: Samples, spec: FeatureSpec) -> LogMelDb:
    """Compute the log-mel spectrogram with librosa, in double precision: the definition, slow.

    Frames start at multiples of the hop and lie wholly within the samples. Their power spectra are divided by
    ``(sum(window) / 2) ** 2``, summed by the mel filters, and expressed in decibels clipped to the
    specification's range.

    Parameters
    ----------
    samples
        Samples, float32 ``[shape=(n,)]``.
    spec
        What to compute.

    Returns
    -------
    Decibels, float32 ``[shape=(frames, n_mels)]``.

    Raises
    ------
    SamplesError
        If the samples are not one-dimensional float32.
    """
    import librosa

    _check(samples)
    if spec.n_frames(len(samples)) == 0:
        return np.empty((0, spec.n_mels), dtype=np.float32)
    spectrum = librosa.stft(
        samples.astype(np.float64),
        n_fft=spec.window_length,
        hop_length=spec.hop_length,
        window="hann",
        center=False,
    )
    power = np.abs(spectrum) ** 2 / (hann_window(spec).sum() / 2) ** 2
    filters = librosa.filters.mel(
        sr=spec.sample_rate_hz,
        n_fft=spec.window_length,
        n_mels=spec.n_mels,
        fmin=spec.f_min_hz,
        fmax=spec.f_max_hz,
        htk=False,
        norm=None,
        dtype=np.float64,
    )
    decibels = 10 * np.log10(np.maximum(filters @ power, 10 ** (spec.min_db / 10)))
    return np.ascontiguousarray(np.minimum(decibels, spec.max_db).T, dtype=np.float32)


class LogMel:
    """The log-mel spectrogram, fast and in bounded memory; equal to `reference_log_mel`, by test.

    Works through blocks of frames in buffers of its own: beside the result it needs about 1.5 MB, however
    long the samples. Not to be shared by threads.

    Parameters
    ----------
    spec
        What to compute.

    Examples
    --------
    >>> spec = FeatureSpec()
    >>> LogMel(spec)(np.zeros(8000, dtype=np.float32)).shape
    (60, 64)
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec
        window = hann_window(spec)
        self._window = (window / (window.sum() / 2)).astype(np.float32)
        self._filters = np.ascontiguousarray(mel_filters(spec).T)
        self._floor = np.float32(10 ** (spec.min_db / 10))
        self._frames = np.empty((_BLOCK_FRAMES, spec.window_length), dtype=np.float32)
        self._power = np.empty((_BLOCK_FRAMES, spec.n_bins), dtype=np.float32)

    def __call__(self, samples: Samples) -> LogMelDb:
        """Return the log-mel spectrogram, float32 ``[shape=(frames, n_mels)]`` in dB.

        Parameters
        ----------
        samples
            Samples at the specification's rate, float32 ``[shape=(n,)]``.

        Raises
        ------
        SamplesError
            If the samples are not one-dimensional float32.
        """
        _check(samples)
        result = np.empty((self.spec.n_frames(len(samples)), self.spec.n_mels), dtype=np.float32)
        for start in range(0, len(result), _BLOCK_FRAMES):
            stop = min(start + _BLOCK_FRAMES, len(result))
            power = self._power_block(samples, start, self._power[: stop - start])
            self._log_mel_block(power, result[start:stop])
        return result

    def power_spectra(self, samples: Samples) -> PowerSpectra:
        """Return the frames' normalised power spectra, float32 ``[shape=(frames, bins)]``.

        Bin `k` is centred on ``k * sample_rate_hz / window_length``; a full-scale sine there reads 1.

        Raises
        ------
        SamplesError
            If the samples are not one-dimensional float32.
        """
        _check(samples)
        result = np.empty((self.spec.n_frames(len(samples)), self.spec.n_bins), dtype=np.float32)
        for start in range(0, len(result), _BLOCK_FRAMES):
            self._power_block(samples, start, result[start : start + _BLOCK_FRAMES])
        return result

    def from_power(self, power: PowerSpectra) -> LogMelDb:
        """Return the log-mel spectrogram of power spectra that `power_spectra` gave.

        Parameters
        ----------
        power
            float32 ``[shape=(frames, bins)]``.

        Returns
        -------
        Decibels, float32 ``[shape=(frames, n_mels)]``: to the bit what calling the object on the samples
        gives.
        """
        result = np.empty((len(power), self.spec.n_mels), dtype=np.float32)
        for start in range(0, len(result), _BLOCK_FRAMES):
            stop = start + _BLOCK_FRAMES
            self._log_mel_block(power[start:stop], result[start:stop])
        return result

    def _power_block(self, samples: Samples, first_frame: int, out: PowerSpectra) -> PowerSpectra:
        """Fill `out` with the power spectra of the frames from `first_frame` on."""
        spec = self.spec
        start = first_frame * spec.hop_length
        stop = start + (len(out) - 1) * spec.hop_length + spec.window_length
        # numpy's sliding_window_view gives the same view, and takes longer than windowing it.
        within = np.ascontiguousarray(samples[start:stop])
        strides = (spec.hop_length * within.itemsize, within.itemsize)
        views: Samples = np.ndarray((len(out), spec.window_length), np.float32, within, strides=strides)
        frames = np.multiply(views, self._window, out=self._frames[: len(out)])
        parts = scipy.fft.rfft(frames, axis=1, overwrite_x=True).view(np.float32)
        np.square(parts, out=parts)
        return np.add(parts[:, 0::2], parts[:, 1::2], out=out)

    def _log_mel_block(self, power: PowerSpectra, out: LogMelDb) -> None:
        """Fill `out` with the log-mel spectra of a block of power spectra."""
        np.matmul(power, self._filters, out=out)
        np.maximum(out, self._floor, out=out)
        np.log10(out, out=out)
        np.multiply(out, np.float32(10), out=out)
        np.clip(out, self.spec.min_db, self.spec.max_db, out=out)


def quantize(log_mel: LogMelDb, spec: FeatureSpec) -> QuantizedLogMel:
    """Return decibels as 256 steps over the specification's range, uint8 of the same shape."""
    step_db = (spec.max_db - spec.min_db) / _QUANTIZER_STEPS
    steps = np.rint((log_mel - np.float32(spec.min_db)) * np.float32(1 / step_db))
    quantized: QuantizedLogMel = np.clip(steps, 0, _QUANTIZER_STEPS).astype(np.uint8)
    return quantized


def dequantize(quantized: QuantizedLogMel, spec: FeatureSpec) -> LogMelDb:
    """Return the decibels of quantised steps, float32 of the same shape; off by half a step at most."""
    step_db = (spec.max_db - spec.min_db) / _QUANTIZER_STEPS
    return quantized.astype(np.float32) * np.float32(step_db) + np.float32(spec.min_db)


def padded_length(n: int, spec: InputSpec) -> int:
    """Return the frames (or samples) of a segment after padding: the next multiple of the padding, at least one."""
    return max(1, -(-n // spec.padding)) * spec.padding


def _check(samples: Samples) -> None:
    if samples.ndim != 1 or samples.dtype != np.float32:
        raise SamplesError(
            f"samples are {samples.dtype} of shape {samples.shape}; expected float32 of one dimension: "
            "pass one channel, converted with astype('float32')"
        )
