"""Devices and everything that runs on them: the only importer of pyopencl.

Floor 1a. `devices()` and `get_device()` are the way in; a Device gives pool, streams, built kernels, bound launches
and transfers. pyopencl is imported when the first device is asked for, not before.

>>> device = get_device("null")
>>> device.download(device.pool.allocate(4)).tolist()
[0, 0, 0, 0]
"""

from __future__ import annotations

import re
import threading

from ..config import settings
from ..errors import DeviceError
from . import discovery
from .device import Device, read_target, version_of
from .launch import BoundLaunch
from .null import NullDevice
from .opencl import cl, process
from .pool import Block, Pool
from .profiler import Flush, Peak, Profiler, Summary, Timing
from .program import KernelHandle
from .stream import Event, Stream, current_stream, set_current_stream
from .transfer import aligned_empty

__all__ = [
    "Block",
    "BoundLaunch",
    "Device",
    "Event",
    "Flush",
    "KernelHandle",
    "NullDevice",
    "Peak",
    "Pool",
    "Profiler",
    "Stream",
    "Summary",
    "Timing",
    "aligned_empty",
    "current_stream",
    "devices",
    "get_device",
    "set_current_stream",
]

_lock = threading.Lock()
_devices: list[Device] | None = None
_null: NullDevice | None = None
_refusals: list[str] = []


def devices() -> list[Device]:
    """All OpenCL devices, the best first; asked once. Empty where there are none.

    GPUs come before CPUs, and CPU runtimes by their speed.
    """
    global _devices
    if _devices is None:
        with _lock:
            if _devices is None:
                _devices = _find()
    return list(_devices)


def _find() -> list[Device]:
    found: list[tuple[tuple[object, ...], int, Device]] = []
    _refusals.clear()
    try:
        platforms = cl.get_platforms()
    except cl.Error as error:
        _refusals.append(f"the loader said: {error}")
        return []
    for platform in platforms:
        try:
            handles = platform.get_devices()
        except cl.Error as error:
            _refusals.append(f"{platform.name}: {error}")
            continue
        if not handles:
            _refusals.append(f"{platform.name}: no device")
        for handle in handles:
            try:
                if not (handle.available and handle.compiler_available):
                    _refusals.append(f"{handle.name}: not available, or without a compiler")
                    continue
                target = read_target(handle)
            except cl.Error as error:
                _refusals.append(f"{platform.name}: {error}")
                continue
            key = discovery.rank(
                target.kind, target.vendor, version_of(target.driver), target.unified_memory, target.global_memory
            )
            found.append((key, len(found), Device(handle, target, handle.vendor.strip())))
    found.sort(key=lambda entry: entry[:2])
    process.keep(found)  # some drivers have threads by now
    for index, (_, _, device) in enumerate(found):
        device.index = index
    return [device for _, _, device in found]


def get_device(spec: str | int | None = None) -> Device:
    """The device that `spec` names.

    Args:
        spec: 'cl:1' or 1; 'cl' or 'gpu' or 'cpu' for the best (of the kind); 'null'; None for `CLTORCH_DEVICE`, or
            the best. For programs written for PyTorch, 'cuda', 'xpu' and 'mps' (with or without a number) name 'cl'
            devices.

    Raises:
        DeviceError: there is no such device; the text says what was tried and what to install.
        RuntimeError: `spec` is not a device name.
    """
    global _null
    if spec is None:
        spec = settings.device or "cl"
    if isinstance(spec, int):
        spec = f"cl:{spec}"
    found = re.fullmatch(r"(cl|gpu|cpu|null|cuda|xpu|mps|opencl|privateuseone)(?::(\d+))?", spec)
    if found is None:
        raise RuntimeError(f"device: got {spec!r}, wanted 'cl', 'cl:<number>', 'gpu', 'cpu' or 'null'")
    kind, number = found.group(1), int(found.group(2) or 0)
    if kind == "null" or (settings.host_only and _devices is None):  # a data-loader worker: no driver may be asked
        if _null is None:
            _null = NullDevice()
        return _null
    if not settings.host_only:
        process.refuse_if_forked()
    every = devices()
    if not every:
        raise DeviceError(_no_device())
    chosen = [device for device in every if device.type == kind] if kind in ("gpu", "cpu") else every
    if number >= len(chosen):
        listed = ", ".join(f"{device.spec} ({device.type}: {device.name})" for device in every)
        raise DeviceError(f"device: got {spec!r}, but there {'are' if len(every) > 1 else 'is'} only {listed}")
    return chosen[number]


def _no_device() -> str:
    refused = f" Drivers that gave no device: {'; '.join(_refusals)}." if _refusals else ""
    return (
        f"No OpenCL device was found. Searched: {discovery.searched()}.{refused} "
        "Install a CPU runtime with pip, no root needed: `pip install intel-opencl-rt` (x86-64, fastest) or "
        "`pip install pocl-binary-distribution` (any CPU); for a GPU, install its vendor's OpenCL driver. "
        "If you set OCL_ICD_VENDORS or OPENCL_VENDOR_PATH yourself, unset it."
    )
