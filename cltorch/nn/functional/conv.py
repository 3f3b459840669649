"""Convolutions and the unfolding of images into columns.

Floor 7. Checks and paddings; the kernels are those of the operations `conv2d` and its gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...autograd.modes import state
from ...direct import chain, run
from ...dispatch import apply
from ...functions.nodes import give_backward
from ...ops import contraction as records
from ...ops.pointwise import ADD
from ...ops.reductions import SUM
from ...shapes import layout
from ...tensor import Tensor, make
from .padding import pad

Size = int | Sequence[int]


def _tuple(op: str, argument: str, value: Size, n: int) -> tuple[int, ...]:
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
    if any(s != 1 for s in _tuple(op, "stride", stride, n)):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    total = [d * (k - 1) for d, k in zip(_tuple(op, "dilation", dilation, n), weight.shape[2:])]
    if any(t % 2 for t in total):
        input = pad(input, [side for t in reversed(total) for side in (0, t % 2)])
    return input, tuple(t // 2 for t in total)


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
        if padding == "same":
            input, padding = _same("conv1d", input, weight, stride, dilation, 1)
        elif padding == "valid":
            padding = 0
        else:
            raise RuntimeError(f"Invalid padding string: '{padding}'")
    wide = conv2d(
        input.unsqueeze(-2),
        weight.unsqueeze(-2),
        bias,
        (1, *_tuple("conv1d", "stride", stride, 1)),
        (0, *_tuple("conv1d", "padding", padding, 1)),
        (1, *_tuple("conv1d", "dilation", dilation, 1)),
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
        if padding == "same":
            input, padding = _same("conv2d", input, weight, stride, dilation, 2)
        elif padding == "valid":
            padding = 0
        else:
            raise RuntimeError(f"Invalid padding string: '{padding}'")
    if input.dim() != 4:
        if input.dim() != 3:
            raise RuntimeError(
                f"Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: {list(input.shape)}"
            )
        return conv2d(input.unsqueeze(0), weight, bias, stride, padding, dilation, groups).squeeze(0)
    if stride.__class__ is not tuple or padding.__class__ is not tuple or dilation.__class__ is not tuple:
        stride, dilation = _tuple("conv2d", "stride", stride, 2), _tuple("conv2d", "dilation", dilation, 2)
        padding = _tuple("conv2d", "padding", padding, 2)  # type: ignore[arg-type]
    if bias is not None and bias._layout.shape != weight._layout.shape[:1]:
        raise RuntimeError(
            f"Given weight of size {list(weight.shape)}, expected bias to be 1-dimensional with {weight.shape[0]} "
            f"elements, but got bias "
            f"of size {list(bias.shape)} instead"
        )
    x, w = _readable(input, weight)
    attrs = (stride, padding, dilation, groups)
    if bias is None:
        out = run(records.CONV2D, (x, w), (*attrs, None))
        return give_backward(
            "ConvolutionBackward0", (input, weight), out, _conv2d_backward((input, weight), attrs), (x, w)
        )
    operands = (input, weight, bias)
    out = chain(_conv2d_biased, (x, w, bias), attrs)
    return give_backward("ConvolutionBackward0", operands, out, _conv2d_backward(operands, attrs), (x, w))


def _conv2d_biased(x: Tensor, w: Tensor, bias: Tensor, *attrs: Any) -> Tensor:
    return run(ADD, (run(records.CONV2D, (x, w), (*attrs, None)), _per_channel(bias)))


def _readable(input: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both as the kernels read them: rows of pixels, and taps, without gaps; copied where they are not."""
    if not input._layout.contiguous:
        input = records.rows(input)
    if not weight._layout.contiguous:
        weight = records.taps(weight)
    return input, weight


def _per_channel(bias: Tensor) -> Tensor:
    """A bias (K,) read as (K, 1, 1), outside the graph."""
    given = bias._layout
    found = given.memo.get("per channel")
    if found is None:
        step = given.stride[0]
        found = given.memo["per channel"] = layout(given.dtype, (*given.shape, 1, 1), (step, 1, 1), given.offset)
    return make(bias._storage, found)


