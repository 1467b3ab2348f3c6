"""Corpora of labelled speech: which clips a folder holds, who speaks in them and with which emotion.

A corpus is its own naming scheme, read by one regular expression, and a map of its labels onto the taxonomy; a
company's own labels are a table (`ser_model.labels`). What does not fit is reported, never guessed. Knows nothing of
training: it lists clips and reads their samples.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from ser_model.errors import CorpusError
from ser_model.features import Samples
from ser_model.taxonomy import EMOTIONS

Sex = Literal["female", "male"]

AUDIO_SUFFIXES: Final = frozenset({".wav", ".flac", ".opus", ".ogg"})


@dataclass(frozen=True)
class Clip:
    """One labelled recording, or a labelled piece of one.

    Attributes
    ----------
    path
        The audio file.
    corpus
        Name of the corpus.
    speaker
        The corpus's own name of the speaker; unique within the corpus.
    emotion
        An emotion of the taxonomy; where several people labelled the clip, the one most of them chose.
    sex
        Of the speaker, where the corpus tells.
    channel
        The channel of the file that the speaker is in, from 0; None: all of them, mixed down.
    start_s, end_s
        The piece of the file, in seconds; an end of None is the file's.
    annotations
        What each annotator chose, where a clip has several; else empty.
    """

    path: Path
    corpus: str
    speaker: str
    emotion: str
    sex: Sex | None = None
    channel: int | None = None
    start_s: float = 0.0
    end_s: float | None = None
    annotations: tuple[str, ...] = ()

    @property
    def agreed(self) -> bool:
        """Whether one emotion was chosen more often than any other: only then is there a truth to measure against."""
        counts = sorted(map(self.annotations.count, set(self.annotations)), reverse=True)
        return len(counts) < 2 or counts[0] > counts[1]

    def targets(self, labels: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the share of the annotators who chose each label: what a network is to predict.

        Parameters
        ----------
        labels
            A model's emotions; `emotion` is one of them. Annotations of others are left out.

        Returns
        -------
        Probabilities, float32 ``[shape=(labels,)]``, sum 1.
        """
        chosen = self.annotations or (self.emotion,)
        counts = np.array([chosen.count(label) for label in labels], dtype=np.float32)
        shares: npt.NDArray[np.float32] = counts / counts.sum()
        return shares


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """How a corpus is laid out, what its labels mean and what its licence allows.

    Attributes
    ----------
    name, title
        The name used on the command line, and the corpus's own.
    language
        What is spoken: a primary language subtag of BCP 47; ``und`` where the corpus does not fix it.
    pattern
        Matches the end of a clip's path below the corpus folder, without its suffix; groups ``speaker`` and
        ``label``. None: the labels are in a table (`ser_model.labels`).
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
    pattern: str | None
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
    """What a corpus holds.

    Attributes
    ----------
    clips
        The labelled clips, sorted by path.
    unknown
        What is left out because it cannot be understood: paths below the folder of audio files whose names the corpus's
        scheme does not explain; of a table, its rows, each with the reason.
    duplicates
        What is left out because it is there already: paths below the folder of audio files whose bytes are those of a
        clip earlier in the order; rows of a table that say again what an earlier one says.
    """

    clips: tuple[Clip, ...]
    unknown: tuple[str, ...]
    duplicates: tuple[str, ...]


# fmt: off
_ASED_FEMALE: Final = frozenset((
    1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31, 33, 35, 37, 43, 47, 48, 49, 58,
))
# From VideoDemographics.csv of the corpus.
_CREMA_D_FEMALE: Final = frozenset((
    1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025, 1028, 1029, 1030, 1037,
    1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060, 1061, 1063, 1072, 1073, 1074, 1075, 1076, 1078,
    1079, 1082, 1084, 1089, 1091,
))
# fmt: on

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
        # The names' fourth number (01 female, 02 male); that of speakers 09, 15, 21, 23 and 25 is another in one clip.
        sexes={f"{speaker:02}": "female" if speaker in _ASED_FEMALE else "male" for speaker in range(1, 61)},
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
    Corpus(
        name="cremad",
        title="CREMA-D (English, North American)",
        language="en",
        # One clip of the original is named 1040_ITH_SAD_X.
        pattern=r"(?P<speaker>10\d\d)_[A-Z]{3}_(?P<label>ANG|DIS|FEA|HAP|NEU|SAD)_(?:LO|MD|HI|XX?)",
        labels={
            "ANG": "angry",
            "DIS": "disgusted",
            "FEA": "fearful",
            "HAP": "happy",
            "NEU": "neutral",
            "SAD": "sad",
        },
        license="ODbL 1.0, its contents DbCL 1.0",
        commercial_use=True,
        source="Cao et al., IEEE Transactions on Affective Computing 5(4), 2014; "
        "https://github.com/CheyneyComputerScience/CREMA-D",
        sexes={str(actor): "female" if actor in _CREMA_D_FEMALE else "male" for actor in range(1001, 1092)},
    ),
    Corpus(
        name="savee",
        title="SAVEE (English, British)",
        language="en",
        # AudioData/DC/a01.wav in the original, DC_a01.wav in copies of it.
        pattern=r"(?P<speaker>DC|JE|JK|KL)[/_](?P<label>a|d|f|h|n|sa|su)\d\d",
        labels={
            "a": "angry",
            "d": "disgusted",
            "f": "fearful",
            "h": "happy",
            "n": "neutral",
            "sa": "sad",
            "su": "surprised",
        },
        license="free for research, on registration",
        commercial_use=False,
        source="Haq and Jackson, Machine Audition, 2010; http://kahlan.eps.surrey.ac.uk/savee",
        sexes=dict.fromkeys(("DC", "JE", "JK", "KL"), "male"),
    ),
    Corpus(
        name="emovdb",
        title="EmoV-DB (English, North American)",
        language="en",
        # bea/Amused/amused_1-15_0001 as sorted by its authors, bea_Amused/... as archived; amused_225_252_0226 occurs.
        # A file whose name contradicts its folder is not understood.
        pattern=r"(?P<speaker>bea|jenie|josh|sam)[/_](?P<label>Amused(?=/(?i:amus))|Angry(?=/(?i:ang))"
        r"|Disgusted(?=/(?i:disgust))|Neutral(?=/(?i:neutral))|Sleepy(?=/(?i:sleep)))/[A-Za-z]+_\d+[-_]\d+_\d{4}",
        labels={
            "Amused": "amused",
            "Angry": "angry",
            "Disgusted": "disgusted",
            "Neutral": "neutral",
            "Sleepy": "sleepy",
        },
        license="EmoV-DB licence: non-commercial purposes only",
        commercial_use=False,
        source="Adigwe et al., arXiv 1806.09514, 2018; https://www.openslr.org/115",
        sexes={"bea": "female", "jenie": "female", "josh": "male", "sam": "male"},
    ),
    Corpus(
        name="calls",
        title="a company's own labelled calls",
        language="und",
        pattern=None,
        labels={emotion: emotion for emotion in EMOTIONS},
        license="the company's own",
        commercial_use=True,
        source="a table of labels, CSV or Parquet: docs/model-corpora.md",
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
        The corpus, in its original layout, at any depth; audio as WAV, FLAC or Opus. Of `calls`, the table of labels.

    Raises
    ------
    CorpusError
        If the corpus is unknown, the folder is missing or no file in it bears a name of the corpus.
    """
    if name not in CORPORA:
        raise CorpusError(f"no corpus {name!r}; expected one of {sorted(CORPORA)}")
    corpus = CORPORA[name]
    if corpus.pattern is None:
        from ser_model.labels import read_labels

        return read_labels(folder)
    if not folder.is_dir():
        raise CorpusError(f"{folder} is not a folder; expected {corpus.title} there")
    pattern = re.compile(rf"(?:^|/){corpus.pattern}$")
    clips: list[Clip] = []
    unknown: list[str] = []
    duplicates: list[str] = []
    seen: set[bytes] = set()
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()):
        below = path.relative_to(folder)
        match = pattern.search(below.with_suffix("").as_posix())
        if match is None:
            unknown.append(str(below))
            continue
        digest = file_digest(path)
        if digest in seen:
            duplicates.append(str(below))
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


