"""The daemon of Spark's Python workers, of which each change is a point at which ``kill_steps.py`` may kill.

Spark starts it in place of its own (``spark.python.daemon.module``), and it forks the workers.
"""

from __future__ import annotations

import json
import os

from kill_steps import VARIABLE, Points
from pyspark import daemon

if __name__ == "__main__":
    Points(**json.loads(os.environ[VARIABLE])).watch()
    daemon.manager()
