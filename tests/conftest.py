"""Says which OpenCL implementations this run has, and which it lacks: a device that is not there is printed, never
silent.
"""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path

from cltorch import runtime
from cltorch.errors import DeviceError

_EXPECTED = {
    "intel": "pip install intel-opencl-rt",
    "pocl 3.1": "apt-get install pocl-opencl-icd",
    "pocl 3.0": "pip install pocl-binary-distribution",
    "rusticl": "apt-get install mesa-opencl-icd",
    "oclgrind": "apt-get install oclgrind",
}  # fmt: skip


def _has_pytorch() -> bool:
    try:
        return find_spec("torch") is not None
    except ValueError:  # a None in sys.modules
        return False


def _needs_pytorch(path: Path) -> bool:
    return bool(re.search(r"^(import torch|from (tests\.)?oracle import)", path.read_text(encoding="utf-8"), re.M))


_TESTS = Path(__file__).parent
collect_ignore = [] if _has_pytorch() else [str(path) for path in _TESTS.rglob("test_*.py") if _needs_pytorch(path)]


def _there(name: str, found: list[runtime.Device]) -> bool:
    vendor, _, version = name.partition(" ")
    if vendor == "oclgrind":
        return any(Path("/usr/lib").glob("**/liboclgrind-rt-icd.so"))
    if any(each.target.vendor == vendor and each.target.driver.startswith(version) for each in found):
        return True
    return vendor == "rusticl" and Path("/etc/OpenCL/vendors/rusticl.icd").is_file()


def pytest_report_header() -> list[str]:
    """Devices of this process, and implementations that tests start in children or must skip."""
    try:
        found = runtime.devices()
    except DeviceError as error:
        return [f"OpenCL: {error}"]
    lines = [f"OpenCL {each.spec}: {each.target.vendor} {each.target.driver}, {each.name}" for each in found]
    lines.append("OpenCL null: records, plans and renders; runs nothing")
    for name in ("rusticl", "oclgrind"):
        if _there(name, []) and not any(each.target.vendor == name for each in found):
            lines.append(f"OpenCL in child processes: {name}")
    if collect_ignore:
        names = ", ".join(str(Path(path).relative_to(_TESTS)) for path in collect_ignore)
        lines.append(f"PyTorch missing: {len(collect_ignore)} files that compare with it are left out: {names}")
    missing = [f"{name} ({how})" for name, how in _EXPECTED.items() if not _there(name, found)]
    lines.append(f"OpenCL missing: {', '.join(missing) or 'nothing'}")
    chosen = {name: value for name, value in os.environ.items() if name.startswith(("CLTORCH_", "RUSTICL", "OCL_ICD"))}
    return [*lines, f"environment: {chosen}"] if chosen else lines
