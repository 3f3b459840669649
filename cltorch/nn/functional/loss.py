"""Losses.

Floor 7. Cross-entropy over class indices is one autograd node; the others are compositions that fuse by themselves.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ... import dtypes
from ...autograd import Function
from ...autograd.modes import state
from ...direct import chain, run
from ...dispatch import cast
from ...functions.arithmetic import where
from ...functions.creation import arange
from ...functions.nodes import give_backward
from ...ops.layers import COUNTED, NLL_GRADIENT, NLL_ROW, PICK, SHIFTED_EXP
from ...ops.pointwise import DIV
from ...ops.reductions import AMAX, SUM
from ...tensor import Tensor, from_array
from .activation import logsigmoid
from .lookup import pairwise_distance


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    """`loss` as it is, its mean or its sum. Raises ValueError for another word."""
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"{reduction} is not a valid value for reduction")


def legacy_reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    """The word for PyTorch's two old arguments, which win over `reduction` where they are given."""
    if size_average is None and reduce is None:
        return reduction
    word = "none" if reduce is False else "sum" if size_average is False else "mean"
    warnings.warn(
        f"size_average and reduce args will be deprecated, please use reduction='{word}' instead.", stacklevel=3
    )
    return word


@lru_cache(maxsize=64)
def _class_numbers(classes: int, dims_after: int, device: Any) -> Tensor:
    """0 .. classes - 1 along dim 1 of what it is compared with (or dim 0 of a single sample, where dims_after is
    -1).
    """
    numbers = arange(classes, device=device)
    return numbers.reshape((1, classes) + (1,) * dims_after) if dims_after >= 0 else numbers


def _hits(target: Tensor, classes: int, ndim: int) -> Tensor:
    """True where a class is the target: (N, C, *), or (C,) for one sample. A comparison instead of a gather, so that
    it fuses.
    """
    return target.unsqueeze(1 if ndim > 1 else 0) == _class_numbers(classes, ndim - 2, target.device)


@lru_cache(maxsize=64)
def _float_numbers(classes: int, dims_after: int, dtype: Any, device: Any) -> Tensor:
    """The same as floats. They begin in host memory: computing them would make the first step of a training another
    program than all later ones, with a plan of its own.
    """
    numbers = from_array(np.arange(classes).astype(dtype.numpy), dtype, device)
    return numbers.reshape((1, classes) + (1,) * dims_after) if dims_after >= 0 else numbers


def _cross_entropy(x: Tensor, target: Tensor, ignore_index: int, reduction: str) -> Tensor:
    """log(sum(exp(x))) - x[target] over the class dim, summed or averaged over the targets that count, as one node.

    Targets are compared as floats, so that all of it is one row-wise computation without a gather. The maximum over
    `x where class == target else -inf` picks the target's logit; a target out of range has none, and its loss is
    infinite.
    """
    given = x._layout
    dim = 1 if len(given.shape) > 1 else 0
    narrow = given.dtype.itemsize < 4
    wide = cast(x.detach(), dtypes.float32) if narrow else x
    numbers = _float_numbers(given.shape[dim], len(given.shape) - 2, wide._layout.dtype, x.device)
    target = target if target._layout.dtype is wide._layout.dtype else cast(target, wide._layout.dtype)
    out, wanted, top, total, *rest = chain(_nll, (wide, numbers, target), (dim, float(ignore_index), reduction))
    count: Any = rest[0] if rest else 1.0
    if narrow:
        out = cast(out, given.dtype)

    def backward(grad: Tensor, x: Tensor) -> Tensor:
        if grad._layout.shape:
            grad = grad.unsqueeze(dim)
        if state.grad:  # a second derivative is wanted
            return _cross_entropy_slope(x, target, grad, count, dim, ignore_index)
        slope = cast(grad, wide._layout.dtype) if narrow else grad
        slope = run(
            NLL_GRADIENT, (wide if narrow else x, top, total, numbers, wanted, slope, count, float(ignore_index))
        )
        return cast(slope, x._layout.dtype) if narrow else slope

    return give_backward("NllLossBackward0", (x,), out, backward, (x,))


