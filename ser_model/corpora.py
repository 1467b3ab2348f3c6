"""Corpora of labelled speech: which clips a folder holds, who speaks in them and with which emotion.

A corpus is its own naming scheme, read by one regular expression, and a map of its labels onto the taxonomy.
What does not fit is reported, never guessed. Knows nothing of training: it lists clips and reads their
samples.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import numpy as np

from ser_model.errors import CorpusError
from ser_model.features import Samples

Sex = Literal["female", "male"]

AUDIO_SUFFIXES: Final = frozenset({".wav", ".flac", ".opus", ".ogg"})


@dataclass(frozen=True)
class Clip:
    """One labelled recording.

    Attributes
    ----------
    path
        The audio file.
    corpus
        Name of the corpus.
    speaker
        The corpus's own name of the speaker; unique within the corpus.
    emotion
        An emotion of the taxonomy.
    sex
        Of the speaker, where the corpus tells.
    """

    path: Path
    corpus: str
    speaker: str
    emotion: str
    sex: Sex | None = None


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """How a corpus is laid out, what its labels mean and what its licence allows.

    Attributes
    ----------
    name, title
        The name used on the command line, and the corpus's own.
    language
        What is spoken: a primary language subtag of BCP 47.
    pattern
        Matches the end of a clip's path below the corpus folder, without its suffix; groups ``speaker`` and
        ``label``.
    labels
        The emotion of each label.
    license, commercial_use
        The licence, and whether a model trained on the corpus may be used commercially.
    source
        Where the corpus comes from.
    sexes
        Sex of each speaker, where known.
    """

    name: str
    title: str
    language: str
    pattern: str
    labels: Mapping[str, str]
    license: str
    commercial_use: bool
    source: str
    sexes: Mapping[str, Sex] = field(default_factory=dict)

    @property
    def emotions(self) -> frozenset[str]:
        """The emotions that a clip of this corpus can have."""
        return frozenset(self.labels.values())


@dataclass(frozen=True)
class CorpusContents:
    """What a corpus folder holds.

    Attributes
    ----------
    clips
        The labelled clips, sorted by path.
    unknown
        Audio files whose names the corpus's scheme does not explain.
    duplicates
        Audio files whose bytes are those of a clip earlier in the order: dropped.
    """

    clips: tuple[Clip, ...]
    unknown: tuple[Path, ...]
    duplicates: tuple[Path, ...]


_CORPORA: Final = (
    Corpus(
        name="ravdess",
        title="RAVDESS, speech (English, North American)",
        language="en",
        pattern=r"03-01-(?P<label>0[1-8])-0[12]-0[12]-0[12]-(?P<speaker>\d\d)",
        labels={
            "01": "neutral",
            "02": "calm",
            "03": "happy",
            "04": "sad",
            "05": "angry",
            "06": "fearful",
            "07": "disgusted",
            "08": "surprised",
        },
        license="CC BY-NC-SA 4.0",
        commercial_use=False,
        source="Livingstone and Russo, PLoS ONE 13(5), 2018; https://doi.org/10.5281/zenodo.1188976",
        sexes={f"{actor:02}": "male" if actor % 2 else "female" for actor in range(1, 25)},
    ),
    Corpus(
        name="emodb",
        title="Berlin Database of Emotional Speech (German)",
        language="de",
        pattern=r"(?P<speaker>\d\d)[ab]\d\d(?P<label>[WLEAFTN])[a-z]",
        labels={
            "W": "angry",
            "L": "bored",
            "E": "disgusted",
            "A": "fearful",
            "F": "happy",
            "T": "sad",
            "N": "neutral",
        },
        license="freely usable (listed as CC0 by audEERING)",
        commercial_use=True,
        source="Burkhardt et al., Interspeech 2005; http://emodb.bilderbar.info",
        sexes={
            **dict.fromkeys(("03", "10", "11", "12", "15"), "male"),
            **dict.fromkeys(("08", "09", "13", "14", "16"), "female"),
        },
    ),
    Corpus(
        name="tess",
        title="Toronto emotional speech set (English, Canadian)",
        language="en",
        # One clip of the original is named OA_bite_neutral.
        pattern=r"(?P<speaker>[OY]A)F?_[a-z]+_(?P<label>angry|disgust|fear|happy|neutral|ps|sad)",
        labels={
            "angry": "angry",
            "disgust": "disgusted",
            "fear": "fearful",
            "happy": "happy",
            "neutral": "neutral",
            "ps": "surprised",
            "sad": "sad",
        },
        license="CC BY-NC-ND 4.0",
        commercial_use=False,
        source="Pichora-Fuller and Dupuis, 2020; https://doi.org/10.5683/SP2/E8H2MF",
        sexes={"OA": "female", "YA": "female"},
    ),
    Corpus(
        name="nemo",
        title="nEMO (Polish)",
        language="pl",
        pattern=r"(?P<speaker>[A-Z]{2}\d)_(?P<label>anger|fear|happiness|neutral|sadness|surprised)_\d+",
        labels={
            "anger": "angry",
            "fear": "fearful",
            "happiness": "happy",
            "neutral": "neutral",
            "sadness": "sad",
            "surprised": "surprised",
        },
        license="CC BY-NC-SA 4.0",
        commercial_use=False,
        source="Christop, LREC-COLING 2024; https://github.com/amu-cai/nEMO",
    ),
    Corpus(
        name="ased",
        title="ASED v1 (Amharic)",
        language="am",
        pattern=r"(?P<label>[nfhsa])\d-\d\d-\d\d-0[12]-(?P<speaker>\d\d)",
        labels={"n": "neutral", "f": "fearful", "h": "happy", "s": "sad", "a": "angry"},
        license="none stated: research only",
        commercial_use=False,
        source="Retta et al., A New Amharic Speech Emotion Dataset and Classification Benchmark, 2022",
    ),
    Corpus(
        name="turev",
        title="TurEV-DB (Turkish, single words)",
        language="tr",
        pattern=r"(?P<label>Angry|Calm|Happy|Sad)/(?P<speaker>\d+)_\w+",
        labels={"Angry": "angry", "Calm": "calm", "Happy": "happy", "Sad": "sad"},
        license="CC BY-NC-ND 4.0",
        commercial_use=False,
        source="Canpolat et al., SLTU-CCURL 2020; https://github.com/Xeonen/TurEV-DB",
    ),
)
CORPORA: Final[Mapping[str, Corpus]] = MappingProxyType({corpus.name: corpus for corpus in _CORPORA})
"""The corpora that can be read, by name."""


def read_corpus(name: str, folder: Path) -> CorpusContents:
    """List the labelled clips of a corpus.

    Parameters
    ----------
    name
        A key of `CORPORA`.
    folder
        The corpus, in its original layout; audio as WAV, FLAC or Opus.

    Raises
    ------
    CorpusError
        If the corpus is unknown, the folder is missing or no file in it bears a name of the corpus.
    """
    if name not in CORPORA:
        raise CorpusError(f"no corpus {name!r}; expected one of {sorted(CORPORA)}")
    if not folder.is_dir():
        raise CorpusError(f"{folder} is not a folder; expected {CORPORA[name].title} there")
    corpus = CORPORA[name]
    pattern = re.compile(rf"(?:^|/){corpus.pattern}$")
    clips: list[Clip] = []
    unknown: list[Path] = []
    duplicates: list[Path] = []
    seen: set[bytes] = set()
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES):
        match = pattern.search(path.relative_to(folder).with_suffix("").as_posix())
        if match is None:
            unknown.append(path)
            continue
        digest = hashlib.sha256(path.read_bytes()).digest()
        if digest in seen:
            duplicates.append(path)
            continue
        seen.add(digest)
        speaker = match["speaker"]
        clips.append(Clip(path, name, speaker, corpus.labels[match["label"]], corpus.sexes.get(speaker)))
    if not clips:
        raise CorpusError(
            f"{folder} holds no clip of {corpus.title} ({len(unknown)} audio files of other names); expected "
            f"names that match {corpus.pattern!r}: name the folder that holds the corpus"
        )
    return CorpusContents(tuple(clips), tuple(unknown), tuple(duplicates))


def read_samples(path: Path, sample_rate_hz: int) -> Samples:
    """Decode a clip, bring it to one channel and a sampling rate.

    Parameters
    ----------
    path
        A file that libsndfile reads.
    sample_rate_hz
        Rate to bring it to.

    Returns
    -------
    Samples, full scale 1.0, float32 ``[shape=(n,)]``.
    """
    import soundfile
    import soxr

    channels, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    samples = channels.mean(axis=1, dtype=np.float32)
    if rate_hz != sample_rate_hz:
        samples = soxr.resample(samples, rate_hz, sample_rate_hz)
    return np.ascontiguousarray(samples, dtype=np.float32)


_TRIM_FRAME_S: Final = 0.02
_TRIM_BELOW_PEAK_DB: Final = 35.0
_TRIM_MARGIN_S: Final = 0.08


def trim_silence(samples: Samples, sample_rate_hz: int) -> Samples:
    """Cut the silence before and after a clip's speech, as the pipeline's segments have none.

    Speech goes from the first to the last 20 ms within 35 dB of the loudest; 80 ms are left on both sides.

    Parameters
    ----------
    samples
        float32 ``[shape=(n,)]``.
    sample_rate_hz
        Their rate.

    Returns
    -------
    A view of the samples, float32 ``[shape=(m,)]``, m <= n.
    """
    frame = int(_TRIM_FRAME_S * sample_rate_hz)
    n_frames = len(samples) // frame
    if n_frames == 0:
        return samples
    energy = np.square(samples[: n_frames * frame].reshape(n_frames, frame)).mean(axis=1)
    loud = np.flatnonzero(energy >= energy.max() * 10 ** (-_TRIM_BELOW_PEAK_DB / 10))
    margin = int(_TRIM_MARGIN_S * sample_rate_hz)
    return samples[max(0, loud[0] * frame - margin) : (loud[-1] + 1) * frame + margin]
