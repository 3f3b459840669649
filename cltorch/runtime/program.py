"""From kernel texts to kernels: one build for all that are missing, and a cache on disk that is only ever believed
when its checksum agrees.

Floor 1a. Drivers take about as long for fifty kernels in one program as for five programs of one, so a flush hands
over all its kernels at once. A kernel's name contains the checksum of its text, so the name is the key.

**On disk** (`<cache>/programs/<driver key>/`): `<program>.bin` holds the names of the kernels and the driver's
binary behind a checksum (a truncated or damaged binary kills some drivers); `<kernel>.ref` names the program that
has the kernel, so a kernel is found whichever batch it was built with. Drivers that cache builds themselves (PoCL,
NVIDIA) get the program's text instead of a binary: the same text again is what their caches know. Files are written
under another name and moved into place; any fault means a rebuild, an unwritable folder means no cache. The driver
key covers platform, device, driver, options and the processor's features.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import struct
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..config import cache_directory, settings
from ..errors import BuildError
from ..resources import kernel_text
from .opencl import cl, create_kernel

if TYPE_CHECKING:
    from .device import Device

OPTIONS = "-cl-std=CL1.2 -cl-mad-enable"
_MAGIC = b"cltorch1"
_EXCERPT = 3  # lines of source around an error
_MAX_LOG = 4000


class Source(Protocol):
    """A kernel to build (codegen's KernelSource)."""

    @property
    def name(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def includes(self) -> tuple[str, ...]: ...
    @property
    def local_size(self) -> tuple[int, ...]: ...


class KernelHandle:
    """A built kernel, from which kernel objects are made."""

    __slots__ = ("device", "name", "program")

    def __init__(self, device: Device, program: Any, name: str) -> None:
        self.device = device
        self.program = program
        self.name = name

    def create(self) -> Any:
        """A new kernel object, without arguments."""
        return create_kernel(self.program, self.name)

    def __repr__(self) -> str:
        return f"KernelHandle({self.name})"


class ProgramCache:
    """The programs of one device, in memory and on disk."""

    def __init__(self, device: Device, folder: Path | None = None, options: str = OPTIONS) -> None:
        self._device = device
        self._options = options
        self._handles: dict[str, KernelHandle] = {}
        self._lock = threading.RLock()
        self._disk: _Disk | None = None
        self._root = folder
        self._opened = False
        self.builds = 0
        self.loads = 0

    def get(self, sources: Iterable[Source]) -> dict[str, KernelHandle]:
        """A handle per kernel name, building what is missing in one program.

        Raises:
            BuildError: the driver refuses; the text has its log and the lines it names.
        """
        sources = list(sources)
        handles = self._handles
        missing = {source.name: source for source in sources if source.name not in handles}
        if missing:
            with self._lock:
                missing = {name: source for name, source in missing.items() if name not in handles}
                if missing:
                    self._load(missing)
                missing = {name: source for name, source in missing.items() if name not in handles}
                if missing:
                    self._compile(list(missing.values()))
        return {source.name: handles[source.name] for source in sources}

    def _compile(self, sources: list[Source]) -> None:
        text = program_text(sources)
        program = cl._cl._Program(self._device.context, text)
        try:
            self._build(program)
        except cl.Error as error:
            raise BuildError(self._failure(error, program, text, sources)) from None
        self.builds += 1
        names = [source.name for source in sources]
        self._take(program, names)
        disk = self._open()
        if disk is not None:
            if self._device.quirks.keeps_binaries:
                disk.store(names, b"S" + text.encode())
            else:
                binary = self._binary(program)
                if binary:
                    disk.store(names, b"B" + binary)

    def _build(self, program: Any) -> None:
        program._build(self._options.encode(), [self._device.handle])

    def _binary(self, program: Any) -> bytes:
        try:
            return bytes(program.get_info(cl.program_info.BINARIES)[0])
        except (cl.Error, IndexError, TypeError):
            return b""

    def _take(self, program: Any, names: Iterable[str]) -> None:
        for name in names:
            self._handles[name] = KernelHandle(self._device, program, name)

    def _load(self, missing: dict[str, Source]) -> None:
        """Take what the disk has."""
        disk = self._open()
        if disk is None:
            return
        for name in missing:
            if name in self._handles:
                continue
            found = disk.load(name)
            if found is None:
                continue
            names, payload = found
            try:
                if payload[:1] == b"S":
                    program = cl._cl._Program(self._device.context, payload[1:].decode())
                else:
                    program = cl._cl._Program(self._device.context, [self._device.handle], [payload[1:]])
                self._build(program)
                create_kernel(program, name)
            except (cl.Error, UnicodeDecodeError):
                disk.forget(name)
                continue
            self.loads += 1
            self._take(program, [each for each in names if each not in self._handles])

    def _open(self) -> _Disk | None:
        if not self._opened:
            self._opened = True
            if settings.cache_limit > 0:
                with contextlib.suppress(OSError, RuntimeError):
                    root = self._root if self._root is not None else cache_directory() / "programs"
                    key = hashlib.sha256("\0".join((*self._device.identity(), self._options)).encode()).hexdigest()[:24]
                    self._disk = _Disk(root, key)
        return self._disk

    def _failure(self, error: Any, program: Any, text: str, sources: Sequence[Source]) -> str:
        logs = [log for _, log in program._get_build_logs() if log] or [str(error)]
        log = "\n".join(logs).strip()
        lines = text.splitlines()
        parts = [
            f"the driver of {self._device.spec} ({self._device.target.driver}, {self._device.name}) could not build "
            f"{len(sources)} kernel(s): {', '.join(source.name for source in sources[:8])}"
            + (", …" if len(sources) > 8 else ""),
            f"options: {self._options}",
            log[:_MAX_LOG] + (" …" if len(log) > _MAX_LOG else ""),
        ]
        complaint = next((line for line in log.splitlines() if "error" in line.lower()), log)
        found = re.search(r":(\d+):\d+", complaint) or re.search(r":(\d+):|line (\d+)", complaint)
        if found:
            number = int(next(filter(None, found.groups())))
            first = max(number - 1 - _EXCERPT, 0)
            excerpt = [
                f"{'>' if place == number else ' '} {place:5d} | {line}"
                for place, line in enumerate(lines[first : number + _EXCERPT], first + 1)
            ]
            guilty = _kernel_at(lines, number, sources)
            parts.append(f"source{f' of {guilty}' if guilty else ''}:\n" + "\n".join(excerpt))
        return "\n".join(parts)


def program_text(sources: Sequence[Source]) -> str:
    """One program with all of `sources`, each include once."""
    includes = dict.fromkeys(["prelude", *(name for source in sources for name in source.includes)])
    return "\n".join([kernel_text(name) for name in includes] + [source.text for source in sources])


def _kernel_at(lines: list[str], number: int, sources: Sequence[Source]) -> str:
    """The kernel whose text holds line `number`."""
    upto = "\n".join(lines[:number])
    before = [source for source in sources if source.name in upto]
    return before[-1].name if before else ""


class _Disk:
    """Checksummed files of one driver key under `root`, together no larger than the setting."""

    def __init__(self, root: Path, key: str) -> None:
        self.root = root
        self.folder = root / key
        self.folder.mkdir(parents=True, exist_ok=True)

    def load(self, name: str) -> tuple[list[str], bytes] | None:
        """The kernels and the payload of the program that has kernel `name`."""
        try:
            key = (self.folder / f"{name}.ref").read_text(encoding="ascii").strip()
            if not re.fullmatch(r"[0-9a-f]{32}", key):
                return None
            path = self.folder / f"{key}.bin"
            data = path.read_bytes()
        except (OSError, UnicodeDecodeError):
            return None
        unpacked = _unpack(data)
        if unpacked is None:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the least recently used go first
        names, payload = unpacked
        return (names, payload) if name in names else None

    def store(self, names: list[str], payload: bytes) -> None:
        """Keep a program; silently not, where the disk is full or read-only."""
        try:
            data = _pack(names, payload)
            key = hashlib.sha256(data).hexdigest()[:32]
            self._write(self.folder / f"{key}.bin", data)
            for name in names:
                self._write(self.folder / f"{name}.ref", key.encode())
            self._shrink()
        except OSError:
            pass

    def forget(self, name: str) -> None:
        """Drop the entry of a kernel that turned out to be useless."""
        with contextlib.suppress(OSError):
            (self.folder / f"{name}.ref").unlink()

    def _write(self, path: Path, data: bytes) -> None:
        handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".tmp-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _shrink(self) -> None:
        """Keep all drivers' files together under the limit, dropping the least recently used."""
        limit = settings.cache_limit << 20
        found = []
        for path in self.root.glob("*/*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        if total <= limit:
            return
        for _, size, path in sorted(found):
            if total <= limit * 0.8:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size


def _pack(names: list[str], payload: bytes) -> bytes:
    head = json.dumps(names).encode()
    body = struct.pack("<I", len(head)) + head + payload
    return _MAGIC + hashlib.sha256(body).digest() + body


def _unpack(data: bytes) -> tuple[list[str], bytes] | None:
    """Names and payload, or None unless every byte is as it was written."""
    start = len(_MAGIC) + 32
    body = data[start:]
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(body).digest() != data[len(_MAGIC) : start]:
        return None
    (length,) = struct.unpack_from("<I", body)
    return json.loads(body[4 : 4 + length]), body[4 + length :]
