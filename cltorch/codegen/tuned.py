"""Choices that a measurement made: the tuning database that kernel families ask before they follow their rules.

Floor 1b. A database is a folder of JSON files, one per device (or class of devices) and family of measurements:

    {
      "format": 1,
      "device": {"kind": "cpu", "vendor": "intel", "vector_width": 8},
      "families": {
        "gemm": {"float32 m64 n64 k64 b64 tn": {"form": "tile", "tile_m": 6, ...}},
        "conv": {"float32 x16,64,32,32 w64,64,3,3 s1,1 p1,1 d1,1 g1": {"winograd": {"outputs": 4, ...}}}
      }
    }

`device` names fields of `Target`; a file speaks for every target that agrees in all of them, and the file that names
more of them goes first (this driver, this device, this vendor, this class). Of equals, `CLTORCH_TUNED` goes before the
user's own folder (`<cache>/tuned`), and that before the shipped one (`kernels/tuned`). `CLTORCH_TUNED=0` leaves all to
the rules. A file that is damaged or foreign is refused whole, with a warning that says why, and nothing else happens.

Keys are exact problems, written by the families (`gemm_problem.key`, `conv_shapes.key`). Values are the fields of the
family's configuration; where a family has several kinds of configuration, the name of the kind and then its fields.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from ..config import cache_directory, settings
from ..resources import kernels_directory
from ..target import Target

FORMAT = 1
_SIMPLE: Mapping[str, type] = {"int": int, "str": str, "bool": bool}


@dataclass(frozen=True)
class _File:
    """One file: what it speaks for, and `(family, problem) -> configuration` as plain JSON."""

    path: Path
    device: Mapping[str, Any]
    entries: Mapping[tuple[str, str], Mapping[str, Any]]

    def speaks_for(self, target: Target) -> bool:
        return all(getattr(target, name) == value for name, value in self.device.items())


def folders() -> list[Path]:
    """Where databases are looked for, the first before the others; each a folder or one file."""
    if settings.tuned == "0":
        return []
    named = [Path(settings.tuned)] if settings.tuned else []
    return [*named, cache_directory() / "tuned", kernels_directory() / "tuned"]


def _read(path: Path) -> _File:
    """A file, checked as far as it can be without its families; ValueError says what is wrong with it."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"cannot be read: {error}") from None
    if not isinstance(given, dict) or given.get("format") != FORMAT:
        found = given.get("format") if isinstance(given, dict) else type(given).__name__
        raise ValueError(f"format: got {found!r}, wanted {FORMAT}")
    device, families = given.get("device"), given.get("families")
    if not isinstance(device, dict) or not isinstance(families, dict):
        raise ValueError("device and families: wanted two objects")
    unknown = sorted(set(device) - {each.name for each in fields(Target)})
    if unknown:
        raise ValueError(f"device: {', '.join(unknown)}: wanted fields of Target")
    entries = {}
    for family, problems in families.items():
        if not isinstance(problems, dict):
            raise ValueError(f"families: {family}: wanted an object")
        for problem, config in problems.items():
            if not isinstance(config, dict):
                raise ValueError(f"{family}: {problem}: got {config!r}, wanted an object")
            entries[family, problem] = config
    return _File(path, device, entries)


@cache
def _files() -> tuple[_File, ...]:
    """Every file that can be read, in the order of `folders`."""
    found = []
    for folder in folders():
        for path in sorted(folder.glob("*.json")) if folder.is_dir() else [folder] if folder.is_file() else []:
            try:
                found.append(_read(path))
            except ValueError as error:
                warnings.warn(f"tuning database {path} is left out: {error}", RuntimeWarning, stacklevel=2)
    return tuple(found)


def _configuration(given: Mapping[str, Any], kind: type) -> Any:
    """The dataclass `kind` of plain fields; ValueError for an unknown or missing field, or one of another type."""
    known = {each.name: each for each in fields(kind)}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: no fields of {kind.__name__}")
    for name, each in known.items():
        if name not in given:
            if each.default is MISSING:
                raise ValueError(f"{name}: missing, wanted by {kind.__name__}")
        elif type(given[name]) is not _SIMPLE.get(str(each.type)):
            raise ValueError(f"{name}: got {given[name]!r}, wanted {each.type}")
        elif type(given[name]) is int and given[name] < 0:
            raise ValueError(f"{name}: got {given[name]}, wanted a number from 0")
    return kind(**given)


@lru_cache(maxsize=4096)
def find(family: str, problem: str, target: Target, *kinds: tuple[str, type]) -> Any | None:
    """The configuration that a measurement chose for a problem on a target, or None: then the family's rule holds.

    Args:
        family: 'gemm', 'conv', 'conv_input' or 'conv_weight'.
        problem: the family's key of the problem.
        target: the device.
        kinds: the dataclasses that a configuration may be, each with the name under which the file holds it; a
            family with one kind gives it the name ''.
    """
    speaking = [each for each in _files() if (family, problem) in each.entries and each.speaks_for(target)]
    for each in sorted(speaking, key=lambda file: -len(file.device)):
        given = each.entries[family, problem]
        try:
            for name, kind in kinds:
                if not name:
                    return _configuration(given, kind)
                if set(given) == {name} and isinstance(given[name], dict):
                    return _configuration(given[name], kind)
            raise ValueError(f"got {sorted(given)}, wanted one of {', '.join(name for name, _ in kinds)}")
        except ValueError as error:
            warnings.warn(
                f"tuning database {each.path}: {family}: {problem} is left out: {error}", RuntimeWarning, stacklevel=2
            )
    return None


def forget() -> None:
    """Read the files again at the next look-up: after a tuner wrote some, or the settings changed."""
    _files.cache_clear()
    find.cache_clear()