def _nll(
    x: Tensor, numbers: Tensor, target: Tensor, dim: int, ignored: float, reduction: str
) -> tuple[Tensor, ...]:
    """The loss, what its gradient needs of the row (wanted, top, total) and, for a mean, the count."""
    dims, wanted = ((dim,), True), target.unsqueeze(dim)
    top = run(AMAX, (x,), dims)
    total = run(SUM, (run(SHIFTED_EXP, (x, top)),), dims)
    picked = run(AMAX, (run(PICK, (numbers, wanted, x)),), dims)
    out = run(NLL_ROW, (total, top, picked, wanted, ignored))
    if reduction == "none":
        return out.squeeze(dim), wanted, top, total
    everywhere = (tuple(range(len(out._layout.shape))), False)
    loss = run(SUM, (out,), everywhere)
    if reduction == "sum":
        return loss, wanted, top, total
    count = run(SUM, (run(COUNTED, (wanted, ignored)),), everywhere)
    return run(DIV, (loss, count)), wanted, top, total, count


def _cross_entropy_slope(x: Tensor, target: Tensor, grad: Tensor, count: Any, dim: int, ignore_index: int) -> Tensor:
    """The gradient of `_cross_entropy` by differentiable operations."""
    hits = _hits(target, x.shape[dim], x.dim())
    slope = (x.softmax(dim) - hits.to(x.dtype)) * (grad / count)
    return where((target != ignore_index).unsqueeze(dim), slope, 0.0)


def _check_classes(op: str, input: Tensor, target: Tensor, weight: Tensor | None) -> None:
    """Shapes of class indices: (N, C, *) with (N, *), or (C,) with ()."""
    shape = tuple(input.shape)
    if not shape:
        raise RuntimeError(f"{op}: input tensor should be at least 1D")
    wanted = (shape[0], *shape[2:]) if len(shape) > 1 else ()
    if tuple(target.shape) != wanted:
        if len(shape) > 1 and target.dim() and target.shape[0] != shape[0]:
            raise ValueError(f"Expected input batch_size ({shape[0]}) to match target batch_size ({target.shape[0]}).")
        raise RuntimeError(f"{op}: target: Expected target size {list(wanted)}, got {list(target.shape)}")
    if target.dtype not in (dtypes.int64, dtypes.uint8, dtypes.int32):
        raise RuntimeError(
            f"expected scalar type Long but found {_type_name(target)}: {op}: target: got {target.dtype}, wanted int64"
        )
    classes = shape[1] if len(shape) > 1 else shape[0]
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(
            f"weight tensor should be defined either for all {classes} classes or no classes but got weight "
            f"tensor of shape: "
            f"{list(weight.shape)}"
        )


def _type_name(t: Tensor) -> str:
    known = {"float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "bool": "Bool"}
    short = str(t.dtype).rpartition(".")[2]
    return known.get(short, short.capitalize())


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input)[target], over dim 1 (or the only dim).

    Args:
        target: class indices (int64), or, with the input's shape, class probabilities.
        weight: a factor per class.
        ignore_index: targets with this index do not count.
        reduction: 'mean' (over the targets that count, by their weights), 'sum' or 'none'.
        label_smoothing: this much of each target is spread evenly over all classes.

    Shape: input (N, C, *) or (C,); target (N, *) or (), or the input's for probabilities.

    Raises:
        RuntimeError, ValueError: shapes or dtypes do not fit.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    if target.is_floating_point() and target.shape == input.shape:
        return _cross_entropy_of_probabilities(input, target, weight, reduction, label_smoothing)
    _check_classes("cross_entropy", input, target, weight)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if weight is None and label_smoothing == 0.0:
        return _cross_entropy(input, target, ignore_index, reduction)
    dim = 1 if input.dim() > 1 else 0
    log_p = input.log_softmax(dim)
    plain = nll_loss(log_p, target, weight, ignore_index=ignore_index, reduction=reduction)
    if label_smoothing == 0.0:
        return plain
    counted = target != ignore_index
    spread = -(log_p if weight is None else log_p * _per_class(weight, input)).sum(dim)
    spread = where(counted, spread, 0.0)
    if reduction == "sum":
        spread = spread.sum()
    elif reduction == "mean":
        factors = (
            counted.to(input.dtype) if weight is None else where(counted, _picked_weight(weight, target, input), 0.0)
        )
        spread = spread.sum() / factors.sum()
    return plain * (1 - label_smoothing) + spread * (label_smoothing / input.shape[dim])


