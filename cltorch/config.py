"""Settings read from the environment, once, at import.

Floor 0. Everything a user may set from outside stands here with its default and its meaning.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


def cache_directory() -> Path:
    """Where programs and tuning results are kept: `CLTORCH_CACHE_DIR`, or the platform's cache folder."""
    given = os.environ.get("CLTORCH_CACHE_DIR")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME") or (os.environ.get("LOCALAPPDATA") if os.name == "nt" else None)
    return (Path(base) if base else Path.home() / ".cache") / "cltorch"


def _integer(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    try:
        return int(text) if text else default
    except ValueError:
        raise ValueError(f"{name}: got {text!r}, wanted an integer") from None


def _one_of(name: str, default: str, wanted: tuple[str, ...]) -> str:
    text = os.environ.get(name, "") or default
    if text not in wanted:
        raise ValueError(f"{name}: got {text!r}, wanted one of {', '.join(wanted)}")
    return text


@dataclass
class Settings:
    """One value per environment variable.

    Attributes:
        eager: `CLTORCH_EAGER=1` runs every op at its line and waits for it.
        debug: `CLTORCH_DEBUG`: 1 recording lines in errors; 2 a line per kernel with time, GB/s, GFLOPS; 4 sources.
        device: `CLTORCH_DEVICE`: the default device (`cl:1`, `gpu`, `cpu`, `null`), or empty for the best one.
        precise: `CLTORCH_PRECISE=1` computes elementary functions of float32 in double, right to the last place, or
            with the driver's own where a device has no double; the default forms are within 4 units in the last place
            and several times as fast. Part of a kernel's text, hence of its name and of the program cache's key.
        cache_limit: `CLTORCH_CACHE_LIMIT_MB`: bound of the program cache on disk, in MiB.
        host_only: set in data-loader workers: nothing may touch OpenCL; tensors are computed on the host.
        memory_limit: `CLTORCH_MEMORY_LIMIT_MB`: bound of the memory pool of each device, in MiB; 0 asks the device.
        winograd: `CLTORCH_WINOGRAD`: which of Winograd's forms 3x3 convolutions may take: `0` none, `2` or `4` that one
            wherever it applies, `auto` the fastest; `CLTORCH_PRECISE=1` means `0`.
        tuned: `CLTORCH_TUNED`: a tuning database (a JSON file or a folder of them) that goes before the user's own and
            the shipped one; `0` for none at all (see codegen/tuned.py).
    """

    eager: bool
    debug: int
    device: str
    precise: bool
    cache_limit: int
    memory_limit: int
    winograd: str
    tuned: str = ""
    host_only: bool = False


settings = Settings(
    eager=_integer("CLTORCH_EAGER", 0) != 0,
    debug=_integer("CLTORCH_DEBUG", 0),
    device=os.environ.get("CLTORCH_DEVICE", ""),
    precise=_integer("CLTORCH_PRECISE", 0) != 0,
    cache_limit=_integer("CLTORCH_CACHE_LIMIT_MB", 512),
    memory_limit=_integer("CLTORCH_MEMORY_LIMIT_MB", 0),
    winograd=_one_of("CLTORCH_WINOGRAD", "auto", ("auto", "0", "2", "4")),
    tuned=os.environ.get("CLTORCH_TUNED", ""),
)