def _conv2d_backward(operands: tuple[Tensor, ...], attrs: tuple) -> Callable[..., Any]:
    """Gradients of those operands that require one."""
    needs = tuple([t._requires_grad for t in operands])
    biased = len(operands) == 3
    which = needs if biased else (*needs, False)
    facts = (*which, attrs, operands[0]._layout.shape[2:], operands[1]._layout.shape[2:])

    def backward(grad: Tensor, input: Tensor, weight: Tensor) -> tuple:
        if not grad._layout.contiguous:
            grad = records.rows(grad)
        if state.grad:
            found = _conv2d_gradients(grad, input, weight, *facts, record=apply)
        else:
            found = chain(_conv2d_gradients, (grad, input, weight), facts)
        if len(found) == len(needs):
            return found
        made = iter(found)
        return tuple([next(made) if need else None for need in needs])

    return backward


def _conv2d_gradients(
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
    if on_input:
        found.append(record(records.CONV2D_INPUT, (grad, weight), (*attrs, pixels)))
    if on_weight:
        found.append(record(records.CONV2D_WEIGHT, (grad, input), (*attrs, taps)))
    if on_bias:
        found.append(record(SUM, (grad,), ((0, 2, 3), False)))
    return tuple(found)


def unfold(input: Tensor, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> Tensor:
    """The patches of an image as columns.

    Shape: input (N, C, H, W) or (C, H, W); result (N, C * kh * kw, number of patches).
    """
    if input.dim() not in (3, 4):
        raise RuntimeError(
            f"Input Error: Only 3D (unbatched) or 4D (batched) input Tensors are supported (got {input.dim()}D)"
        )
    if input.dim() == 3:
        return unfold(input.unsqueeze(0), kernel_size, dilation, padding, stride).squeeze(0)
    (kh, kw), (dh, dw) = _tuple("unfold", "kernel_size", kernel_size, 2), _tuple("unfold", "dilation", dilation, 2)
    (ph, pw), (sh, sw) = _tuple("unfold", "padding", padding, 2), _tuple("unfold", "stride", stride, 2)
    padded = pad(input, (pw, pw, ph, ph)) if ph or pw else input
    patches = padded.unfold(2, dh * (kh - 1) + 1, sh).unfold(3, dw * (kw - 1) + 1, sw)[
        ..., ::dh, ::dw
    ]  # (N, C, H', W', kh, kw)
    n, c = input.shape[:2]
    return patches.permute(0, 1, 4, 5, 2, 3).reshape(n, c * kh * kw, patches.shape[2] * patches.shape[3])


def fold(
    input: Tensor, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
) -> Tensor:
    """The sum of columns put back as patches: the transpose of `unfold`.

    Shape: input (N, C * kh * kw, number of patches) or without N; result (N, C, *output_size).
    """
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"Input Error: Only unbatched (2D) or batched (3D) input Tensors are supported (got {input.dim()}D)"
        )
    if input.dim() == 2:
        return fold(input.unsqueeze(0), output_size, kernel_size, dilation, padding, stride).squeeze(0)
    (kh, kw), (dh, dw) = _tuple("fold", "kernel_size", kernel_size, 2), _tuple("fold", "dilation", dilation, 2)
    (ph, pw), (sh, sw) = _tuple("fold", "padding", padding, 2), _tuple("fold", "stride", stride, 2)
    h, w = _tuple("fold", "output_size", output_size, 2)
    rows, columns = (h + 2 * ph - dh * (kh - 1) - 1) // sh + 1, (w + 2 * pw - dw * (kw - 1) - 1) // sw + 1
    if input.shape[1] % (kh * kw):
        raise RuntimeError(
            f"Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={input.shape[1]} and kernel_size=({kh}, {kw})."
        )
    if input.shape[2] != rows * columns:
        raise RuntimeError(
            f"Given output_size=({h}, {w}), kernel_size=({kh}, {kw}), dilation=({dh}, {dw}), padding=({ph}, {pw}), "
            f"stride=({sh}, {sw}), expected size of input's dimension 2 to match the calculated number of sliding "
            f"blocks "
            f"{rows} * {columns} = {rows * columns}, but got input.size(2)={input.shape[2]}."
        )
    n, c = input.shape[0], input.shape[1] // (kh * kw)
    blocks = input.reshape(n, c, kh, kw, rows, columns)
    # Each tap of the kernel is one strided placement in the padded image.
    out: Any = 0
    for i in range(kh):
        for j in range(kw):
            top, left = i * dh, j * dw
            tall, broad = _spread(blocks[:, :, i, j], 2, sh), sw
            placed = _spread(tall, 3, broad)
            below, right = h + 2 * ph - top - placed.shape[2], w + 2 * pw - left - placed.shape[3]
            out = pad(placed, (left, right, top, below)) + out
    return out[:, :, ph : ph + h, pw : pw + w]


def _spread(x: Tensor, dim: int, step: int) -> Tensor:
    """`x` with step - 1 zeros between neighbours along `dim`."""
    if step == 1:
        return x
    apart = x.unsqueeze(dim + 1)
    widened = pad(apart, (0, 0) * (x.dim() - dim - 1) + (0, step - 1))
    flat = widened.reshape((*x.shape[:dim], x.shape[dim] * step, *x.shape[dim + 1 :]))
    return flat.narrow(dim, 0, (x.shape[dim] - 1) * step + 1)


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
    """The transpose of `conv2d` as a linear map of its input: zeros are put between the pixels, then it is a
    convolution.

    Shape: input (N, C, H, W) or (C, H, W), weight (C, out / groups, kh, kw), bias (out,);
    result (N, out, (H - 1) s - 2 p + d (kh - 1) + output_padding + 1, ...).

    Raises:
        RuntimeError: the shapes do not fit, or output_padding is not smaller than stride or dilation.
    """
    if input.dim() not in (3, 4):
        raise RuntimeError(
            f"Expected 3D (unbatched) or 4D (batched) input to conv_transpose2d, but got input of size: "
            f"{list(input.shape)}"
        )
    if weight.dim() != 4 or weight.shape[0] != input.shape[-3]:
        raise RuntimeError(
            f"Given transposed=1, weight of size {list(weight.shape)}, expected input{list(input.shape)} to have "
            f"{weight.shape[0]} channels, but got {input.shape[-3]} channels instead"
        )
    s, p = _tuple("conv_transpose2d", "stride", stride, 2), _tuple("conv_transpose2d", "padding", padding, 2)
    d, extra = (
        _tuple("conv_transpose2d", "dilation", dilation, 2),
        _tuple("conv_transpose2d", "output_padding", output_padding, 2),
    )
    for e, stride_, dilation_ in zip(extra, s, d):
        if e >= max(stride_, dilation_):
            raise RuntimeError(
                f"output padding must be smaller than either stride or dilation, but got output_padding: "
                f"{list(extra)}, "
                f"stride: {list(s)}, dilation: {list(d)}"
            )
    if input.dim() == 3:
        return conv_transpose2d(
            input.unsqueeze(0), weight, bias, stride, padding, output_padding, groups, dilation
        ).squeeze(0)
    size = tuple(
        (n - 1) * step - 2 * around + apart * (taps - 1) + more + 1
        for n, step, around, apart, taps, more in zip(input.shape[2:], s, p, d, weight.shape[2:], extra)
    )
    if min(size) < 1:
        raise RuntimeError(
            f"Given input size per channel: {tuple(input.shape[2:])}. Calculated output size per channel: {size}. "
            f"Output "
            "size is too small"
        )
    beyond = [more // step for more, step in zip(extra, s)]
    if any(beyond):  # the map's result has no such rows: they belong to pixels of 0 after the last
        input = pad(input, (0, beyond[1], 0, beyond[0]))
    out = apply(records.CONV2D_INPUT, (records.rows(input), records.taps(weight)), (s, p, d, groups, size))
    return out if bias is None else out + bias.reshape(-1, 1, 1)


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
    """`conv_transpose2d` along one dimension.

    Shape: input (N, C, L) or (C, L), weight (C, out / groups, k), bias (out,).
    """
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"Expected 2D (unbatched) or 3D (batched) input to conv_transpose1d, but got input of size: "
            f"{list(input.shape)}"
        )
    op = "conv_transpose1d"
    wide = conv_transpose2d(
        input.unsqueeze(-2),
        weight.unsqueeze(-2),
        bias,
        (1, *_tuple(op, "stride", stride, 1)),
        (0, *_tuple(op, "padding", padding, 1)),
        (0, *_tuple(op, "output_padding", output_padding, 1)),
        groups,
        (1, *_tuple(op, "dilation", dilation, 1)),
    )
    return wide.squeeze(-2)
