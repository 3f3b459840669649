"""`torch.device`: names of devices, and the runtime's device behind each.

Floor 6. `cl:0`, `cl:1`, … number all OpenCL devices, best first; `gpu` and `cpu` are the first of their type (`gpu:1`
the second, …); `cuda` is taken as `cl`, for programs written for it. A name is resolved when memory is made on it,
not before.
"""

from __future__ import annotations

from typing import Any

from . import runtime
from .engine import Storage

_TYPES = ("cl", "cpu", "gpu", "null")
_ALIASES = {"cuda": "cl", "opencl": "cl", "xpu": "cl", "mps": "cl"}


class device:
    """The name of a device: `device('cl:0')`, `device('cl', 0)`, `device('cpu')`, `device(0)`.

    Also a context manager: tensors made within it lie on this device.

    Attributes:
        type: 'cl', 'cpu', 'gpu' or 'null'.
        index: the number, or None for the current one.
    """

    __slots__ = ("type", "index", "_before")

    type: str
    index: int | None

    def __init__(self, type: Any = "cl", index: int | None = None):
        if isinstance(type, device):
            self.type, self.index = type.type, type.index
            return
        if isinstance(type, int) and not isinstance(type, bool):
            self.type, self.index = "cl", type
            return
        if not isinstance(type, str):
            raise TypeError(f"device: type: got {type.__class__.__name__}, wanted a string like 'cl:0', or an index")
        if index is not None and not isinstance(index, int):
            raise TypeError(f"device(): argument 'index' (position 2) must be int, not {index.__class__.__name__}")
        name, colon, number = type.partition(":")
        name = _ALIASES.get(name, name)
        if name not in _TYPES or (colon and not number.isdigit()):
            raise RuntimeError(
                f"Expected one of {', '.join(_TYPES)} device type at start of device string, or 'type:index': got "
                f"{type!r}"
            )
        if colon and index is not None:
            raise RuntimeError(f"device: type: got {type!r} with an index in it, and index={index} too")
        self.type, self.index = name, int(number) if colon else index

    def __repr__(self) -> str:
        return (
            f"device(type='{self.type}')" if self.index is None else f"device(type='{self.type}', index={self.index})"
        )

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, device):
            return NotImplemented
        if self.type == other.type:
            return self.index == other.index
        return "null" not in (self.type, other.type) and storage_device(self) is storage_device(other)

    def __hash__(self) -> int:
        return hash("cltorch.device")  # cpu may equal cl:0, and there are few devices

    def __reduce__(self) -> tuple:
        return device, (self.type, self.index)

    def __enter__(self) -> device:
        self._before = _default[0]
        _default[0] = self
        return self

    def __exit__(self, *exception: object) -> None:
        _default[0] = self._before


_default: list[device | None] = [None]
_resolved: dict[tuple[str, int | None], Any] = {}
_names: dict[Any, device] = {}


def set_default_device(chosen: Any) -> None:
    """The device of tensors made without `device=`; None for the best one."""
    _default[0] = None if chosen is None else device(chosen)


def get_default_device() -> device:
    """The device of tensors made without `device=`."""
    return name_of(storage_device(None))


def storage_device(chosen: Any = None) -> Any:
    """The runtime's device for `chosen`: a device, its name or index, or None for the default one."""
    if chosen is None:
        chosen = _default[0]
        if chosen is None:
            return runtime.get_device(None)
    elif not isinstance(chosen, device):
        chosen = device(chosen)
    key = (chosen.type, chosen.index)
    found = _resolved.get(key)
    if found is None:
        found = _resolved[key] = runtime.get_device(str(chosen))
    return found


def name_of(found: Any) -> device:
    """The device object of the runtime's device."""
    made = _names.get(found)
    if made is None:
        made = _names[found] = device(found.spec)
    return made


def device_of(storage: Storage) -> device:
    """The device on which `storage` lies."""
    return name_of(storage.trace.device)
