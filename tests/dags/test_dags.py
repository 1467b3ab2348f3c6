"""Every DAG loads, fast, and keeps the project's rules."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.staging import ALL_STEPS
from jobs.staging import STEPS as RUN_STEPS

pytestmark = pytest.mark.airflow

TAGS = {"nightly", "enrichment", "emotion", "privacy"}
ROOT = Path(__file__).resolve().parent.parent.parent
STEPS = {
    "nightly_emotion_log": ["start_night", *RUN_STEPS["night"]],
    "enrich_emotion_log": ["start_enrichment", *RUN_STEPS["enrichment"]],
}
SPARK = {
    "nightly_emotion_log": {"extract_features", "classify_emotions", "summarize_calls"},
    "enrich_emotion_log": {"summarize_calls"},
}


def test_all_dags_load(dagbag: Any) -> None:
    assert dagbag.import_errors == {}
    assert set(dagbag.dags) == {*STEPS, "late_recordings", "erase_persons", "enforce_retention", "watch_model"}


def test_airflow_looks_for_dags_in_the_files_that_hold_one_alone(dagbag: Any) -> None:
    holding = {Path(dag.fileloc).name for dag in dagbag.dags.values()}
    ignored = (ROOT / "dags" / ".airflowignore").read_text().split()
    assert sorted({path.name for path in (ROOT / "dags").glob("*.py")} - holding) == ignored


def test_every_dag_keeps_the_rules(dagbag: Any) -> None:
    for dag in dagbag.dags.values():
        assert dag.doc_md, dag.dag_id
        assert dag.tags, dag.dag_id
        assert set(dag.tags) <= TAGS
        assert not dag.catchup
        for task in dag.tasks:
            assert task.owner == "callmood"
            assert task.retries >= 2
            assert task.retry_exponential_backoff


def test_the_docs_are_the_modules_docstring(dagbag: Any) -> None:
    assert "quarantined with its reason" in dagbag.dags["nightly_emotion_log"].doc_md
    assert "Reads no recording" in dagbag.dags["enrich_emotion_log"].doc_md
    for dag in dagbag.dags.values():
        assert "**When it fails.**" in dag.doc_md


def test_a_night_comes_by_itself_and_an_enrichment_does_not(dagbag: Any) -> None:
    assert type(dagbag.dags["nightly_emotion_log"].timetable).__name__ == "CronTriggerTimetable"
    assert type(dagbag.dags["late_recordings"].timetable).__name__ == "CronTriggerTimetable"
    assert type(dagbag.dags["enrich_emotion_log"].timetable).__name__ == "NullTimetable"


@pytest.mark.parametrize("dag_id", STEPS)
def test_the_steps_run_one_after_the_other(dagbag: Any, dag_id: str) -> None:
    dag, order = dagbag.dags[dag_id], STEPS[dag_id]
    assert set(dag.task_ids) == set(order)
    for before, after in itertools.pairwise(order):
        assert dag.get_task(before).downstream_task_ids == {after}
    assert {task.task_id for task in dag.tasks if type(task).__name__ == "SparkStep"} == SPARK[dag_id]


def test_a_thin_night_is_published_for_who_accepts_it_alone(dagbag: Any) -> None:
    dag = dagbag.dags["nightly_emotion_log"]
    assert dag.params["accept"] is None
    assert dag.get_task("publish_tables").arguments == {"--accept": "{{ params.accept or '' }}"}


def test_days_that_are_due_are_run_again_as_nights_of_their_own(
    dagbag: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dag = dagbag.dags["late_recordings"]
    (find,) = (task for task in dag.tasks if task.task_id == "find_due_days")
    again = dag.get_task("run_again")
    assert find.downstream_task_ids == {"run_again"}
    assert again.partial_kwargs["trigger_dag_id"] == "nightly_emotion_log"
    jobs = sys.modules[find.python_callable.__module__]
    run = {"call_date": "2026-11-20", "run_id": "run-1"}
    due = [{"call_date": "2026-11-18", "came": 2, "retried": 0, "published": True}]
    monkeypatch.setattr(jobs, "new_run", lambda _: run)
    asked = []
    monkeypatch.setattr(jobs, "ask", lambda _, *words: asked.append(words) or due)
    assert find.python_callable() == [
        {"conf": {"call_date": "2026-11-18"}, "trigger_run_id": "late__2026-11-18__run-1"}
    ]
    assert asked == [("jobs.due_days", "--call-date", "2026-11-20")]


@pytest.mark.parametrize(
    ("says", "status", "error"), [("[]", 0, None), ("", 2, "AirflowFailException"), ("", 75, "StepFailed")]
)
def test_what_a_module_answers_is_json(tmp_path: Path, says: str, status: int, error: str | None) -> None:
    import dataclasses

    from deployment import read_deployment
    from steps import ask

    asked = tmp_path / "python"
    asked.write_text(f"#!/bin/sh\necho '{says}'\necho why >&2\nexit {status}\n")
    asked.chmod(0o700)
    deployment = dataclasses.replace(read_deployment(), home=tmp_path, jobs_python=str(asked))
    if error is None:
        assert ask(deployment, "jobs.due_days") == []
        return
    with pytest.raises(Exception, match=r"jobs\.due_days: why") as raised:
        ask(deployment, "jobs.due_days")
    assert type(raised.value).__name__ == error


@pytest.mark.parametrize("dag_id", STEPS)
def test_every_step_is_of_the_run_that_the_first_task_names(dagbag: Any, dag_id: str) -> None:
    dag, (first, *steps) = dagbag.dags[dag_id], STEPS[dag_id]
    steps = [step for step in steps if step in ALL_STEPS]
    pulled = f"{{{{ ti.xcom_pull(task_ids='{first}')['%s'] }}}}"
    for step in steps:
        task = dag.get_task(step)
        given = task.application_args if step in SPARK[dag_id] else task.night
        assert given == ["--call-date", pulled % "call_date", "--run-id", pulled % "run_id"]


@pytest.mark.parametrize("dag_id", STEPS)
def test_publishing_updates_the_assets(dagbag: Any, dag_id: str) -> None:
    outlets = dagbag.dags[dag_id].get_task("publish_tables").outlets
    names = {asset.name for asset in outlets}
    assert {
        "calls",
        "call_events",
        "surveys",
        "topics",
        "topic_emotions",
        "emotion_log",
        "satisfaction_daily",
        "runs",
    } <= names
    assert len(names) == len(outlets)


def test_no_shell_string_and_no_outside_value_in_a_command(dagbag: Any) -> None:
    for dag in dagbag.dags.values():
        for task in dag.tasks:
            assert "Bash" not in type(task).__name__


def test_retention_comes_by_itself_every_day(dagbag: Any) -> None:
    dag = dagbag.dags["enforce_retention"]
    assert type(dag.timetable).__name__ == "CronTriggerTimetable"
    assert dag.get_task("retention").arguments == ["{{ '--dry-run' if params.dry_run else '' }}"]


def test_the_model_is_watched_by_itself_every_week(dagbag: Any) -> None:
    dag = dagbag.dags["watch_model"]
    assert type(dag.timetable).__name__ == "CronTriggerTimetable"
    assert (dag.get_task("watch").module, dag.get_task("watch").arguments) == ("watch_model", [])


def test_an_erasure_is_given_the_path_of_a_file_and_never_an_id(dagbag: Any) -> None:
    dag = dagbag.dags["erase_persons"]
    assert type(dag.timetable).__name__ == "NullTimetable"
    assert set(dag.params) == {"file", "recordings"}
    assert dag.get_task("erase").arguments[:2] == ["--file", "{{ params.file }}"]
    for wrong in ("", "ids.txt", "0123456789", "customer:abc", "s3://bucket", "/srv/ids/"):
        with pytest.raises(Exception, match=r"(?i)match|valid"):
            dag.params.get_param("file").resolve(wrong)
    for right in ("/srv/ids.txt", "s3://bucket/ids.txt"):
        assert dag.params.get_param("file").resolve(right) == right


@pytest.mark.parametrize(
    ("status", "error"), [(0, None), (2, "AirflowFailException"), (75, "StepFailed"), (-9, "StepFailed")]
)
def test_a_command_is_judged_by_its_exit_status(tmp_path: Path, status: int, error: str | None) -> None:
    import dataclasses

    from deployment import read_deployment
    from steps import JobCommand

    ends = f"exit {status}" if status >= 0 else f"kill {status} $$"
    (python := tmp_path / "python").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/given\n{ends}\n')
    python.chmod(0o700)
    deployment = dataclasses.replace(read_deployment(), home=tmp_path, jobs_python=str(python))
    command = JobCommand(task_id="erase", module="erase", arguments=["--file", "/a b", ""], deployment=deployment)
    if error is None:
        command.execute({})
    else:
        with pytest.raises(Exception, match="exit status") as raised:
            command.execute({})
        assert type(raised.value).__name__ == error
    assert (tmp_path / "given").read_text() == "-m jobs.erase --file /a b\n"


def test_parsing_takes_under_a_second() -> None:
    """Of the DAGs' own modules and the operators they import, in the processor's time."""
    timed = (
        "import sys; sys.path.insert(0, 'dags')\n"
        "import time; import airflow.sdk; from airflow.dag_processing.dagbag import DagBag\n"
        "start = time.process_time(); bag = DagBag('dags')\n"
        "assert not bag.import_errors, bag.import_errors\n"
        "print(time.process_time() - start)"
    )
    tries = []
    for _ in range(3):
        timing = subprocess.run([sys.executable, "-c", timed], cwd=ROOT, capture_output=True, text=True, check=False)
        assert timing.returncode == 0, timing.stderr
        tries.append(float(timing.stdout.split()[-1]))
    assert min(tries) < 1.0, tries


@pytest.mark.parametrize(
    ("marker", "error"),
    [
        ('{"status": "done"}', None),
        ('{"status": "failed", "permanent": true, "reason": "r"}', "AirflowFailException"),
        ('{"status": "failed", "permanent": false, "reason": "r"}', "StepFailed"),
        ("null", "StepFailed"),
    ],
)
def test_a_step_is_judged_by_its_marker(tmp_path: Path, marker: str, error: str | None) -> None:
    import dataclasses

    from deployment import read_deployment
    from steps import judge

    asked = tmp_path / "python"
    asked.write_text(f"#!/bin/sh\necho '{marker}'\n")
    asked.chmod(0o700)
    deployment = dataclasses.replace(read_deployment(), home=tmp_path, jobs_python=str(asked))
    if error is None:
        judge("plan_recordings", [], deployment)
        return
    with pytest.raises(Exception, match="plan_recordings") as raised:
        judge("plan_recordings", [], deployment)
    assert type(raised.value).__name__ == error


def test_steps_do_not_see_airflows_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    from steps import _environment

    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "secret")
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", "secret")
    monkeypatch.setenv("CALLMOOD_STAGING", "kept")
    assert "secret" not in _environment().values()
    assert _environment()["CALLMOOD_STAGING"] == "kept"
