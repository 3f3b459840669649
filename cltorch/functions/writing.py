"""Methods that overwrite a tensor by host code or by a pattern, and what PyTorch tells about memory: apply_, map_,
fill_diagonal_, tril_, storage and the like.

Floor 6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..tensor import Tensor, from_array
from .creation import tril, triu
from .derive import in_place

__all__: list[str] = []


class UntypedStorage:
    """The bytes behind a tensor: their number, place and identity."""

    def __init__(self, owner: Tensor):
        self._owner = owner

    def nbytes(self) -> int:
        """How many bytes there are."""
        return self._owner._storage.nbytes

    size = __len__ = nbytes

    def data_ptr(self) -> int:
        """A number that tensors share if they share memory; no address."""
        return id(self._owner._storage)

    @property
    def device(self) -> Any:
        return self._owner.device

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and other._owner._storage is self._owner._storage

    def __hash__(self) -> int:
        return id(self._owner._storage)


def untyped_storage(self: Tensor) -> UntypedStorage:
    """The bytes behind the tensor."""
    return UntypedStorage(self)


def share_memory_(self: Tensor) -> Tensor:
    """The tensor itself: as in PyTorch for tensors of an accelerator, nothing is to be done."""
    return self


def is_shared(self: Tensor) -> bool:
    """True, as for tensors of an accelerator."""
    return True


def fill_diagonal_(self: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Write `fill_value` on the main diagonal; `wrap` starts it anew below, with a row between, in a tall matrix.

    **Raises** RuntimeError for fewer than two dimensions, or for more if their sizes differ.
    """
    shape = self.shape
    if len(shape) < 2:
        raise RuntimeError("dimensions must larger than 1")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    stride, least = sum(self.stride()), min(shape)
    if not self.numel():
        return self
    self.as_strided((least,), (stride,), self.storage_offset()).fill_(fill_value)
    if wrap and len(shape) == 2 and shape[0] > shape[1] + 1:
        height, width = shape
        for start in range(width + 1, height, width + 1):
            self[start : start + width].diagonal().fill_(fill_value)
    return self


def _host_function(self: Tensor, name: str, function: Callable[..., Any], *others: Tensor) -> Tensor:
    if self.requires_grad:
        raise TypeError(f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead.")
    arrays = [x.detach().numpy() if x.shape == self.shape else x.detach().expand(self.shape).numpy() for x in others]
    values = [function(*items) for items in zip(self.numpy().ravel().tolist(), *(a.ravel().tolist() for a in arrays))]
    made = np.array(values, dtype=self.numpy().dtype).reshape(tuple(self.shape))
    return self.copy_(from_array(made, self.dtype, self.device))


def apply_(self: Tensor, callable: Callable[[Any], Any]) -> Tensor:
    """Replace each element by `callable(element)`, on the host."""
    return _host_function(self, "apply_", callable)


def map_(self: Tensor, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
    """Replace each element by `callable(element, element of tensor)`, on the host."""
    return _host_function(self, "map_", callable, tensor)


def map2_(self: Tensor, x: Tensor, y: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
    """Replace each element by `callable(element, element of x, element of y)`, on the host."""
    return _host_function(self, "map2_", callable, x, y)


def new(self: Tensor, *args: Any) -> Tensor:
    """A tensor of this one's dtype and device: of the given sizes (values undefined), or with the given values."""
    if len(args) == 1 and isinstance(args[0], (list, Tensor, np.ndarray)):
        return self.new_tensor(args[0])
    return self.new_empty(args[0] if len(args) == 1 and isinstance(args[0], tuple) else args or (0,))


METHODS: dict[str, Any] = {
    "untyped_storage": untyped_storage,
    "share_memory_": share_memory_,
    "is_shared": is_shared,
    "fill_diagonal_": fill_diagonal_,
    "tril_": in_place(tril),
    "triu_": in_place(triu),
    "apply_": apply_,
    "map_": map_,
    "map2_": map2_,
    "new": new,
}
