"""Normalisations: over the batch, a layer, groups of channels, an instance.

Floor 7. Each is one autograd node whose forward and backward are a few reductions and pointwise operations over the same rows, which
the engine joins into row-wise kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from ... import dtypes
from ...autograd import Function, is_grad_enabled
from ...copies import cat
from ...tensor import Tensor

_NARROW = (dtypes.float16, dtypes.bfloat16)


def _statistics(x: Tensor, dims: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, biased variance and 1 / sqrt(variance + eps) over `dims`, which stay as size 1."""
    mean = x.mean(dims, keepdim=True)
    centred = x - mean
    var = (centred * centred).mean(dims, keepdim=True)
    return mean, var, (var + eps).rsqrt()


class _Normalize(Function):
    """(x - mean) / sqrt(var + eps) * weight + bias, the statistics taken over `dims`; weight and bias are read as `affine`.

    Returns the result, mean and variance (the last two carry no gradient). Source: Ioffe and Szegedy, Batch Normalization, 2015.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        dims: tuple[int, ...],
        affine: tuple[int, ...],
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        wide = x.float() if x.dtype in _NARROW else x
        mean, var, scale = _statistics(wide, dims, eps)
        out = (wide - mean) * scale
        if weight is not None:
            out = out * weight.reshape(affine)
        if bias is not None:
            out = out + bias.reshape(affine)
        if out.dtype is not x.dtype:
            out = out.to(x.dtype)
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.dims, ctx.affine, ctx.eps, ctx.bias = dims, affine, eps, None if bias is None else (bias.shape, bias.dtype)
        ctx.mark_non_differentiable(mean, var)
        return out, mean, var

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *unused: Tensor) -> tuple:
        x, weight, mean, scale = ctx.saved_tensors
        dims, affine, dtype = ctx.dims, ctx.affine, x.dtype
        if dtype in _NARROW:
            x, grad = x.float(), grad.float()
        if is_grad_enabled():  # a second derivative is wanted: the statistics must depend on x
            mean, _, scale = _statistics(x, dims, ctx.eps)
        normal = (x - mean) * scale
        grad_x = grad_weight = grad_bias = None
        if weight is not None and ctx.needs_input_grad[1]:
            grad_weight = (grad * normal).sum_to_size(affine).reshape(weight.shape)
            if grad_weight.dtype is not weight.dtype:
                grad_weight = grad_weight.to(weight.dtype)
        if ctx.bias is not None and ctx.needs_input_grad[2]:
            shape, bias_dtype = ctx.bias
            grad_bias = grad.sum_to_size(affine).reshape(shape)
            if grad_bias.dtype is not bias_dtype:
                grad_bias = grad_bias.to(bias_dtype)
        if ctx.needs_input_grad[0]:
            inner = grad if weight is None else grad * weight.reshape(affine)
            along = (inner * normal).mean(dims, keepdim=True)
            grad_x = (inner - inner.mean(dims, keepdim=True) - normal * along) * scale
            if grad_x.dtype is not dtype:
                grad_x = grad_x.to(dtype)
        return grad_x, grad_weight, grad_bias, None, None, None


class _RootMeanSquare(Function):
    """x / sqrt(mean(x^2) + eps) * weight over the last dims. Source: Zhang and Sennrich, Root Mean Square Layer Normalization, 2019."""

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
        if is_grad_enabled():
            scale = ((x * x).mean(ctx.dims, keepdim=True) + ctx.eps).rsqrt()
        normal = x * scale
        grad_x = grad_weight = None
        if weight is not None and ctx.needs_input_grad[1]:
            grad_weight = (grad * normal).sum_to_size(weight.shape).to(weight.dtype)
        if ctx.needs_input_grad[0]:
            inner = grad if weight is None else grad * weight
            grad_x = ((inner - normal * (inner * normal).mean(ctx.dims, keepdim=True)) * scale).to(dtype)
        return grad_x, grad_weight, None, None


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

    In training the statistics are the batch's, and the running ones move towards them by `momentum` (with the unbiased variance);
    otherwise the running ones are used.

    Shape: input (N, C, *), the others (C,).

    Raises:
        ValueError: training with one value per channel.
        RuntimeError: running statistics are missing in evaluation, or a size does not fit.
    """
    if input.dim() < 2:
        raise RuntimeError(f"batch_norm: input: got {input.dim()} dimensions, wanted at least 2")
    channels = input.shape[1]
    for name, given in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        if given is not None and given.shape[0] != channels:
            raise RuntimeError(f"{name} should contain {channels} elements not {given.numel()}")
    affine = (1, channels, *(1,) * (input.dim() - 2))
    if not training:
        if running_mean is None or running_var is None:
            raise RuntimeError("Expected running_mean and running_var to be defined when training=False")
        return _scaled_by(input, running_mean, running_var, weight, bias, affine, eps)
    count = input.numel() // max(channels, 1)
    if count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
    dims = (0, *range(2, input.dim()))
    out, mean, var = _normalized(input, weight, bias, dims, affine, eps)
    if running_mean is not None and count:
        _move(running_mean, mean.reshape(channels), momentum, 1.0)
    if running_var is not None and count:
        _move(running_var, var.reshape(channels), momentum, count / max(count - 1, 1))
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


def _move(running: Tensor, value: Tensor, momentum: float, factor: float) -> None:
    """running = (1 - momentum) running + momentum factor value, in place."""
    running.mul_(1.0 - momentum).add_(value.detach().to(running.dtype), alpha=momentum * factor)


def _normalized(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, dims: tuple[int, ...], affine: tuple[int, ...], eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    return _Normalize.apply(x, weight, bias, dims, affine, eps)


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
    return _Normalize.apply(input, weight, bias, dims, shape, eps)[0]


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last dims, which have `normalized_shape`; eps None is the dtype's machine epsilon.

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
                f"Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of shape "
                f"{list(given.shape)} and input of shape {list(input.shape)}"
            )
    if input.numel() // max(n * num_groups, 1) == 1 and input.numel():
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size "
            f"{[n * channels // num_groups, num_groups, *input.shape[2:]]}"
        )
    grouped = input.reshape(n, num_groups, channels // num_groups, prod(input.shape[2:]))
    out = _Normalize.apply(grouped, weight, bias, (2, 3), (1, num_groups, channels // num_groups, 1), eps)[0]
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
    """Normalisation of each channel of each sample by its own statistics, or by the running ones if not `use_input_stats`.

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
    out, mean, var = _Normalize.apply(input, weight, bias, tuple(range(2, input.dim())), affine, eps)
    if running_mean is not None:
        _move(running_mean, mean.mean(0).reshape(channels), momentum, 1.0)
    if running_var is not None:
        _move(running_var, var.mean(0).reshape(channels), momentum, count / max(count - 1, 1))
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
