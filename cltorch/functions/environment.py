"""Process-wide switches of PyTorch's, and what they mean here.

Floor 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..device import storage_device
from ..tensor import Tensor

__all__ = [
    "are_deterministic_algorithms_enabled", "compile", "get_num_interop_threads", "get_num_threads",
    "set_num_interop_threads", "set_num_threads", "typename", "use_deterministic_algorithms",
]  # fmt: skip

_threads: list[int] = []


def get_num_threads() -> int:
    """Compute units of the default device (the driver decides how many it uses)."""
    return _threads[-1] if _threads else storage_device(None).target.compute_units


def set_num_threads(n: int) -> None:
    """Accepted for compatibility: an OpenCL driver has its own threads, which cannot be limited after the device was
    opened.

    Raises:
        RuntimeError: n is not positive.
    """
    if not isinstance(n, int) or n <= 0:
        raise RuntimeError("set_num_threads expects a positive integer")
    _threads.append(n)


get_num_interop_threads, set_num_interop_threads = get_num_threads, set_num_threads


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Nothing to do: every kernel is deterministic, in both modes."""


def are_deterministic_algorithms_enabled() -> bool:
    """True: every kernel is deterministic."""
    return True


def typename(obj: Any) -> str:
    """The type of an object as text; of tensors, PyTorch's name as 'torch.FloatTensor'."""
    if isinstance(obj, Tensor):
        return obj.type()  # type: ignore[attr-defined]
    kind = type(obj)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def compile(model: Any = None, **options: Any) -> Any:
    """The model as it is: what is recorded is fused and replayed anyway. Also a decorator, with PyTorch's options
    accepted.
    """
    if model is None:
        decorate: Callable[[Any], Any] = lambda f: f  # noqa: E731
        return decorate
    return model
