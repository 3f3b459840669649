"""Normalisations: over the batch, a layer, groups of channels, an instance.

Floor 7. Each is one autograd node whose forward and backward are a few reductions and pointwise operations over the
same rows, which
the engine joins into row-wise kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from ... import dtypes
from ...autograd import Function, is_grad_enabled
from ...autograd.modes import state
from ...copies import cat
from ...direct import run, update
from ...dispatch import cast
from ...functions.nodes import give_backward
from ...ops.layers import (
    CENTRED,
    INVERSE_ROOT,
    NORMAL_GRADIENT,
    SHIFT,
    SQUARED_OFF,
    STANDARDIZED,
    STANDARDIZED_AFFINE,
    TIMES_NORMAL,
)
from ...ops.pointwise import ADD, MUL, SUB
from ...ops.reductions import SUM
from ...ops.updates import WEIGHTED
from ...shapes import layout
from ...tensor import Tensor, make

_NARROW = (dtypes.float16, dtypes.bfloat16)


def _along(t: Tensor | None, shape: tuple[int, ...]) -> Tensor | None:
    """A weight or bias read as `shape`, outside the graph, in the dtype in which the normalisation computes."""
    if t is None:
        return None
    if not t._layout.contiguous:
        t = t.detach().contiguous()
    found = make(t._storage, layout(t._layout.dtype, shape, None, t._layout.offset))
    return cast(found, dtypes.float32) if t._layout.dtype in _NARROW else found


def _normalize(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, dims: tuple[int, ...], affine: tuple[int, ...], eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(x - mean) / sqrt(var + eps) * weight + bias as one node, the statistics taken over `dims`; weight and bias are
    read as `affine`.

    Returns the result, the mean and the sum of squared deviations (the last two outside the graph, reduced dims kept
    as size 1).
    """
    narrow = x._layout.dtype in _NARROW
    wide = cast(x.detach(), dtypes.float32) if narrow else x
    n = max(prod(x._layout.shape[d] for d in dims), 1)
    over = (dims, True)
    mean = run(MUL, (run(SUM, (wide,), over), 1.0 / n))
    off = run(SUM, (run(SUB, (wide, mean)),), over)  # 0 but for the mean's rounding
    squares = run(CENTRED, (run(SUM, (run(SQUARED_OFF, (wide, mean)),), over), off, 1.0 / n))
    scale = run(INVERSE_ROOT, (squares, 1.0 / n, eps))
    normal = (mean, scale, run(SHIFT, (off, 1.0 / n, scale)))
    factor, shift = _along(weight, affine), _along(bias, affine)
    if factor is not None and shift is not None:
        out = run(STANDARDIZED_AFFINE, (wide, *normal, factor, shift))
    else:
        out = run(STANDARDIZED, (wide, *normal))
        if factor is not None:
            out = run(MUL, (out, factor))
        if shift is not None:
            out = run(ADD, (out, shift))
    if narrow:
        out = cast(out, x._layout.dtype)
    operands = tuple(t for t in (x, weight, bias) if t is not None)
    needs = [t is not None and t._requires_grad for t in (x, weight, bias)]

    def backward(grad: Tensor, x: Tensor, *rest: Tensor) -> tuple:
        weight = rest[0] if rest else None
        slopes = (
            _slopes(grad, x, weight, dims, affine, eps, needs)
            if state.grad
            else _quick_slopes(grad, x, weight, normal, dims, affine, n, needs)
        )
        given = (x, weight if weight is not None else None, bias)
        return tuple(
            g
            if g is None or g._layout.dtype is t._layout.dtype and g._layout.shape == t._layout.shape
            else cast(g.reshape(t.shape), t.dtype)
            for g, t in zip(slopes, given)
            if t is not None
        )

    saves = (x,) if weight is None else (x, weight)
    return give_backward("NormalizeBackward0", operands, out, backward, saves), mean, squares


def _kept_dims(shape: tuple[int, ...], affine: tuple[int, ...]) -> tuple[int, ...]:
    """The dims of `shape` over which a tensor of shape `affine` was broadcast."""
    lead = len(shape) - len(affine)
    return tuple(d for d in range(len(shape)) if d < lead or affine[d - lead] == 1)


def _quick_slopes(
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    normal: tuple[Tensor, Tensor, Tensor],
    dims: tuple[int, ...],
    affine: tuple[int, ...],
    n: int,
    needs: list[bool],
) -> tuple:
    """Gradients of x, weight and bias, recorded directly; `normal`: mean, scale and shift."""
    if x._layout.dtype in _NARROW:
        x, grad = cast(x.detach(), dtypes.float32), cast(grad, dtypes.float32)
    apart, over = (_kept_dims(x._layout.shape, affine), True), (dims, True)
    factor = _along(weight, affine)

    def on_affine() -> tuple[Tensor | None, Tensor | None]:
        return (
            run(SUM, (run(TIMES_NORMAL, (grad, x, *normal)),), apart) if needs[1] else None,
            run(SUM, (grad,), apart) if needs[2] else None,
        )

    if not needs[0]:
        return None, *on_affine()
    if apart[0] == dims and needs[1] and needs[2]:
        # Statistics and weights run over the same dims (batch norm): the sums are there already, and the weight
        # comes last.
        on_weight, on_bias = on_affine()
        slope = run(NORMAL_GRADIENT, (grad, x, *normal, on_bias, on_weight, 1.0 / n))
        return run(MUL, (slope, factor)), on_weight, on_bias
    inner = grad if factor is None else run(MUL, (grad, factor))
    total, along = run(SUM, (inner,), over), run(SUM, (run(TIMES_NORMAL, (inner, x, *normal)),), over)
    slope = run(NORMAL_GRADIENT, (inner, x, *normal, total, along, 1.0 / n))  # before what runs along other dims
    return slope, *on_affine()


