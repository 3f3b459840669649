"""`torch.cuda`'s names, answered for the OpenCL device, so that programs written for CUDA run.

Floor 7. `torch.device("cuda")` names the first OpenCL device; nothing here talks to CUDA.
"""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

from . import accelerator
from .accelerator import (
    Event,
    Stream,
    current_stream,
    device_count,
    empty_cache,
    get_memory_info,
    is_available,
    max_memory_allocated,
    max_memory_reserved,
    memory_allocated,
    memory_reserved,
    memory_stats,
    reset_peak_memory_stats,
    set_stream,
    synchronize,
)
from .device import device as Device
from .device import storage_device
from .errors import OutOfMemoryError
from .functions import random
from .functions.random import initial_seed, manual_seed, seed
from .tensor import Tensor


class DeviceProperties(NamedTuple):
    """What `get_device_properties` tells."""

    name: str
    total_memory: int
    multi_processor_count: int
    major: int = 0
    minor: int = 0


def current_device() -> int:
    """Number of the default device."""
    return accelerator.current_device_index()


def set_device(device: Any) -> None:
    """Make `device` the default one."""
    accelerator.set_device_index(device)


def get_device_name(device: Any = None) -> str:
    """The device's name as its driver gives it."""
    return accelerator.device_name(device)


def get_device_properties(device: Any = None) -> DeviceProperties:
    """Name, memory in bytes and number of compute units."""
    target = storage_device(device).target
    return DeviceProperties(target.name, target.global_memory, target.compute_units)


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """(0, 0): an OpenCL device has no CUDA capability."""
    return 0, 0


class device(Device):
    """`with torch.cuda.device(n):` the default device within it."""


mem_get_info = get_memory_info


def is_bf16_supported() -> bool:
    """True: bfloat16 is stored as such and computed in float32."""
    return True


def manual_seed_all(seed: int) -> None:
    """Seed the generators of all devices."""
    manual_seed(seed)


def is_initialized() -> bool:
    """True: there is nothing to initialize."""
    return True


def init() -> None:
    """Nothing to do: devices are opened when they are first used."""


def stream(stream: Stream | None) -> Any:
    """The stream as a context manager; None for one that does nothing."""
    return contextlib.nullcontext() if stream is None else stream


def default_stream(device: Any = None) -> Stream:
    """The stream that work runs on unless another is chosen."""
    return Stream(_stream=storage_device(device).default_stream)


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """The statistics of the memory pool as a table."""
    found = memory_stats(device)
    return "\n".join(f"{name:32} {value:>16,}" for name, value in found.items())


def get_rng_state(device: Any = None) -> Tensor:
    """The default generator's state: the same on every device."""
    return random.get_rng_state()


def set_rng_state(new_state: Tensor, device: Any = None) -> None:
    """Set the default generator's state."""
    random.set_rng_state(new_state)


def ipc_collect() -> None:
    """Nothing to do: no memory is shared between processes."""


seed_all = seed
reset_max_memory_allocated = reset_peak_memory_stats

__all__ = [
    "DeviceProperties",
    "Event",
    "OutOfMemoryError",
    "Stream",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_rng_state",
    "init",
    "initial_seed",
    "ipc_collect",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "memory_summary",
    "reset_max_memory_allocated",
    "reset_peak_memory_stats",
    "seed",
    "seed_all",
    "set_device",
    "set_rng_state",
    "set_stream",
    "stream",
    "synchronize",
]
