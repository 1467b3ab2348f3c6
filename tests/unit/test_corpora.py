"""Corpora: each naming is read as its authors meant it; what does not fit is reported, duplicates are dropped."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ser_model.corpora import CORPORA, Clip, clip_samples, read_corpus, read_samples, trim_silence
from ser_model.errors import CorpusError
from ser_model.taxonomy import EMOTIONS

# Real names of each corpus: path, speaker, emotion, sex.
NAMES = [
    ("ravdess", "Actor_01/03-01-01-01-01-01-01.wav", "01", "neutral", "male"),
    ("ravdess", "Actor_02/03-01-02-02-01-01-02.flac", "02", "calm", "female"),
    ("ravdess", "Audio_Speech_Actors_01-24/Actor_24/03-01-03-01-02-02-24.wav", "24", "happy", "female"),
    ("ravdess", "Actor_03/03-01-04-01-01-01-03.wav", "03", "sad", "male"),
    ("ravdess", "Actor_03/03-01-05-02-01-01-03.wav", "03", "angry", "male"),
    ("ravdess", "Actor_03/03-01-06-01-01-01-03.wav", "03", "fearful", "male"),
    ("ravdess", "Actor_03/03-01-07-01-01-01-03.wav", "03", "disgusted", "male"),
    ("ravdess", "Actor_03/03-01-08-01-01-01-03.wav", "03", "surprised", "male"),
    ("emodb", "wav/03a01Fa.wav", "03", "happy", "male"),
    ("emodb", "wav/16b10Wb.flac", "16", "angry", "female"),
    ("emodb", "wav/08a02La.wav", "08", "bored", "female"),
    ("emodb", "wav/08a02Eb.wav", "08", "disgusted", "female"),
    ("emodb", "wav/08a02Ac.wav", "08", "fearful", "female"),
    ("emodb", "wav/08a02Ta.wav", "08", "sad", "female"),
    ("emodb", "wav/08a02Nd.wav", "08", "neutral", "female"),
    ("tess", "OAF_angry/OAF_back_angry.wav", "OA", "angry", "female"),
    ("tess", "OAF_neutral/OA_bite_neutral.wav", "OA", "neutral", "female"),
    ("tess", "YAF_pleasant_surprised/YAF_back_ps.wav", "YA", "surprised", "female"),
    (
        "tess",
        "TESS Toronto emotional speech set data/OAF_Pleasant_surprise/OAF_back_ps.wav",
        "OA",
        "surprised",
        "female",
    ),
    ("tess", "YAF_disgust/YAF_back_disgust.opus", "YA", "disgusted", "female"),
    ("tess", "YAF_fear/YAF_back_fear.opus", "YA", "fearful", "female"),
    ("tess", "YAF_happy/YAF_back_happy.opus", "YA", "happy", "female"),
    ("tess", "YAF_sad/YAF_back_sad.opus", "YA", "sad", "female"),
    ("nemo", "samples/EB0_anger_1.wav", "EB0", "angry", None),
    ("nemo", "samples/EB0_fear_1.wav", "EB0", "fearful", None),
    ("nemo", "samples/JM1_happiness_1.wav", "JM1", "happy", None),
    ("nemo", "samples/EB0_sadness_12.wav", "EB0", "sad", None),
    ("nemo", "samples/EB0_surprised_12.wav", "EB0", "surprised", None),
    ("nemo", "samples/EB0_neutral_12.wav", "EB0", "neutral", None),
    ("ased", "01Neutral/n1-01-01-01-01.wav", "01", "neutral", "female"),
    ("ased", "02Fearful/f3-02-01-02-20.wav", "20", "fearful", "male"),
    ("ased", "03Happy/h2-02-01-02-20.wav", "20", "happy", "male"),
    ("ased", "04Sad/s4-04-02-01-29.wav", "29", "sad", "female"),
    ("ased", "05Angry/a5-04-02-01-65.wav", "65", "angry", None),
    ("turev", "Angry/1157_kz_acik.wav", "1157", "angry", None),
    ("turev", "Calm/1157_kz_acik.wav", "1157", "calm", None),
    ("turev", "Happy/1157_kz_acik.wav", "1157", "happy", None),
    ("turev", "Sad/6783_kz_vurgu.opus", "6783", "sad", None),
    ("cremad", "AudioWAV/1001_DFA_ANG_XX.wav", "1001", "angry", "male"),
    ("cremad", "AudioWAV/1002_IEO_DIS_HI.wav", "1002", "disgusted", "female"),
    ("cremad", "AudioWAV/1091_TIE_FEA_LO.wav", "1091", "fearful", "female"),
    ("cremad", "1090_IOM_HAP_MD.flac", "1090", "happy", "male"),
    ("cremad", "AudioWAV/1001_WSI_NEU_XX.wav", "1001", "neutral", "male"),
    ("cremad", "AudioWAV/1040_ITH_SAD_X.wav", "1040", "sad", "male"),
    ("savee", "AudioData/DC/a01.wav", "DC", "angry", "male"),
    ("savee", "AudioData/JE/d15.wav", "JE", "disgusted", "male"),
    ("savee", "AudioData/JK/f03.wav", "JK", "fearful", "male"),
    ("savee", "AudioData/KL/h03.wav", "KL", "happy", "male"),
    ("savee", "AudioData/KL/n30.wav", "KL", "neutral", "male"),
    ("savee", "AudioData/DC/sa07.wav", "DC", "sad", "male"),
    ("savee", "AudioData/DC/su07.wav", "DC", "surprised", "male"),
    ("savee", "ALL/JE_sa01.wav", "JE", "sad", "male"),
    ("emovdb", "bea/Amused/amused_1-15_0001.wav", "bea", "amused", "female"),
    ("emovdb", "sam/Angry/anger_336-364_0349.wav", "sam", "angry", "male"),
    ("emovdb", "jenie_Disgusted/disgust_113-140_0113.wav", "jenie", "disgusted", "female"),
    ("emovdb", "EmoV-DB_sorted/josh/Neutral/neutral_1-28_0023.wav", "josh", "neutral", "male"),
    ("emovdb", "bea/Sleepy/sleepiness_1-28_0015.opus", "bea", "sleepy", "female"),
    ("emovdb", "josh_Amused/amused_225_252_0226.wav", "josh", "amused", "male"),
]


def write_file(folder: Path, name: str, content: bytes | None = None) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(name.encode() if content is None else content)
    return path


@pytest.mark.parametrize(("corpus", "name", "speaker", "emotion", "sex"), NAMES)
def test_a_name_means_what_the_corpus_says(
    tmp_path: Path, corpus: str, name: str, speaker: str, emotion: str, sex: str | None
) -> None:
    path = write_file(tmp_path, name)
    contents = read_corpus(corpus, tmp_path)
    assert contents.clips == (Clip(path, corpus, speaker, emotion, sex),)  # type: ignore[arg-type]
    assert not contents.unknown


def test_every_label_of_every_corpus_is_in_the_table_above() -> None:
    assert {(corpus, emotion) for corpus, _, _, emotion, _ in NAMES} == {
        (corpus.name, emotion) for corpus in CORPORA.values() if corpus.pattern for emotion in corpus.emotions
    }


@pytest.mark.parametrize(
    ("corpus", "known", "unknown"),
    [
        ("ravdess", "Actor_01/03-01-01-01-01-01-01.wav", "Actor_01/03-02-01-01-01-01-01.wav"),
        ("ravdess", "Actor_01/03-01-01-01-01-01-01.wav", "Actor_01/03-01-09-01-01-01-01.wav"),
        ("ravdess", "Actor_01/03-01-01-01-01-01-01.wav", "Actor_01/copy of 03-01-01-01-01-01-01.wav"),
        ("emodb", "wav/03a01Fa.wav", "wav/03a01Xa.wav"),
        ("tess", "OAF_sad/OAF_back_sad.wav", "OAF_sad/OAF_back_calm.wav"),
        ("nemo", "samples/EB0_anger_1.wav", "samples/EB0_boredom_1.wav"),
        ("ased", "04Sad/s4-04-02-01-29.wav", "04Sad/S4-04-02-01-29.wav"),
        ("turev", "Sad/6783_kz_vurgu.wav", "Sad (old)/6783_kz_vurgu.wav"),
        ("cremad", "AudioWAV/1001_DFA_ANG_XX.wav", "AudioWAV/1001_DFA_SUR_XX.wav"),
        ("cremad", "AudioWAV/1001_DFA_ANG_XX.wav", "__MACOSX/AudioWAV/._1001_DFA_ANG_XX.wav"),
        ("savee", "AudioData/DC/a01.wav", "AudioData/DC/s01.wav"),
        ("savee", "AudioData/DC/a01.wav", "AudioData/XY/a01.wav"),
        ("emovdb", "bea/Angry/anger_1-28_0001.wav", "bea/Angry/neutral_1-28_0001.wav"),
        ("emovdb", "bea/Angry/anger_1-28_0001.wav", "noe/Angry/anger_1-28_0001.wav"),
    ],
)
def test_a_name_that_does_not_fit_is_reported_not_guessed(
    tmp_path: Path, corpus: str, known: str, unknown: str
) -> None:
    write_file(tmp_path, known)
    write_file(tmp_path, unknown)
    contents = read_corpus(corpus, tmp_path)
    assert [clip.path for clip in contents.clips] == [tmp_path / known]
    assert contents.unknown == (unknown,)


def test_other_files_are_nothing_to_report(tmp_path: Path) -> None:
    write_file(tmp_path, "Actor_01/03-01-01-01-01-01-01.wav")
    write_file(tmp_path, "README.txt")
    assert not read_corpus("ravdess", tmp_path).unknown


def test_of_clips_with_the_same_bytes_the_first_is_kept(tmp_path: Path) -> None:
    first = write_file(tmp_path, "Actor_01/03-01-03-01-02-01-01.wav", b"the same")
    write_file(tmp_path, "Actor_01/03-01-03-01-02-02-01.wav", b"the same")
    contents = read_corpus("ravdess", tmp_path)
    assert [clip.path for clip in contents.clips] == [first]
    assert contents.duplicates == ("Actor_01/03-01-03-01-02-02-01.wav",)


def test_clips_are_sorted(tmp_path: Path) -> None:
    for name in ("Actor_02/03-01-01-01-01-01-02.wav", "Actor_01/03-01-08-01-01-01-01.wav"):
        write_file(tmp_path, name)
    assert [clip.speaker for clip in read_corpus("ravdess", tmp_path).clips] == ["01", "02"]


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    write_file(tmp_path, "something.wav")
    with pytest.raises(CorpusError, match=r"no clip of RAVDESS.*1 audio files"):
        read_corpus("ravdess", tmp_path)


def test_a_missing_folder_and_an_unknown_corpus_are_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="not a folder"):
        read_corpus("ravdess", tmp_path / "nowhere")
    with pytest.raises(CorpusError, match="no corpus 'iemocap'"):
        read_corpus("iemocap", tmp_path)


@pytest.mark.parametrize("corpus", CORPORA.values(), ids=lambda corpus: corpus.name)
def test_a_corpus_says_where_it_is_from_and_what_it_allows(corpus) -> None:  # type: ignore[no-untyped-def]
    assert corpus.emotions <= set(EMOTIONS)
    assert corpus.license
    assert corpus.source
    assert corpus.commercial_use == (corpus.name in ("emodb", "cremad", "calls"))


def test_sexes_are_as_many_as_the_corpora_say() -> None:
    """RAVDESS: 12 of 24 women; CREMA-D: 43 of 91; EmoDB: 5 of 10; EmoV-DB: 2 of 4; SAVEE: men alone."""
    women = {name: list(corpus.sexes.values()).count("female") for name, corpus in CORPORA.items()}
    assert {name: women[name] for name in ("ravdess", "cremad", "emodb", "emovdb", "savee")} == {
        "ravdess": 12,
        "cremad": 43,
        "emodb": 5,
        "emovdb": 2,
        "savee": 0,
    }
    assert [len(CORPORA[name].sexes) for name in ("ravdess", "cremad", "emodb")] == [24, 91, 10]


def test_a_corpus_is_found_wherever_it_lies_below_the_folder_and_a_second_copy_is_dropped(tmp_path: Path) -> None:
    """Copies of RAVDESS and TESS that go round hold everything twice, a folder deeper."""
    for folder in ("Actor_01", "audio_speech_actors_01-24/Actor_01"):
        write_file(tmp_path, f"{folder}/03-01-01-01-01-01-01.wav", b"the same")
    contents = read_corpus("ravdess", tmp_path)
    assert (len(contents.clips), len(contents.duplicates)) == (1, 1)


@pytest.mark.parametrize(("suffix", "subtype"), [(".wav", "PCM_16"), (".flac", "PCM_16"), (".opus", "OPUS")])
@pytest.mark.parametrize("name", ["AudioWAV/1001_DFA_ANG_XX", "AudioData/DC/a01", "bea/Angry/anger_1-28_0001"])
def test_a_clip_is_read_in_each_format(tmp_path: Path, name: str, suffix: str, subtype: str) -> None:
    corpus = {"AudioWAV": "cremad", "AudioData": "savee", "bea": "emovdb"}[name.split("/")[0]]
    path = tmp_path / f"{name}{suffix}"
    path.parent.mkdir(parents=True)
    soundfile.write(path, tone(1, 16000), 16000, format="OGG" if suffix == ".opus" else None, subtype=subtype)
    (clip,) = read_corpus(corpus, tmp_path).clips
    assert clip.emotion == "angry"
    assert len(clip_samples(clip, 8000)) == pytest.approx(8000, abs=10)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("corpus", "clips", "speakers", "unknown", "duplicates"),
    [
        ("ravdess", 1199, 20, 0, 1),
        ("emodb", 408, 8, 0, 0),
        ("tess", 1400, 2, 0, 0),
        ("nemo", 3942, 8, 0, 0),
        ("ased", 2223, 60, 1, 0),
        ("turev", 1735, 6, 0, 0),
    ],
)
def test_the_shared_corpora_are_read(
    shared_dir: Path, corpus: str, clips: int, speakers: int, unknown: int, duplicates: int
) -> None:
    contents = read_corpus(corpus, shared_dir / "corpora" / corpus)
    found = (len(contents.clips), len({clip.speaker for clip in contents.clips}))
    assert found == (clips, speakers)
    assert (len(contents.unknown), len(contents.duplicates)) == (unknown, duplicates)
    assert {clip.emotion for clip in contents.clips} == CORPORA[corpus].emotions


def tone(seconds: float, rate_hz: int, amplitude: float = 0.5, frequency_hz: float = 440) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz)).astype(
        np.float32
    )


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_come_at_the_rate_asked_for_in_one_channel(tmp_path: Path, rate_hz: int, channels: int) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.stack([tone(1, rate_hz)] * channels, axis=1), rate_hz)
    samples = read_samples(path, 8000)
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples[500:7500], tone(1, 8000)[500:7500], atol=2e-3)
    assert len(samples) == 8000


def test_a_piece_of_one_channel_is_read(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    soundfile.write(path, np.stack([tone(3, 8000, 0.5, 200), tone(3, 8000, 0.2, 600)], axis=1), 8000, "FLOAT")
    piece = clip_samples(Clip(path, "calls", "c1", "sad", channel=1, start_s=1.0, end_s=2.25), 8000)
    np.testing.assert_allclose(piece, tone(3, 8000, 0.2, 600)[8000:18000], atol=1e-6)
    with pytest.raises(CorpusError, match="has 2 channels; expected one of index 2"):
        read_samples(path, 8000, channel=2)


def test_what_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"a\.wav cannot be read"):
        read_samples(write_file(tmp_path, "a.wav"), 8000)


LABELS = ("neutral", "happy", "angry")


@pytest.mark.parametrize(
    ("emotion", "annotations", "targets", "agreed"),
    [
        ("angry", (), [0, 0, 1], True),
        ("angry", ("angry", "angry", "neutral"), [1 / 3, 0, 2 / 3], True),
        ("neutral", ("angry", "neutral"), [0.5, 0, 0.5], False),
        ("angry", ("angry", "angry", "sad"), [0, 0, 1], True),
    ],
)
def test_annotators_become_probabilities(
    emotion: str, annotations: tuple[str, ...], targets: list[float], agreed: bool
) -> None:
    clip = Clip(Path("a.wav"), "calls", "c1", emotion, annotations=annotations)
    np.testing.assert_allclose(clip.targets(LABELS), targets)
    assert clip.agreed is agreed


def test_silence_at_both_ends_is_cut_and_none_within() -> None:
    silence = np.zeros(8000, np.float32)
    speech = tone(0.5, 8000)
    trimmed = trim_silence(np.concatenate([silence, speech, silence, speech, silence]), 8000)
    margin = 0.08 * 8000
    assert len(trimmed) == 8000 + 2 * len(speech) + 2 * margin
    np.testing.assert_array_equal(trimmed[int(margin) :][: len(speech)], speech)


@pytest.mark.parametrize(("level_db", "kept"), [(-30, True), (-45, False)])
def test_speech_is_what_is_within_35_db_of_the_loudest(level_db: float, kept: bool) -> None:
    quiet = tone(0.5, 8000, 0.5 * 10 ** (level_db / 20))
    trimmed = trim_silence(np.concatenate([quiet, tone(0.5, 8000)]), 8000)
    assert (len(trimmed) == 8000) is kept


@pytest.mark.parametrize("n_samples", [0, 1, 100, 8000])
def test_what_has_nothing_to_cut_stays(n_samples: int) -> None:
    assert len(trim_silence(np.zeros(n_samples, np.float32), 8000)) == n_samples
