"""`Tensor`: a view of a storage with its place in the autograd graph.

Floor 6. Here are the facts of a tensor (shape, dtype, device, values) and its autograd state. What operations exist
is attached later: views.py adds views and copies, attach.py what is derived from the table, functions/ the
composites.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import autograd, dtypes
from .autograd import graph, history
from .autograd.modes import state
from .device import device as Device
from .device import device_of, storage_device
from .dtypes import DType
from .engine import Storage, item, read
from .shapes import Layout, layout, wrap_dim
from .size import Size

_new = object.__new__


class Extra:
    """What few tensors have: a gradient, hooks, views that follow its history, a way in which it is a special view.

    `kind` is '' or says why the tensor, a view, may not be changed in place: 'no_grad', 'multiple', 'function'.
    `quiet`: from `.data`, so in-place changes do not count as versions.
    """

    __slots__ = ("grad", "hooks", "accumulated", "views", "kind", "inference", "quiet", "retain", "name")

    def __init__(self) -> None:
        self.grad: Tensor | None = None
        self.hooks: dict[int, Any] | None = None
        self.accumulated: dict[int, Any] | None = None
        self.views: list[Any] = []
        self.kind = ""
        self.inference = False
        self.quiet = False
        self.retain: Any = None
        self.name: str | None = None


_TYPES = {
    "float32": "FloatTensor", "float64": "DoubleTensor", "float16": "HalfTensor", "bfloat16": "BFloat16Tensor",
    "int64": "LongTensor",
    "int32": "IntTensor", "int16": "ShortTensor", "int8": "CharTensor", "uint8": "ByteTensor", "bool": "BoolTensor",
}  # fmt: skip


class Tensor:
    """A multi-dimensional array of elements of one dtype on one device.

    Attributes:
        _storage, _layout: the memory, and how this view lies in it.
        _requires_grad, _node, _output_number: place in the graph: `_node` made it as that output; a leaf has none.
        _base: the tensor of which this is a view, else None.
        _extra: an Extra, or None.
    """

    __slots__ = (
        "_storage",
        "_layout",
        "_requires_grad",
        "_node",
        "_output_number",
        "_base",
        "_extra",
        "__dict__",
        "__weakref__",
    )

    _storage: Storage
    _layout: Layout
    _requires_grad: bool
    _node: graph.Node | None
    _output_number: int
    _base: Tensor | None
    _extra: Extra | None

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """What is attached at import (the stub file lists it)."""

        __add__: Any
        __radd__: Any
        __iadd__: Any
        __sub__: Any
        __rsub__: Any
        __isub__: Any
        __mul__: Any
        __rmul__: Any
        __imul__: Any
        __truediv__: Any
        __rtruediv__: Any
        __itruediv__: Any
        __floordiv__: Any
        __rfloordiv__: Any
        __ifloordiv__: Any
        __mod__: Any
        __rmod__: Any
        __imod__: Any
        __pow__: Any
        __rpow__: Any
        __ipow__: Any
        __matmul__: Any
        __rmatmul__: Any
        __and__: Any
        __rand__: Any
        __iand__: Any
        __or__: Any
        __ror__: Any
        __ior__: Any
        __xor__: Any
        __rxor__: Any
        __ixor__: Any
        __lshift__: Any
        __rlshift__: Any
        __ilshift__: Any
        __rshift__: Any
        __rrshift__: Any
        __irshift__: Any
        __neg__: Any
        __pos__: Any
        __abs__: Any
        __invert__: Any
        __lt__: Any
        __le__: Any
        __gt__: Any
        __ge__: Any
        __eq__: Any
        __ne__: Any
        __getitem__: Any
        __setitem__: Any
        cat: Any
        stack: Any

    def __new__(cls, *args: Any, device: Any = None) -> Tensor:
        """`Tensor(sizes...)` (values undefined), `Tensor(sequence or array)` or `Tensor(tensor)`, in the default
        dtype."""
        if len(args) == 1 and isinstance(args[0], Tensor):
            return args[0].detach() if cls is Tensor else Tensor._make_subclass(cls, args[0])
        if len(args) == 1 and not isinstance(args[0], (int, Size)):
            array = np.array(args[0], dtype=dtypes.get_default_dtype().numpy)
        else:
            array = np.zeros(
                tuple(args[0]) if args and isinstance(args[0], Size) else args or (0,), dtypes.get_default_dtype().numpy
            )
        return _fill(_new(cls), *_from_array(array, dtypes.get_default_dtype(), device))

    @staticmethod
    def _make_subclass(cls: type, data: Tensor, requires_grad: bool = False) -> Any:
        """A leaf of type `cls` over the storage of `data`."""
        made = _fill(_new(cls), data._storage, data._layout)
        if requires_grad:
            made.requires_grad = True
        return made

    def as_subclass(self, cls: type) -> Any:
        """This tensor as an instance of `cls`, with the same storage and history."""
        made = _fill(_new(cls), self._storage, self._layout)
        made._requires_grad, made._node, made._output_number, made._base = (
            self._requires_grad, self._node, self._output_number, self._base,
        )  # fmt: skip
        return made

    # ---- facts

    @property
    def shape(self) -> Size:
        memo = self._layout.memo
        found = memo.get("size")
        if found is None:
            found = memo["size"] = Size(self._layout.shape)
        return found

    @property
    def dtype(self) -> DType:
        return self._layout.dtype

    @property
    def device(self) -> Device:
        return device_of(self._storage)

    @property
    def ndim(self) -> int:
        return len(self._layout.shape)

    def dim(self) -> int:
        """Number of dimensions."""
        return len(self._layout.shape)

    ndimension = dim

    def size(self, dim: int | None = None) -> Any:
        """The shape, or its length along `dim`."""
        if dim is None:
            return self.shape
        shape = self._layout.shape
        if not shape:
            raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
        return shape[wrap_dim("size", dim, len(shape))]

    def stride(self, dim: int | None = None) -> Any:
        """Elements between neighbours, per dimension or along `dim`."""
        stride = self._layout.stride
        return stride if dim is None else stride[wrap_dim("stride", dim, len(stride))]

    def storage_offset(self) -> int:
        """Elements before the first one in the storage."""
        return self._layout.offset

    def numel(self) -> int:
        """Number of elements."""
        return self._layout.numel

    nelement = numel

    def element_size(self) -> int:
        """Bytes per element."""
        return self._layout.dtype.itemsize

    @property
    def itemsize(self) -> int:
        return self._layout.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self._layout.nbytes

    def data_ptr(self) -> int:
        """A number that tells memory apart: equal for views that begin at the same element. Not an address."""
        return (id(self._storage) << 4) + self._layout.offset * self._layout.dtype.itemsize

    def is_floating_point(self) -> bool:
        return self._layout.dtype.is_floating_point

    def is_complex(self) -> bool:
        return False

    def is_signed(self) -> bool:
        return self._layout.dtype.is_signed

    def is_inference(self) -> bool:
        return self._extra is not None and self._extra.inference

    def is_set_to(self, tensor: Tensor) -> bool:
        """True if both are the same view of the same storage."""
        return self._storage is tensor._storage and self._layout is tensor._layout

    def is_conj(self) -> bool:
        return False

    def is_neg(self) -> bool:
        return False

    is_sparse = is_quantized = is_mkldnn = is_nested = is_meta = False

    @property
    def is_cuda(self) -> bool:
        return self.device.type != "cpu"

    @property
    def is_cpu(self) -> bool:
        return self.device.type == "cpu"

    def get_device(self) -> int:
        index = self.device.index
        return -1 if self.device.type == "cpu" else index or 0

    @property
    def names(self) -> tuple[None, ...]:
        return (None,) * self.ndim

    @property
    def name(self) -> str | None:
        return None if self._extra is None else self._extra.name

    # ---- values

    def item(self) -> Any:
        """The value of a tensor with one element, as a Python number; waits for the device."""
        if self._layout.numel != 1:
            raise RuntimeError(f"a Tensor with {self._layout.numel} elements cannot be converted to Scalar")
        return item(self._storage, self._layout)

    def _array(self) -> np.ndarray:
        found = read(self._storage, self._layout)
        if self._layout.dtype is dtypes.bfloat16:
            return (found.astype(np.uint32) << 16).view(np.float32)
        return found

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers; waits for the device."""
        return self._array().tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The values as an array of its own; waits for the device.

        Raises:
            RuntimeError: the tensor requires grad, and not `force`.
            TypeError: NumPy has no such dtype (bfloat16).
        """
        if self._requires_grad and not force:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if self._layout.dtype is dtypes.bfloat16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return read(self._storage, self._layout)

    __array_priority__ = 1000

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    def __array_wrap__(self, array: np.ndarray, context: Any = None, return_scalar: bool = False) -> Tensor:
        return from_array(array, device=self.device)

    def __len__(self) -> int:
        shape = self._layout.shape
        if not shape:
            raise TypeError("len() of a 0-d tensor")
        return shape[0]

    def __bool__(self) -> bool:
        n = self._layout.numel
        if n != 1:
            raise RuntimeError(
                f"Boolean value of Tensor with {'no values' if n == 0 else 'more than one value'} is ambiguous"
            )
        return bool(item(self._storage, self._layout))

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self._layout.numel != 1 or self._layout.dtype.is_floating_point:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __iter__(self) -> Iterator[Tensor]:
        if not self._layout.shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))  # type: ignore[attr-defined]

    def __contains__(self, element: Any) -> bool:
        if not isinstance(element, (Tensor, bool, int, float)):
            raise RuntimeError(
                f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}."
            )
        return bool((self == element).any())  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return id(self)

    def __reversed__(self) -> Tensor:
        return self.flip(0) if self._layout.shape else self  # type: ignore[attr-defined]

    def __format__(self, spec: str) -> str:
        if not self._layout.shape and spec:
            return self.item().__format__(spec)
        return object.__format__(self, spec)

    def __dir__(self) -> list[str]:
        return sorted(set(dir(type(self))) | set(self.__dict__))

    # ---- copies

    def __deepcopy__(self, memo: dict) -> Tensor:
        if not self._is_leaf():
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the "
                "moment. If you were "
                "attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage"
            )
        if id(self) in memo:
            return memo[id(self)]
        storage = memo.get(id(self._storage))
        if storage is None:
            whole = layout(self._layout.dtype, (self._storage.nbytes // self._layout.dtype.itemsize,))
            storage = memo[id(self._storage)] = make(self._storage, whole).clone()._storage  # type: ignore[attr-defined]
        made = _fill(_new(type(self)), storage, self._layout)
        made._requires_grad = self._requires_grad
        memo[id(self)] = made
        if self.grad is not None:
            made._set_grad(copy.deepcopy(self.grad, memo))
        made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return made

    def __reduce_ex__(self, protocol: Any) -> tuple:
        if not self._is_leaf():
            raise RuntimeError("pickling a non-leaf Tensor that requires grad is not supported; detach() it first")
        array = read(self._storage, self._layout)
        where = str(self.device)
        return _rebuild, (type(self), array, self._layout.dtype, where, self._requires_grad), self.__dict__ or None

    # ---- autograd state

    @property
    def requires_grad(self) -> bool:
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        value = bool(value)
        if value == self._requires_grad:
            return
        if self._node is not None:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in "
                "a subgraph that doesn't "
                "require differentiation use var_no_grad = var.detach()."
            )
        if value and not self._layout.dtype.is_floating_point:
            raise RuntimeError("only Tensors of floating point and complex dtype can require gradients")
        if value and self.is_inference() and not state.inference:
            raise RuntimeError("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.")
        self._requires_grad = value

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad` and return the tensor."""
        self.requires_grad = requires_grad
        return self

    def _is_leaf(self) -> bool:
        return self._node is None

    @property
    def is_leaf(self) -> bool:
        """True if the user made it: it has no `grad_fn`, and backward accumulates into its `.grad` if it requires
        one."""
        return self._node is None

    @property
    def grad_fn(self) -> Any:
        return self._node

    @property
    def output_nr(self) -> int:
        return self._output_number

    @property
    def _version(self) -> int:
        return self._storage.version

    def _is_view(self) -> bool:
        return self._base is not None

    @property
    def _more(self) -> Extra:
        extra = self._extra
        if extra is None:
            extra = self._extra = Extra()
        return extra

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward accumulated, or None."""
        return None if self._extra is None else self._extra.grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}"
                )
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value._layout.dtype is not self._layout.dtype:
                raise RuntimeError(
                    f"assigned grad has data of a different type: got {value.dtype}, wanted {self.dtype}"
                )
            if value._storage.trace is not self._storage.trace:
                raise RuntimeError(
                    f"assigned grad has data located on a different device: got {value.device}, wanted {self.device}"
                )
            if value._layout.shape != self._layout.shape:
                raise RuntimeError(
                    f"assigned grad has data of a different size: got {value.shape}, wanted {self.shape}"
                )
        self._set_grad(value)

    @grad.deleter
    def grad(self) -> None:
        self._set_grad(None)

    def _set_grad(self, value: Tensor | None) -> None:
        if value is not None or self._extra is not None:
            self._more.grad = value

    @property
    def data(self) -> Tensor:
        """The same storage without history; in-place changes to it are not noticed by autograd."""
        made = make(self._storage, self._layout)
        made._more.quiet = True
        return made

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._requires_grad and not value._layout.dtype.is_floating_point:
            raise RuntimeError("data set to a tensor that requires gradients must be floating point or complex dtype")
        self._storage, self._layout = value._storage, value._layout

    def detach(self) -> Tensor:
        """The same storage as a tensor outside the graph."""
        made = make(self._storage, self._layout)
        if self._extra is not None and (self._extra.inference or self._extra.quiet):
            made._more.inference, made._more.quiet = self._extra.inference, self._extra.quiet
        return made

    def detach_(self) -> Tensor:
        """Take this tensor out of the graph: it becomes a leaf."""
        if self._base is not None and self._node is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._node, self._output_number, self._requires_grad = None, 0, False
        return self

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """Add the gradients of this tensor with respect to the graph's leaves to their `.grad`; see
        `autograd.backward`."""
        autograd.backward((self,), None if gradient is None else (gradient,), retain_graph, create_graph, inputs=inputs)

    def register_hook(self, hook: Callable[[Tensor], Any]) -> graph.RemovableHandle:
        """`hook(grad)` runs when the gradient of this tensor is known; what it returns replaces the gradient."""
        if not self._requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self._node is not None:
            return graph.add_hook(self._node.extras.tensor_hooks.setdefault(self._output_number, {}), hook)
        extra = self._more
        if extra.hooks is None:
            extra.hooks = {}
        return graph.add_hook(extra.hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> graph.RemovableHandle:
        """`hook(tensor)` runs after backward has added to this leaf's `.grad`."""
        if not self._requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self._node is not None:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        extra = self._more
        if extra.accumulated is None:
            extra.accumulated = {}
        return graph.add_hook(extra.accumulated, hook)

    def retain_grad(self) -> None:
        """Let backward keep the gradient of this non-leaf in `.grad`."""
        if not self._requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self._node is not None and (self._extra is None or self._extra.retain is None):
            history.retain(self)

    @property
    def retains_grad(self) -> bool:
        return self._node is not None and self._extra is not None and self._extra.retain is not None

    def _bump(self) -> None:
        if self._extra is None or not self._extra.quiet:
            self._storage.version += 1

    def _set_history(self, node: graph.Node, output_number: int) -> None:
        self._requires_grad, self._node, self._output_number = True, node, output_number

    def _rebase(self, node: graph.Node, output_number: int) -> None:
        history.rebase(self, node, output_number)


