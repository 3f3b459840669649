"""Pooling whose windows are drawn at random, and the partial inverse of maximum pooling.

Floor 7. Both choose elements by their place: they are written with `gather` and `scatter`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from ...dtypes import int64
from ...functions.creation import arange
from ...functions.random import rand
from ...tensor import Tensor
from .pooling import Size, sizes

# ---- the partial inverse of maximum pooling


def _unpooled_size(
    op: str, input: Tensor, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], wanted: Any
) -> tuple[int, ...]:
    """The size of the result: that of an input whose pooling gives `input`, or `wanted` where it could."""
    n = len(kernel)
    usual = tuple((size - 1) * s + k - 2 * p for size, k, s, p in zip(input.shape[-n:], kernel, stride, padding))
    if wanted is None:
        return usual
    given = tuple(wanted)
    if len(given) == n + 2:
        given = given[2:]
    if len(given) != n:
        raise ValueError(
            f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a length of "
            f"'{len(tuple(wanted))}'"
        )
    least = [size - s for size, s in zip(usual, stride)]
    most = [size + s for size, s in zip(usual, stride)]
    for d, (low, size, high) in enumerate(zip(least, given, most)):
        if not low < size < high:
            shown = ", ".join(map(str, given)) + ("," if n == 1 else "")
            raise ValueError(f'invalid output_size "({shown})" (dim {d} must be between {low} and {high})')
    return given


def _max_unpool(
    op: str, n: int, input: Tensor, indices: Tensor, kernel_size: Size, stride: Size | None, padding: Size, wanted: Any
) -> Tensor:
    kernel = sizes(op, "kernel_size", kernel_size, n)
    step = kernel if stride is None or stride == [] else sizes(op, "stride", stride, n)
    around = sizes(op, "padding", padding, n)
    if indices.dtype is not int64:
        raise RuntimeError(f"elements in indices should be type int64 but got: {indices.dtype.name}")
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(
            f"{op}: Input to {op} should be a {n + 1}d or {n + 2}d Tensor, but got a tensor with {input.dim()} "
            f"dimensions"
        )
    if indices.shape != input.shape:
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) but got indices "
            f"tensor with shape: {list(indices.shape)}"
        )
    size = _unpooled_size(op, input, kernel, step, around, wanted)
    flat = input.new_zeros((*input.shape[:-n], prod(size)))
    return flat.scatter(-1, indices.flatten(-n), input.flatten(-n)).reshape((*input.shape[:-n], *size))


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """The maxima that `max_pool1d` found, put back where `indices` says they were; zeros elsewhere.

    Shape: (N, C, L) or (C, L) to (N, C, output_size), (L - 1) s - 2 p + k if that is not given.

    Raises:
        ValueError: `output_size` is none that would have been pooled to `input`'s.
    """
    return _max_unpool("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """The maxima that `max_pool2d` found, put back where `indices` says they were; zeros elsewhere.

    Shape: (N, C, H, W) or (C, H, W) to (N, C, *output_size).

    Raises:
        ValueError: `output_size` is none that would have been pooled to `input`'s.
    """
    return _max_unpool("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """The maxima that `max_pool3d` found, put back where `indices` says they were; zeros elsewhere.

    Shape: (N, C, D, H, W) or (C, D, H, W) to (N, C, *output_size).

    Raises:
        ValueError: `output_size` is none that would have been pooled to `input`'s.
    """
    return _max_unpool("max_unpool3d", 3, input, indices, kernel_size, stride, padding, output_size)


# ---- windows drawn at random


def _fractional(
    op: str,
    n: int,
    input: Tensor,
    kernel_size: Size,
    output_size: Size | None,
    output_ratio: Any,
    return_indices: bool,
    samples: Tensor | None,
) -> Any:
    """Along each dim the windows begin at floor((i + u) a) - floor(u a), a = (in - k) / (out - 1), u drawn per plane;
    the last one ends with the input.

    Source: Graham, Fractional max-pooling, 2014.
    """
    if output_size is None and output_ratio is None:
        raise ValueError(f"{op} requires specifying either an output_size or an output_ratio")
    kernel = sizes(op, "kernel_size", kernel_size, n)
    if input.dim() not in (n + 1, n + 2):
        raise RuntimeError(f"{op}: Expected {n + 1}D or {n + 2}D tensor, but got: {list(input.shape)}")
    if output_size is None:
        ratio = (output_ratio,) * n if isinstance(output_ratio, float) else tuple(output_ratio)
        output_size = tuple(int(size * r) for size, r in zip(input.shape[-n:], ratio))
    out = sizes(op, "output_size", output_size, n)
    batched = input if input.dim() == n + 2 else input.unsqueeze(0)
    if samples is None:
        samples = rand((*batched.shape[:2], n), dtype=input.dtype, device=input.device)
    samples = samples[: batched.shape[0]]  # those of a batch may be given with one image
    for d, (size, k, o) in enumerate(zip(batched.shape[2:], kernel, out)):
        if o < 1 or o + k - 1 > size:
            raise RuntimeError(
                f"{op}(): pool size {k} too large relative to input size {size} along dim {d} for output size {o}"
            )
    places: Any = 0  # (N, C, *out, *kernel): the number of the element that each window has under each tap
    for d, (size, k, o) in enumerate(zip(batched.shape[2:], kernel, out)):
        # PyTorch draws the samples for the last dim first
        u = samples[..., n - 1 - d] if n == 2 else samples[..., d]
        shape = (*batched.shape[:2], *(o if i == d else 1 for i in range(n)), *(k if i == d else 1 for i in range(n)))
        starts = _starts(u, size, k, o).unsqueeze(-1) + arange(k, device=input.device)
        places = places * size + starts.reshape(shape)
    windows = places.flatten(2 + n).flatten(2, 1 + n)  # (N, C, prod(out), prod(kernel))
    flat = batched.flatten(2)
    values, at = flat.gather(2, windows.flatten(2)).reshape(windows.shape).max(-1)
    found = values.reshape((*batched.shape[:2], *out))
    if input.dim() == n + 1:
        found = found.squeeze(0)
    if not return_indices:
        return found
    return found, windows.gather(-1, at.unsqueeze(-1)).reshape(found.shape)


def _starts(u: Tensor, size: int, kernel: int, out: int) -> Tensor:
    """Where the windows begin: (N, C, out), int64."""
    if out == 1:
        return u.new_full((*u.shape, 1), size - kernel, dtype=int64)
    alpha = (size - kernel) / (out - 1)
    u = u.unsqueeze(-1)
    steps = arange(out, device=u.device)
    begins = ((u + steps.to(u.dtype)) * alpha).to(int64) - (u * alpha).to(int64)
    return begins.masked_fill(steps == out - 1, size - kernel)


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The maximum of each of `output_size` windows whose places are drawn at random.

    Args:
        output_ratio: the output's size as a fraction of the input's, instead of `output_size`.
        return_indices: also give the place of each maximum in its plane.

    Shape: input (N, C, H, W) or (C, H, W).

    Raises:
        ValueError: neither size nor ratio is given.
    """
    return _fractional(
        "fractional_max_pool2d", 2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )  # fmt: skip


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The maximum of each of `output_size` windows whose places are drawn at random.

    Args:
        output_ratio: the output's size as a fraction of the input's, instead of `output_size`.
        return_indices: also give the place of each maximum in its volume.

    Shape: input (N, C, D, H, W) or (C, D, H, W).

    Raises:
        ValueError: neither size nor ratio is given.
    """
    return _fractional(
        "fractional_max_pool3d", 3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples
    )  # fmt: skip


def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool2d` with the places of the maxima."""
    return fractional_max_pool2d(input, kernel_size, output_size, output_ratio, True, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool3d` with the places of the maxima."""
    return fractional_max_pool3d(input, kernel_size, output_size, output_ratio, True, _random_samples)
