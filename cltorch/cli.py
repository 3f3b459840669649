"""The command line: `cltorch devices`, `cltorch run SCRIPT [ARGS]`, `cltorch --version`.

Floor 8.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from . import launcher, runtime
from .errors import DeviceError
from .version import __version__


def _gibibytes(nbytes: float) -> str:
    return f"{nbytes / 2**30:.1f} GiB"


def _features(device: runtime.Device) -> str:
    target = device.target
    found = [name for name, there in (("fp64", target.fp64), ("fp16", target.fp16), ("unified", target.unified_memory)) if there]
    if target.sub_group:
        found.append(f"sub-group {target.sub_group}")
    if target.matrix:
        found.append(target.matrix)
    return " ".join([*found, f"vector {target.vector_width}", f"local {target.local_memory // 1024} KiB"])


def devices(arguments: argparse.Namespace) -> int:
    """Print a table of all devices, with measured speed unless `--fast`."""
    found = runtime.devices()
    if not found:
        runtime.get_device(None)  # raises the paragraph that says what to install
    rows = []
    for device in found:
        peak = None if arguments.fast else device.peak
        rows.append({
            "device": f"cl:{device.index}",
            "type": device.type,
            "name": device.name,
            "vendor": device.vendor,
            "driver": device.target.driver,
            "units": device.target.compute_units,
            "memory": _gibibytes(device.target.global_memory),
            "GFLOPS": f"{peak.gflops:.0f}" if peak else "-",
            "GB/s": f"{peak.bandwidth:.1f}" if peak else "-",
            "features": _features(device),
        })
    if arguments.json:
        print(json.dumps(rows, indent=1))
        return 0
    columns = list(rows[0])
    widths = [max(len(c), *(len(str(r[c])) for r in rows)) for c in columns]
    print("  ".join(c.ljust(w) for c, w in zip(columns, widths)).rstrip())
    for row in rows:
        print("  ".join(str(row[c]).ljust(w) for c, w in zip(columns, widths)).rstrip())
    print(f"\ndefault: cl:{runtime.get_device(None).index} (CLTORCH_DEVICE chooses another)")
    return 0


def parser() -> argparse.ArgumentParser:
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
    """Entry point of the `cltorch` command."""
    arguments = parser().parse_args(given)
    try:
        if arguments.command == "devices":
            return devices(arguments)
        launcher.run(arguments.script, arguments.arguments)
        return 0
    except (DeviceError, FileNotFoundError) as error:
        print(f"cltorch: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
