"""A device: what it is, its memory, its streams, its programs.

Floor 1a. Everything that touches OpenCL objects of a device goes through the few methods below, so the null device
replaces them and the rest of runtime/ serves both. Context and queue are made at first use: listing devices is
cheap.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import platform
import re
import sys
import threading
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DeviceError
from ..target import Target
from . import matrix, transfer
from .launch import BoundLaunch, local_memory
from .opencl import cl, process
from .pool import Block, Pool
from .profiler import Peak, Profiler, measure_peak
from .program import KernelHandle, ProgramCache, Source
from .quirks import Quirks, quirks_of
from .stream import Stream, current_stream

_HUGE_PAGE = 2 << 20
_BUDGET_SHARE = 0.9  # of the memory of a device


class Device:
    """One OpenCL device.

    Attributes:
        index: its place in the ranking, the 0 of `cl:0`; -1 for the null device.
        type: 'gpu', 'cpu' or 'null'.
        name, vendor: as the driver gives them.
        target: the facts that code generation may use.
        quirks: what its driver does that the standard does not say.
        matrix_reason: why `target.matrix` is what it is; empty until `find_matrix` has looked.
        profiler: the active Profiler, to which replay hands the event of each launch; or None.
        handle: the OpenCL device.
    """

    def __init__(self, handle: Any, target: Target, vendor: str, index: int = 0) -> None:
        self.handle = handle
        self.target = target
        self.index = index
        self.type = target.kind
        self.name = target.name
        self.vendor = vendor
        self.quirks: Quirks = quirks_of(target.vendor, target.kind)
        self.shares_memory = target.unified_memory and self.quirks.host_pointer
        self.matrix_reason = ""
        self.profiler: Profiler | None = None
        self._lock = threading.RLock()
        self._streams: weakref.WeakSet[Stream] = weakref.WeakSet()

    @property
    def spec(self) -> str:
        """Its name for users: `cl:0`."""
        return f"cl:{self.index}"

    def __repr__(self) -> str:
        return f"Device({self.spec!r}, {self.name!r}, {self.target.vendor} {self.target.driver})"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            f"{self.spec}: devices cannot be pickled; send the name {self.spec!r} and ask get_device for it"
        )

    # ---- lazily made parts

    @cached_property
    def context(self) -> Any:
        """The OpenCL context, of this device alone."""
        with self._lock:
            made = self.__dict__.get("context")
            if made is None:
                try:
                    made = cl.Context([self.handle])
                except cl.Error as error:
                    raise DeviceError(f"{self.spec} ({self.name}): the driver refused a context: {error}") from error
                process.keep(self)
            return made

    @cached_property
    def pool(self) -> Pool:
        """The memory pool."""
        with self._lock:
            return self.__dict__.get("pool") or Pool(self)

    @cached_property
    def programs(self) -> ProgramCache:
        """The built kernels."""
        with self._lock:
            return self.__dict__.get("programs") or ProgramCache(self)

    @cached_property
    def default_stream(self) -> Stream:
        """The stream that everything uses unless told otherwise."""
        with self._lock:
            return self.__dict__.get("default_stream") or self.new_stream()

    @property
    def stream(self) -> Stream:
        """The current stream of the calling thread."""
        return current_stream(self)

    def new_stream(self) -> Stream:
        """Another in-order queue."""
        stream = Stream(self)
        self._streams.add(stream)
        return stream

    @property
    def has_several_streams(self) -> bool:
        """True if a stream other than the default one exists."""
        return len(self._streams) > 1

    def streams(self) -> list[Stream]:
        """All streams that exist."""
        return list(self._streams)

    def synchronize(self) -> None:
        """Block the host until all streams are done."""
        for stream in self.streams():
            stream.synchronize()

    @cached_property
    def peak(self) -> Peak:
        """Measured bandwidth and arithmetic; the first call takes about half a second."""
        return measure_peak(self)

    def find_matrix(self) -> None:
        """Fill in `target.matrix` where this is a GPU: its matrix instructions are tried once per machine.

        See `matrix`; does nothing on other devices, or where the target names a family already.
        """
        if self.type != "gpu" or self.matrix_reason or self.target.matrix:
            return
        with self._lock:
            if not self.matrix_reason:
                found = matrix.find(self)
                self.target = replace(self.target, matrix=found.family)
                self.matrix_reason = found.reason

    # ---- kernels

    def build(self, sources: Iterable[Source]) -> dict[str, KernelHandle]:
        """Kernels by name; what is missing is built in one program.

        Raises:
            BuildError: with the driver's log and the lines it names.
        """
        return self.programs.get(sources)

    def bind(
        self,
        source: Source,
        args: Sequence[Any],
        global_size: tuple[int, ...] | None = None,
        flops: float = 0.0,
        nbytes: float = 0.0,
    ) -> BoundLaunch:
        """A launch with its arguments.

        They are Blocks or buffers, (ctype, number) pairs, bytes of local memory (an int or codegen's Local), or None
        for what is set later.
        """
        handle = self.build((source,))[source.name]
        return BoundLaunch(handle, args, global_size or source.local_size, source.local_size, flops, nbytes)

    @cached_property
    def enqueue(self) -> Any:
        """`enqueue(queue, kernel, global_size, local_size)`, the one call of a replay loop; returns the OpenCL
        event.
        """
        return cl.enqueue_nd_range_kernel

    # ---- memory

    def adopt(self, array: np.ndarray) -> Block | None:
        """The array's own memory as a block, or None where it must be copied. See `transfer.adopt`."""
        return transfer.adopt(self, array)

    def upload(self, array: np.ndarray, stream: Stream | None = None) -> Block:
        """A block with a copy of the array. See `transfer.upload`."""
        try:
            return transfer.upload(self, array, stream or self.stream)
        except cl.Error as error:
            raise self.fault(error, "upload") from error

    def write(self, block: Block, offset_bytes: int, array: np.ndarray, stream: Stream | None = None) -> None:
        """Copy the array into `block` in stream order. See `transfer.write`."""
        try:
            transfer.write(self, block, offset_bytes, array, stream or self.stream)
        except cl.Error as error:
            raise self.fault(error, "write") from error

    def download(
        self, block: Block, offset_bytes: int = 0, nbytes: int | None = None, stream: Stream | None = None
    ) -> np.ndarray:
        """The block's bytes (uint8) after all work of the stream; a read-only view where memory is shared.

        See `transfer.download`.
        """
        wanted = block.nbytes - offset_bytes if nbytes is None else nbytes
        try:
            return transfer.download(self, block, offset_bytes, wanted, stream or self.stream)
        except cl.Error as error:
            raise self.fault(error, "download") from error

    def memory_budget(self) -> int:
        """Bytes the pool may hold when the user sets no limit."""
        total = self.target.global_memory
        if self.target.unified_memory:
            host = host_memory()
            # A CPU driver's own figure bounds its allocations, not memory that we hand to it.
            total = host if self.shares_memory else min(total, host)
        return int(total * _BUDGET_SHARE)

    def fault(self, error: BaseException, doing: str) -> BaseException:
        """A driver's exception as a DeviceError that says what failed `doing`; any other exception unchanged."""
        if self.type == "null" or not isinstance(error, cl.Error):
            return error
        return DeviceError(f"{self.spec} ({self.name}, {self.target.driver}): {doing}: {error}")

    # ---- what the null device replaces

    def create_queue(self, profiling: bool) -> Any:
        """An in-order queue."""
        properties = cl.command_queue_properties.PROFILING_ENABLE if profiling else 0
        return cl.CommandQueue(self.context, self.handle, properties=properties)

    def enqueue_marker(self, queue: Any) -> Any:
        """The event of the point that `queue` has reached, flushed."""
        event = cl.enqueue_marker(queue)
        queue.flush()
        return event

    def enqueue_barrier(self, queue: Any, event: Any) -> None:
        """Hold `queue` back until `event`."""
        cl.enqueue_barrier(queue, wait_for=[event])

    def local_memory(self, nbytes: int) -> Any:
        """The kernel argument for local memory."""
        return local_memory(nbytes)

    def create_segment(self, nbytes: int, for_host: bool) -> tuple[Any, np.ndarray | None] | None:
        """Memory for the pool: a buffer, and its bytes as the host sees them (or None); None if there is none left."""
        flags = cl.mem_flags
        try:
            if self.shares_memory:
                memory = _pages(nbytes)
                return cl.Buffer(self.context, flags.READ_WRITE | flags.USE_HOST_PTR, hostbuf=memory), memory
            if not for_host:
                return cl.Buffer(self.context, flags.READ_WRITE, nbytes), None
            buffer = cl.Buffer(self.context, flags.READ_WRITE | flags.ALLOC_HOST_PTR, nbytes)
            access = cl.map_flags.READ | cl.map_flags.WRITE
            mapped, _ = cl.enqueue_map_buffer(
                self.default_stream.queue, buffer, access, 0, (nbytes,), np.uint8, is_blocking=True
            )
            return buffer, mapped
        except (cl.MemoryError, MemoryError, OSError):
            return None
        except cl.Error as error:
            if error.code in (cl.status_code.INVALID_BUFFER_SIZE, cl.status_code.OUT_OF_HOST_MEMORY):
                return None
            raise DeviceError(f"{self.spec} ({self.name}): allocating {nbytes} bytes: {error}") from error

    def identity(self) -> tuple[str, ...]:
        """What a built program depends on."""
        device, owner = self.handle, self.handle.platform
        return (
            owner.name,
            owner.vendor,
            owner.version,
            device.name,
            device.vendor,
            device.version,
            device.driver_version,
            processor_features() if self.type == "cpu" else "",
        )


def _pages(nbytes: int) -> np.ndarray:
    """Zeroed, page-aligned memory; in huge pages where there is enough of it, which halves the cost of first touch."""
    # Private, not shared: a forked child must never write into its parent's memory.
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    pages = mmap.mmap(-1, nbytes, **private)
    if nbytes >= _HUGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):
            pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, np.uint8)


