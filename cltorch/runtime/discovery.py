"""Finds OpenCL drivers without root and without environment variables, and ranks what they offer.

Floor 1a. `bootstrap` runs before the first OpenCL call: the ICD loader sees system drivers (/etc/OpenCL/vendors)
and pip's PoCL by itself, but not pip's Intel CPU runtime. It gets a private vendors folder with the system's
entries plus an absolute path. Nothing here imports pyopencl.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import site
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..config import cache_directory

_SYSTEM_VENDORS = Path("/etc/OpenCL/vendors")
_INTEL_LIBRARY = "libintelocl.so"
_INTEL_RECORD = "intel_opencl_rt-*.dist-info/RECORD"

# CPU runtimes from fast to slow; a GPU always comes before a CPU.
_CPU_RANK = ("intel", "amd", "pocl", "apple", "rusticl", "clover", "oclgrind")


def _first_line(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
    return text.splitlines()[0].strip() if text else ""


def _intel_library() -> Path | None:
    """pip's Intel CPU runtime: a wheel unpacks it into `<prefix>/lib`."""
    prefixes = [sys.prefix, sys.base_prefix]
    if site.ENABLE_USER_SITE and site.USER_BASE:
        prefixes.append(site.USER_BASE)
    for prefix in prefixes:
        candidate = Path(prefix) / "lib" / _INTEL_LIBRARY
        if candidate.is_file():
            return candidate.resolve()
    for entry in sys.path:  # a wheel elsewhere (pip --target): its RECORD lists paths relative to the entry
        for record in sorted(Path(entry or ".").glob(_INTEL_RECORD)):
            for line in record.read_text(encoding="utf-8", errors="replace").splitlines():
                file = line.partition(",")[0]
                candidate = record.parent.parent / file
                if file.endswith(f"/{_INTEL_LIBRARY}") and candidate.is_file():
                    return candidate.resolve()
    return None


def _system_entries(vendors: Path) -> Iterator[tuple[str, str]]:
    """(file name, library) of the system's drivers, without entries whose absolute path leads nowhere."""
    try:
        paths = sorted(vendors.glob("*.icd"))
    except OSError:
        return
    for path in paths:
        library = _first_line(path)
        if library and not (os.path.isabs(library) and not os.path.exists(library)):
            yield path.name, library


def _vendors_folder(entries: dict[str, str]) -> Path:
    """A folder with these `.icd` files: the same one for the same entries, complete whenever it exists."""
    digest = hashlib.sha256(repr(sorted(entries.items())).encode()).hexdigest()[:16]
    try:
        folder = cache_directory() / f"icd-{digest}"
        folder.mkdir(parents=True, exist_ok=True)
        _write_entries(folder, entries)
    except (OSError, RuntimeError):  # a read-only home, or none at all
        folder = _private_temporary(f"cltorch-icd-{digest}")
        _write_entries(folder, entries)
    return folder.resolve()


def _private_temporary(name: str) -> Path:
    """A folder for temporary files that nobody else can write to: what is in it will be loaded as code."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"{name}-{user}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if folder.is_symlink() or not folder.is_dir() or status.st_uid != user or status.st_mode & 0o022:
        return Path(tempfile.mkdtemp(prefix="cltorch-icd-"))
    return folder


def _write_entries(folder: Path, entries: dict[str, str]) -> None:
    for name, library in entries.items():
        target = folder / name
        if _first_line(target) == library:
            continue
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=".icd-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(library + "\n")
        os.replace(temporary, target)


def bootstrap(vendors: Path = _SYSTEM_VENDORS) -> Path | None:
    """Make pip's Intel CPU runtime visible to the ICD loader, beside the drivers it finds by itself.

    Does nothing where the user chose drivers (`OCL_ICD_VENDORS`, `OPENCL_VENDOR_PATH`), off Linux, or where there
    is no such wheel or the system knows it already. Returns the vendors folder it made.
    """
    if (
        not sys.platform.startswith("linux")
        or os.environ.get("OCL_ICD_VENDORS")
        or os.environ.get("OPENCL_VENDOR_PATH")
    ):
        return None
    library = _intel_library()
    if library is None:
        return None
    entries = dict(_system_entries(vendors))
    if any(os.path.basename(entry).startswith(_INTEL_LIBRARY) for entry in entries.values()):
        return None
    entries["cltorch-intel.icd"] = str(library)
    try:
        folder = _vendors_folder(entries)
    except OSError:
        return None  # nowhere to write: the other drivers still work
    os.environ["OCL_ICD_VENDORS"] = str(folder)
    return folder


def rank(kind: str, vendor: str, version: tuple[int, ...], unified: bool, memory: int) -> tuple[object, ...]:
    """Sort key of a device: GPUs before CPUs, discrete GPUs before integrated ones, CPU runtimes by speed, the
    newest first.
    """
    if kind == "gpu":
        return (0, unified, 0, (), -memory)
    place = _CPU_RANK.index(vendor) if vendor in _CPU_RANK else len(_CPU_RANK)
    return (1, False, place, tuple(-part for part in version), -memory)


def searched() -> str:
    """What the loader was told and what it found, for the text of the error when there is no device."""
    chosen = os.environ.get("OCL_ICD_VENDORS") or os.environ.get("OPENCL_VENDOR_PATH")
    if chosen:
        name = "OCL_ICD_VENDORS" if os.environ.get("OCL_ICD_VENDORS") else "OPENCL_VENDOR_PATH"
        place = Path(chosen)
        listed = ", ".join(f"{n} -> {lib}" for n, lib in _system_entries(place)) if place.is_dir() else ""
        where = f"{name}={chosen} ({listed or 'no usable .icd file there'})"
    else:
        listed = ", ".join(f"{n} -> {lib}" for n, lib in _system_entries(_SYSTEM_VENDORS))
        where = f"{_SYSTEM_VENDORS} ({listed or 'no usable .icd file there'})"
    intel = _intel_library()
    pip = f"pip's Intel CPU runtime ({intel or 'not installed'})"
    home = os.environ.get("PYOPENCL_HOME")
    bundled = sorted(path.name for path in Path(home, ".libs").glob("*.icd")) if home else []
    return f"{where}; {pip}; drivers beside pyopencl ({', '.join(bundled) or 'none'})"
