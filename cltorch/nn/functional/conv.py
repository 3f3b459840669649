"""Convolutions along one, two and three dimensions.

Floor 7. Checks and paddings; the kernels are those of the records `_conv2d` and `_conv3d` and their gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from ...autograd.modes import state
from ...direct import chain, run
from ...dispatch import apply
from ...functions.nodes import give_backward
from ...ops import contraction as records
from ...ops import volume
from ...ops.pointwise import ADD
from ...ops.reductions import SUM
from ...shapes import layout
from ...tensor import Tensor, make
from .padding import pad

Size = int | Sequence[int]
LONG_ROW = 512  # pixels of a row beyond which the kernels of images would run out of local memory

# by the operands' number of dims: forward, gradient of the input, gradient of the weight
RECORDS = {
    4: (records.CONV2D, records.CONV2D_INPUT, records.CONV2D_WEIGHT),
    5: (volume.CONV3D, volume.CONV3D_INPUT, volume.CONV3D_WEIGHT),
}


def repeated(op: str, argument: str, value: Size, n: int) -> tuple[int, ...]:
    """`value` as n ints; a single one counts for all dimensions."""
    if isinstance(value, int):
        return (value,) * n
    given = tuple(value)
    if len(given) == 1:
        return given * n
    if len(given) != n:
        raise RuntimeError(
            f"{op}: {argument}: expected {argument} to be a single integer value or a list of {n} values to match the "
            f"convolution dimensions, but got {argument}={list(given)}"
        )
    return given


def _same(
    op: str, input: Tensor, weight: Tensor, stride: Size, dilation: Size, n: int
) -> tuple[Tensor, tuple[int, ...]]:
    """For padding='same': `input`, padded by one more at the end where the total is odd, and the symmetric rest."""
    if any(s != 1 for s in repeated(op, "stride", stride, n)):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    total = [d * (k - 1) for d, k in zip(repeated(op, "dilation", dilation, n), weight.shape[2:])]
    if any(t % 2 for t in total):
        input = pad(input, [side for t in reversed(total) for side in (0, t % 2)])
    return input, tuple(t // 2 for t in total)


def _padding(
    op: str, input: Tensor, weight: Tensor, stride: Size, padding: str, dilation: Size, n: int
) -> tuple[Tensor, Size]:
    """Input and symmetric padding for a padding given by name."""
    if padding == "same":
        return _same(op, input, weight, stride, dilation, n)
    if padding == "valid":
        return input, 0
    raise RuntimeError(f"Invalid padding string: '{padding}'")


def check_operands(input: Tensor, weight: Tensor, bias: Tensor | None, channels: int) -> None:
    """Raises RuntimeError where PyTorch does: sizes or dtypes that do not fit."""
    if weight._layout.dtype is not input._layout.dtype:
        raise RuntimeError(
            f"Input type ({input._layout.dtype.name}) and weight type ({weight._layout.dtype.name}) should be the same"
        )
    if bias is None:
        return
    if bias._layout.shape != (channels,):
        raise RuntimeError(
            f"Given weight of size {list(weight.shape)}, expected bias to be 1-dimensional with {channels} "
            f"elements, but got bias of size {list(bias.shape)} instead"
        )
    if bias._layout.dtype is not input._layout.dtype:
        raise RuntimeError(
            f"Input type ({input._layout.dtype.name}) and bias type ({bias._layout.dtype.name}) should be the same"
        )


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation along one dimension.

    Shape: input (N, C, L) or (C, L), weight (out, C / groups, k), bias (out,); result (N, out, L').

    Raises:
        RuntimeError: the shapes do not fit.
    """
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"Expected 2D (unbatched) or 3D (batched) input to conv1d, but got input of size: {list(input.shape)}"
        )
    if isinstance(padding, str):
        input, padding = _padding("conv1d", input, weight, stride, padding, dilation, 1)
    wide = conv2d(
        input.unsqueeze(-2),
        weight.unsqueeze(-2),
        bias,
        (1, *repeated("conv1d", "stride", stride, 1)),
        (0, *repeated("conv1d", "padding", padding, 1)),
        (1, *repeated("conv1d", "dilation", dilation, 1)),
        groups,
    )
    return wide.squeeze(-2)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation along two dimensions.

    Shape: input (N, C, H, W) or (C, H, W), weight (out, C / groups, kh, kw), bias (out,); result (N, out, H', W').

    Raises:
        RuntimeError: the shapes do not fit.
    """
    if padding.__class__ is str:
        input, padding = _padding("conv2d", input, weight, stride, padding, dilation, 2)  # type: ignore[arg-type]
    if input.dim() != 4:
        if input.dim() != 3:
            raise RuntimeError(
                f"Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: {list(input.shape)}"
            )
        return conv2d(input.unsqueeze(0), weight, bias, stride, padding, dilation, groups).squeeze(0)
    if stride.__class__ is not tuple or padding.__class__ is not tuple or dilation.__class__ is not tuple:
        stride, dilation = repeated("conv2d", "stride", stride, 2), repeated("conv2d", "dilation", dilation, 2)
        padding = repeated("conv2d", "padding", padding, 2)  # type: ignore[arg-type]
    return _convolution(input, weight, bias, (stride, padding, dilation, groups))


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlation along three dimensions.

    Shape: input (N, C, D, H, W) or (C, D, H, W), weight (out, C / groups, kd, kh, kw), bias (out,);
    result (N, out, D', H', W').

    Raises:
        RuntimeError: the shapes do not fit.
    """
    if isinstance(padding, str):
        input, padding = _padding("conv3d", input, weight, stride, padding, dilation, 3)
    if input.dim() == 4:
        return conv3d(input.unsqueeze(0), weight, bias, stride, padding, dilation, groups).squeeze(0)
    if input.dim() != 5:
        raise RuntimeError(
            f"Expected 4D (unbatched) or 5D (batched) input to conv3d, but got input of size: {list(input.shape)}"
        )
    step, apart = repeated("conv3d", "stride", stride, 3), repeated("conv3d", "dilation", dilation, 3)
    around = repeated("conv3d", "padding", padding, 3)
    if weight.dim() == 5 and prod(weight.shape[2:]) == prod(step) == 1 and not any(around):
        planes = tuple(input.shape[2:])  # one tap: a matrix product of channels, whatever the shape of the pixels
        flat = conv2d(input.flatten(2, 3), weight.flatten(2, 3), bias, 1, 0, 1, groups)
        return flat.unflatten(2, planes[:2])
    return _convolution(input, weight, bias, (step, around, apart, groups))