def host_memory() -> int:
    """Bytes of memory of this machine, or of this container where it has less."""
    total = 4 << 30
    with contextlib.suppress(ValueError, OSError, AttributeError):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(Path(file).read_text(encoding="ascii")))
    return total


def processor_features() -> str:
    """A checksum of the processor's model and instruction sets."""
    text = platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        wanted: dict[str, str] = {}
        for line in lines:
            key = line.partition(":")[0].strip()
            if key in ("flags", "Features", "model name", "model", "cpu family"):
                wanted.setdefault(key, line)
        text += "".join(wanted.values())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# ---- from driver queries to a Target

_VENDORS = (
    ("portable computing language", "pocl"),
    ("intel", "intel"),
    ("rusticl", "rusticl"),
    ("oclgrind", "oclgrind"),
    ("nvidia", "nvidia"),
    ("amd", "amd"),
    ("clover", "clover"),
    ("apple", "apple"),
)
_SUB_GROUP_QUERIES = ("warp_size_nv", "wavefront_width_amd", "preferred_work_group_size_multiple")


def vendor_of(platform_name: str) -> str:
    """The short name of who wrote a driver."""
    lowered = platform_name.lower()
    for part, vendor in _VENDORS:
        if part in lowered:
            return vendor
    return lowered.split()[0] if lowered.split() else "unknown"


