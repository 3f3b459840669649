"""docs/benchmarks.png, by `python -m benchmarks.chart`: the ratio of every row to PyTorch, with the goal of each."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from . import results
from .cases import GROUPS

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.png"
COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red")


def draw(found: dict[str, dict[str, Any]], path: Path = PICTURE) -> None:
    """A panel per group: a dot per row and device, its goal as a tick, PyTorch as the line at 1."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    devices = list(found)
    columns = (("gemm", "memory", "attention"), ("conv",), ("models", "inference", "index"))
    names = {
        group: list(dict.fromkeys(name for data in found.values() for name in data["rows"].get(group, {})))
        for group in GROUPS
    }
    heights = [[max(1, len(names[group])) + 2.5 for group in column] for column in columns]
    figure = plt.figure(figsize=(19, 0.19 * max(map(sum, heights)) + 1), layout="constrained")
    figure.suptitle(
        "Time of PyTorch (CPU, 2 threads) / time of cltorch, interleaved in one process, medians; "
        "right of 1: cltorch is faster; ticks: goals"
    )
    for part, column, height in zip(figure.subfigures(1, len(columns)), columns, heights):
        height[-1] += max(map(sum, heights)) - sum(height)
        panels = part.subplots(len(column), 1, height_ratios=height, squeeze=False)[:, 0]
        for axes, group in zip(panels, column):
            _panel(axes, group, names[group], found, devices)
    figure.savefig(path, dpi=80)
    plt.close(figure)
    print(f"written: {path}")


def _panel(axes: Any, group: str, names: list[str], found: dict[str, dict[str, Any]], devices: list[str]) -> None:
    for index, device in enumerate(devices):
        rows = found[device]["rows"].get(group, {})
        places = [i for i, name in enumerate(names) if "ratio" in rows.get(name, {})]
        shift = (index - (len(devices) - 1) / 2) * 0.24
        axes.plot([rows[names[i]]["ratio"] for i in places], [i + shift for i in places], "o", ms=4,
                  color=COLOURS[index % len(COLOURS)], label=device)  # fmt: skip
        goals = [(rows[names[i]]["target"], i + shift) for i in places if "target" in rows[names[i]]]
        axes.plot([goal for goal, _ in goals], [y for _, y in goals], "|", ms=5, color=COLOURS[index % len(COLOURS)])
    axes.axvline(1, color="gray", linewidth=0.8)
    axes.set(xscale="log", title=group, yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6))
    ticks = [0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20]
    axes.set_xticks(ticks, labels=[f"{tick:g}" for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(axis="y", alpha=0.3)
    if names:
        axes.legend(fontsize=7, loc="lower right")


def main() -> int:
    found = results.latest()
    if not found:
        print("no results yet: python -m benchmarks")
        return 1
    draw(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