def file_digest(path: Path) -> bytes:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def clip_samples(clip: Clip, sample_rate_hz: int) -> Samples:
    """Return a clip's samples at a rate; see `read_samples`."""
    return read_samples(clip.path, sample_rate_hz, channel=clip.channel, start_s=clip.start_s, end_s=clip.end_s)


def read_samples(
    path: Path, sample_rate_hz: int, *, channel: int | None = None, start_s: float = 0.0, end_s: float | None = None
) -> Samples:
    """Decode a file or a piece of it, bring it to one channel and a sampling rate.

    Parameters
    ----------
    path
        A file that libsndfile reads.
    sample_rate_hz
        Rate to bring it to.
    channel
        The channel, from 0; None: the mean of all.
    start_s, end_s
        The piece; an end of None is the file's.

    Returns
    -------
    Samples, full scale 1.0, float32 ``[shape=(n,)]``.

    Raises
    ------
    CorpusError
        If the file cannot be read, or lacks the channel.
    """
    import soundfile
    import soxr

    try:
        with soundfile.SoundFile(path) as file:
            rate_hz = file.samplerate
            file.seek(round(start_s * rate_hz))
            n_frames = -1 if end_s is None else round(end_s * rate_hz) - round(start_s * rate_hz)
            channels = file.read(n_frames, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise CorpusError(f"{path} cannot be read: {error}; expected audio that libsndfile decodes") from error
    if channel is not None and channel >= channels.shape[1]:
        raise CorpusError(f"{path} has {channels.shape[1]} channels; expected one of index {channel}")
    samples = channels.mean(axis=1, dtype=np.float32) if channel is None else channels[:, channel]
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
