"""`python -m benchmarks`: tables of ratios against PyTorch (and tinygrad where installed), kept as JSON per commit.

python -m benchmarks                                     # everything, on every device: about 6 minutes each
python -m benchmarks --group gemm,conv --device cl:0     # some groups
python -m benchmarks --only 'CNN' --device cl:0 --seconds 4
python -m benchmarks --scaling                           # cost against size, with docs/scaling.png
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import cltorch

from . import footprint, host, report, scaling, tables, timing, tinygrad_peer
from .cases import GROUPS, Case, runner
from .results import Store, latest, microseconds, rounded

SECONDS = {"models": 2.0, "inference": 1.0, "conv": 0.25}  # per case and side; others:
USUAL_SECONDS = 0.4
TINYGRAD_ROW = "CNN step b4"


def runtime_device() -> Any:
    """The runtime's object of the default device."""
    return cltorch.zeros(1)._storage.device


def label_of(device: Any) -> str:
    """The short name of a device: intel, pocl-3.1, …"""
    version = re.search(r"\d+\.\d+", device.target.driver)
    known = {"intel": "intel"}
    return known.get(device.target.vendor, f"{device.target.vendor}-{version.group() if version else 'x'}")


def start_tinygrad(given: argparse.Namespace) -> tinygrad_peer.Peer | None:
    """tinygrad's CNN step, if tinygrad is there and wanted (its first steps compile for a while)."""
    if given.skip_tinygrad or importlib.util.find_spec("tinygrad") is None:
        return None
    print("starting tinygrad (its first steps take a while) …", flush=True)
    cltorch.accelerator.device_count()  # discovery sets OCL_ICD_VENDORS, so that tinygrad sees the same drivers
    try:
        return tinygrad_peer.Peer(4)
    except RuntimeError as error:
        print(f"tinygrad does not run here: {error}")
        return None


def measure(
    case: Case, torch: Any, peak: Any, vendor: str, seconds: float, tinygrad: tinygrad_peer.Peer | None
) -> dict[str, Any]:
    """The row of a case."""
    sides = {"cltorch": runner(case, cltorch)}
    if torch is not None:
        sides["torch"] = runner(case, torch)
    if tinygrad is not None:
        sides["tinygrad"] = timing.waiting(tinygrad)
    found = timing.interleave_calls(sides, seconds)
    ours = found["cltorch"]
    row: dict[str, Any] = {"us": microseconds(ours), "calls": ours.calls}
    if "torch" in found:
        row["torch_us"] = microseconds(found["torch"])
        row["ratio"] = rounded(found["torch"].median / ours.median)
    if "tinygrad" in found:
        row["tinygrad_us"] = microseconds(found["tinygrad"])
    if case.goal is not None:
        row.update(goal=case.goal.what, target=case.goal.ratio(vendor), least=case.goal.row(vendor))
    if case.flops or case.nbytes:
        row["gflops"] = rounded(case.flops / ours.median / 1e9)
        row["gbs"] = rounded(case.nbytes / ours.median / 1e9)
        row["of_peak"] = rounded(max(row["gflops"] / peak.gflops, row["gbs"] / peak.bandwidth))
    return row


def measure_footprint(store: Store, case: Case, spec: str, with_torch: bool, with_cold: bool) -> None:
    """Memory and first step of a model, a process per side; ours with a cache of kernels of its own, empty and
    then filled by the run before: a program taken from a cache is as large as the step it was first built for.
    """
    row: dict[str, Any] = {}
    sides = {"ours": ("cltorch", spec), "torch": ("torch", "")} if with_torch else {"ours": ("cltorch", spec)}
    with tempfile.TemporaryDirectory() as cache:
        if with_cold:
            row["ours_cold_s"] = rounded(footprint.run("cltorch", case.name, spec, cache)["first"])
        measured = {
            side: footprint.run(module, case.name, device, cache if side == "ours" and with_cold else None)
            for side, (module, device) in sides.items()
        }
    for side, found in measured.items():
        for key in ("process", "peak", "pool"):
            row[f"{side}_{key}_mib"] = rounded(found[key] / 2**20)
        for key in ("imported", "ready", "first"):
            row[f"{side}_{key}_s"] = rounded(found[key])
    store.add("footprint", case.name, row)
    print(report.footprint_line(case.name, row), flush=True)


