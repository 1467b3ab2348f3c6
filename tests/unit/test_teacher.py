"""The teacher: its weights are the ones that were named, and no lesson comes from the speaker that it is about."""

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ser_model import teacher as teacher_module  # noqa: E402
from ser_model.corpora import Clip  # noqa: E402
from ser_model.errors import TeacherError  # noqa: E402
from ser_model.teacher import EMBEDDING_SIZE, SpeechEncoder, Teacher  # noqa: E402

pytestmark = pytest.mark.torch

LABELS = ("happy", "sad")
WIDTH = 1152
SECOND_LAYER = slice(384, 584)


def clip(corpus: str, speaker: str, emotion: str, number: int = 0) -> Clip:
    return Clip(Path(f"{corpus}-{speaker}-{emotion}-{number}.wav"), corpus, speaker, emotion)


def frames(moved: slice, by: float, seed: int, length: int = 60) -> np.ndarray:
    """Noise, moved in some of the dimensions."""
    noise = np.random.default_rng(seed).standard_normal((length, WIDTH))
    noise[:, moved] += by
    return noise.astype(np.float16)


SPEAKERS = [f"{actor:02}" for actor in range(1, 9)]
CLIPS = [clip("ravdess", speaker, emotion, n) for speaker in SPEAKERS for emotion in LABELS for n in range(4)]
ABROAD = [clip("nemo", "AO", "happy"), clip("nemo", "AO", "sad")]


def own_dimensions(speaker: str) -> slice:
    return slice(100 * SPEAKERS.index(speaker), 100 * SPEAKERS.index(speaker) + 100)


def sign(of: Clip) -> float:
    return 2.0 if of.emotion == "happy" else -2.0


def taught(heard: list[np.ndarray]) -> Teacher:
    return Teacher(CLIPS + ABROAD, heard, LABELS, "ravdess", seed=0)


def test_what_all_speakers_share_is_taught_of_every_corpus() -> None:
    teacher = taught([frames(SECOND_LAYER, sign(c), number) for number, c in enumerate(CLIPS + ABROAD)])
    for number, heard in enumerate(CLIPS + ABROAD):
        lesson = teacher.lesson(number, 0.0, 1.2)
        assert lesson.probabilities.argmax() == LABELS.index(heard.emotion)
        assert lesson.probabilities.sum() == pytest.approx(1, abs=1e-5)
        assert lesson.embedding.shape == (EMBEDDING_SIZE,)
        assert (np.sign(lesson.embedding[:200]) == np.sign(sign(heard))).all(), "it is of the second layer"


def test_what_one_speaker_alone_does_is_not_taught_of_that_speaker() -> None:
    """Each one's emotions are in dimensions of its own: a classifier that heard the speaker would know them all."""
    heard = [
        frames(own_dimensions(c.speaker if c.corpus == "ravdess" else SPEAKERS[0]), sign(c), number)
        for number, c in enumerate(CLIPS + ABROAD)
    ]
    teacher = taught(heard)
    own = [teacher.lesson(number, 0.0, 1.2).probabilities[LABELS.index(c.emotion)] for number, c in enumerate(CLIPS)]
    assert 0.3 < float(np.mean(own)) < 0.7
    # The clips from abroad lie in the first speaker's dimensions, and are taught by all.
    assert teacher.lesson(len(CLIPS), 0.0, 1.2).probabilities[0] > 0.9
    assert teacher.lesson(len(CLIPS) + 1, 0.0, 1.2).probabilities[1] > 0.9


def test_a_lesson_is_of_the_piece_that_is_heard() -> None:
    halves = [
        np.concatenate((frames(SECOND_LAYER, 2.0, n, 30), frames(SECOND_LAYER, -2.0, n + 1, 30)))
        for n in range(len(CLIPS))
    ]
    teacher = taught([*halves, *halves[:2]])
    first, second = (teacher.lesson(0, start, start + 0.6).embedding[0] for start in (0.0, 0.6))
    assert first > 0.5 > -0.5 > second
    at_the_end = teacher.lesson(0, 1.19, 1.2)
    assert np.isfinite(at_the_end.embedding).all()


def test_one_speaker_is_too_few() -> None:
    alone = [c for c in CLIPS if c.speaker == "01"]
    with pytest.raises(TeacherError, match="1 speakers of ravdess are trained on; expected two or more"):
        Teacher(alone, [frames(slice(0), 0.0, n) for n in range(len(alone))], LABELS, "ravdess", seed=0)


def ctranslate2_model(arrays: dict[str, np.ndarray]) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    parts = [struct.pack("<I", 6), text("WhisperSpec"), struct.pack("<II", 3, len(arrays))]
    for name, array in arrays.items():
        kind = {"float32": 0, "float16": 4}[array.dtype.name]
        parts += [text(name), struct.pack(f"<B{array.ndim}I", array.ndim, *array.shape)]
        parts += [struct.pack("<BI", kind, array.nbytes), array.tobytes()]
    return b"".join(parts)


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of weights as small as the real one's layers allow, which passes for it."""
    random = np.random.default_rng(0)
    arrays = {"decoder/not/needed": np.zeros((2, 3), np.float32)}
    for ours, theirs in teacher_module._weight_names().items():
        shape = SpeechEncoder().state_dict()[ours].shape
        arrays[theirs] = (0.02 * random.standard_normal(shape)).astype(np.float16)
    path = tmp_path / "model.bin"
    path.write_bytes(ctranslate2_model(arrays))
    monkeypatch.setattr(teacher_module, "ENCODER_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_the_encoder_gives_50_frames_a_second_at_any_level(weights: Path) -> None:
    encoder = SpeechEncoder.load(weights)
    speech = (0.1 * np.random.default_rng(1).standard_normal(16_000)).astype(np.float32)
    heard = encoder.frames(speech, 8_000)
    assert heard.shape == (100, WIDTH)
    assert heard.dtype == np.float16
    np.testing.assert_allclose(encoder.frames(speech / 8, 8_000).astype(float), heard.astype(float), atol=0.02)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


def test_other_weights_are_refused(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(TeacherError, match=r"has the sha256 \w+; expected \w+: model.bin of Whisper tiny.en"):
        SpeechEncoder.load(weights)
    with pytest.raises(TeacherError, match="cannot be read: No such file"):
        SpeechEncoder.load(weights.parent / "none.bin")
