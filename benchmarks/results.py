"""Results as files: one JSON for each commit and device, to which each run adds its rows."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .timing import Timed

FOLDER = Path(__file__).resolve().parent / "results"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, cwd=FOLDER.parent, check=False)
    return done.stdout.strip()


def commit() -> str:
    """The commit that is measured, 'unknown' outside of a repository."""
    return _git("rev-parse", "--short", "HEAD") or "unknown"


def rounded(value: float) -> float:
    """Four digits: more would be noise, and make every file differ everywhere."""
    return float(f"{value:.4g}")


def microseconds(timed: Timed) -> list[float]:
    """[10 %, median, 90 %], as files have it."""
    return [rounded(1e6 * each) for each in (timed.low, timed.median, timed.high)]


class Store:
    """The file of a commit and a device.

    Args:
        label: the device's short name. about: facts about device and machine, written over what the file has.
        path: another file than `results/<commit>-<label>.json`.
    """

    def __init__(self, label: str, about: dict[str, Any], path: Path | None = None):
        self.path = path or FOLDER / f"{commit()}-{label}.json"
        self.data: dict[str, Any] = {"rows": {}}
        if self.path.exists():
            self.data = json.loads(self.path.read_text(encoding="utf-8"))
        dirty = bool(_git("status", "--porcelain", "--", "../cltorch", "../kernels", "../templates"))
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.data.update(about, label=label, date=now, dirty=dirty)
        self.data.setdefault("commit", commit())

    def add(self, group: str, name: str, row: dict[str, Any]) -> None:
        """Set (or set anew) what is known about a row; keys it has besides stay."""
        self.data["rows"].setdefault(group, {}).setdefault(name, {}).update(row)

    def write(self) -> None:
        """Write the file: a line per row."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = self.data["rows"]
        head = {key: value for key, value in self.data.items() if key != "rows"}
        groups = []
        for group, named in rows.items():
            lines = ",\n".join(f"   {json.dumps(name)}: {json.dumps(row)}" for name, row in named.items())
            groups.append(f"  {json.dumps(group)}: {{\n{lines}\n  }}")
        body = ",\n".join([*(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items())])
        text = "{\n" + body + ',\n "rows": {\n' + ",\n".join(groups) + "\n }\n}\n"
        self.path.write_text(text, encoding="utf-8")


def load_all(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Every file of results, the oldest first."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*-*.json"))]
    return sorted((each for each in found if "rows" in each), key=lambda each: each["date"])


def latest(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """By device: of each row the newest measurement, whichever commit it is of."""
    merged: dict[str, dict[str, Any]] = {}
    for each in load_all(folder):
        known = merged.setdefault(each["label"], {"rows": {}})
        rows = known["rows"]
        known.update({key: value for key, value in each.items() if key != "rows"})
        for group, named in each["rows"].items():
            rows.setdefault(group, {}).update(named)
    return merged
