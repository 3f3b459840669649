"""The command line: `cltorch devices`, `cltorch run SCRIPT [ARGS]`, `cltorch --version`.

Floor 8.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import launcher, runtime
from .errors import DeviceError
from .version import __version__


def _features(device: runtime.Device) -> str:
    target = device.target
    known = {"fp64": target.fp64, "fp16": target.fp16, "unified": target.unified_memory}
    found = [name for name, there in known.items() if there]
    if target.sub_group:
        found.append(f"sub-group {target.sub_group}")
    if target.matrix:
        found.append(target.matrix)
    return " ".join([*found, f"vector {target.vector_width}", f"local {target.local_memory // 1024} KiB"])


def _facts(device: runtime.Device, measure: bool) -> dict[str, Any]:
    """What the table and the JSON tell of a device; speeds are None where not measured or where the device fails."""
    peak = None
    if measure:
        device.find_matrix()
        try:
            peak = device.peak
        except DeviceError as error:
            print(f"cltorch: {device.spec} could not be measured: {error}", file=sys.stderr)
    return {
        "device": device.spec,
        "type": device.type,
        "name": device.name,
        "vendor": device.vendor,
        "driver": device.target.driver,
        "units": device.target.compute_units,
        "memory": device.target.global_memory,
        "GFLOPS": round(peak.gflops, 1) if peak else None,
        "GB/s": round(peak.bandwidth, 1) if peak else None,
        "features": _features(device),
        "matrix": device.matrix_reason or None,
    }


def _cells(facts: dict[str, Any]) -> dict[str, str]:
    cells = {name: "-" if value is None else str(value) for name, value in facts.items()}
    return cells | {"memory": f"{facts['memory'] / 2**30:.1f} GiB"}


def devices(arguments: argparse.Namespace) -> int:
    """Print a table of all devices, with measured speed unless `--fast`.

    Raises:
        DeviceError: there is none; the text says what was tried and what to install.
    """
    default = runtime.get_device(None)
    found = [_facts(device, not arguments.fast) for device in runtime.devices()]
    if arguments.json:
        print(json.dumps(found, indent=1))
        return 0
    matrix = [(facts["device"], facts.pop("matrix")) for facts in found]
    rows = [_cells(facts) for facts in found]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]} if rows else {}
    for row in [{name: name for name in widths}, *rows]:
        print("  ".join(row[name].ljust(width) for name, width in widths.items()).rstrip())
    for spec, reason in matrix:
        if reason:
            print(f"{spec}: matrix instructions: {reason}")
    print(f"\ndefault: {default.spec} (CLTORCH_DEVICE chooses another)")
    return 0


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(prog="cltorch", description="Deep learning on any OpenCL device.")
    top.add_argument("--version", action="version", version=f"cltorch {__version__}")
    commands = top.add_subparsers(dest="command", required=True)
    table = commands.add_parser("devices", help="list devices, drivers, memory, measured speed, features")
    table.add_argument("--fast", action="store_true", help="do not measure")
    table.add_argument("--json", action="store_true", help="as JSON")
    program = commands.add_parser("run", help="run an unmodified PyTorch script on cltorch")
    program.add_argument("script")
    program.add_argument("arguments", nargs=argparse.REMAINDER, help="arguments of the script")
    return top


def main(given: Sequence[str] | None = None) -> int:
    """Entry point of the `cltorch` command: the exit status."""
    arguments = parser().parse_args(given)
    if arguments.command == "run":
        if not Path(arguments.script).is_file():
            print(f"cltorch run: script: got {arguments.script!r}, wanted the path of a Python file", file=sys.stderr)
            return 2
        return launcher.run(arguments.script, arguments.arguments)
    try:
        return devices(arguments)
    except (DeviceError, RuntimeError) as error:  # no device, or CLTORCH_DEVICE names none
        print(f"cltorch: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
