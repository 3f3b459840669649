"""Results as text: a line per row, whether the goals are met, and the tables of docs/benchmarks.md.

    python -m benchmarks.report            # the newest measurement of each row on each device, as Markdown
    python -m benchmarks.report --write    # the same, into docs/benchmarks.md
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import results

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
HEAD = (
    f"{'case':36} {'cltorch us (10%..90%)':>29} {'PyTorch us (10%..90%)':>29} {'ratio':>6} {'goal':>5}     "
    f"{'GB/s':>7} {'GFLOPS':>7} {'peak':>5}"
)


def _times(found: list[float]) -> str:
    low, median, high = found
    return f"{median:.1f} ({low:.0f}..{high:.0f})"


def share(of_peak: float) -> str:
    """Of the measured peak; more than all of it means that the data did not leave the caches."""
    return f"{of_peak:.0%}" if of_peak <= 1.02 else "cache"


def line(name: str, row: dict[str, Any]) -> str:
    """A row of a table that is being measured."""
    text = f"{name:36} {_times(row['us']):>29}"
    if "torch_us" in row:
        text += f" {_times(row['torch_us']):>29} {row['ratio']:6.2f}"
        if "least" in row:
            text += f" {row['least']:5.2f} {'met' if row['ratio'] >= row['least'] else '---'}"
    if "of_peak" in row:
        work = f"{row['gflops']:7.1f}" if row["gflops"] else f"{'':7}"
        text += f" {row['gbs']:7.1f} {work} {share(row['of_peak']):>5}"
    if "tinygrad_us" in row:
        text += f"\n{'  tinygrad (DEV=CL)':36} {_times(row['tinygrad_us']):>29}"
        text += f"  {row['tinygrad_us'][1] / row['us'][1]:.1f} times ours"
    return text


def footprint_line(name: str, row: dict[str, Any]) -> str:
    """Memory and first step of a model."""
    text = (
        f"{name:24} peak above start: {row['ours_peak_mib']:6.0f} MiB (pool {row['ours_pool_mib']:.0f}; "
        f"process {row['ours_process_mib']:.0f})"
    )
    if "torch_peak_mib" in row:
        text += f", PyTorch {row['torch_peak_mib']:.0f} (process {row['torch_process_mib']:.0f})"
    text += f"; first step {row['ours_first_s']:.2f} s"
    if "ours_cold_s" in row:
        text += f" (nothing compiled yet: {row['ours_cold_s']:.1f})"
    if "torch_first_s" in row:
        text += f", PyTorch {row['torch_first_s']:.2f} s"
    return text


def mean(ratios: Iterable[float]) -> float:
    """Geometric mean."""
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logs) / len(logs))


def by_goal(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Goal -> its target, least, the ratios of its rows, and whether it is met."""
    found: dict[str, dict[str, Any]] = {}
    for rows in data["rows"].values():
        for row in rows.values():
            if "goal" in row and "ratio" in row:
                entry = found.setdefault(row["goal"], {"target": row["target"], "least": row["least"], "ratios": []})
                entry["ratios"].append(row["ratio"])
    for entry in found.values():
        entry["mean"], entry["lowest"] = mean(entry["ratios"]), min(entry["ratios"])
        entry["met"] = entry["mean"] >= entry["target"] and entry["lowest"] >= entry["least"]
    return found


