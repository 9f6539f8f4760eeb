"""A home of its own for Airflow, with a real metadata database, for the tests of the DAGs.

Airflow reads its environment when it is imported, so that is set here, before any test module is.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_HOME = Path(tempfile.mkdtemp(prefix="windsock-dags-", dir="/tmp"))  # noqa: S108 # a fresh folder, 0700
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
