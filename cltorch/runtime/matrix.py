"""Which matrix instructions of a GPU may be used: those whose text compiled, ran and gave the right product here.

Floor 1a. Drivers do not say what inline assembly and built-ins they take, and some die of them (clang 15 segfaults
on two chained products of AMD's), so a child process (`matrix_child`) builds `kernels/matrix_probe.cl` with the
instruction of `kernels/matrix_<family>.cl` and compares. An end by a signal, a time-out, an exception or a wrong number
mean 'no'. The answer and its reason are kept in `<cache>/matrix/`, by device, driver and text; without that file the
next process asks again. `cltorch devices` prints the reason.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..config import cache_directory
from ..resources import kernel_text
from ..target import EMULATED, FRAGMENTS, fragments
from .program import OPTIONS

if TYPE_CHECKING:
    from .device import Device

_OF_VENDOR = {
    "nvidia": ("nvidia",),
    "intel": ("intel8", "intel16"),  # a GPU with sub-groups of 16 and more refuses a kernel that asks for 8
    "amd": ("gfx11", "gfx12", "cdna"),
    "rusticl": (),  # takes no compiler's built-ins
}
ELEMENTS = ("half", "bf16")
_LATE = "the probe did not end within"
_LIMIT = 60.0  # seconds: starting Python and building two short kernels takes 1 to 3
_PACKAGES = Path(__file__).resolve().parents[2]


class Found(NamedTuple):
    """The family of matrix instructions to use ('' for none) and why."""

    family: str
    reason: str


def families_of(vendor: str) -> tuple[str, ...]:
    """The families to try on a vendor's GPUs, in this order: each refusal costs a second, once per machine."""
    return _OF_VENDOR.get(vendor, tuple(FRAGMENTS))


def probe_texts(family: str) -> dict[str, str]:
    """The program that tries a family's instruction, emulated or not, for each type of elements."""
    name = family.removeprefix(EMULATED)
    included = ("prelude", *(("matrix_emulated",) if family != name else ()), f"matrix_{name}")
    shape = fragments(family)
    numbers = {
        "LANES": shape.lanes, "ROWS": shape.rows, "COLUMNS": shape.columns, "WORDS_A": shape.a, "WORDS_B": shape.b,
        "SUMS": shape.sums,
    }  # fmt: skip
    lines = [kernel_text(each) for each in included]
    lines += [f"#define {key} {value}" for key, value in numbers.items()]
    lines += [f"#define MATRIX(name) {name}_##name"]
    start, probe = "\n".join(lines), kernel_text("matrix_probe")
    return {x: f"{start}\n#define MATRIX_PRODUCT {name}_product_{x}\n{probe}" for x in ELEMENTS}


def probe_shape(family: str) -> dict[str, Any]:
    """What a check of those programs needs to know besides."""
    shape = fragments(family)
    return {"options": OPTIONS, "lanes": shape.lanes, "rows": shape.rows, "columns": shape.columns}


def find(device: Device, families: tuple[str, ...] | None = None) -> Found:
    """The first of `families` that is right on the device, from the cache directory or by trying.

    The default is `families_of` its vendor.
    """
    families = families_of(device.target.vendor) if families is None else families
    if not families:
        return Found("", f"none is known for {device.target.vendor}")
    texts = {family: probe_texts(family) for family in families}
    key = json.dumps([device.identity(), OPTIONS, texts])
    path = None
    with contextlib.suppress(RuntimeError):  # no home directory
        path = cache_directory() / "matrix" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
    known = _read(path, families) if path else None
    if known is not None:
        return known
    refusals = []
    late = False
    for family in families:
        refusal = _missing(device, family) or refusal_of(device, family, texts[family])
        late |= refusal.startswith(_LATE)
        if not refusal:
            found = Found(family, f"{family}: right in the probe")
            break
        refusals.append(f"{family}: {refusal}")
    else:
        found = Found("", f"none ({'; '.join(refusals)})")
    if path and not late:  # a machine that was busy may answer the next time
        _write(path, found)
    return found


def _missing(device: Device, family: str) -> str:
    """Why a family cannot be there, known without trying: Intel's functions mean nothing where not advertised."""
    extension = "cl_intel_subgroup_matrix_multiply_accumulate"
    if not family.startswith("intel") or extension in device.handle.extensions.split():
        return ""
    return f"the driver has no {extension}"


def refusal_of(device: Device, family: str, texts: dict[str, str], limit: float = _LIMIT) -> str:
    """Why the probe programs `texts` must not be relied on, tried by a child process; empty where they are right."""
    request = json.dumps({"identity": device.identity(), "texts": texts, **probe_shape(family)})
    search = os.pathsep.join(filter(None, (str(_PACKAGES), os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cltorch.runtime.matrix_child"], input=request, capture_output=True, text=True,
            errors="replace", timeout=limit, env={**os.environ, "PYTHONPATH": search},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"{_LATE} {limit:g} s"
    except (OSError, ValueError) as error:
        return f"the probe could not be started: {error}"
    if done.returncode < 0:
        with contextlib.suppress(ValueError):
            return f"the probe was ended by {signal.Signals(-done.returncode).name}"
        return f"the probe was ended by signal {-done.returncode}"
    lines = done.stdout.splitlines()
    try:
        refusal = json.loads(lines[-1])["refusal"]
    except (IndexError, KeyError, TypeError, ValueError):
        refusal = None
    if done.returncode or not isinstance(refusal, str):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return f"the probe failed with status {done.returncode}: {last[:200]}"
    return refusal


def _read(path: Path, families: tuple[str, ...]) -> Found | None:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        found = Found(known["family"], known["reason"])
    except (OSError, KeyError, TypeError, ValueError):
        return None
    return found if found.family in ("", *families) and isinstance(found.reason, str) and found.reason else None


def _write(path: Path, found: Found) -> None:
    """Keep it, in place at once; silently not, where that cannot be done."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(found._asdict(), file)
        os.replace(temporary, path)
