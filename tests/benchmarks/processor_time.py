"""Runs a command and writes what processor time it took, with all that it started and whatever outlived it.

``python -m tests.benchmarks.processor_time FILE COMMAND...``. On a machine that others use, too, this is nearer to what
work costs than the time on the wall. A JVM outlives the Python process that started it, so this process takes over
orphans (Linux: PR_SET_CHILD_SUBREAPER) and waits for all of them.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Run the command; its exit status."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    status = subprocess.run(sys.argv[2:], check=False).returncode
    with suppress(ChildProcessError):
        while True:
            os.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    Path(sys.argv[1]).write_text(str(used.ru_utime + used.ru_stime))
    return status


if __name__ == "__main__":
    sys.exit(main())