def version_of(text: str) -> tuple[int, ...]:
    """The first dotted number in a driver's version string."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def vector_width(kind: str, native: int, features: frozenset[str]) -> int:
    """float32 lanes to write code for.

    A CPU driver's answer is taken where the processor has such registers; a scalar answer from a CPU (rusticl gives
    1) is replaced by what the processor has.

    >>> vector_width("cpu", 16, frozenset({"avx", "avx2"}))
    8
    """
    if kind != "cpu":
        return max(1, min(native, 4))
    if "avx512f" in features:
        widest = 16
    elif "avx" in features or not features:
        widest = 8
    else:
        widest = 4
    return min(native, widest) if native in (4, 8, 16) else widest


def _processor_flags() -> frozenset[str]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("flags", "Features")):
                return frozenset(line.partition(":")[2].split())
    return frozenset()


def _ask(handle: Any, name: str, default: Any) -> Any:
    try:
        return getattr(handle, name)
    except (cl.Error, AttributeError):
        return default


def read_target(handle: Any) -> Target:
    """Ask the driver everything that a Target holds."""
    vendor = vendor_of(handle.platform.name)
    kinds = cl.device_type
    is_cpu = vendor == "oclgrind" or bool(handle.type & kinds.CPU) and not handle.type & kinds.GPU
    kind = "cpu" if is_cpu else "gpu"
    quirks = quirks_of(vendor, kind)
    extensions = frozenset(handle.extensions.split())
    native = int(_ask(handle, "native_vector_width_float", 0))
    sub_group = 0
    if not is_cpu and (
        extensions & {"cl_khr_subgroups", "cl_intel_subgroups"} or _ask(handle, "max_num_sub_groups", 0)
    ):
        for query in _SUB_GROUP_QUERIES:
            sub_group = int(_ask(handle, query, 0) or 0)
            if sub_group:
                break
    local = int(_ask(handle, "local_mem_size", 32768))
    if quirks.local_memory:
        local = min(local, quirks.local_memory)
    width = vector_width(kind, native, _processor_flags() if sys.platform == "linux" else frozenset())
    if quirks.widest_vector:
        width = min(width, quirks.widest_vector)
    alignment = max(int(_ask(handle, "mem_base_addr_align", 1024)) // 8, 128)
    return Target(
        kind=kind,
        vendor=vendor,
        name=handle.name.strip(),
        driver=handle.driver_version.strip(),
        compute_units=int(handle.max_compute_units),
        vector_width=width,
        local_memory=local,
        max_work_group=int(handle.max_work_group_size),
        sub_group=sub_group,
        fp64="cl_khr_fp64" in extensions or bool(_ask(handle, "double_fp_config", 0)),
        fp16="cl_khr_fp16" in extensions,
        unified_memory=is_cpu or bool(_ask(handle, "host_unified_memory", False)),
        max_parameter_bytes=quirks.parameter_bytes or int(_ask(handle, "max_parameter_size", 1024)),
        max_allocation=int(handle.max_mem_alloc_size),
        global_memory=int(handle.global_mem_size),
        address_alignment=alignment,
        loop_limit=quirks.loop_limit,
    )
