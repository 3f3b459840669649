"""Tensors that a Module owns: parameters, buffers, and those whose shape the first batch decides.

Floor 7.
"""

from __future__ import annotations

from typing import Any

from ..functions.creation import empty
from ..tensor import Tensor


class Parameter(Tensor):
    """A tensor that counts as a parameter of the Module it is assigned to.

    Args:
        data: the values; shared, not copied. None makes an empty tensor.
        requires_grad: as of the result; `data` itself is left as it is.

    >>> Parameter(cltorch.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = empty(0)
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter: data: got {type(data).__name__}, wanted a Tensor")
        return Tensor._make_subclass(cls, data.detach(), requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{self.detach().requires_grad_(self.requires_grad)!r}"


class _BufferType(type(Tensor)):  # type: ignore[misc]
    """`isinstance(t, Buffer)` also holds for a plain tensor that is marked as one."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor) and getattr(instance, "_is_buffer", False)


class Buffer(Tensor, metaclass=_BufferType):
    """A tensor that is registered as a buffer when it is assigned to a Module's attribute.

    Args:
        data: the values; shared, not copied.
        persistent: whether it is part of the Module's `state_dict`.
    """

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        made = Tensor._make_subclass(
            cls, empty(0) if data is None else data.detach(), False if data is None else data.requires_grad
        )
        made._is_buffer, made.persistent = True, persistent
        return made


class UninitializedTensorMixin:
    """What a tensor without a shape refuses; mixed into the two below."""

    def materialize(self, shape: tuple[int, ...], device: Any = None, dtype: Any = None) -> None:
        """Give the tensor its shape (values undefined) and turn it into an ordinary parameter or buffer."""
        made = empty(shape, device=device or self.device, dtype=dtype or self.dtype)  # type: ignore[attr-defined]
        self.data = made
        self.__class__ = self.materialized  # type: ignore[attr-defined]

    @property
    def shape(self) -> Any:
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            "`load_state_dict` when "
            "trying to load an uninitialized parameter into an initialized one. Call `forward` to initialize the "
            "parameters "
            "before accessing their attributes."
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter whose shape is not known yet; `materialize(shape)` makes it an ordinary Parameter."""

    materialized = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> UninitializedParameter:
        return Tensor._make_subclass(cls, empty(0, device=device, dtype=dtype), requires_grad)

    def __deepcopy__(self, memo: dict) -> UninitializedParameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.device, self.dtype)
        return memo[id(self)]


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer whose shape is not known yet; `materialize(shape)` makes it an ordinary tensor."""

    materialized = Tensor

    def __new__(
        cls, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True
    ) -> UninitializedBuffer:
        made = Tensor._make_subclass(cls, empty(0, device=device, dtype=dtype), requires_grad)
        made.persistent, made._is_buffer = persistent, True
        return made


def is_lazy(tensor: object) -> bool:
    """Whether `tensor` still waits for its shape."""
    return isinstance(tensor, UninitializedTensorMixin)
