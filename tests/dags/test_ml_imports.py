"""The functions of `dags/ml` know nothing of Airflow: the other `test_ml_*` run without it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.dags.conftest import DAGS_FOLDER, SUBPROCESS_SECONDS


@pytest.mark.slow
def test_no_module_imports_airflow() -> None:
    modules = ", ".join(f"ml.{path.stem}" for path in sorted((DAGS_FOLDER / "ml").glob("[a-z]*.py")))
    program = f"import sys, {modules}; sys.exit('airflow' in sys.modules)"

    done = subprocess.run(
        (sys.executable, "-W", "error", "-c", program),
        cwd=DAGS_FOLDER,
        capture_output=True,
        text=True,
        timeout=SUBPROCESS_SECONDS,
    )

    assert done.returncode == 0, done.stderr
