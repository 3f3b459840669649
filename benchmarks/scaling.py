"""Cost against size over three decades, for products, convolutions and reductions; and where it jumps.

A cliff is a cost per unit of work that is more than 1.5 times that of a neighbouring size, seen from the side of which
one would expect it to be no dearer: the larger problem. Small sizes pay for launching, so costs fall with size.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cltorch

from . import timing
from .cases import Case, runner
from .convolutions import Shape, way_of
from .indexing import of
from .products import matmul
from .results import Store, rounded

CLIFF = 1.5
PLOT = Path(__file__).resolve().parent.parent / "docs" / "scaling.png"


@dataclass(frozen=True)
class Family:
    """Sizes of one operation: `case(size)` prepares it, `work(size)` is what its cost should grow with, and `unit` says
    what that is.
    """

    name: str
    sizes: tuple[int, ...]
    prepare: Callable[[int], Callable[[Any], Callable[[], Any]]]
    work: Callable[[int], float]
    unit: str


def _image(channels: int, size: int) -> Shape:
    return Shape(4, channels, size, channels, 3, 1, 1)


FAMILIES = [
    Family("matmul n x n", (4, 8, 16, 31, 32, 33, 64, 100, 128, 192, 256, 384, 512, 513, 768, 1000, 1024, 1536, 2048),
           lambda n: matmul(n, n, n), lambda n: 2.0 * n**3, "GFLOPS"),
    Family("matmul n x 1024 x 1024", (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1000),
           lambda n: matmul(n, 1024, 1024), lambda n: 2.0 * n * 1024**2, "GFLOPS"),
    Family("conv 3x3, 4 images of 64 channels, n x n", (4, 5, 7, 8, 12, 14, 16, 20, 28, 32, 48, 56, 64, 112, 128),
           lambda n: way_of(_image(64, n), "forward"), lambda n: _image(64, n).flops, "GFLOPS"),
    Family("conv 3x3, 4 images 16 x 16 of n channels", (1, 2, 3, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 384, 512),
           lambda n: way_of(_image(n, 16), "forward"), lambda n: _image(n, 16).flops, "GFLOPS"),
    Family("sum of n", tuple(10**e * m for e in range(3, 7) for m in (1, 2, 5)) + (10**7,),
           lambda n: of(lambda torch, x: x.sum(), n), lambda n: 4.0 * n, "GB/s"),
    Family("softmax of 1M in rows of n", (8, 16, 32, 64, 100, 128, 256, 500, 512, 1024, 2048, 4096, 8192, 16384, 65536),
           lambda n: of(lambda torch, x: torch.softmax(x, -1), (1 << 20) // n, n), lambda n: 8.0 * ((1 << 20) // n * n),
           "GB/s"),
    Family("sum over dim 0 of 4M in rows of n", (4, 16, 64, 100, 256, 1000, 1024, 4096, 16384, 65536),
           lambda n: of(lambda torch, x: x.sum(0), (1 << 22) // n, n), lambda n: 4.0 * ((1 << 22) // n * n), "GB/s"),
]  # fmt: skip


def cliffs(sizes: tuple[int, ...], seconds: list[float], work: list[float]) -> list[tuple[int, int, float]]:
    """(size, next size, factor) where the next size costs more than `CLIFF` times what the smaller one's cost per work
    lets expect.
    """
    found = []
    for i in range(len(sizes) - 1):
        factor = (seconds[i + 1] / work[i + 1]) / (seconds[i] / work[i])
        if factor > CLIFF and seconds[i + 1] > CLIFF * seconds[i]:  # a fixed cost is none
            found.append((sizes[i], sizes[i + 1], factor))
    return found


def _measured(family: Family, torch: Any) -> dict[str, Any]:
    """The row of a family: microseconds of each size on both sides."""
    times: dict[str, list[float]] = {}
    for size in family.sizes:
        case = Case(f"{family.name} {size}", "scaling", family.prepare(size))
        sides = {"cltorch": runner(case, cltorch)}
        if torch is not None:
            sides["torch"] = runner(case, torch)
        for side, timed in timing.interleave_calls(sides, seconds=0.06, rounds=5).items():
            times.setdefault(side, []).append(rounded(1e6 * timed.median))
    row: dict[str, Any] = {"sizes": list(family.sizes), "times": times["cltorch"]}
    if "torch" in times:
        row["torch_times"] = times["torch"]
    return row


def measure(store: Store, torch: Any, pattern: str = "") -> None:
    """Measure every family whose name has a match, and print rates and cliffs."""
    for family in FAMILIES:
        if not re.search(pattern, family.name):
            continue
        try:
            row = _measured(family, torch)
        except (RuntimeError, NotImplementedError, MemoryError) as error:  # the other families still count
            print(f"{family.name}: failed: {str(error)[:300]}")
            continue
        store.add("scaling", family.name, row)
        work = [family.work(size) for size in family.sizes]
        print(f"{family.name}, {family.unit} (PyTorch):")
        peers = row.get("torch_times", [float("inf")] * len(work))
        rates = zip(family.sizes, work, row["times"], peers)
        print("  " + ", ".join(f"{n}: {w / t / 1e3:.1f} ({w / p / 1e3:.1f})" for n, w, t, p in rates))
        for small, large, factor in cliffs(family.sizes, row["times"], work):
            print(f"  cliff: work costs {factor:.2f} times as much at {large} as at {small}")


def draw(found: dict[str, dict[str, Any]], path: Path = PLOT) -> None:
    """The newest measurements of all devices as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = {label: data["rows"].get("scaling", {}) for label, data in found.items()}
    families = [family for family in FAMILIES if any(family.name in named for named in rows.values())]
    if not families:
        return
    figure, axes_of = plt.subplots(2, (len(families) + 1) // 2, figsize=(17, 8), layout="constrained", squeeze=False)
    for axes, family in zip(axes_of.flat, families):
        peer: tuple[list[int], list[float]] | None = None
        for label, named in rows.items():
            if family.name not in named:
                continue
            row = named[family.name]
            sizes = row["sizes"]
            axes.plot(sizes, [family.work(n) / t / 1e3 for n, t in zip(sizes, row["times"])], "o-", ms=3, label=label)
            if "torch_times" in row:
                peer = sizes, [family.work(n) / t / 1e3 for n, t in zip(sizes, row["torch_times"])]
        if peer is not None:
            axes.plot(*peer, "--", color="gray", label="PyTorch")
        axes.set(xscale="log", yscale="log", title=family.name, xlabel="n", ylabel=family.unit)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    for axes in axes_of.flat[len(families) :]:
        axes.axis("off")
    figure.savefig(path, dpi=90)
    plt.close(figure)
    print(f"written: {path}")