def _slopes(
    grad: Tensor,
    x: Tensor,
    weight: Tensor | None,
    dims: tuple[int, ...],
    affine: tuple[int, ...],
    eps: float,
    needs: list[bool],
) -> tuple:
    """The same by differentiable operations; the statistics depend on x."""
    if x.dtype in _NARROW:
        x, grad = x.float(), grad.float()
    centred = x - x.mean(dims, keepdim=True)
    scale = ((centred * centred).mean(dims, keepdim=True) + eps).rsqrt()
    normal = centred * scale
    on_x = on_weight = on_bias = None
    if needs[1]:
        on_weight = (grad * normal).sum_to_size(affine)
    if needs[2]:
        on_bias = grad.sum_to_size(affine)
    if needs[0]:
        inner = grad if weight is None else grad * weight.reshape(affine)
        along = (inner * normal).mean(dims, keepdim=True)
        on_x = (inner - inner.mean(dims, keepdim=True) - normal * along) * scale
    return on_x, on_weight, on_bias


class _RootMeanSquare(Function):
    """x / sqrt(mean(x^2) + eps) * weight over the last dims."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, dims: tuple[int, ...], eps: float) -> Tensor:
        wide = x.float() if x.dtype in _NARROW else x
        scale = ((wide * wide).mean(dims, keepdim=True) + eps).rsqrt()
        out = wide * scale
        if weight is not None:
            out = out * weight
        ctx.save_for_backward(x, weight, scale)
        ctx.dims, ctx.eps = dims, eps
        return out.to(x.dtype) if out.dtype is not x.dtype else out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        x, weight, scale = ctx.saved_tensors
        dtype = x.dtype
        if dtype in _NARROW:
            x, grad = x.float(), grad.float()
        if is_grad_enabled():  # a second derivative is wanted
            scale = ((x * x).mean(ctx.dims, keepdim=True) + ctx.eps).rsqrt()
        normal = x * scale
        on_x = on_weight = None
        if ctx.needs_input_grad[0]:  # first: what runs along the rows stays together
            inner = grad if weight is None else grad * weight
            on_x = ((inner - normal * (inner * normal).mean(ctx.dims, keepdim=True)) * scale).to(dtype)
        if weight is not None and ctx.needs_input_grad[1]:
            on_weight = (grad * normal).sum_to_size(weight.shape).to(weight.dtype)
        return on_x, on_weight, None, None


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias per channel (dim 1).

    In training the statistics are the batch's, and the running ones move towards them by `momentum` (with the
    unbiased variance);
    otherwise the running ones are used.

    Shape: input (N, C, *), the others (C,).

    Raises:
        ValueError: training with one value per channel.
        RuntimeError: running statistics are missing in evaluation, or a size does not fit.
    """
    if input.dim() < 2 and (input.numel() or not input.dim()):
        raise RuntimeError(f"batch_norm: input: got {input.dim()} dimensions, wanted at least 2")
    channels = input.shape[min(1, input.dim() - 1)]
    for name, given in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        if given is not None and given.shape[0] != channels:
            raise RuntimeError(f"{name} should contain {channels} elements not {given.numel()}")
    if input.dim() == 1:
        return input.clone()
    affine = (1, channels, *(1,) * (input.dim() - 2))
    if not training:
        if running_mean is None or running_var is None:
            raise RuntimeError("Expected running_mean and running_var to be defined when training=False")
        return _scaled_by(input, running_mean, running_var, weight, bias, affine, eps)
    count = input.numel() // max(channels, 1)
    if count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
    dims = (0, *range(2, input.dim()))
    out, mean, squares = _normalize(input, weight, bias, dims, affine, eps)
    if running_mean is not None and count:
        _move(running_mean, mean.reshape(channels), momentum)
    if running_var is not None and count:
        _move(running_var, squares.reshape(channels), momentum, 1.0 / max(count - 1, 1))
    return out


def _scaled_by(
    input: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    affine: tuple[int, ...],
    eps: float,
) -> Tensor:
    """Normalisation by given statistics: per channel one factor and one shift."""
    wide = input.float() if input.dtype in _NARROW else input
    factor = (var + eps).rsqrt()
    if weight is not None:
        factor = factor * weight
    out = (wide - mean.reshape(affine)) * factor.reshape(affine)
    if bias is not None:
        out = out + bias.reshape(affine)
    return out.to(input.dtype) if out.dtype is not input.dtype else out


