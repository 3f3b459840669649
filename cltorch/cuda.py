"""`torch.cuda`'s names, answered for the OpenCL device, so that programs written for CUDA run.

Floor 7. `torch.device("cuda")` names the first OpenCL device; nothing here talks to CUDA.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from . import accelerator
from .accelerator import (
    Event,
    Stream,
    current_stream,
    device_count,
    empty_cache,
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
from .device import storage_device
from .functions.random import manual_seed


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


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(free, total) bytes as far as the pool knows."""
    total = storage_device(device).target.global_memory
    return total - accelerator.memory_reserved(device), total


def is_bf16_supported() -> bool:
    """True: bfloat16 is stored as such and computed in float32."""
    return True


def manual_seed_all(seed: int) -> None:
    """Seed the generators of all devices."""
    manual_seed(seed)


def is_initialized() -> bool:
    return True


def init() -> None:
    """Nothing to do: devices are opened when they are first used."""


def stream(stream: Stream) -> Stream:
    """The stream as a context manager."""
    return stream


reset_max_memory_allocated = reset_peak_memory_stats

__all__ = [
    "Event", "Stream", "current_device", "current_stream", "device_count", "empty_cache", "get_device_capability", "get_device_name",
    "get_device_properties", "init", "is_available", "is_bf16_supported", "is_initialized", "manual_seed", "manual_seed_all",
    "max_memory_allocated", "max_memory_reserved", "mem_get_info", "memory_allocated", "memory_reserved", "memory_stats",
    "reset_max_memory_allocated", "reset_peak_memory_stats", "set_device", "set_stream", "stream", "synchronize",
]
