"""Transposed convolutions along one, two and three dimensions.

Floor 7. A transposed convolution is the gradient of a convolution's input, and its gradients are that convolution and
the gradient of its weight: the same records with their roles exchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...autograd.modes import state
from ...direct import chain, run
from ...dispatch import apply
from ...functions.nodes import give_backward
from ...ops.pointwise import ADD
from ...ops.reductions import SUM
from ...tensor import Tensor
from .conv import LONG_ROW, RECORDS, Size, check_operands, per_channel, readable, repeated
from .padding import pad


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """The transpose of `conv1d` as a linear map of its input.

    Shape: input (N, C, L) or (C, L), weight (C, out / groups, k), bias (out,);
    result (N, out, (L - 1) s - 2 p + d (k - 1) + output_padding + 1).

    Raises:
        RuntimeError: the shapes do not fit, or output_padding is not smaller than stride or dilation.
    """
    op = "conv_transpose1d"
    if input.dim() not in (2, 3):
        raise _dims(op, input, 1)
    wide = conv_transpose2d(
        input.unsqueeze(-2),
        weight.unsqueeze(-2),
        bias,
        (1, *repeated(op, "stride", stride, 1)),
        (0, *repeated(op, "padding", padding, 1)),
        (0, *repeated(op, "output_padding", output_padding, 1)),
        groups,
        (1, *repeated(op, "dilation", dilation, 1)),
    )
    return wide.squeeze(-2)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """The transpose of `conv2d` as a linear map of its input.

    Shape: input (N, C, H, W) or (C, H, W), weight (C, out / groups, kh, kw), bias (out,);
    result (N, out, (H - 1) s - 2 p + d (kh - 1) + output_padding + 1, ...).

    Raises:
        RuntimeError: the shapes do not fit, or output_padding is not smaller than stride or dilation.
    """
    return _transposed(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )  # fmt: skip


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """The transpose of `conv3d` as a linear map of its input.

    Shape: input (N, C, D, H, W) or (C, D, H, W), weight (C, out / groups, kd, kh, kw), bias (out,);
    result (N, out, (D - 1) s - 2 p + d (kd - 1) + output_padding + 1, ...).

    Raises:
        RuntimeError: the shapes do not fit, or output_padding is not smaller than stride or dilation.
    """
    return _transposed(
        "conv_transpose3d", 3, input, weight, bias, stride, padding, output_padding, groups, dilation
    )  # fmt: skip


def _dims(op: str, input: Tensor, n: int) -> RuntimeError:
    return RuntimeError(
        f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {op}, but got input of size: {list(input.shape)}"
    )


def _transposed(
    op: str,
    n: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Size,
    padding: Size,
    output_padding: Size,
    groups: int,
    dilation: Size,
) -> Tensor:
    if input.dim() == n + 1:
        return _transposed(
            op, n, input.unsqueeze(0), weight, bias, stride, padding, output_padding, groups, dilation
        ).squeeze(0)
    if input.dim() != n + 2:
        raise _dims(op, input, n)
    if weight.dim() != n + 2 or weight.shape[0] != input.shape[1]:
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(weight.shape)}, expected input{list(input.shape)} to have "
            f"{weight.shape[0]} channels, but got {input.shape[1]} channels instead"
        )
    s, p = repeated(op, "stride", stride, n), repeated(op, "padding", padding, n)
    d, extra = repeated(op, "dilation", dilation, n), repeated(op, "output_padding", output_padding, n)
    for name, given, least in (("stride", s, 1), ("dilation", d, 1), ("padding", p, 0), ("output_padding", extra, 0)):
        if min(given) < least:
            raise RuntimeError(f"{op}: {name}: got {given}, wanted at least {least} in each dimension")
    for more, step, apart in zip(extra, s, d):
        if more >= max(step, apart):
            raise RuntimeError(
                f"output padding must be smaller than either stride or dilation, but got output_padding: "
                f"{list(extra)}, stride: {list(s)}, dilation: {list(d)}"
            )
    check_operands(input, weight, bias, weight.shape[1] * groups)
    size = tuple(
        (length - 1) * step - 2 * around + apart * (taps - 1) + more + 1
        for length, step, around, apart, taps, more in zip(input.shape[2:], s, p, d, weight.shape[2:], extra)
    )
    if min(size) < 1:
        raise RuntimeError(
            f"Given input size per channel: {tuple(input.shape[2:])}. Calculated output size per channel: {size}. "
            f"Output size is too small"
        )
    beyond = [more // step for more, step in zip(extra, s)]
    if any(beyond):  # the map's result has no such places: they belong to inputs of 0 after the last
        input = pad(input, [side for places in reversed(beyond) for side in (0, places)])
    attrs = (s, p, d, groups)
    if n == 2 and size[-1] > LONG_ROW:  # one plane of a volume: those kernels cut rows into blocks
        input, weight = input.unsqueeze(2), weight.unsqueeze(2)
        attrs = ((1, *s), (0, *p), (1, *d), groups)
        return _map(input, weight, bias, attrs, (1, *size)).squeeze(2)
    return _map(input, weight, bias, attrs, size)


def _map(input: Tensor, weight: Tensor, bias: Tensor | None, attrs: tuple, size: tuple[int, ...]) -> Tensor:
    """The transposed convolution of batches of images or volumes into ones of `size`, with its node."""
    x, w = readable(input, weight)
    if bias is None:
        operands: tuple[Tensor, ...] = (input, weight)
        out = run(RECORDS[len(x._layout.shape)][1], (x, w), (*attrs, size))
    else:
        operands = (input, weight, bias)
        out = chain(_biased, (x, w, bias), (*attrs, size))
    return give_backward("ConvolutionBackward0", operands, out, _backward(operands, attrs), (x, w))


def _biased(x: Tensor, w: Tensor, bias: Tensor, *attrs: Any) -> Tensor:
    dims = len(x._layout.shape)
    return run(ADD, (run(RECORDS[dims][1], (x, w), attrs), per_channel(bias, dims)))


def _backward(operands: tuple[Tensor, ...], attrs: tuple) -> Callable[..., Any]:
    """Gradients of those operands that require one."""
    needs = tuple([t._requires_grad for t in operands])
    facts: tuple[Any, ...] = (*needs, *((False,) if len(needs) == 2 else ()), attrs, operands[1]._layout.shape[2:])

    def backward(grad: Tensor, input: Tensor, weight: Tensor) -> tuple:
        grad, _ = readable(grad, weight)
        if state.grad:
            found = _gradients(grad, input, weight, *facts, apply)  # type: ignore[call-arg]
        else:
            found = chain(_gradients, (grad, input, weight), facts)
        made = iter(found or ())
        return tuple([next(made) if need else None for need in needs])

    return backward


def _gradients(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    on_input: bool,
    on_weight: bool,
    on_bias: bool,
    attrs: tuple,
    taps: Sequence[int],
    record: Callable[..., Any] = run,
) -> tuple[Tensor, ...]:
    """Those of the three gradients that are wanted: the map's input plays the gradient of a convolution's result."""
    found = []
    dims = len(grad._layout.shape)
    forward, _, to_weight = RECORDS[dims]
    if on_input:
        found.append(record(forward, (grad, weight), (*attrs, None)))
    if on_weight:
        found.append(record(to_weight, (input, grad), (*attrs, taps)))
    if on_bias:
        found.append(record(SUM, (grad,), ((0, *range(2, dims)), False)))
    return tuple(found)
