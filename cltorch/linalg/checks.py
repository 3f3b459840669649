"""What arguments of linear algebra must be, in PyTorch's words, and batches made alike.

Floor 6, part of `linalg`.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from ..dtypes import float32, float64
from ..errors import LinAlgError
from ..functions.derive import check_tensor
from ..shapes import broadcast
from ..tensor import Tensor

_WORDS = {
    "int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool",
    "float16": "Half", "bfloat16": "BFloat16", "float32": "Float", "float64": "Double",
}  # fmt: skip


def word(x: Tensor) -> str:
    """PyTorch's name of a dtype in its error texts."""
    return _WORDS.get(x.dtype.name, x.dtype.name)


def returned(name: str, fields: str) -> Any:
    """The named tuple that PyTorch calls torch.return_types.<name>."""
    return namedtuple(name, fields)


def check_matrices(op: str, square: bool = False, kernel: str = "", **given: Tensor) -> None:
    """Refuse what is no batch of matrices of float32 or float64.

    Args:
        kernel: the name under which PyTorch has no kernel for short floats; without one it refuses them itself.
    """
    for name, x in given.items():
        check_tensor(op, **{name: x})
        if x.dim() < 2:
            raise RuntimeError(f"{op}: The input tensor {name} must have at least 2 dimensions.")
        if not x.is_floating_point():
            raise RuntimeError(f"{op}: Expected a floating point or complex tensor as input. Got {word(x)}")
        if x.dtype not in (float32, float64):
            if kernel:
                raise NotImplementedError(f"\"{kernel}\" not implemented for '{word(x)}'")
            raise RuntimeError(f"{op}: Low precision dtypes not supported. Got {word(x)}")
        if square and x.shape[-1] != x.shape[-2]:
            m, n = x.shape[-2:]
            raise RuntimeError(f"{op}: {name} must be batches of square matrices, but they are {m} by {n} matrices")


def same_dtype(op: str, a: Tensor, b: Tensor) -> None:
    """Refuse two dtypes in one system."""
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"{op}: Expected A and B to have the same dtype, but found A of type {word(a)} and B of type {word(b)} "
            "instead"
        )


def is_vector_side(a: Tensor, b: Tensor) -> bool:
    """Whether B is a batch of vectors, as `solve` takes them."""
    return b.dim() == 1 or (a.dim() - 1 == b.dim() and tuple(b.shape) == tuple(a.shape[:-1]))


def same_batch(op: str, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the batch dims that they broadcast to."""
    batch = broadcast(op, tuple(a.shape[:-2]), tuple(b.shape[:-2]))
    return a.expand((*batch, *a.shape[-2:])), b.expand((*batch, *b.shape[-2:]))


def fitting_sides(op: str, a: Tensor, b: Tensor, left: bool = True) -> None:
    """Refuse right sides that do not fit the matrix."""
    if a.shape[-2] != b.shape[-2 if left else -1]:
        m, n = a.shape[-2:]
        p, q = b.shape[-2:]
        equation = "AX = B" if left else "XA = B"
        raise RuntimeError(f"{op}: Incompatible shapes of A and B for the equation {equation} ({m}x{n} and {p}x{q})")


def check_info(op: str, info: Tensor, text: str) -> None:
    """Raise LinAlgError if an element of `info` is not 0; `text` may name it as {}."""
    found = info.detach().reshape(-1).tolist()
    for i, number in enumerate(found):
        if number:
            batch = f"(Batch element {i}): " if info.dim() else ""
            raise LinAlgError(f"{op}: {batch}{text.format(number)}")
