"""`python -m benchmarks`: a table of ratios against PyTorch (and tinygrad where installed), and the same as JSON.

python -m benchmarks                     # everything, on every CPU device
python -m benchmarks --only 'CNN' --device cl:0 --seconds 4
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import platform
import re
import subprocess
import sys
from pathlib import Path

import cltorch

from . import cases, cold, host, timing, tinygrad_peer


def commit() -> str:
    """The commit that is measured."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    return done.stdout.strip() or "unknown"


def line(name: str, ours: timing.Timed, peer: timing.Timed | None) -> str:
    shown = f"{name:28} {ours.median * 1e6:11.1f} ({ours.low * 1e6:.0f}..{ours.high * 1e6:.0f})".ljust(66)
    if peer is None:
        return shown
    return (
        f"{shown} {peer.median * 1e6:11.1f} ({peer.low * 1e6:.0f}..{peer.high * 1e6:.0f})".ljust(106)
        + f" {peer.median / ours.median:6.2f}x"
    )


def start_tinygrad(given: argparse.Namespace) -> tinygrad_peer.Peer | None:
    """tinygrad's CNN step, if tinygrad is there and wanted (its first steps compile for a minute or two)."""
    if given.skip_tinygrad or importlib.util.find_spec("tinygrad") is None:
        return None
    print("starting tinygrad (its first steps take a minute or two) …", flush=True)
    cltorch.accelerator.device_count()  # discovery sets OCL_ICD_VENDORS, so that tinygrad sees the same drivers
    try:
        return tinygrad_peer.Peer(4)
    except RuntimeError as error:
        print(f"tinygrad does not run here: {error}")
        return None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="regular expression on names")
    parser.add_argument("--device", action="append", help="cl:0, …; default: all CPU devices")
    parser.add_argument("--seconds", type=float, default=2.0, help="per case and side")
    parser.add_argument("--threads", type=int, default=2, help="PyTorch's threads")
    parser.add_argument("--skip-tinygrad", action="store_true", help="leave out tinygrad")
    parser.add_argument("--skip-cold", action="store_true", help="leave out cold start and memory")
    parser.add_argument("--json", default="benchmarks/results/latest.json")
    given = parser.parse_args()
    try:
        import torch
    except ImportError:
        torch = None
        print("PyTorch is not installed: no ratios")
    if torch is not None:
        torch.set_num_threads(given.threads)
    devices = given.device or [f"cl:{i}" for i in range(cltorch.accelerator.device_count())]
    results: dict = {"commit": commit(), "machine": platform.processor() or platform.machine(), "devices": {}}
    wanted = {n: c for n, c in {**cases.MODELS, **cases.OPERATIONS}.items() if re.search(given.only, n)}
    tinygrad = start_tinygrad(given) if re.search(given.only, "CNN step b4") else None
    for device in devices:
        cltorch.set_default_device(device)
        label = f"{device}: {cltorch.accelerator.device_name()}"
        rows = results["devices"].setdefault(label, {})
        print(f"\n{label}\n{'case':28} {'cltorch us (10%..90%)':>37} {'PyTorch us':>37} {'ratio':>8}")
        ratios = []
        for name, case in wanted.items():
            sides = {"cltorch": case(cltorch)}
            if torch is not None:
                sides["torch"] = case(torch)
            other = tinygrad if name == "CNN step b4" else None
            if other is not None:
                sides["tinygrad"] = other
            found = timing.interleave(sides, given.seconds)
            ours, peer = found["cltorch"], found.get("torch")
            rows[name] = {side: vars(timed) for side, timed in found.items()}
            if peer:
                rows[name]["ratio"] = peer.median / ours.median
                ratios.append(rows[name]["ratio"])
            print(line(name, ours, peer), flush=True)
            if other is not None:
                theirs = found["tinygrad"]
                print(
                    f"  tinygrad (DEV=CL): {theirs.median * 1e6:.0f} us, {theirs.median / ours.median:.1f}x; "
                    "its first steps took "
                    f"{float(other.first):.0f} s",
                    flush=True,
                )
        if ratios:
            print(f"{'geometric mean':28} {math.exp(sum(map(math.log, ratios)) / len(ratios)):105.2f}x")
        if not given.only or re.search(given.only, "host"):
            rows["host"] = {}
            for name, (median, low) in host.measure(cltorch).items():
                rows["host"][name] = {"median": median, "min": low}
                print(f"host: {name:42} {median:8.2f} us (min {low:.2f})")
        if not given.skip_cold and (not given.only or re.search(given.only, "cold")):
            first, second = cold.cold_and_warm(device)
            rows["cold"], rows["warm"] = first, second
            print(
                f"cold start: import {first['imported']:.2f} s, first CNN step after {first['first']:.2f} s; "
                f"warm {second['first']:.2f} s"
            )
            ours = cold.run("cltorch", "resnet18", 16, device)
            rows["memory"] = {"cltorch": ours}
            print(
                f"ResNet-18 b16: peak of the pool {ours['pool'] / 2**20:.0f} MiB, "
                f"of the process {ours['rss'] / 2**20:.0f} MiB"
            )
            if torch is not None:
                theirs = cold.run("torch", "resnet18", 16)
                rows["memory"]["torch"] = theirs
                print(f"PyTorch: peak of the process {theirs['rss'] / 2**20:.0f} MiB")
    if tinygrad is not None:
        tinygrad.close()
    path = Path(given.json)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1), encoding="utf-8")
    print(f"\nwritten: {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
