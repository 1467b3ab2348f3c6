"""Fits the weights of `ser_model.voice` and says what they are worth.

``python -m tests.benchmarks.voice --speech DIR ... --music DIR ... --noise DIR ...`` (ten minutes): folders of audio
files, at most 120 of each. Everything passes the telephone (300 to 3400 Hz, mu-law); speech and music are also heard
in white noise and rain 20 and 10 dB below. What is printed of a folder comes from weights that were fitted without it.

The weights in the code are of up to 120 clips each of six speech corpora (English, German, Polish, Amharic, Turkish)
and three real calls, of 89 tracks of orchestral, electronic and game music of four free games (Debian's packages
wesnoth-1.16-music, supertux-data, extremetuxracer-data and frozen-bubble-data), and of ESC-10.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from scipy.signal import butter, sosfilt
from sklearn.linear_model import LogisticRegression

from ser_model.features import FeatureSpec, LogMel
from ser_model.prosody import ProsodyExtractor
from ser_model.speech import FRAME_S, SpeechSpec, band_levels, pieces_of, speech_spans
from ser_model.voice import MIN_VOICED_SHARE, pitch_moves, voice_features, voices
from tests.benchmarks import sounds

Samples = npt.NDArray[np.float32]

RATE_HZ = 8000
FILES = 120
LONGEST_S = 40.0
SUFFIXES = {".wav", ".flac", ".opus", ".ogg", ".mp3"}
NOISES = ((None, 0), ("white", 20), ("white", 10), ("pink", 20), ("pink", 10))
_BAND = butter(4, [280, 3400], "bandpass", fs=RATE_HZ, output="sos")


def read_folder(folder: Path, rng: np.random.Generator) -> Iterator[Samples]:
    """Some of the folder's files, mono at 8 kHz through the telephone, at -25 dBFS."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    for path in rng.permutation(np.array(paths, dtype=object))[:FILES]:
        with soundfile.SoundFile(path) as sound:
            samples = sound.read(round(LONGEST_S * sound.samplerate), dtype="float32", always_2d=True).mean(axis=1)
            samples = sosfilt(_BAND, soxr.resample(samples, sound.samplerate, RATE_HZ))
        yield _mu_law(samples * 10 ** (-25 / 20) / (np.sqrt(np.mean(np.square(samples))) + 1e-9))


def _mu_law(samples: npt.NDArray[np.float64]) -> Samples:
    compressed = np.sign(samples) * np.log1p(255 * np.minimum(np.abs(samples), 1)) / np.log(256)
    compressed = np.round(compressed * 127) / 127
    return (np.sign(compressed) * np.expm1(np.abs(compressed) * np.log(256)) / 255).astype(np.float32)


class Pieces:
    """The pieces of all files: what the evidence is made of, and where they are from."""

    def __init__(self) -> None:
        self.features: list[npt.NDArray[np.float64]] = []
        self.spans_s: list[tuple[float, float]] = []
        self.sources: list[tuple[str, int, str]] = []
        self._log_mel = LogMel(FeatureSpec())
        self._prosody = ProsodyExtractor(FeatureSpec())

    def add(self, samples: Samples, source: tuple[str, int, str]) -> None:
        """Take in the pieces of a file."""
        length = round(FRAME_S * RATE_HZ)
        levels = band_levels(samples[: len(samples) // length * length], length)
        for start, end in pieces_of(speech_spans(levels[None], SpeechSpec())[0], levels[0], SpeechSpec()):
            power = self._log_mel.power_spectra(samples[start * length : end * length])
            if len(power) < 5:
                continue
            track = self._prosody.track(power)
            if track.voiced.mean() >= MIN_VOICED_SHARE:
                self.features.append(voice_features(power.sum(axis=1), *pitch_moves(track)))
                self.spans_s.append((start * FRAME_S, end * FRAME_S))
                self.sources.append(source)


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind in ("speech", "music", "noise"):
        parser.add_argument(f"--{kind}", nargs="+", type=Path, required=True)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    pieces = Pieces()
    for kind in ("speech", "music", "noise"):
        for folder in getattr(arguments, kind):
            for number, samples in enumerate(read_folder(folder, rng)):
                for noise, snr_db in NOISES if kind != "noise" else NOISES[:1]:
                    added = samples
                    if noise is not None:
                        level = np.sqrt(np.mean(np.square(samples[np.abs(samples) > 1e-4])))
                        added = samples + sounds.noise(noise, len(samples), rng) * level * 10 ** (-snr_db / 20)
                    pieces.add(added.astype(np.float32), (f"{kind} {folder.name}", number, f"{noise} {snr_db}"))
    features = np.array(pieces.features)
    lengths = np.diff(np.array(pieces.spans_s), axis=1)[:, 0]
    folders = np.array([source[0] for source in pieces.sources])
    is_speech = np.char.startswith(folders, "speech")

    def fit(chosen: npt.NDArray[np.bool_]) -> LogisticRegression:
        of_kind = np.where(is_speech, lengths[chosen & is_speech].sum(), lengths[chosen & ~is_speech].sum())
        weights = 500 * lengths / of_kind
        return LogisticRegression(C=10, max_iter=1000).fit(features[chosen], is_speech[chosen], weights[chosen])

    model = fit(np.ones(len(features), dtype=bool))
    print("steady, glides, level, bias:", np.round(model.coef_[0], 2), np.round(model.intercept_, 2))
    for folder in sorted(set(folders)):
        evidence = np.clip(fit(folders != folder).decision_function(features), -5, 5)
        for condition in sorted({source[2] for source in pieces.sources if source[0] == folder}):
            kept = total = 0.0
            for file in {source for source in pieces.sources if source[0] == folder and source[2] == condition}:
                of_file = [index for index, source in enumerate(pieces.sources) if source == file]
                is_voice = voices([pieces.spans_s[index] for index in of_file], evidence[of_file])
                kept += lengths[of_file][is_voice].sum()
                total += lengths[of_file].sum()
            print(f"{folder:<30} {condition:<10} taken for a voice: {kept / total:.1%} of {total:.0f} s")


if __name__ == "__main__":
    main()
