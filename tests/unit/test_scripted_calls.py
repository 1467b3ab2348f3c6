"""The comparison of the index with what was acted: the formula's own example, and who may score whom."""

from pathlib import Path

import pytest
import yaml

from ser_model.taxonomy import EMOTIONS
from tests.scripted_calls import Scored, Turn, acted_index, by_model, heard_turns, rank_correlation, turn_figures


def spoken(*emotions: tuple[str, float]) -> list[dict[str, object]]:
    turns: list[dict[str, object]] = [{"role": "agent", "start_s": 0.0, "end_s": 5.0}]
    start_s = 5.0
    for emotion, seconds in emotions:
        turns.append({"role": "customer", "emotion": emotion, "start_s": start_s, "end_s": start_s + seconds})
        start_s += seconds + 1.0
    return turns


@pytest.mark.parametrize(
    ("turns", "index"),
    [
        (spoken(("neutral", 30.0)), 60.0),
        (spoken(("angry", 30.0)), 0.0),
        (spoken(("angry", 15.0), ("happy", 15.0)), 65.5),  # docs/satisfaction-index.md
    ],
)
def test_what_was_acted_has_the_index_that_the_page_says(turns: list[dict[str, object]], index: float) -> None:
    assert acted_index(turns) == pytest.approx(index, abs=0.01)


def models(folder: Path, **heard: list[str]) -> list[Path]:
    for name, speakers in heard.items():
        (folder / name).mkdir()
        (folder / name / "model.yaml").write_text(yaml.safe_dump({"heard_speakers": {"ravdess": speakers}}))
    return [folder / name for name in heard]


def test_a_call_is_scored_by_a_model_that_never_heard_its_actor(tmp_path: Path) -> None:
    first, second = models(tmp_path, first=["01", "02"], second=["02", "03"])
    truth = [{"actor": 3, "contact_id": "a"}, {"actor": 1, "contact_id": "b"}]
    assert by_model([first, second], truth) == {first: ["a"], second: ["b"]}
    with pytest.raises(SystemExit, match="every model of --models heard actor 02"):
        by_model([first, second], [{"actor": 2, "contact_id": "c"}])


def test_the_rank_correlation_is_of_the_order() -> None:
    calls = [Scored(str(n), "flat", n % 4, float(n), float(n**2), "m") for n in range(8)]
    assert rank_correlation(calls) == (pytest.approx(1.0), (pytest.approx(1.0), pytest.approx(1.0)))
    turned = [Scored(call.contact_id, "flat", call.actor, call.acted, -call.index, "m") for call in calls]
    assert rank_correlation(turned)[0] == pytest.approx(-1.0)


def segment(start_s: float, end_s: float, **probabilities: float) -> dict[str, float | None]:
    given = {f"p_{emotion}": probabilities.get(emotion) for emotion in EMOTIONS}
    return {"start_s": start_s, "end_s": end_s, **given}


def test_a_turn_is_heard_as_its_segments_by_their_share_of_it() -> None:
    call = {"actor": 3, "turns": spoken(("angry", 4.0), ("happy", 2.0), ("sad", 2.0))}  # from 5, 10 and 13 s
    segments = [
        segment(4.8, 7.0, angry=0.9, happy=0.1),
        segment(7.0, 9.2, angry=0.4, sad=0.6),
        segment(10.1, 12.0, calm=0.4, sad=0.3, angry=0.3),
    ]
    assert heard_turns(call, segments) == [
        Turn(3, "angry", "angry", "negative"),
        Turn(3, "happy", "calm", "negative"),
        Turn(3, "sad", None, None),
    ]


def test_figures_over_turns() -> None:
    said = [
        ("angry", "angry", "negative"),
        ("angry", "sad", "negative"),
        ("calm", "calm", "neutral"),
        ("sad", None, None),
    ]
    found = turn_figures([Turn(actor, *turn) for actor in (1, 2) for turn in said])
    assert found["UAR"] == (0.5, (0.5, 0.5))
    assert found["accuracy"] == (0.5, (0.5, 0.5))
    assert found["mood accuracy"] == (0.75, (0.75, 0.75))
    one_actor_fails = [Turn(1, "angry", "angry", "negative"), Turn(2, "angry", "calm", "neutral")]
    assert turn_figures(one_actor_fails)["accuracy"] == (0.5, (0.0, 1.0))
