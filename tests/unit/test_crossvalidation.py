"""Cross-validation: every speaker is tested once by networks that never heard it, and finished runs are kept."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

torch = pytest.importorskip("torch")

from ser_model import crossvalidation  # noqa: E402
from ser_model.corpora import CORPORA, Clip, CorpusContents  # noqa: E402
from ser_model.crossvalidation import FOLDS_FILE, crossvalidate, fold_config, fold_groups, fold_split  # noqa: E402
from ser_model.errors import TrainingConfigError  # noqa: E402
from ser_model.network import EmotionNetwork  # noqa: E402
from ser_model.train import TrainingConfig  # noqa: E402

pytestmark = pytest.mark.torch

RESEARCH = TrainingConfig.load(FOLDS_FILE.parent / "research.yaml")
FOLDS = yaml.safe_load(FOLDS_FILE.read_text(encoding="utf-8"))
TEST_FOLDS = ("1", "2", "3", "4", "5")
ACTORS = [f"{actor:02}" for actor in range(1, 21)]


def test_every_speaker_is_a_test_speaker_of_one_fold() -> None:
    tested = Counter(actor for fold in TEST_FOLDS for actor in FOLDS[fold]["ravdess"]["test"])
    assert tested == Counter(ACTORS)
    tested = Counter(speaker for fold in TEST_FOLDS for speaker in FOLDS[fold]["emodb"]["test"])
    assert tested == Counter(["03", "08", "09", "10", "11", "12", "13", "14"])


@pytest.mark.parametrize("fold", TEST_FOLDS)
@pytest.mark.parametrize("use", ["development", "test"])
def test_both_sexes_are_as_many(fold: str, use: str) -> None:
    sexes = Counter(CORPORA["ravdess"].sexes[actor] for actor in FOLDS[fold]["ravdess"][use])
    assert sexes["female"] == sexes["male"] > 0


@pytest.mark.parametrize("fold", TEST_FOLDS)
def test_development_speakers_are_no_test_speakers(fold: str) -> None:
    assert not set(FOLDS[fold]["ravdess"]["development"]) & set(FOLDS[fold]["ravdess"]["test"])


def test_choices_were_made_on_no_test_speaker_of_the_last_three_folds() -> None:
    chosen_on = set(FOLDS["choice"]["ravdess"]["development"])
    assert chosen_on == {actor for fold in ("1", "2") for actor in FOLDS[fold]["ravdess"]["test"]}


def test_a_fold_replaces_speakers_and_seed_and_nothing_else() -> None:
    config = fold_config(RESEARCH, "3", seed=7)
    assert config.seed == 7
    assert config.corpora["ravdess"].test == ("09", "10", "11", "12")
    assert config.corpora["ravdess"].development == ("07", "08")
    assert config.corpora["ravdess"].clips_an_epoch == RESEARCH.corpora["ravdess"].clips_an_epoch
    assert config.corpora["tess"] == RESEARCH.corpora["tess"]
    kept = config.to_dict()
    for changed in ("seed", "corpora"):
        kept[changed] = RESEARCH.to_dict()[changed]
    assert kept == RESEARCH.to_dict()


def test_a_fold_that_does_not_fit_is_refused() -> None:
    with pytest.raises(TrainingConfigError, match="fold '6'; expected one of"):
        fold_config(RESEARCH, "6", seed=1)
    values = RESEARCH.to_dict()
    values["corpora"] = {"tess": values["corpora"]["tess"]}
    values["teacher"], values["measured_on"] = None, "tess"
    with pytest.raises(TrainingConfigError, match=r"speakers of \['emodb', 'ravdess'\]; expected some of tess"):
        fold_config(TrainingConfig.from_dict(values), "1", seed=1)


def test_a_fold_leaves_out_speakers_of_the_corpora_that_a_configuration_has() -> None:
    values = RESEARCH.to_dict()
    values["corpora"] = {"emodb": values["corpora"]["emodb"]}
    values["teacher"], values["measured_on"] = None, "emodb"
    config = fold_config(TrainingConfig.from_dict(values), "2", seed=1)
    assert {name: split.test for name, split in config.corpora.items()} == {"emodb": ("09", "10")}


def test_the_groups_are_the_test_speakers_of_the_five_folds() -> None:
    assert fold_groups() == {fold: tuple(FOLDS[fold]["ravdess"]["test"]) for fold in TEST_FOLDS}


def clips_of(corpus: str, speakers: list[str], takes: int) -> CorpusContents:
    clips = (
        Clip(Path(f"{speaker}-{emotion}-{take}.wav"), corpus, speaker, emotion)
        for speaker in speakers
        for emotion in ("happy", "angry")
        for take in range(takes)
    )
    return CorpusContents(tuple(clips), (), ())


def test_a_random_split_tests_a_fifth_of_the_clips_of_speakers_that_it_trains_on() -> None:
    corpora = {
        "ravdess": clips_of("ravdess", ACTORS, 5),
        "emodb": clips_of("emodb", ["09", "10", "11"], 2),
        "tess": clips_of("tess", ["OA"], 2),
    }
    split = fold_split(fold_config(RESEARCH, "random", seed=1), "random", corpora)
    assert Counter(clip.corpus for clip in split.train) == {"ravdess": 160, "emodb": 12, "tess": 4}
    tested = [clip for clip in split.test if clip.corpus == "ravdess"]
    assert Counter(clip.emotion for clip in tested) == {"happy": 20, "angry": 20}
    assert not set(tested) & set(split.train)
    assert {clip.speaker for clip in tested} <= {clip.speaker for clip in split.train}
    assert not split.development, "so that no model is exported of it"
    again = fold_split(fold_config(RESEARCH, "random", seed=2), "random", corpora)
    assert set(again.test) != set(split.test)


def test_each_run_is_measured_on_its_own_test_speakers_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that calls everything happy, measured on clips one in two of which are."""
    trained = []

    def happy(
        config: TrainingConfig, split: object, noises: object, folder: Path, report: object, encode: object, init: Path
    ) -> EmotionNetwork:
        folder.mkdir(parents=True)
        trained.append((config.corpora["ravdess"].test, config.seed))
        assert init == Path("base"), "every run starts from the model that is given"
        network = EmotionNetwork(len(config.labels), config.features.n_mels, config.features.min_db)
        torch.nn.init.zeros_(network.classify.weight)
        network.classify.bias.data = torch.tensor([float(label == "happy") for label in config.labels])
        return network.eval()

    measured = []

    def segments(clips: list[Clip], spec: object, condition: str) -> list[list[object]]:
        measured.append({(clip.corpus, clip.speaker) for clip in clips})
        return [[torch.zeros((16, 64), dtype=torch.uint8).numpy()] for _ in clips]

    monkeypatch.setattr(crossvalidation, "train", happy)
    monkeypatch.setattr(crossvalidation, "clip_segments", segments)
    corpora = {
        name: CorpusContents(
            tuple(
                Clip(Path(f"{speaker}-{emotion}.wav"), name, speaker, emotion)
                for speaker in speakers
                for emotion in ("happy", "angry")
            ),
            (),
            (),
        )
        for name, speakers in {
            "ravdess": ACTORS,
            "emodb": ["03", "08", "09", "10", "11", "12", "13", "14"],
            "tess": ["OA", "YA"],
        }.items()
    }
    results = crossvalidate(RESEARCH, ["1", "5"], [1, 2], corpora, [], tmp_path, lambda line: None, init=Path("base"))
    assert list(results) == ["1-1", "5-1", "1-2", "5-2"], "seed after seed"
    assert all(uar == 0.5 for figures in results.values() for uar in figures.values())
    assert trained == [(tuple(FOLDS[fold]["ravdess"]["test"]), seed) for seed in (1, 2) for fold in ("1", "5")]
    assert {speaker for speakers in measured[:1] for speaker in speakers} == {
        ("ravdess", actor) for actor in ("01", "02", "03", "04")
    }
    assert json.loads((tmp_path / "1-1" / "figures.json").read_text()) == results["1-1"]
    again = crossvalidate(RESEARCH, ["1", "5"], [1, 2], corpora, [], tmp_path, lambda line: None)
    assert again == results
    assert len(trained) == 4, "a finished run is not trained again"
