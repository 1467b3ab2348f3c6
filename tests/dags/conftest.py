"""Airflow for the tests of the DAGs: a home of its own, made before Airflow is imported."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="callmood-airflow-")
os.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(ROOT / "dags")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "false"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "true"
sys.path.insert(0, str(ROOT / "dags"))


@pytest.fixture(scope="session")
def dagbag():
    """Every DAG of the project."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(str(ROOT / "dags"))