def _move(running: Tensor, value: Tensor, momentum: float, factor: float = 1.0) -> None:
    """running = (1 - momentum) running + momentum factor value, in place."""
    if value._layout.dtype is not running._layout.dtype:
        value = cast(value, running._layout.dtype)
    update(WEIGHTED, running, (value,), (1.0 - momentum, momentum * factor))


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last dims, which have `normalized_shape`.

    Shape: input (*, *normalized_shape), weight and bias normalized_shape.

    Source: Ba et al., Layer Normalization, 2016.

    Raises:
        RuntimeError: the shapes do not fit.
    """
    shape = tuple(normalized_shape)
    _check_normalized("layer_norm", input, shape, weight, bias)
    dims = tuple(range(input.dim() - len(shape), input.dim()))
    return _normalize(input, weight, bias, dims, shape, eps)[0]


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last dims, which have `normalized_shape`; eps None is the dtype's
    machine epsilon.

    Raises:
        RuntimeError: the shapes do not fit.
    """
    shape = tuple(normalized_shape)
    _check_normalized("rms_norm", input, shape, weight, None)
    if eps is None:
        eps = 2.220446049250313e-16 if input.dtype is dtypes.float64 else 1.1920928955078125e-07
    return _RootMeanSquare.apply(input, weight, tuple(range(input.dim() - len(shape), input.dim())), eps)


def _check_normalized(
    op: str, input: Tensor, shape: tuple[int, ...], weight: Tensor | None, bias: Tensor | None
) -> None:
    if not shape:
        raise RuntimeError(
            f"Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got "
            f"normalized_shape = {list(shape)}"
        )
    for name, given in (("weight", weight), ("bias", bias)):
        if given is not None and tuple(given.shape) != shape:
            raise RuntimeError(
                f"{op}: Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                f"{list(given.shape)} and normalized_shape = {list(shape)}"
            )
    if tuple(input.shape[input.dim() - len(shape) :]) != shape:
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape "
            f"[*, {', '.join(map(str, shape))}], but got input of size{list(input.shape)}"
        )


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalisation over groups of channels of each sample, then weight and bias per channel.

    Shape: input (N, C, *), weight and bias (C,).

    Source: Wu and He, Group Normalization, 2018.

    Raises:
        RuntimeError: the channels do not divide into the groups, or weight and bias do not fit.
    """
    if input.dim() < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.dim()}")
    n, channels = input.shape[:2]
    if num_groups <= 0 or channels % num_groups:
        raise RuntimeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(input.shape)} and num_groups={num_groups}"
        )
    for name, given in (("weight", weight), ("bias", bias)):
        if given is not None and tuple(given.shape) != (channels,):
            raise RuntimeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, but got {name} "
                f"of shape "
                f"{list(given.shape)} and input of shape {list(input.shape)}"
            )
    if input.numel() // max(n * num_groups, 1) == 1 and input.numel():
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size "
            f"{[n * channels // num_groups, num_groups, *input.shape[2:]]}"
        )
    grouped = input.reshape(n, num_groups, channels // num_groups, prod(input.shape[2:]))
    out = _normalize(grouped, weight, bias, (2, 3), (1, num_groups, channels // num_groups, 1), eps)[0]
    return out.reshape(input.shape)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalisation of each channel of each sample by its own statistics, or by the running ones if not
    `use_input_stats`.

    Shape: input (N, C, *), the others (C,).

    Source: Ulyanov et al., Instance Normalization, 2016.

    Raises:
        ValueError: one value per channel.
        RuntimeError: running statistics are missing where they are to be used.
    """
    channels = input.shape[1]
    affine = (1, channels, *(1,) * (input.dim() - 2))
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise RuntimeError("Expected running_mean and running_var to be defined when use_input_stats is false")
        return _scaled_by(input, running_mean, running_var, weight, bias, affine, eps)
    count = prod(input.shape[2:])
    if count == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.shape}")
    out, mean, squares = _normalize(input, weight, bias, tuple(range(2, input.dim())), affine, eps)
    if running_mean is not None:
        _move(running_mean, mean.mean(0).reshape(channels), momentum)
    if running_var is not None:
        _move(running_var, squares.mean(0).reshape(channels), momentum, 1.0 / max(count - 1, 1))
    return out


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha * mean of x^2 over `size` neighbouring channels)^beta.

    Shape: (N, C, *).

    Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, 2012.
    """
    if input.dim() < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {input.dim()} dimensions)")
    if input.numel() == 0:
        return input
    squares, channels = input * input, input.shape[1]
    total = squares
    for offset in range(-(size // 2), size - size // 2):
        if offset and abs(offset) < channels:
            kept = squares.narrow(1, max(offset, 0), channels - abs(offset))
            blank = squares.new_zeros((squares.shape[0], abs(offset), *squares.shape[2:]))
            total = total + cat([kept, blank] if offset > 0 else [blank, kept], 1)
    return input / (total * (alpha / size) + k).pow(beta)
