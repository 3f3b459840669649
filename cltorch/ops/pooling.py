"""Records of the pooling ops: shapes, gradients, references.

Floor 2. Attributes are those of codegen/pooling.py, sizes as pairs for planes and triples for volumes; one set of
functions serves both. Backward forms are ops of their own, so that their gradients exist too. A gradient calls an op
that is no PyTorch method as the derived method: `tensor.op_name(*other operands, *attributes)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import numpy as np

from ..codegen import pooling as lowering
from ..dtypes import DType, int64
from ..shapes import Layout
from .table import CUSTOM, Op, register

Sizes = tuple[int, ...]
Shapes = tuple[tuple[DType, Sizes], ...]


# ---- shapes


def _check_places(op: str, x: Layout, n: int) -> None:
    if len(x.shape) not in (n + 1, n + 2) or 0 in x.shape[-n - 1 :]:
        raise RuntimeError(
            f"{op}: Expected {n + 1}D or {n + 2}D (batch mode) tensor with optional 0 dim batch size for input, but "
            f"got: {list(x.shape)}"
        )


def _windows(
    op: str, x: Layout, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> Sizes:
    n = len(kernel)
    _check_places(op, x, n)
    for name, sizes, least in (
        ("kernel_size", kernel, 1),
        ("stride", stride, 1),
        ("padding", padding, 0),
        ("dilation", dilation, 1),
    ):
        if min(sizes) < least:
            raise RuntimeError(f"{op}: {name}: got {sizes}, wanted at least {least} in each dimension")
    for k, p, d in zip(kernel, padding, dilation):
        if p > ((k - 1) * d + 1) // 2:
            raise RuntimeError(
                f"{op}: pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and "
                f"dilation={d}"
            )
    size = tuple(
        lowering.window_count(n, k, s, p, d, ceil_mode)
        for n, k, s, p, d in zip(x.shape[-n:], kernel, stride, padding, dilation)
    )
    if min(size) < 1:
        raise RuntimeError(
            f"{op}: Given input size: {tuple(x.shape[-n - 1 :])}. Calculated output size: {(x.shape[-n - 1], *size)}. "
            f"Output size is too small"
        )
    return (*x.shape[:-n], *size)


def _infer_max(op: str) -> Callable[..., Shapes]:
    def infer(layouts: tuple[Layout, ...], attrs: tuple) -> Shapes:
        shape = _windows(op, layouts[0], *attrs)
        return (layouts[0].dtype, shape), (int64, shape)

    return infer


def _infer_avg(op: str) -> Callable[..., Shapes]:
    def infer(layouts: tuple[Layout, ...], attrs: tuple) -> Shapes:
        kernel, stride, padding, ceil_mode, _, divisor = attrs
        if divisor == 0:
            raise RuntimeError(f"{op}: divisor_override: got 0, wanted None or a number other than zero")
        ones = (1,) * len(kernel)
        return ((layouts[0].dtype, _windows(op, layouts[0], kernel, stride, padding, ones, ceil_mode)),)

    return infer


def _adaptive(op: str, n: int, x: Layout, size: Sizes) -> Sizes:
    _check_places(op, x, n)
    if len(size) != n or min(size) < 0:
        raise RuntimeError(f"{op}: output_size: got {size}, wanted {n} sizes of at least 0")
    return (*x.shape[:-n], *size)


def _infer_adaptive_avg(op: str, n: int) -> Callable[..., Shapes]:
    return lambda layouts, attrs: ((layouts[0].dtype, _adaptive(op, n, layouts[0], attrs[0])),)


def _infer_adaptive_max(op: str, n: int) -> Callable[..., Shapes]:
    def infer(layouts: tuple[Layout, ...], attrs: tuple) -> Shapes:
        shape = _adaptive(op, n, layouts[0], attrs[0])
        return (layouts[0].dtype, shape), (int64, shape)

    return infer


def _infer_backward(layouts: tuple[Layout, ...], attrs: tuple) -> Shapes:
    return ((layouts[0].dtype, (*layouts[0].shape[: -len(attrs[0])], *attrs[0])),)


# ---- gradients


def _into(name: str, n: int) -> Callable[..., tuple]:
    """The gradient of a mean: `name` of it, with the input's size in front of the attributes."""
    return lambda ctx, g: (getattr(g, name)(tuple(ctx.shapes[0][-n:]), *ctx.attrs),)