def _per_class(weight: Tensor, input: Tensor) -> Tensor:
    """`weight` (C,) in a shape that broadcasts with `input` (N, C, *)."""
    return weight.reshape((-1,) + (1,) * (input.dim() - 2)) if input.dim() > 1 else weight


def _picked_weight(weight: Tensor, target: Tensor, input: Tensor) -> Tensor:
    """weight[target]; 0 where the target is no class."""
    dim = 1 if input.dim() > 1 else 0
    return where(_hits(target, input.shape[dim], input.dim()), _per_class(weight, input), 0.0).sum(dim)


def _cross_entropy_of_probabilities(
    input: Tensor, target: Tensor, weight: Tensor | None, reduction: str, label_smoothing: float
) -> Tensor:
    dim = 1 if input.dim() > 1 else 0
    classes = input.shape[dim]
    if weight is not None and tuple(weight.shape) != (classes,):
        raise RuntimeError(
            "cross_entropy: weight tensor should be defined either for all "
            f"{classes} classes or no classes but got weight tensor of shape: {list(weight.shape)}"
        )
    if label_smoothing > 0.0:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    log_p = input.log_softmax(dim)
    if weight is not None:
        log_p = log_p * _per_class(weight, input)
    loss = -(log_p * target).sum(dim)
    if reduction == "mean":
        return loss.sum() / max(loss.numel(), 1)
    return _reduced(loss, reduction)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-weight[target] * input[target]: cross-entropy of an input that already holds log-probabilities.

    Shape: input (N, C, *) or (C,); target (N, *) or (); weight (C,).
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    _check_classes("nll_loss", input, target, weight)
    dim = 1 if input.dim() > 1 else 0
    picked = where(_hits(target, input.shape[dim], input.dim()), input, 0.0).sum(dim)
    counted = target != ignore_index
    if weight is None:
        loss = where(counted, -picked, 0.0)
    else:
        factors = where(counted, _picked_weight(weight, target, input), 0.0)
        loss = -picked * factors
    if reduction != "mean":
        return _reduced(loss, reduction)
    return loss.sum() / (counted.to(input.dtype) if weight is None else factors).sum()


def _warn_if_broadcast(name: str, input: Tensor, target: Tensor) -> None:
    if target.shape != input.shape:
        warnings.warn(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). This will "
            f"likely lead to "
            "incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=3,
        )


def _pointwise(
    name: str,
    fn: Callable[[Tensor, Tensor], Tensor],
    input: Tensor,
    target: Tensor,
    size_average: bool | None,
    reduce: bool | None,
    reduction: str,
    weight: Tensor | None,
) -> Tensor:
    """A loss per element, weighted and reduced."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    if target.shape != input.shape:
        _warn_if_broadcast(name, input, target)
    loss = fn(input, target)
    if weight is not None:
        if weight.shape != input.shape:
            raise ValueError("Weights and input must have the same size.")
        loss = loss * weight
        if reduction == "mean":
            return loss.sum() / weight.sum()
    return _reduced(loss, reduction)


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target)^2, reduced."""
    return _pointwise("mse_loss", _squared, input, target, size_average, reduce, reduction, weight)


