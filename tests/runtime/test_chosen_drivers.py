"""The same tests on rusticl, in a child: Mesa's driver must be enabled by environment, and may fall over at exit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def test_runtime_on_rusticl() -> None:
    if os.environ.get("RUSTICL_ENABLE"):
        pytest.skip("rusticl is enabled: it is among the devices of this run")
    if not list(Path("/etc/OpenCL/vendors").glob("rusticl.icd")):
        pytest.skip("rusticl is not installed")
    files = [str(HERE / name) for name in ("test_device.py", "test_pool.py", "test_program.py", "test_profiler.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "rusticl", *files]
    done = subprocess.run(
        command, env={**os.environ, "RUSTICL_ENABLE": "llvmpipe"}, capture_output=True, text=True, timeout=150
    )
    summary = re.search(r"(\d+) passed", done.stdout)
    assert summary and int(summary.group(1)) > 40, done.stdout[-3000:] + done.stderr[-2000:]
    assert not re.search(r"\d+ (failed|error)", done.stdout), done.stdout[-5000:]
