"""The module's self-test in the real application, where there is one.

    SLICER_EXECUTABLE=Slicer .venv/bin/python -m pytest -s Testing/test_slicer_application.py

Without torch in that Slicer's Python the self-test works with a stand-in for the model. On Linux
without a screen, start it by ``xvfb-run``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODULES = Path(__file__).resolve().parents[1] / "SAM2Medical3D"
SCRIPT = Path(__file__).with_name("run_in_slicer.py")
VARIABLE = "SLICER_EXECUTABLE"
TIMEOUT_S = 540


def _slicer() -> str:
    said = os.environ.get(VARIABLE, "")
    if not said:
        pytest.skip(f"no 3D Slicer: {VARIABLE} does not name its executable")
    found = shutil.which(said)
    assert found, f"{VARIABLE} is {said}, which is no executable file"
    return found


@pytest.mark.timeout(TIMEOUT_S + 30)
def test_self_test_passes_in_the_application() -> None:
    arguments = [
        _slicer(), "--testing", "--no-splash", "--ignore-slicerrc",
        "--additional-module-paths", str(MODULES), "--python-script", str(SCRIPT),
    ]  # fmt: skip
    try:
        run = subprocess.run(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        output = (error.stdout or b"").decode(errors="replace")
        pytest.fail(f"the self-test did not end within {TIMEOUT_S} s:\n{output}")
    print(run.stdout)
    passed = re.search(r"^([1-9]\d*) tests passed\.$", run.stdout, re.MULTILINE)
    assert run.returncode == 0 and passed, f"exit status {run.returncode}:\n{run.stdout}"
    for line in ("Traceback (most recent call last)", "PythonQt:"):
        assert line not in run.stdout, run.stdout