def _squared(input: Tensor, target: Tensor) -> Tensor:
    off = input - target
    return off * off


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|, reduced."""
    return _pointwise("l1_loss", lambda a, b: (a - b).abs(), input, target, size_average, reduce, reduction, weight)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d^2 / (2 beta) where d = |input - target| < beta, else d - beta / 2; reduced. Raises RuntimeError if beta < 0."""
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return l1_loss(input, target, size_average, reduce, reduction)

    def fn(a: Tensor, b: Tensor) -> Tensor:
        off = (a - b).abs()
        return where(off < beta, off * off * (0.5 / beta), off - 0.5 * beta)

    return _pointwise("smooth_l1_loss", fn, input, target, size_average, reduce, reduction, None)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """d^2 / 2 where d = |input - target| < delta, else delta (d - delta / 2); reduced. Raises RuntimeError if delta
    <= 0.
    """
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")

    def fn(a: Tensor, b: Tensor) -> Tensor:
        off = (a - b).abs()
        return where(off < delta, off * off * 0.5, (off - 0.5 * delta) * delta)

    return _pointwise("huber_loss", fn, input, target, None, None, reduction, weight)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(t log x + (1 - t) log(1 - x)), the logarithms bounded below by -100; reduced.

    Raises:
        ValueError: the sizes differ.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ValueError(
            f"Using a target size ({target.shape}) that is different to the input size ({input.shape}) is deprecated. "
            "Please ensure they have the same size."
        )
    loss = _BinaryCrossEntropy.apply(input, target)
    return _reduced(loss if weight is None else loss * weight, reduction)


class _BinaryCrossEntropy(Function):
    """Its gradient (x - t) / max(x (1 - x), 1e-12) stays finite where the logarithms are bounded."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, target: Tensor) -> Tensor:
        ctx.save_for_backward(x, target)
        return (target - 1) * (1 - x).log().clamp(min=-100) - target * x.log().clamp(min=-100)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        x, target = ctx.saved_tensors
        on_target = None
        if ctx.needs_input_grad[1]:
            on_target = grad * ((1 - x).log().clamp(min=-100) - x.log().clamp(min=-100))
        return grad * (x - target) / (x * (1 - x)).clamp(min=1e-12), on_target


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of sigmoid(input), without overflow; `pos_weight` multiplies the term of the positive class.

    Raises:
        ValueError: the sizes differ.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    if pos_weight is None:
        loss = (1 - target) * input - logsigmoid(input)
    else:
        loss = (1 - target) * input - ((pos_weight - 1) * target + 1) * logsigmoid(input)
    return _reduced(loss if weight is None else loss * weight, reduction)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """t (log t - input), input being log-probabilities; 'batchmean' divides the sum by the size of dim 0.

    Args:
        log_target: the target holds log-probabilities too.
    """
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    elif reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math definition.",
            stacklevel=2,
        )
    loss = target.exp() * (target - input) if log_target else target.xlogy(target) - target * input
    if reduction == "batchmean":
        return loss.sum() / (input.shape[0] if input.dim() else 1)
    return _reduced(loss, reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """exp(x) - t x, or x - t log(x + eps) if not `log_input`; `full` adds Stirling's term for t > 1."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce, reduction)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        safe = target.clamp(min=1)
        loss = loss + where(target > 1, safe * safe.log() - safe + (safe * (2 * math.pi)).log() * 0.5, 0.0)
    return _reduced(loss, reduction)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """(log(var) + (input - target)^2 / var) / 2, var at least eps; `full` adds log(2 pi) / 2.

    Raises:
        ValueError: var does not fit, is negative, or the reduction is unknown.
    """
    spread: Any = var
    if isinstance(var, (int, float)):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        spread = input.detach().new_full(input.shape, var)
    elif bool((var.detach() < 0).any()):
        raise ValueError("var has negative entry/entries")
    if spread.shape != input.shape:
        if input.shape[:-1] == spread.shape:
            spread = spread.unsqueeze(-1)
        elif not (
            input.dim() == spread.dim()
            and sum(a != b for a, b in zip(input.shape, spread.shape)) == 1
            and 1 in spread.shape
        ):
            raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    bounded = spread + (spread.detach().clamp(min=eps) - spread.detach())  # the bound does not stop the gradient
    off = input - target
    loss = (bounded.log() + off * off / bounded) * 0.5
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return _reduced(loss, reduction)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1; reduced."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    loss = where(target == 1, input, 0.0) + where(target == -1, (margin - input).clamp(min=0), 0.0)
    both = where((target == 1).logical_or(target == -1), 0.0, input + (margin - input).clamp(min=0))
    return _reduced(loss + both, reduction)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -target (x1 - x2) + margin), reduced. Raises RuntimeError if the numbers of dimensions differ."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    if input1.dim() != input2.dim() or input1.dim() != target.dim():
        raise RuntimeError(
            f"margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: "
            f"{input1.shape}, "
            f"input2: {input2.shape}, target: {target.shape} "
        )
    return _reduced((-target * (input1 - input2) + margin).clamp(min=0), reduction)


