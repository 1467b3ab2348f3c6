"""The steps of a night, one module each, and what they share: settings, storage, staging, Spark, publishing.

Each step runs by itself (``python -m jobs.plan_recordings --help``). Nothing here knows of Airflow.
"""

import os

# Before any step imports numpy. The matrices of a recording are small: of two threads one waits for the other, busily,
# and where the other core has work of its own, reading a recording takes ten times the processor time.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