def open_store(spec: str, given: argparse.Namespace, torch: Any) -> tuple[Store, Any]:
    """Makes `spec` the default device; the file of its results and the runtime's object of it."""
    cltorch.set_default_device(spec)
    device = runtime_device()
    peak = device.peak
    about = {
        "device": device.name, "driver": device.target.driver, "vendor": device.target.vendor,
        "machine": platform.machine(), "torch": str(torch.__version__) if torch else None,
        "threads": given.threads, "peak_gbs": rounded(peak.bandwidth), "peak_gflops": rounded(peak.gflops),
    }  # fmt: skip
    store = Store(label_of(device), about, Path(given.json) if given.json else None)
    print(
        f"\n{spec}: {device.name}, {device.target.driver}; measured peak {peak.bandwidth:.0f} GB/s, "
        f"{peak.gflops:.0f} GFLOPS"
    )
    return store, device


def keep(store: Store, given: argparse.Namespace) -> None:
    """Write the file, unless a few rows were measured by the way."""
    if given.json or not given.only:
        store.write()


def run_device(spec: str, given: argparse.Namespace, torch: Any, wanted: list[Case], groups: list[str]) -> None:
    """All that is asked for, on one device."""
    store, device = open_store(spec, given, torch)
    peak, vendor = device.peak, device.target.vendor
    print(report.HEAD)
    tinygrad = start_tinygrad(given) if any(case.name == TINYGRAD_ROW for case in wanted) else None
    for case in wanted:
        seconds = given.seconds or SECONDS.get(case.group, USUAL_SECONDS)
        try:
            row = measure(case, torch, peak, vendor, seconds, tinygrad if case.name == TINYGRAD_ROW else None)
        except (RuntimeError, NotImplementedError, MemoryError) as error:  # the other rows still count
            print(f"{case.name:36} failed: {str(error)[:200]}", flush=True)
            store.add(case.group, case.name, {"failed": str(error)[:200]})
            continue
        store.add(case.group, case.name, row)
        keep(store, given)  # each row: a run that is cut short is not lost
        print(report.line(case.name, row), flush=True)
    if tinygrad is not None:
        tinygrad.close()
    if "host" in groups and re.search(given.only, "host"):
        for name, (median, low) in host.measure(cltorch).items():
            store.add("host", name, {"us": [rounded(low), rounded(median)]})
            print(f"host: {name:42} {median:8.2f} us (min {low:.2f})")
    if "footprint" in groups and not given.skip_cold:
        for case in tables.select(["models"], given.only):
            measure_footprint(store, case, spec, torch is not None, not given.skip_compile)
            keep(store, given)
    print(report.goals([store.data]))
    keep(store, given)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    every = (*GROUPS, "host", "footprint")
    parser.add_argument("--group", default=",".join(every), help=f"of {', '.join(every)}")
    parser.add_argument("--only", default="", help="regular expression on names")
    parser.add_argument("--device", action="append", help="cl:0, …; default: all devices")
    parser.add_argument("--seconds", type=float, default=None, help="per case and side; default: by group")
    parser.add_argument("--threads", type=int, default=2, help="PyTorch's threads")
    parser.add_argument("--skip-tinygrad", action="store_true", help="leave out tinygrad")
    parser.add_argument("--skip-cold", action="store_true", help="leave out memory and first steps")
    parser.add_argument("--skip-compile", action="store_true", help="leave out first steps with empty kernel caches")
    parser.add_argument("--scaling", action="store_true", help="cost against size instead, with a plot")
    parser.add_argument(
        "--json", default=None, help="file of results; default: results/<commit>-<device>.json, and none with --only"
    )
    given = parser.parse_args()
    groups = given.group.split(",")
    if unknown := set(groups) - set(every):
        parser.error(f"--group: got {', '.join(sorted(unknown))}, wanted of {', '.join(every)}")
    try:
        import torch
    except ImportError:
        torch = None
        print("PyTorch is not installed: no ratios")
    if torch is not None:
        torch.set_num_threads(given.threads)
    specs = given.device or [f"cl:{i}" for i in range(cltorch.accelerator.device_count())]
    if given.scaling:
        for spec in specs:
            store, _ = open_store(spec, given, torch)
            scaling.measure(store, torch, given.only)
            keep(store, given)
        scaling.draw(latest())
        return 0
    wanted = tables.select(groups, given.only)
    for spec in specs:
        run_device(spec, given, torch, wanted, groups)
    return 0


if __name__ == "__main__":
    sys.exit(main())