def _convolution(input: Tensor, weight: Tensor, bias: Tensor | None, attrs: tuple) -> Tensor:
    """The convolution of batches of images or volumes, with its node."""
    check_operands(input, weight, bias, weight._layout.shape[0])
    if len(input._layout.shape) == 4 and input._layout.shape[-1] > LONG_ROW and len(weight._layout.shape) == 4:
        stride, padding, dilation, groups = attrs  # one plane of a volume: those kernels cut rows into blocks
        deep = ((1, *stride), (0, *padding), (1, *dilation), groups)
        return _convolution(input.unsqueeze(2), weight.unsqueeze(2), bias, deep).squeeze(2)
    x, w = readable(input, weight)
    if bias is None:
        operands: tuple[Tensor, ...] = (input, weight)
        out = run(RECORDS[len(x._layout.shape)][0], (x, w), (*attrs, None))
    else:
        operands = (input, weight, bias)
        out = chain(_biased, (x, w, bias), attrs)
    return give_backward("ConvolutionBackward0", operands, out, _backward(operands, attrs), (x, w))


def _biased(x: Tensor, w: Tensor, bias: Tensor, *attrs: Any) -> Tensor:
    dims = len(x._layout.shape)
    return run(ADD, (run(RECORDS[dims][0], (x, w), (*attrs, None)), per_channel(bias, dims)))


def readable(input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both as the kernels read them: rows of pixels, and taps, without gaps; copied where they are not."""
    if not input._layout.contiguous:
        input = records.rows(input)
    if not weight._layout.contiguous:
        weight = records.taps(weight) if len(weight._layout.shape) == 4 else volume.volume_taps(weight)
    return input, weight


def per_channel(bias: Tensor, dims: int) -> Tensor:
    """A bias (K,) read as (K, 1, 1) for images, (K, 1, 1, 1) for volumes, outside the graph."""
    given = bias._layout
    found = given.memo.get(("per channel", dims))
    if found is None:
        ones = (1,) * (dims - 2)
        found = layout(given.dtype, (*given.shape, *ones), (given.stride[0], *ones), given.offset)
        given.memo["per channel", dims] = found
    return make(bias._storage, found)


def _backward(operands: tuple[Tensor, ...], attrs: tuple) -> Callable[..., Any]:
    """Gradients of those operands that require one."""
    needs = tuple([t._requires_grad for t in operands])
    biased = len(operands) == 3
    which = needs if biased else (*needs, False)
    facts: tuple[Any, ...] = (*which, attrs, operands[0]._layout.shape[2:], operands[1]._layout.shape[2:])

    def backward(grad: Tensor, input: Tensor, weight: Tensor) -> tuple:
        if not grad._layout.contiguous:
            grad = records.rows(grad)
        if state.grad:
            found = _gradients(grad, input, weight, *facts, apply)  # type: ignore[call-arg]
        else:
            found = chain(_gradients, (grad, input, weight), facts)
        if len(found) == len(needs):
            return found
        made = iter(found)
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
    pixels: tuple[int, ...],
    taps: tuple[int, ...],
    record: Callable[..., Any] = run,
) -> tuple[Tensor, ...]:
    """Those of the three gradients that are wanted."""
    found = []
    dims = len(grad._layout.shape)
    _, to_input, to_weight = RECORDS[dims]
    if on_input:
        found.append(record(to_input, (grad, weight), (*attrs, pixels)))
    if on_weight:
        found.append(record(to_weight, (grad, input), (*attrs, taps)))
    if on_bias:
        found.append(record(SUM, (grad,), ((0, *range(2, dims)), False)))
    return tuple(found)
