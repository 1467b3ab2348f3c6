"""docker-compose.yml and the images' Dockerfile keep their promises: read as files, without a container engine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SERVICES = {
    "postgres",
    "airflow-init",
    "airflow-apiserver",
    "airflow-scheduler",
    "airflow-dag-processor",
    "airflow-triggerer",
    "spark-master",
    "spark-worker",
    "s3",
    "dashboard",
}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "infra" / "images" / "Dockerfile").read_text()
REQUIRED = re.compile(r"\$\{(\w+):\?[^}]+\}")
SECRET = re.compile(r"PASSWORD|SECRET|FERNET|ACCESS_KEY|IDENTITY_KEY|SQL_ALCHEMY_CONN")
STAGES = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", DOCKERFILE, flags=re.MULTILINE | re.DOTALL))
INSTALLATIONS = re.findall(r"^RUN .*\bpip install\b.*", DOCKERFILE.replace("\\\n", " "), flags=re.MULTILINE)
BASES = dict(re.findall(r"^FROM (\S+) AS (\S+)", DOCKERFILE, flags=re.MULTILINE))
BUILDS = [(each["image"], each["build"]) for each in COMPOSE["services"].values() if "build" in each]
BUILT = dict(BUILDS)
each_service = pytest.mark.parametrize("name", sorted(COMPOSE["services"]))


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = COMPOSE["services"][name]
    return found


def test_the_services() -> None:
    assert set(COMPOSE["services"]) == SERVICES


@each_service
def test_each_is_looked_after(name: str) -> None:
    if name == "airflow-init":
        # It ends; who depends on it waits for that.
        assert service(name)["healthcheck"] == {"disable": True}
        return
    check = service(name)["healthcheck"]
    assert check["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@each_service
def test_each_is_confined(name: str) -> None:
    limits = service(name)["deploy"]["resources"]["limits"]
    assert limits["cpus"] and limits["memory"]
    assert service(name)["user"] == "${AIRFLOW_UID:-50000}:0"
    assert service(name)["read_only"] is True
    assert service(name)["cap_drop"] == ["ALL"]
    assert service(name)["security_opt"] == ["no-new-privileges"]
    assert "privileged" not in service(name) and "network_mode" not in service(name)


@each_service
def test_ports_are_published_on_loopback_only(name: str) -> None:
    for port in service(name).get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{\w+:-\d+\}:\d+", port), port


@each_service
def test_secrets_come_from_outside_and_have_no_default(name: str) -> None:
    for variable, value in service(name).get("environment", {}).items():
        if SECRET.search(variable) and not variable.endswith("_FILE"):
            assert REQUIRED.search(value), f"{variable}={value}: expected ${{NAME:?what to do}}"


def test_the_example_names_just_the_required_variables_and_gives_none_a_value() -> None:
    text = (ROOT / ".env.example").read_text()
    required = {name for name, _ in re.findall(r"\$\{(\w+):\?([^}]+)\}", (ROOT / "docker-compose.yml").read_text())}
    assert set(re.findall(r"^(\w+)=$", text, flags=re.MULTILINE)) == required
    assert not re.search(r"^\w+=.+$", text, flags=re.MULTILINE)
    assert "/.env" in (ROOT / ".gitignore").read_text().splitlines()


@each_service
def test_who_needs_no_recordings_gets_no_key_to_them(name: str) -> None:
    has_keys = "AWS_SECRET_ACCESS_KEY" in service(name).get("environment", {})
    assert has_keys == (name in {"airflow-scheduler", "spark-worker", "s3", "dashboard"})
    has_identity_key = "CALLMOOD_IDENTITY_KEY" in service(name).get("environment", {})
    assert has_identity_key == (name == "airflow-scheduler")


def test_what_must_last_is_on_volumes() -> None:
    mounted = {volume.split(":")[0] for each in COMPOSE["services"].values() for volume in each.get("volumes", [])}
    assert mounted == set(COMPOSE["volumes"])
    staging = {name for name in SERVICES if any(v.startswith("staging:") for v in service(name).get("volumes", []))}
    # Speech can be rebuilt from what is staged.
    assert staging == {"airflow-scheduler", "spark-worker"}


def test_each_image_is_built_by_one_service() -> None:
    assert sorted(image for image, _ in BUILDS) == sorted({service(name)["image"] for name in SERVICES})


@pytest.mark.parametrize("image", BUILT)
def test_each_is_built_from_a_stage_that_ends_without_root(image: str) -> None:
    build = BUILT[image]
    assert image.endswith(f"-{build['target']}:${{CALLMOOD_TAG:-latest}}")
    assert build["dockerfile"] == "infra/images/Dockerfile"
    assert set(build["args"]) == {"BASE", "AIRFLOW_UID"}
    users = re.findall(r"^USER (\w+)", STAGES[build["target"]], flags=re.MULTILINE)
    assert users[-1:] == ["callmood"]


def test_every_base_is_the_argument_or_another_stage() -> None:
    assert all(base == "${BASE}" or base in STAGES for base in BASES)
    assert re.search(r"^ARG BASE=\S+$", DOCKERFILE, flags=re.MULTILINE)


def test_there_is_an_installation_for_each_environment() -> None:
    assert len(INSTALLATIONS) == 5


@pytest.mark.parametrize("line", INSTALLATIONS)
def test_everything_is_installed_from_hashed_locks(line: str) -> None:
    (lock,) = re.findall(r"-r (\S+)", line)
    assert "--require-hashes" in line
    assert "--hash=sha256:" in (ROOT / lock).read_text()


def test_the_dashboard_serves_its_container_and_sees_the_warehouse_alone() -> None:
    """By itself it serves loopback, which nobody outside of the container reaches."""
    assert "STREAMLIT_SERVER_ADDRESS=0.0.0.0" in STAGES["dashboard"]
    assert service("dashboard")["volumes"] == ["warehouse:/var/lib/callmood/warehouse"]
    (port,) = service("dashboard")["ports"]
    assert port.endswith(":8501") and '"--port", "8501"' in STAGES["dashboard"]


def test_code_comes_last_and_from_one_stage() -> None:
    """A change of the code builds nothing anew that is installed."""
    for name in ("spark", "airflow", "dashboard"):
        copied = re.findall(r"^COPY (.*)", STAGES[name], flags=re.MULTILINE)
        assert "--from=code /opt/callmood ./" in copied
        installed = [number for number, line in enumerate(copied) if "-environment" in line]
        assert all(number < copied.index("--from=code /opt/callmood ./") for number in installed)


def test_the_steps_that_start_spark_have_their_pool_before_airflow_starts() -> None:
    (_, _, script) = service("airflow-init")["command"]
    assert script.startswith("airflow db migrate && airflow pools set spark ")
    for name in SERVICES:
        if name.startswith("airflow-"):
            assert service(name)["environment"]["AIRFLOW__CALLMOOD__SPARK_POOL"] == "spark"


def test_one_switch_sends_the_metrics_of_all_of_airflow() -> None:
    for name in SERVICES:
        if name.startswith("airflow-"):
            assert service(name)["environment"]["AIRFLOW__METRICS__OTEL_ON"] == "${AIRFLOW_METRICS_OTEL_ON:-false}"


def test_environments_are_made_in_stages_that_no_image_is_built_on() -> None:
    for name in {build["target"] for build in BUILT.values()}:
        assert "uv pip" not in STAGES[name] and "secret" not in STAGES[name]
