"""The same tests in child processes on drivers that must be chosen by environment: rusticl, which may fall over at
exit, and the simulator oclgrind, which tells of every access out of bounds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OCLGRIND = [
    Path("/usr/lib/oclgrind/liboclgrind-rt-icd.so"),
    Path("/usr/lib/x86_64-linux-gnu/oclgrind/liboclgrind-rt-icd.so"),
]


def run(choice: str, files: tuple[str, ...], **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", choice]
    return subprocess.run(
        command + [str(HERE / name) for name in files],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=150,
    )


def test_runtime_on_rusticl() -> None:
    if os.environ.get("RUSTICL_ENABLE"):
        pytest.skip("rusticl is enabled: it is among the devices of this run")
    if not list(Path("/etc/OpenCL/vendors").glob("rusticl.icd")):
        pytest.skip("rusticl is not installed")
    files = ("test_device.py", "test_pool.py", "test_program.py", "test_profiler.py")
    done = run("rusticl", files, RUSTICL_ENABLE="llvmpipe")
    summary = re.search(r"(\d+) passed", done.stdout)
    assert summary and int(summary.group(1)) > 40, done.stdout[-3000:] + done.stderr[-2000:]
    assert not re.search(r"\d+ (failed|error)", done.stdout), done.stdout[-5000:]


def test_runtime_on_oclgrind() -> None:
    library = next((place for place in OCLGRIND if place.is_file()), None)
    if library is None:
        pytest.skip("oclgrind is not installed")
    tests = "(upload or rebinding or sub_buffers or local_memory or write or adopted or scalar) and oclgrind"
    done = run(tests, ("test_device.py",), OCL_ICD_VENDORS=str(library))
    summary = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0 and summary and int(summary.group(1)) > 10, done.stdout[-3000:] + done.stderr[-2000:]
    for complaint in ("Invalid read", "Invalid write", "data race"):
        assert complaint not in done.stdout + done.stderr
