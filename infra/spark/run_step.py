"""What spark-submit starts where the jobs come as an archive: ``run_step.py extract_features --call-date ...``.

Runs the step's module from the archive; a step's own file would have to lie beside it in the store, and could be of
another version than the archive.
"""

import runpy
import sys

if __name__ == "__main__":
    step = sys.argv.pop(1)
    runpy.run_module(f"jobs.{step}", run_name="__main__", alter_sys=True)
