"""What a telephone line does to a voice: the conditions that a model is measured under.

Speech at 8 kHz goes in, speech as the other end hears it comes out, of the same length. Each condition is one change at
one strength, without choice: the same clip and seed give the same samples. Knows nothing of models; training's own,
random changes are in `ser_model.augment`.
"""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, Protocol

import numpy as np

from ser_model.augment import add_noise, mu_law_round_trip
from ser_model.corpora import AUDIO_SUFFIXES, read_samples
from ser_model.errors import CorpusError
from ser_model.features import Samples

LINE_RATE_HZ: Final = 8000
PACKET_S: Final = 0.02
LOST_PACKETS: Final = 0.03
OPUS_BIT_S: Final = 12_000
"""A common rate of Opus for narrow-band speech."""

# How libsndfile maps its compression level, 0 to 1, to Opus's bits a second and channel.
_OPUS_FASTEST_BIT_S: Final = 256_000
_OPUS_SLOWEST_BIT_S: Final = 6_000
# A recording of ESC-50 or ESC-10: fold, clip, take (and class).
_ESC_NAME: Final = re.compile(r"(?P<fold>[1-5])-\d+-[A-Z](-\d+)?")
_ESC_TEST_FOLD: Final = "5"


class Condition(Protocol):
    """A change of samples."""

    def __call__(self, samples: Samples, seed: int = 0, /) -> Samples:
        """Change samples at 8 kHz; what is random in it follows from the seed."""


def conditions(noises: Sequence[Samples] = ()) -> Mapping[str, Condition]:
    """Return the conditions by name.

    Those with noise or lost packets are coded by G.711 too, as a call is.

    - ``clean``: nothing
    - ``g711``: G.711 mu-law
    - ``gsm``: GSM 06.10 full rate, 13 kbit/s
    - ``opus``: Opus at 8 kHz and 12 kbit/s
    - ``noise20``, ``noise10``: noise at a signal-to-noise ratio of 20 and 10 dB
    - ``loss3``: 3% of the 20 ms packets lost, each by itself; the one before is repeated at half its level

    Parameters
    ----------
    noises
        Recordings of noise at 8 kHz, one of which is drawn for each clip; none: noise with the spectrum of speech.
    """

    def noisy(snr_db: float) -> Condition:
        def condition(samples: Samples, seed: int = 0, /) -> Samples:
            random = np.random.default_rng(seed)
            noise = noises[int(random.integers(len(noises)))] if noises else speech_shaped_noise(len(samples), random)
            return mu_law_round_trip(add_noise(samples, noise, snr_db, random))

        return condition

    return MappingProxyType(
        {
            "clean": lambda samples, _=0: samples,
            "g711": lambda samples, _=0: mu_law_round_trip(samples),
            "gsm": lambda samples, _=0: gsm_round_trip(samples),
            "opus": lambda samples, _=0: opus_round_trip(samples),
            "noise20": noisy(20.0),
            "noise10": noisy(10.0),
            "loss3": lambda samples, seed=0: lose_packets(mu_law_round_trip(samples), seed),
        }
    )


CONDITIONS: Final = conditions()
"""The conditions, their noise with the spectrum of speech."""


def gsm_round_trip(samples: Samples) -> Samples:
    """Code samples at 8 kHz by GSM 06.10 full rate and decode them."""
    return _round_trip(samples, "WAV", "GSM610")


def opus_round_trip(samples: Samples, bit_s: int = OPUS_BIT_S) -> Samples:
    """Code samples at 8 kHz by Opus and decode them.

    Parameters
    ----------
    samples
        float32 ``[shape=(n,)]``.
    bit_s
        Bits a second, 6,000 to 256,000.
    """
    level = (_OPUS_FASTEST_BIT_S - bit_s) / (_OPUS_FASTEST_BIT_S - _OPUS_SLOWEST_BIT_S)
    return _round_trip(samples, "OGG", "OPUS", compression_level=level)


def lose_packets(samples: Samples, seed: int, share: float = LOST_PACKETS) -> Samples:
    """Lose packets of 20 ms, each by itself, and conceal each by the one before at half its level.

    Parameters
    ----------
    samples
        At 8 kHz, float32 ``[shape=(n,)]``.
    seed
        Which packets are lost follows from it.
    share
        How many.
    """
    length = round(PACKET_S * LINE_RATE_HZ)
    heard = np.pad(samples, (length, -len(samples) % length)).reshape(-1, length)
    lost = np.random.default_rng(seed).random(len(heard) - 1) < share
    for packet in np.flatnonzero(lost) + 1:
        heard[packet] = heard[packet - 1] / 2
    return heard[1:].reshape(-1)[: len(samples)]


def speech_shaped_noise(n_samples: int, random: np.random.Generator) -> Samples:
    """Return stationary noise at 8 kHz with the spectrum of speech: flat to 500 Hz, then 9 dB down an octave.

    After the long-term average spectrum of speech in twelve languages (Byrne et al., JASA 96, 1994).
    """
    spectrum = np.fft.rfft(random.standard_normal(n_samples))
    octaves = np.log2(np.maximum(np.fft.rfftfreq(n_samples, 1 / LINE_RATE_HZ), 500) / 500)
    return np.fft.irfft(spectrum * 10 ** (-9 * octaves / 20), n_samples).astype(np.float32)


def read_noises(folder: Path, sample_rate_hz: int, part: Literal["train", "test"]) -> list[Samples]:
    """Return recordings of environmental noise.

    Parameters
    ----------
    folder
        Holds them at any depth.
    sample_rate_hz
        Rate to bring them to.
    part
        Of recordings with ESC-50's names, those of fold 5 are for tests and no others; so no model is measured in noise
        that it was trained in. Other names are for both.

    Raises
    ------
    CorpusError
        If there is none.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    chosen = [
        path
        for path in paths
        if (name := _ESC_NAME.fullmatch(path.stem)) is None or (name["fold"] == _ESC_TEST_FOLD) == (part == "test")
    ]
    if not chosen:
        raise CorpusError(f"{folder} holds no noise for {part}; expected recordings of noise, such as ESC-10")
    return [read_samples(path, sample_rate_hz) for path in chosen]


def _round_trip(samples: Samples, container: str, subtype: str, **settings: float) -> Samples:
    import soundfile

    coded = io.BytesIO()
    soundfile.write(coded, np.clip(samples, -1, 1), LINE_RATE_HZ, format=container, subtype=subtype, **settings)
    coded.seek(0)
    decoded, _ = soundfile.read(coded, dtype="float32", frames=len(samples), fill_value=0.0)
    return np.ascontiguousarray(decoded, dtype=np.float32)
