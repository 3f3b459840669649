"""Pooling by maxima, means and norms, over windows or into a given number of cells.

Floor 7. Checks and shapes; the windows are the kernels of the records in ops/pooling.py. Pooling of signals is that of
planes of one row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from ...autograd.modes import state
from ...direct import run
from ...dispatch import apply
from ...functions.nodes import give_backward
from ...ops import pooling as records
from ...ops.table import Op
from ...tensor import Tensor

Size = int | Sequence[int]
CellSize = int | Sequence[int | None] | None


def _one(value: Any) -> int:
    return value if isinstance(value, int) else value[0]


def sizes(op: str, argument: str, value: Any, n: int) -> tuple[int, ...]:
    """`value` as n ints; one number counts for all. Raises RuntimeError for another length."""
    if value.__class__ is int:
        return (value,) * n
    given = tuple(value)
    if len(given) == 1:
        return given * n
    if len(given) != n:
        wanted = {1: "one int", 2: "two ints", 3: "three ints"}[n]
        raise RuntimeError(f"{op}: {argument} must either be a single int, or a tuple of {wanted}, got {given}")
    return given


_MAX = {
    2: (records.MAX_POOL2D, records.MAX_POOL2D_BACKWARD),
    3: (records.MAX_POOL3D, records.MAX_POOL3D_BACKWARD),
}


def _max_pool(
    op: str,
    n: int,
    input: Tensor,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    dilation: Size,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    kernel = sizes(op, "kernel_size", kernel_size, n)
    step = sizes(op, "stride", stride, n) if stride else kernel
    around, apart = sizes(op, "padding", padding, n), sizes(op, "dilation", dilation, n)
    attrs = (kernel, step, around, apart, bool(ceil_mode))
    forward, backward = _MAX[n]
    values, places = run(forward, (input,), attrs)
    values = give_backward(
        f"MaxPool{n}DBackward0", (input,), values, _max_backward(backward, input._layout.shape[-n:], attrs), (places,)
    )
    return (values, places) if return_indices else values


def _max_backward(record: Op, size: tuple[int, ...], attrs: tuple) -> Callable[[Tensor, Tensor], Tensor]:
    def backward(grad: Tensor, places: Tensor) -> Tensor:
        return (apply if state.grad else run)(record, (grad, places), (size, *attrs))

    return backward


def max_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window; with `return_indices` also its place in the plane, h * W + w.

    Shape: input (N, C, H, W) or (C, H, W).

    Raises:
        RuntimeError: sizes do not fit.
    """
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window; with `return_indices` also its place in the volume, (d * H + h) * W + w.

    Shape: input (N, C, D, H, W) or (C, D, H, W).

    Raises:
        RuntimeError: sizes do not fit.
    """
    return _max_pool("max_pool3d", 3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """`max_pool2d` with the places of the maxima."""
    return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """`max_pool3d` with the places of the maxima."""
    return max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The maximum of each window; with `return_indices` also its place.

    Shape: input (N, C, L) or (C, L).
    """
    if input.dim() not in (2, 3):
        raise RuntimeError(f"max_pool1d() Expected 2D or 3D input tensor, but got {list(input.shape)}")
    kernel = _one(kernel_size)
    step = kernel if stride is None or stride == [] else _one(stride)
    out = max_pool2d(
        input.unsqueeze(-2), (1, kernel), (1, step), (0, _one(padding)), (1, _one(dilation)), ceil_mode, return_indices
    )
    return (out[0].squeeze(-2), out[1].squeeze(-2)) if return_indices else out.squeeze(-2)


