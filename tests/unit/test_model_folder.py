"""Where a run's model is, on a machine that has the project elsewhere than the one that planned the run."""

from __future__ import annotations

import pytest

from jobs.model import load_classifier, model_folder, portable
from jobs.settings import ROOT

SHIPPED = ROOT / "ser_model" / "models" / "research"


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        (str(SHIPPED), "ser_model/models/research"),
        ("/srv/models/ours", "/srv/models/ours"),
        ("s3-like/relative", "s3-like/relative"),
    ],
)
def test_what_is_below_the_project_is_called_by_its_place_in_it(folder: str, name: str) -> None:
    assert portable(folder) == name


@pytest.mark.parametrize(
    ("name", "folder"), [("ser_model/models/research", str(SHIPPED)), ("/srv/models/ours", "/srv/models/ours")]
)
def test_it_is_found_again(name: str, folder: str) -> None:
    assert str(model_folder(name)) == folder


def test_the_shipped_model_loads_by_the_name_that_a_plan_has(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_classifier(portable(str(SHIPPED))).card.model_id.startswith("research-")
