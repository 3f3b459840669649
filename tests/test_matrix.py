"""The matrix: one program of every kernel family on every OpenCL implementation, op by op, and under oclgrind.

Each runs `tests/matrix/program.py` in a child process, because drivers are chosen by the environment. An implementation
that is not installed is skipped by name.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cltorch import runtime

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "tests" / "matrix" / "program.py"
OCLGRIND = [
    Path("/usr/lib/oclgrind/liboclgrind-rt-icd.so"),
    Path("/usr/lib/x86_64-linux-gnu/oclgrind/liboclgrind-rt-icd.so"),
]
INSTALLED = {"intel": "", "pocl 3.1": "3.1", "pocl 3.0": "3.0"}


def run(vendor: str, driver: str = "", *families: str, limit: int = 540, **environment: str) -> str:
    """Output of the program, which must have said that nothing is wrong."""
    given = {name: value for name, value in os.environ.items() if name not in ("CLTORCH_DEVICE", "CLTORCH_EAGER")}
    given |= {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), **environment}
    command = [sys.executable, "-W", "ignore", str(PROGRAM), "--vendor", vendor, "--driver", driver, *families]
    done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=limit)
    assert "0 families wrong" in done.stdout, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    assert done.stdout.count("right  ") >= (len(families) or 18), done.stdout
    return done.stdout


def require(vendor: str, driver: str) -> None:
    if not any(d.target.vendor == vendor and d.target.driver.startswith(driver) for d in runtime.devices()):
        pytest.skip(f"{vendor} {driver} is not installed")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", INSTALLED)
def test_every_family(name: str) -> None:
    require(name.split()[0], INSTALLED[name])
    run(name.split()[0], INSTALLED[name])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_family_on_rusticl() -> None:
    if not list(Path("/etc/OpenCL/vendors").glob("rusticl.icd")):
        pytest.skip("rusticl is not installed")
    run("rusticl", RUSTICL_ENABLE="llvmpipe")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_family_op_by_op() -> None:
    """`CLTORCH_EAGER=1`: nothing is fused, so each record's own kernel is run."""
    vendor = runtime.get_device("cl").target.vendor
    families = (
        "pointwise_chains", "pointwise_functions", "pointwise_views", "pointwise_dtypes", "rows", "batch_norm",
        "embedding", "indexing", "scans", "joining", "random_numbers", "optimizers", "losses", "training",
    )  # fmt: skip
    run(vendor, "", *families, CLTORCH_EAGER="1")


def test_every_family_where_nothing_runs() -> None:
    output = run("null")
    kernels, launches = re.search(r"(\d+) kernels rendered, (\d+) launches", output).groups()
    assert int(kernels) > 200 and int(launches) > 400


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_family_under_oclgrind(tmp_path: Path) -> None:
    """No access outside a buffer, no data race, no wrong call of the API, and right results.

    Without the compiler's optimisations: oclgrind 21.10 takes the `true` of a vector comparison, once LLVM has made it
    an `i1`, for 255.
    """
    library = next((place for place in OCLGRIND if place.is_file()), None)
    if library is None:
        pytest.skip("oclgrind is not installed")
    log = tmp_path / "log"
    run(
        "oclgrind",
        OCL_ICD_VENDORS=str(library),
        OCLGRIND_BUILD_OPTIONS="-cl-opt-disable",
        OCLGRIND_CHECK_API="1",
        OCLGRIND_DATA_RACES="1",
        OCLGRIND_LOG=str(log),
        CLTORCH_CACHE_DIR=str(tmp_path / "cache"),
    )
    complaints = log.read_text() if log.exists() else ""
    assert not complaints, complaints[:4000]