def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """log(1 + exp(-target x)), reduced."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    return _reduced((-target * input).exp().log1p(), reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - margin) where it is -1; reduced.

    Shape: inputs (N, D) or (D,), target (N,) or ().
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if target.dim() not in (0, 1):
        raise RuntimeError(f"0D or 1D target tensor expected, multi-target not supported, got {target.dim()}D")
    if input1.dim() != target.dim() + 1 or input2.dim() != target.dim() + 1:
        raise RuntimeError(
            f"{target.dim()}D target tensor expects {target.dim() + 1}D input tensors, but found inputs with sizes "
            f"{list(input1.shape)} and {list(input2.shape)}."
        )
    dim = target.dim()
    small = 1e-12
    cos = (input1 * input2).sum(dim) / (
        ((input1 * input1).sum(dim) + small) * ((input2 * input2).sum(dim) + small)
    ).sqrt()
    loss = where(target == 1, 1 - cos, 0.0) + where(target == -1, (cos - margin).clamp(min=0), 0.0)
    return _reduced(loss, reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), reduced; `swap` uses d(positive, negative) where it
    is smaller.
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    return triplet_margin_with_distance_loss(
        anchor,
        positive,
        negative,
        distance_function=lambda a, b: pairwise_distance(a, b, p, eps),
        margin=margin,
        swap=swap,
        reduction=reduction,
    )


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with any distance."""
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError(
            f"The anchor, positive, and negative tensors are expected to have the same number of dimensions, but "
            f"got: anchor "
            f"{anchor.dim()}D, positive {positive.dim()}D, and negative {negative.dim()}D inputs"
        )
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return _reduced((near - far + margin).clamp(min=0), reduction)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean over classes j != t of weight[t] * max(0, margin - x[t] + x[j])^p.

    Shape: input (N, C) or (C,), target (N,) or ().
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    single = input.dim() == 1
    if single:
        input, target = input.unsqueeze(0), target.reshape(1)
    hits = _hits(target, input.shape[1], 2)
    own = where(hits, input, 0.0).sum(1, keepdim=True)
    short = (margin - own + input).clamp(min=0)
    if p == 2:
        short = short * short
    if weight is not None:
        short = short * where(hits, weight, 0.0).sum(1, keepdim=True)
    loss = where(hits, 0.0, short).sum(1) / input.shape[1]
    return _reduced(loss.squeeze(0) if single and reduction == "none" else loss, reduction)


def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """Sum over targets t and non-targets j of max(0, 1 - x[t] + x[j]) / C; a row of targets ends at its first
    negative entry.

    Shape: input and target (N, C) or (C,).
    """
    reduction = legacy_reduction(size_average, reduce, reduction)
    if input.shape != target.shape:
        raise RuntimeError(f"inconsistent target size: {list(target.shape)} for input of size {list(input.shape)}")
    single = input.dim() < 2
    if single:
        input, target = input.reshape(1, -1), target.reshape(1, -1)
    classes = input.shape[1]
    valid = (target < 0).long().cumsum(1) == 0  # (N, C)
    hits = (target.unsqueeze(2) == _class_numbers(classes, -1, target.device)).logical_and(
        valid.unsqueeze(2)
    )  # (N, places, C)
    is_target = hits.any(1)
    own = where(hits, input.unsqueeze(1), 0.0).sum(2)  # (N, places)
    short = (1 - own.unsqueeze(2) + input.unsqueeze(1)).clamp(min=0)
    counts = valid.unsqueeze(2).logical_and(is_target.logical_not().unsqueeze(1))
    loss = where(counts, short, 0.0).sum((1, 2)) / classes
    return _reduced(loss.squeeze(0) if single and reduction == "none" else loss, reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Mean over classes of binary cross-entropy with logits, reduced over samples."""
    reduction = legacy_reduction(size_average, reduce, reduction)
    loss = -(target * logsigmoid(input) + (1 - target) * logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return _reduced(loss.mean(-1), reduction)