def max_pool1d_with_indices(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> tuple[Tensor, Tensor]:
    """`max_pool1d` with the places of the maxima."""
    return max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def avg_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window.

    Args:
        count_include_pad: whether padding counts in the divisor.
        divisor_override: divide by this instead.

    Shape: input (N, C, H, W) or (C, H, W).
    """
    return _avg_pool(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window.

    Args:
        count_include_pad: whether padding counts in the divisor.
        divisor_override: divide by this instead.

    Shape: input (N, C, D, H, W) or (C, D, H, W).
    """
    return _avg_pool(
        "avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _avg_pool(
    op: str,
    n: int,
    input: Tensor,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    if divisor_override is not None and divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    kernel = sizes(op, "kernel_size", kernel_size, n)
    step = sizes(op, "stride", stride, n) if stride else kernel
    around = sizes(op, "padding", padding, n)
    attrs = (kernel, step, around, bool(ceil_mode), bool(count_include_pad), divisor_override)
    return apply(records.AVG_POOL2D if n == 2 else records.AVG_POOL3D, (input,), attrs)


def avg_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window. Shape: input (N, C, L) or (C, L)."""
    if input.dim() not in (2, 3):
        raise RuntimeError(f"avg_pool1d() Expected 2D or 3D input tensor, but got {list(input.shape)}")
    kernel = _one(kernel_size)
    step = kernel if stride is None or stride == () or stride == [] else _one(stride)
    out = avg_pool2d(input.unsqueeze(-2), (1, kernel), (1, step), (0, _one(padding)), ceil_mode, count_include_pad)
    return out.squeeze(-2)


def _cells(op: str, input: Tensor, output_size: CellSize, n: int) -> tuple[int, ...]:
    """The number of cells per pooled dim; None keeps the input's size."""
    wanted = (output_size,) * n if output_size is None or isinstance(output_size, int) else tuple(output_size)
    if len(wanted) != n:
        raise RuntimeError(f"{op}: output_size must be {n} numbers, got {list(wanted)}")
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(f"{op}: Expected {n + 1}D or {n + 2}D tensor, but got {list(input.shape)}")
    for d in range(-n, 0):
        if input.shape[d] == 0:
            raise RuntimeError(
                f"{op}: Expected input to have non-zero size for non-batch dimensions, but input has sizes "
                f"{list(input.shape)} with dimension {input.dim() + d} being empty"
            )
    cells = tuple(input.shape[d - n] if c is None else c for d, c in enumerate(wanted))
    if any(c < 0 for c in cells):
        raise RuntimeError(f"{op}: elements of output_size must be greater than or equal to 0, got {list(wanted)}")
    return cells


def _adaptive_avg(op: str, record: Op, input: Tensor, output_size: CellSize, n: int) -> Tensor:
    cells = _cells(op, input, output_size, n)
    if cells == (1,) * n:
        return input.mean(tuple(range(-n, 0)), keepdim=True)
    return apply(record, (input,), (cells,))


def adaptive_avg_pool2d(input: Tensor, output_size: CellSize) -> Tensor:
    """The mean of each of `output_size` cells [floor(i H / h), ceil((i + 1) H / h)).

    Shape: input (N, C, H, W) or (C, H, W).
    """
    return _adaptive_avg("adaptive_avg_pool2d", records.ADAPTIVE_AVG_POOL2D, input, output_size, 2)


def adaptive_avg_pool3d(input: Tensor, output_size: CellSize) -> Tensor:
    """The mean of each of `output_size` cells [floor(i D / d), ceil((i + 1) D / d)), ...

    Shape: input (N, C, D, H, W) or (C, D, H, W).
    """
    return _adaptive_avg("adaptive_avg_pool3d", records.ADAPTIVE_AVG_POOL3D, input, output_size, 3)


def adaptive_avg_pool1d(input: Tensor, output_size: CellSize) -> Tensor:
    """The mean of each of `output_size` cells. Shape: input (N, C, L) or (C, L)."""
    (cells,) = _cells("adaptive_avg_pool1d", input, output_size, 1)
    return adaptive_avg_pool2d(input.unsqueeze(-2), (1, cells)).squeeze(-2)


def adaptive_max_pool2d(input: Tensor, output_size: CellSize, return_indices: bool = False) -> Any:
    """The maximum of each of `output_size` cells; with `return_indices` also its place in the plane.

    Shape: input (N, C, H, W) or (C, H, W).
    """
    found = apply(records.ADAPTIVE_MAX_POOL2D, (input,), (_cells("adaptive_max_pool2d", input, output_size, 2),))
    return found if return_indices else found[0]


def adaptive_max_pool2d_with_indices(
    input: Tensor, output_size: CellSize, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool2d` with the places of the maxima."""
    return adaptive_max_pool2d(input, output_size, True)


def adaptive_max_pool3d(input: Tensor, output_size: CellSize, return_indices: bool = False) -> Any:
    """The maximum of each of `output_size` cells; with `return_indices` also its place in the volume.

    Shape: input (N, C, D, H, W) or (C, D, H, W).
    """
    found = apply(records.ADAPTIVE_MAX_POOL3D, (input,), (_cells("adaptive_max_pool3d", input, output_size, 3),))
    return found if return_indices else found[0]


def adaptive_max_pool3d_with_indices(
    input: Tensor, output_size: CellSize, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool3d` with the places of the maxima."""
    return adaptive_max_pool3d(input, output_size, True)


def adaptive_max_pool1d(input: Tensor, output_size: CellSize, return_indices: bool = False) -> Any:
    """The maximum of each of `output_size` cells; with `return_indices` also its place. Shape: input (N, C, L) or (C,
    L).
    """
    (cells,) = _cells("adaptive_max_pool1d", input, output_size, 1)
    out = adaptive_max_pool2d(input.unsqueeze(-2), (1, cells), return_indices)
    return (out[0].squeeze(-2), out[1].squeeze(-2)) if return_indices else out.squeeze(-2)


def adaptive_max_pool1d_with_indices(
    input: Tensor, output_size: CellSize, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool1d` with the places of the maxima."""
    return adaptive_max_pool1d(input, output_size, True)


def _lp(total: Tensor, norm_type: float) -> Tensor:
    return (total.sign() * total.abs().relu()).pow(1 / norm_type)


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """(sum of x^p over each window)^(1/p). Shape: input (N, C, L) or (C, L)."""
    kernel = _one(kernel_size)
    return _lp(avg_pool1d(input.pow(norm_type), kernel, stride, 0, ceil_mode) * kernel, norm_type)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """(sum of x^p over each window)^(1/p). Shape: input (N, C, H, W) or (C, H, W)."""
    kernel = sizes("lp_pool2d", "kernel_size", kernel_size, 2)
    return _lp(avg_pool2d(input.pow(norm_type), kernel, stride, 0, ceil_mode) * prod(kernel), norm_type)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
) -> Tensor:
    """(sum of x^p over each window)^(1/p). Shape: input (N, C, D, H, W) or (C, D, H, W)."""
    kernel = sizes("lp_pool3d", "kernel_size", kernel_size, 3)
    return _lp(avg_pool3d(input.pow(norm_type), kernel, stride, 0, ceil_mode) * prod(kernel), norm_type)