def _fill(made: Any, storage: Storage, lay: Layout) -> Any:
    made._storage, made._layout = storage, lay
    made._requires_grad, made._node, made._output_number, made._base, made._extra = False, None, 0, None, None
    if state.inference:
        made._more.inference = True
    return made


def make(
    storage: Storage, lay: Layout, requires_grad: bool = False, node: graph.Node | None = None, output_number: int = 0
) -> Tensor:
    """A Tensor over `storage`."""
    made = _new(Tensor)
    made._storage, made._layout, made._requires_grad, made._node = storage, lay, requires_grad, node
    made._output_number, made._base, made._extra = output_number, None, None
    if state.inference:
        made._more.inference = True
    return made


graph.register_tensor(make)


def _from_array(array: np.ndarray, dtype: DType, device: Any) -> tuple[Storage, Layout]:
    array = np.ascontiguousarray(array) if array.ndim else array.reshape(()).copy()
    return Storage.from_numpy(storage_device(device), array), layout(dtype, array.shape)


def from_array(array: np.ndarray, dtype: DType | None = None, device: Any = None) -> Tensor:
    """A Tensor over the memory of a NumPy array, without a copy where the array is C-contiguous and in native byte
    order.

    `dtype` names the element type where the array's bytes need it (bfloat16 comes as uint16).
    """
    if dtype is None:
        dtype = dtypes.from_numpy(array.dtype)
    if array.dtype != dtype.numpy:
        array = array.astype(dtype.numpy)
    return make(*_from_array(array, dtype, device))


def _rebuild(cls: type, array: np.ndarray, dtype: DType, where: str, requires_grad: bool) -> Tensor:
    made = _fill(_new(cls), *_from_array(array, dtype, where))
    made._requires_grad = requires_grad
    return made
