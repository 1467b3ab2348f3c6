"""The calibration to surveys: it recovers a planted relation, keeps nothing where there is none, fills the calls."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import simulated
from scipy.special import expit

from jobs.calibrate_satisfaction import calibrate, in_words, main
from jobs.errors import CalibrationError
from jobs.satisfaction_model import FEATURES, Calibration, ScoreModel, features_of
from jobs.staging import RunStaging
from jobs.storage import LocalStorage
from jobs.summarize_calls import expect_scores
from schemas import TABLES
from schemas import definitions as d

FIRST = date(2026, 10, 5)
PLANTS = simulated.Plants()


@pytest.fixture(scope="module")
def month() -> simulated.Tables:
    return simulated.simulate(FIRST, 20, 300, 21, PLANTS, logged_share=0.0)


@pytest.fixture(scope="module")
def fitted(month: simulated.Tables) -> Calibration:
    return calibrate(month["calls"], month["contacts"])


def shuffled(calls: pa.Table) -> pa.Table:
    """The same answers, each at another call that has one."""
    scores = calls["csat_survey"].to_numpy().copy()
    told = np.isfinite(scores)
    scores[told] = np.random.default_rng(0).permutation(scores[told])
    column = pa.array(scores, pa.float32(), from_pandas=True)
    place = calls.schema.get_field_index("csat_survey")
    return calls.set_column(place, calls.schema.field(place), column)


def test_a_planted_relation_is_recovered(month: simulated.Tables, fitted: Calibration) -> None:
    """The score's latent value rises by 0.12 a point of the index and falls by 0.2 a minute of wait."""
    assert fitted.beats_the_mean
    assert fitted.model.scores == (1, 2, 3, 4, 5)
    calls = month["calls"]
    index, wait_s = calls["satisfaction_index"].to_numpy(), np.expm1(features_of(calls, month["contacts"])[:, -2])
    latent = PLANTS.survey_slope * (index - 55) + PLANTS.survey_wait_slope * wait_s / 60
    above = expit(latent[:, None] - np.array([-2.5, -1.0, 0.5, 2.0]))
    expected = fitted.model.predict(features_of(calls, month["contacts"]))[0]
    assert np.abs(expected - (1 + above.sum(axis=1))).mean() < 0.2
    assert fitted.slope == pytest.approx(1.0, abs=0.2)
    assert fitted.rank_low < fitted.rank_correlation < fitted.rank_high
    # Scores come in five steps: an interval of whole steps holds rather more than it says.
    assert 0.88 <= fitted.coverage <= 1.0
    assert "It beats predicting the mean" in in_words(fitted)


def test_where_scores_have_nothing_to_do_with_calls_it_does_not_beat_the_mean(month: simulated.Tables) -> None:
    found = calibrate(shuffled(month["calls"]), month["contacts"])
    assert not found.beats_the_mean
    assert abs(found.rank_correlation) < 0.1
    assert "does not beat predicting the mean: nothing is kept" in in_words(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda calls: calls.slice(0, 300), "expected at least 200"),
        (lambda calls: calls.slice(0, 0), "found 0 calls"),
    ],
)
def test_too_few_answers_are_said(
    change: Callable[[pa.Table], pa.Table], message: str, month: simulated.Tables
) -> None:
    with pytest.raises(CalibrationError, match=message):
        calibrate(change(month["calls"]), month["contacts"])


def test_a_scale_without_steps_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(CalibrationError, match="expected 2 to 11"):
        ScoreModel.fit(rng.normal(size=(300, len(FEATURES))), rng.random(300))