def goals(found: list[dict[str, Any]]) -> str:
    """A Markdown table: for each goal and device, mean (lowest) ratio against the target."""
    each = [by_goal(data) for data in found]
    names = list(dict.fromkeys(name for goals in each for name in goals))
    lines = [
        "| ratio to PyTorch: geometric mean (lowest) / target | " + " | ".join(data["label"] for data in found) + " |",
        "|---|" + "---|" * len(found),
    ]
    for name in names:
        cells = []
        for goals in each:
            if name not in goals:
                cells.append("")
                continue
            entry = goals[name]
            lowest = f" ({entry['lowest']:.2f})" if len(entry["ratios"]) > 1 else ""
            shown = f"{entry['mean']:.2f}{lowest} / {entry['target']:g}"
            cells.append(f"**{shown}**" if entry["met"] else shown)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rows_table(found: list[dict[str, Any]], group: str) -> str:
    """A Markdown table of the rows of a group: time, ratio, share of the measured peak on each device."""
    names = list(dict.fromkeys(name for data in found for name in data["rows"].get(group, {})))
    lines = [
        f"| {group} | " + " | ".join(f"{data['label']} us | ratio | peak" for data in found) + " |",
        "|---|" + "---|---|---|" * len(found),
    ]
    for name in names:
        cells = []
        for data in found:
            row = data["rows"].get(group, {}).get(name, {})
            if "us" not in row:
                cells += ["", "", ""]
                continue
            low, median, high = row["us"]
            cells.append(f"{median:.0f} ({low:.0f}..{high:.0f})")
            cells.append(f"{row['ratio']:.2f}" if "ratio" in row else "")
            cells.append(share(row["of_peak"]) if "of_peak" in row else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        others = [data["rows"].get(group, {}).get(name, {}) for data in found]
        if any("tinygrad_us" in row for row in others):
            cells = []
            for row in others:
                given = row.get("tinygrad_us")
                cells += [_times(given), f"{given[1] / row['us'][1]:.1f} times ours", ""] if given else ["", "", ""]
            lines.append(f"| {name}, tinygrad | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def footprint_table(found: list[dict[str, Any]]) -> str:
    """A Markdown table of memory and first steps."""
    names = list(dict.fromkeys(name for data in found for name in data["rows"].get("footprint", {})))
    if not names:
        return ""
    lines = [
        "| peak MiB above start: ours / PyTorch; first step s: nothing compiled, then cached / PyTorch | "
        + " | ".join(data["label"] for data in found) + " |",
        "|---|" + "---|" * len(found),
    ]  # fmt: skip
    for name in names:
        cells = []
        for data in found:
            row = data["rows"].get("footprint", {}).get(name)
            if row is None:
                cells.append("")
                continue
            memory = f"{row['ours_peak_mib']:.0f} / {row.get('torch_peak_mib', math.nan):.0f}"
            cold = f"{row['ours_cold_s']:.1f}, " if "ours_cold_s" in row else ""
            cells.append(f"{memory}; {cold}{row['ours_first_s']:.2f} / {row.get('torch_first_s', math.nan):.2f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def document(found: list[dict[str, Any]]) -> str:
    """All tables, and what was measured on what."""
    devices = "; ".join(
        f"{data['label']}: {data['device']}, {data['driver']}, {data['peak_gbs']:g} GB/s and {data['peak_gflops']:g} "
        f"GFLOPS measured, commit {data['commit']}, {data['date'][:10]}"
        for data in found
    )
    parts = [f"PyTorch {found[0]['torch']} with {found[0]['threads']} threads. {devices}.", "## Goals", goals(found)]
    groups = list(dict.fromkeys(group for data in found for group in data["rows"]))
    for group in groups:
        if group not in ("host", "footprint", "scaling"):
            parts += [f"## {group}", rows_table(found, group)]
    if "footprint" in groups:
        parts += ["## Memory and first step", footprint_table(found)]
    return "\n\n".join(parts)


def main() -> int:
    found = list(results.latest().values())
    if not found:
        print("no results yet: python -m benchmarks")
        return 1
    text = document(found)
    if "--write" in sys.argv[1:]:
        page = PAGE.read_text(encoding="utf-8")
        filled = re.sub(r"(?s)(<!-- tables -->\n).*(\n<!-- end of tables -->)", lambda m: m[1] + text + m[2], page)
        PAGE.write_text(filled, encoding="utf-8")
        print(f"written: {PAGE}")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
