"""Airflow's database, where the user has one for it: kept in Airflow's configuration, tried before all else starts."""

from __future__ import annotations

import configparser
import subprocess
from pathlib import Path

from infra.night import AIRFLOW
from infra.stack.errors import StackError

ANSWER_S = 60.0
EXAMPLE = "postgresql+psycopg2://user:password@host:5432/airflow"
# In Airflow's environment, which has the drivers. The address comes by standard input: others see arguments.
LOOK = """
import sys
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
try:
    address = make_url(sys.stdin.read())
except Exception as error:
    sys.exit(f"is no address of a database ({type(error).__name__})")
try:
    create_engine(address).connect().close()
except Exception as error:
    said = str(getattr(error, "orig", None) or error).strip().splitlines()
    sys.exit(f"{address.render_as_string(hide_password=True)} does not answer: {said[0]}")
"""


def keep_database(airflow_home: Path, address: str) -> None:
    """Try the address of a database, and write it into ``airflow.cfg``, which only its user can read.

    Raises
    ------
    StackError
        Another one stands there, or this one cannot be connected to.
    """
    file = airflow_home / "airflow.cfg"
    section = f"[database]\nsql_alchemy_conn = {address.replace('%', '%%')}\n"
    content = file.read_text(encoding="utf-8")
    if section in content:
        return
    if "[database]" in content:
        raise StackError(f"{file} has a section [database] already: change sql_alchemy_conn there")
    _connect(address, file)
    file.write_text(f"{content}{section}", encoding="utf-8")


def check_database(airflow_home: Path) -> None:
    """Connect to the database that ``airflow.cfg`` names; where it names none, Airflow takes a file of its own.

    Raises
    ------
    StackError
        It cannot be connected to. The message names no password.
    """
    file = airflow_home / "airflow.cfg"
    configuration = configparser.ConfigParser()
    try:
        configuration.read(file)
        address = configuration.get("database", "sql_alchemy_conn", fallback="")
    except configparser.Error as error:
        raise StackError(f"{file} cannot be read ({type(error).__name__}); in values, % is written %%") from None
    if address and not address.startswith("sqlite:"):
        _connect(address, file)


def _connect(address: str, file: Path) -> None:
    command = [str(AIRFLOW.with_name("python")), "-c", LOOK]
    try:
        looked = subprocess.run(command, input=address, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    except subprocess.TimeoutExpired:
        found = f"does not answer within {ANSWER_S:.0f} s"
    else:
        if looked.returncode == 0:
            return
        found = (looked.stderr.strip().splitlines() or [f"exit status {looked.returncode}"])[-1]
    raise StackError(
        f"Airflow's database: {found}\nexpected [database] sql_alchemy_conn in {file} to name a database that is "
        f"there, such as {EXAMPLE}, or not to be there: then Airflow takes SQLite"
    )