def _to_positions(name: str, n: int) -> Callable[..., tuple]:
    """The gradient of a maximum: likewise, at the recorded positions."""

    def grad(ctx: Any, g: Any, _positions: Any = None) -> tuple:
        return (getattr(g, name)(ctx.out[1], tuple(ctx.shapes[0][-n:]), *ctx.attrs),)

    return grad


def _back(name: str) -> Callable[..., tuple]:
    """The gradient of a mean's gradient: the mean."""
    return lambda ctx, g: (getattr(g, name)(*ctx.attrs[1:]),)


def _max_backward_grad(ctx: Any, g: Any) -> tuple:
    positions, n = ctx.inputs[1], len(ctx.attrs[0])
    return g.flatten(-n).gather(-1, positions.flatten(-n)).reshape(positions.shape), None


# ---- references: one window at a time, over all planes or volumes at once


def _at(places: Iterable[Any]) -> tuple[Any, ...]:
    """The index of `places` in the last dims."""
    return (..., *places)


def _fixed_windows(
    size: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> list[tuple]:
    """[(place, taps inside per dim, taps counted with padding per dim)] of each window."""
    counts = [
        lowering.window_count(n, k, s, p, d, ceil_mode)
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation)
    ]

    def taps(dim: int, i: int) -> tuple[list[int], int]:
        start = i * stride[dim] - padding[dim]
        spots = [start + t * dilation[dim] for t in range(kernel[dim])]
        return [t for t in spots if 0 <= t < size[dim]], sum(t < size[dim] + padding[dim] for t in spots)

    found = []
    for place in product(*map(range, counts)):
        inside, counted = zip(*(taps(d, i) for d, i in enumerate(place)))
        found.append((place, inside, counted))
    return found


