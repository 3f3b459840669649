"""What got slower since an earlier commit: `make bench-compare`, or `python -m benchmarks.compare [COMMIT] [LATER]`.

Machines differ from day to day by more than commits do, so rows are compared by their ratio to PyTorch, measured in the
same minute. A row got slower if its ratio fell by more than the spread of both measurements: half the distance between
the 10th and the 90th percentile on each side, as parts of the medians, added as independent errors are.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import results

LEAST_SPREAD = 0.03


@dataclass(frozen=True)
class Change:
    """A row in two measurements."""

    device: str
    group: str
    name: str
    before: float
    after: float
    spread: float

    @property
    def factor(self) -> float:
        """Above 1: faster than before."""
        return self.after / self.before

    @property
    def beyond(self) -> bool:
        """Whether the change is larger than the spread."""
        return abs(math.log(self.factor)) > math.log1p(self.spread)


def spread(row: dict[str, Any]) -> float:
    """Of a row's ratio, as a part of it."""
    parts = []
    for side in ("us", "torch_us"):
        low, median, high = row[side]
        parts.append((high - low) / 2 / median)
    return math.hypot(*parts)


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """All rows that both files have, the one that lost most first."""
    found = []
    for group, rows in after["rows"].items():
        for name, row in rows.items():
            old = before["rows"].get(group, {}).get(name)
            if old is None or "ratio" not in row or "ratio" not in old:
                continue
            both = max(LEAST_SPREAD, math.hypot(spread(old), spread(row)))
            found.append(Change(after["label"], group, name, old["ratio"], row["ratio"], both))
    return sorted(found, key=lambda change: change.factor)


def pairs(folder: Path, earlier: str | None, later: str | None) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """For each device the file of the earlier commit and that of the later one; default: the last two."""
    chosen = []
    every = results.load_all(folder)
    for label in dict.fromkeys(each["label"] for each in every):
        files = [each for each in every if each["label"] == label]
        last = [each for each in files if later is None or each["commit"].startswith(later)]
        if not last:
            continue
        old = [
            each for each in files
            if each["commit"] != last[-1]["commit"] and (earlier is None or each["commit"].startswith(earlier))
        ]  # fmt: skip
        if old:
            chosen.append((old[-1], last[-1]))
    return chosen


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.splitlines()[0])
    parser.add_argument("earlier", nargs="?", help="commit; default: the one measured before the last")
    parser.add_argument("later", nargs="?", help="commit; default: the last one measured")
    parser.add_argument("--folder", type=Path, default=results.FOLDER)
    parser.add_argument("--strict", action="store_true", help="exit with 1 if anything got slower beyond the spread")
    given = parser.parse_args(arguments)
    found = pairs(given.folder, given.earlier, given.later)
    if not found:
        print("two commits must have been measured on one device: python -m benchmarks")
        return 2
    slower = 0
    for before, after in found:
        rows = changes(before, after)
        print(f"{after['label']}: {before['commit']} ({before['date']}) -> {after['commit']} ({after['date']})")
        for title, chosen in (
            ("slower", [row for row in rows if row.beyond and row.factor < 1]),
            ("faster", [row for row in reversed(rows) if row.beyond and row.factor > 1]),
        ):
            print(f"  {title} beyond the spread: {len(chosen)} of {len(rows)} rows")
            for row in chosen:
                print(f"    {row.name:36} {row.before:5.2f} -> {row.after:5.2f} ({row.factor - 1:+.0%}, spread "
                      f"{row.spread:.0%})")  # fmt: skip
            slower += len(chosen) if title == "slower" else 0
    return 1 if slower and given.strict else 0


if __name__ == "__main__":
    sys.exit(main())
