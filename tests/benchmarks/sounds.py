"""Sounds that are no speech, made here: noises, hold music of several styles, the tones of telephones.

All at 8 kHz with a root mean square of 1, float32 ``[shape=(n,)]``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

RATE_HZ = 8000
A4_HZ = 440.0
CHORDS: Sequence[Sequence[int]] = ((0, 4, 7), (-3, 0, 4), (-7, -3, 0), (-5, -1, 2))
"""C, A minor, F, G, as semitones from the tonic."""
DTMF_HZ = ((697, 1209), (770, 1336), (852, 1477), (941, 1336), (697, 1477), (852, 1209))
RINGING = (((440, 480), 2.0, 4.0), ((425,), 1.0, 4.0), ((400, 450), 0.4, 0.2))
"""Frequencies in Hz, seconds on and seconds off: North America, continental Europe, the United Kingdom."""


def noise(kind: str, n_samples: int, rng: np.random.Generator) -> Samples:
    """Noise: white, pink (as traffic and ventilation), or babble (a dozen syllabic voices at once)."""
    if kind == "babble":
        return _unit(sum(_murmur(n_samples, rng) for _ in range(12)))
    spectrum = rng.standard_normal(n_samples // 2 + 1) + 1j * rng.standard_normal(n_samples // 2 + 1)
    if kind == "pink":
        spectrum /= np.sqrt(np.maximum(np.fft.rfftfreq(n_samples, 1 / RATE_HZ), 20))
    return _unit(np.fft.irfft(spectrum, n_samples))


def strings(seconds: float, rng: np.random.Generator) -> Samples:
    """Sustained chords with vibrato."""
    sound = np.zeros(round(seconds * RATE_HZ))
    for number, start in enumerate(np.arange(0, seconds, 2.4)):
        for semitones in (*CHORDS[number % 4], CHORDS[number % 4][0] - 12):
            length = min(2.6, seconds - start)
            _add(sound, start, _note(_pitch_hz(semitones), length, rng, attack_s=0.25, decay_s=8.0, vibrato=0.004))
    return _unit(sound)


def piano(seconds: float, rng: np.random.Generator) -> Samples:
    """A melody of struck notes over broken chords."""
    sound = np.zeros(round(seconds * RATE_HZ))
    for number, start in enumerate(np.arange(0, seconds, 0.3)):
        chord = CHORDS[number // 8 % 4]
        _add(sound, start, _note(_pitch_hz(chord[number % 3] - 12), 1.2, rng, attack_s=0.005, decay_s=0.5))
        if rng.random() < 0.6:
            melody = chord[int(rng.integers(3))] + 12 * int(rng.integers(2))
            _add(sound, start, 1.5 * _note(_pitch_hz(melody), 1.0, rng, attack_s=0.005, decay_s=0.4))
    return _unit(sound)


def pop(seconds: float, rng: np.random.Generator) -> Samples:
    """Drums, a bass and chords on the beat."""
    sound = np.zeros(round(seconds * RATE_HZ))
    for number, start in enumerate(np.arange(0, seconds, 0.5)):
        chord = CHORDS[number // 4 % 4]
        _add(sound, start, 2 * _note(_pitch_hz(chord[0] - 24), 0.45, rng, attack_s=0.01, decay_s=0.4))
        for semitones in chord:
            _add(sound, start, _note(_pitch_hz(semitones), 0.5, rng, attack_s=0.01, decay_s=0.6))
        drum = noise("white", round(0.12 * RATE_HZ), rng) * np.exp(-np.arange(round(0.12 * RATE_HZ)) / 200)
        _add(sound, start + 0.25 * (number % 2), 0.8 * drum)
    return _unit(sound)


def flute(seconds: float, rng: np.random.Generator) -> Samples:
    """One melody line with a wide vibrato, the nearest to a voice."""
    sound = np.zeros(round(seconds * RATE_HZ))
    start = 0.0
    while start < seconds:
        length = float(rng.choice((0.4, 0.8, 1.2)))
        semitones = CHORDS[int(start / 2.4) % 4][int(rng.integers(3))] + 12
        _add(sound, start, _note(_pitch_hz(semitones), length, rng, attack_s=0.06, decay_s=3.0, vibrato=0.01))
        start += length
    return _unit(sound)


MUSIC: Mapping[str, Callable[[float, np.random.Generator], Samples]] = {
    "strings": strings,
    "piano": piano,
    "pop": pop,
    "flute": flute,
}
"""Styles of hold music."""


def signalling(seconds: float, rng: np.random.Generator) -> Samples:
    """Ring tones, dialled digits and beeps, one after another."""
    parts: list[npt.NDArray[np.float64]] = []
    while sum(map(len, parts)) < seconds * RATE_HZ:
        for frequencies, on_s, off_s in RINGING:
            for _ in range(2):
                parts += [_tones(frequencies, on_s), np.zeros(round(off_s * RATE_HZ))]
        for _ in range(8):
            digit = DTMF_HZ[int(rng.integers(len(DTMF_HZ)))]
            parts += [_tones(digit, float(rng.uniform(0.08, 0.3))), np.zeros(round(0.1 * RATE_HZ))]
        for _ in range(3):
            parts += [_tones((1000,), 0.5), np.zeros(RATE_HZ)]
    return _unit(np.concatenate(parts)[: round(seconds * RATE_HZ)])


def _tones(frequencies: Sequence[float], seconds: float) -> npt.NDArray[np.float64]:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    sound: npt.NDArray[np.float64] = sum(np.sin(2 * np.pi * hz * time_s) for hz in frequencies)  # type: ignore[assignment]
    return sound


def _pitch_hz(semitones: float) -> float:
    return float(A4_HZ / 2 ** (9 / 12) * 2 ** (semitones / 12))


def _note(
    pitch_hz: float, seconds: float, rng: np.random.Generator, *, attack_s: float, decay_s: float, vibrato: float = 0.0
) -> npt.NDArray[np.float64]:
    """A note with ten harmonics, those below the Nyquist frequency."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * pitch_hz * (time_s - vibrato / (2 * np.pi * 5.5) * np.cos(2 * np.pi * 5.5 * time_s))
    shape = np.minimum(time_s / attack_s, 1) * np.exp(-time_s / decay_s)
    n_harmonics = min(10, int(RATE_HZ / 2 / pitch_hz))
    harmonics = (np.sin(k * phase + rng.uniform(0, 2 * np.pi)) / k for k in range(1, n_harmonics + 1))
    note: npt.NDArray[np.float64] = shape * sum(harmonics)
    return note


def _murmur(n_samples: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A distant voice: harmonics of a wandering pitch in syllables of uneven length."""
    time_s = np.arange(n_samples) / RATE_HZ
    turning_s = np.arange(0, time_s[-1] + 1, 0.3)
    wander = np.interp(time_s, turning_s, rng.uniform(0.8, 1.25, len(turning_s)))
    phase = 2 * np.pi * np.cumsum(rng.uniform(90, 230) * wander) / RATE_HZ
    syllables = np.abs(np.sin(np.pi * np.cumsum(rng.uniform(2.5, 5) * wander) / RATE_HZ))
    voice: npt.NDArray[np.float64] = syllables * sum(np.sin(k * phase) / k for k in range(1, 15))
    return voice


def _add(sound: npt.NDArray[np.float64], start_s: float, part: npt.NDArray[np.float64]) -> None:
    start = round(start_s * RATE_HZ)
    end = min(start + len(part), len(sound))
    if end > start:
        sound[start:end] += part[: end - start]


def _unit(sound: npt.NDArray[np.float64]) -> Samples:
    return (sound / np.sqrt(np.mean(np.square(sound)))).astype(np.float32)