def test_missing_features_count_as_the_mean_and_constant_ones_as_nothing() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2000, 3))
    features[:, 2] = 7.0
    scores = (features[:, 0] + rng.logistic(size=2000) > 0).astype(float)
    features[::10, 1] = np.nan
    model = ScoreModel.fit(features, scores)
    assert model.coefficients[0] == pytest.approx(1.0, abs=0.2)
    assert model.coefficients[2] == 0.0
    known = model.predict(np.array([[1.0, model.means[1], 7.0]]))
    missing = model.predict(np.array([[1.0, np.nan, np.nan]]))
    assert np.allclose(known, missing)
    assert model.probabilities(features).sum(axis=1) == pytest.approx(1.0)


def test_the_calls_of_its_model_are_filled_and_no_others(month: simulated.Tables, fitted: Calibration) -> None:
    calls = month["calls"].slice(0, 4)
    for name, values in {
        "model_id": [simulated.MODEL_ID, "another", simulated.MODEL_ID, simulated.MODEL_ID],
        "index_version": [d.INDEX_VERSION, d.INDEX_VERSION, d.INDEX_VERSION + 1, d.INDEX_VERSION],
        "satisfaction_index": [50.0, 50.0, 50.0, None],
    }.items():
        place = calls.schema.get_field_index(name)
        calls = calls.set_column(place, calls.schema.field(place), pa.array(values, calls.schema.field(place).type))
    filled = fitted.fill(calls, month["contacts"])
    TABLES["calls"].check(filled)
    for name in ("csat_predicted", "csat_low", "csat_high"):
        assert filled[name].is_null().to_pylist() == [False, True, True, True]
    first = filled.slice(0, 1).to_pylist()[0]
    assert 1 <= first["csat_low"] <= first["csat_predicted"] <= first["csat_high"] <= 5
    assert filled.drop_columns(["csat_predicted", "csat_low", "csat_high"]).equals(
        calls.drop_columns(["csat_predicted", "csat_low", "csat_high"])
    )


def test_calls_without_a_contact_record_are_filled_too(month: simulated.Tables, fitted: Calibration) -> None:
    calls = month["calls"].slice(0, 3)
    filled = fitted.fill(calls, month["contacts"].slice(0, 0))
    assert pc.sum(pc.is_valid(filled["csat_predicted"])).as_py() == 3


def test_a_run_fills_its_staged_calls_once_a_calibration_is_kept(
    tmp_path: Path, month: simulated.Tables, fitted: Calibration
) -> None:
    staging, warehouse = RunStaging(LocalStorage(tmp_path / "s"), FIRST, "run"), LocalStorage(tmp_path / "w")
    for name in ("calls", "contacts"):
        staging.write_table(TABLES[name], month[name].filter(pc.field("call_date") == pa.scalar(FIRST)))
    expect_scores(staging, warehouse)
    before = staging.read_table(TABLES["calls"])
    assert before["csat_predicted"].null_count == before.num_rows
    fitted.save(warehouse)
    expect_scores(staging, warehouse)
    after = staging.read_table(TABLES["calls"])
    assert after["csat_predicted"].null_count == 0
    assert after["contact_id"].equals(before["contact_id"])


def test_what_is_kept_is_the_last_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    month = simulated.simulate(FIRST, 5, 500, 22, logged_share=0.0)
    good, bad = LocalStorage(tmp_path / "good"), LocalStorage(tmp_path / "bad")
    simulated.publish(month, good)
    simulated.publish({**month, "calls": shuffled(month["calls"])}, bad)
    monkeypatch.setenv("CALLMOOD_WAREHOUSE", good.location)
    assert main([]) == 0
    assert "fill csat_predicted" in capsys.readouterr().out
    kept = Calibration.load(good)
    assert kept is not None
    assert kept == calibrate(month["calls"], month["contacts"])
    kept.save(bad)
    monkeypatch.setenv("CALLMOOD_WAREHOUSE", bad.location)
    assert main([]) == 0
    assert "nothing is kept" in capsys.readouterr().out
    assert Calibration.load(bad) is None
    assert main(["--from", "2026-12-01"]) == 2
    assert capsys.readouterr().err.startswith("found 0 calls of one model with an index and an answer")