def _adaptive_windows(size: Sizes, output_size: Sizes) -> list[tuple]:
    def span(i: int, n: int, m: int) -> list[int]:
        return list(range(i * n // m, -(-(i + 1) * n // m)))

    return [
        (place, tuple(span(i, n, m) for i, n, m in zip(place, size, output_size)), None)
        for place in product(*map(range, output_size))
    ]


def _result_shape(lead: Sizes, n: int, windows: list[tuple]) -> Sizes:
    return (*lead, *(max((w[0][d] for w in windows), default=-1) + 1 for d in range(n)))


def _max_reference(x: np.ndarray, n: int, windows: list[tuple]) -> tuple[np.ndarray, np.ndarray]:
    shape = _result_shape(x.shape[:-n], n, windows)
    values, positions = np.empty(shape, x.dtype), np.empty(shape, np.int64)
    for place, inside, _ in windows:
        grid = np.ix_(*inside)
        patch = x[_at(grid)].reshape(*x.shape[:-n], int(np.prod([len(t) for t in inside])))
        where = np.argmax(patch, -1)
        if x.dtype.kind == "f":  # the last NaN of a window is its maximum
            nans = np.isnan(patch)
            where = np.where(nans.any(-1), patch.shape[-1] - 1 - np.argmax(nans[..., ::-1], -1), where)
        values[_at(place)] = np.take_along_axis(patch, where[..., None], -1)[..., 0]
        numbers = np.ravel_multi_index(np.broadcast_arrays(*grid), x.shape[-n:]).reshape(-1)
        positions[_at(place)] = numbers[where]
    return values, positions


def max_pool_reference(
    x: np.ndarray, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, ceil_mode: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Values and positions of the maximum of each window."""
    n = len(kernel)
    return _max_reference(x, n, _fixed_windows(x.shape[-n:], kernel, stride, padding, dilation, ceil_mode))


def adaptive_max_pool_reference(x: np.ndarray, output_size: Sizes) -> tuple[np.ndarray, np.ndarray]:
    """Values and positions of the maximum of each adaptive window."""
    n = len(output_size)
    return _max_reference(x, n, _adaptive_windows(x.shape[-n:], output_size))


def max_pool_backward_reference(
    g: np.ndarray, positions: np.ndarray, size: Sizes, *attrs: Any, **named: Any
) -> np.ndarray:
    """Each gradient added at its recorded position."""
    n = len(size)
    area, count = int(np.prod(size)), int(np.prod(g.shape[-n:]))
    out = np.zeros((*g.shape[:-n], area), g.dtype)
    for plane, where, values in zip(out.reshape(-1, area), positions.reshape(-1, count), g.reshape(-1, count)):
        np.add.at(plane, where, values)
    return out.reshape(*g.shape[:-n], *size)


def _average_weights(windows: list[tuple], include_pad: bool, divisor: int | None) -> list[tuple]:
    return [
        (place, np.ix_(*inside), divisor or int(np.prod(counted if include_pad else [len(t) for t in inside])))
        for place, inside, counted in windows
    ]


def _average(x: np.ndarray, n: int, weights: list[tuple]) -> np.ndarray:
    out = np.empty(_result_shape(x.shape[:-n], n, weights), x.dtype)
    for place, where, divisor in weights:
        out[_at(place)] = x[_at(where)].sum(tuple(range(-n, 0))) / divisor
    return out


def _average_backward(g: np.ndarray, size: Sizes, weights: list[tuple]) -> np.ndarray:
    n = len(size)
    out = np.zeros((*g.shape[:-n], *size), g.dtype)
    for place, where, divisor in weights:
        out[_at(where)] += (g[_at(place)] / divisor)[_at((None,) * n)]
    return out


def _avg_weights(
    size: Sizes,
    kernel: Sizes,
    stride: Sizes,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> list[tuple]:
    windows = _fixed_windows(size, kernel, stride, padding, (1,) * len(kernel), ceil_mode)
    return _average_weights(windows, count_include_pad, divisor_override)


def avg_pool_reference(x: np.ndarray, *attrs: Any, **named: Any) -> np.ndarray:
    """Mean of each window."""
    n = len(attrs[0] if attrs else named["kernel"])
    return _average(x, n, _avg_weights(x.shape[-n:], *attrs, **named))


def avg_pool_backward_reference(g: np.ndarray, size: Sizes, *attrs: Any, **named: Any) -> np.ndarray:
    """Each gradient shared by its window."""
    return _average_backward(g, size, _avg_weights(size, *attrs, **named))


def adaptive_avg_pool_reference(x: np.ndarray, output_size: Sizes) -> np.ndarray:
    """Mean of each adaptive window."""
    n = len(output_size)
    return _average(x, n, _average_weights(_adaptive_windows(x.shape[-n:], output_size), False, None))


def adaptive_avg_pool_backward_reference(g: np.ndarray, size: Sizes, output_size: Sizes) -> np.ndarray:
    """Each gradient shared by its adaptive window."""
    return _average_backward(g, size, _average_weights(_adaptive_windows(size, output_size), False, None))


# ---- the records

_POOL: dict[str, Any] = {"kind": CUSTOM, "inplace": False, "function": False}
_G = ("grad_output", "indices", "third")
_PLACES = {2: "the last two dims", 3: "the last three dims"}
_NUMBER = {2: "y*W + x", 3: "(z*H + y)*W + x"}


def _max(n: int) -> tuple[Op, Op]:
    name = f"max_pool{n}d"
    forward = Op(
        name,
        **_POOL,
        infer=_infer_max(name),
        lower=lowering.lower_max_pool,
        grad=_to_positions(f"{name}_backward", n),
        saves=("out",),
        reference=max_pool_reference,
        doc=f"Maximum of each window of {_PLACES[n]}, and its position {_NUMBER[n]} as int64: out = max x[window]. "
        f"The first of equal values wins; NaN wins over all. Attributes: kernel, stride, padding, dilation (one number "
        f"per dim), ceil_mode.",
    )
    backward = Op(
        f"{name}_backward",
        **_POOL,
        arity=2,
        categories="f",
        infer=_infer_backward,
        lower=lowering.lower_max_pool_backward,
        grad=_max_backward_grad,
        saves=(1,),
        reference=max_pool_backward_reference,
        names=_G,
        doc=f"Gradient of {name}: every output gradient is added at its recorded position. Attributes: the input's "
        f"size, then {name}'s. Positions outside are skipped.",
    )
    return register(forward), register(backward)


def _avg(n: int) -> tuple[Op, Op]:
    name = f"avg_pool{n}d"
    forward = Op(
        name,
        **_POOL,
        categories="f",
        infer=_infer_avg(name),
        lower=lowering.lower_avg_pool,
        grad=_into(f"{name}_backward", n),
        reference=avg_pool_reference,
        doc=f"Mean of each window of {_PLACES[n]}: out = sum x[window] / divisor. Attributes: kernel, stride, padding "
        f"(one number per dim), ceil_mode, count_include_pad, divisor_override (or None).",
    )
    backward = Op(
        f"{name}_backward",
        **_POOL,
        categories="f",
        infer=_infer_backward,
        lower=lowering.lower_avg_pool_backward,
        grad=_back(name),
        reference=avg_pool_backward_reference,
        names=("grad_output", "other", "third"),
        doc=f"Gradient of {name}: dx = sum over the windows that cover it of g / divisor. Attributes: the input's "
        f"size, then {name}'s.",
    )
    return register(forward), register(backward)


def _adaptive_avg(n: int) -> tuple[Op, Op]:
    name = f"adaptive_avg_pool{n}d"
    forward = Op(
        name,
        **_POOL,
        categories="f",
        infer=_infer_adaptive_avg(name, n),
        lower=lowering.lower_adaptive_avg_pool,
        grad=_into(f"{name}_backward", n),
        reference=adaptive_avg_pool_reference,
        source="He et al. 2015 (spatial pyramid pooling)",
        doc=f"Mean of each of output_size windows [floor(i*H/h), ceil((i+1)*H/h)) of {_PLACES[n]}. Attribute: "
        f"output_size.",
    )
    backward = Op(
        f"{name}_backward",
        **_POOL,
        categories="f",
        infer=_infer_backward,
        lower=lowering.lower_adaptive_avg_pool_backward,
        grad=_back(name),
        reference=adaptive_avg_pool_backward_reference,
        names=("grad_output", "other", "third"),
        doc=f"Gradient of {name}. Attributes: the input's size, output_size.",
    )
    return register(forward), register(backward)


def _adaptive_max(n: int) -> tuple[Op, Op]:
    name = f"adaptive_max_pool{n}d"
    forward = Op(
        name,
        **_POOL,
        infer=_infer_adaptive_max(name, n),
        lower=lowering.lower_adaptive_max_pool,
        grad=_to_positions(f"{name}_backward", n),
        saves=("out",),
        reference=adaptive_max_pool_reference,
        source="He et al. 2015 (spatial pyramid pooling)",
        doc=f"Maximum and position of each of output_size windows of {_PLACES[n]}. Attribute: output_size.",
    )
    backward = Op(
        f"{name}_backward",
        **_POOL,
        arity=2,
        categories="f",
        infer=_infer_backward,
        lower=lowering.lower_adaptive_max_pool_backward,
        grad=_max_backward_grad,
        saves=(1,),
        reference=max_pool_backward_reference,
        names=_G,
        doc=f"Gradient of {name}. Attributes: the input's size, output_size. Positions outside are skipped.",
    )
    return register(forward), register(backward)


MAX_POOL2D, MAX_POOL2D_BACKWARD = _max(2)
MAX_POOL3D, MAX_POOL3D_BACKWARD = _max(3)
AVG_POOL2D, AVG_POOL2D_BACKWARD = _avg(2)
AVG_POOL3D, AVG_POOL3D_BACKWARD = _avg(3)
ADAPTIVE_AVG_POOL2D, ADAPTIVE_AVG_POOL2D_BACKWARD = _adaptive_avg(2)
ADAPTIVE_AVG_POOL3D, ADAPTIVE_AVG_POOL3D_BACKWARD = _adaptive_avg(3)
ADAPTIVE_MAX_POOL2D, ADAPTIVE_MAX_POOL2D_BACKWARD = _adaptive_max(2)
ADAPTIVE_MAX_POOL3D, ADAPTIVE_MAX_POOL3D_BACKWARD = _adaptive_max(3)
