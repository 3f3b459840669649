"""Images as columns of patches, and back.

Floor 7.
"""

from __future__ import annotations

from typing import Any

from ...autograd import no_grad
from ...functions.nodes import give_backward
from ...tensor import Tensor
from .conv import Size, repeated
from .padding import pad


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
    (kh, kw), (dh, dw) = repeated("unfold", "kernel_size", kernel_size, 2), repeated("unfold", "dilation", dilation, 2)
    (ph, pw), (sh, sw) = repeated("unfold", "padding", padding, 2), repeated("unfold", "stride", stride, 2)
    n, c, h, w = input.shape
    rows, columns = _blocks("unfold", (h, w), (kh, kw), (dh, dw), (ph, pw), (sh, sw))
    with no_grad():
        padded = pad(input, (pw, pw, ph, ph)) if ph or pw else input
        patches = padded.unfold(2, dh * (kh - 1) + 1, sh).unfold(3, dw * (kw - 1) + 1, sw)[..., ::dh, ::dw]
        out = patches.permute(0, 1, 4, 5, 2, 3).reshape(n, c * kh * kw, rows * columns)  # from (N, C, H', W', kh, kw)
    attrs = ((kh, kw), (dh, dw), (ph, pw), (sh, sw))
    return give_backward("Im2ColBackward0", (input,), out, lambda grad: fold(grad, (h, w), *attrs))


def _blocks(op: str, size: Any, kernel: Any, dilation: Any, padding: Any, stride: Any) -> tuple[int, int]:
    """How many patches there are below and beside each other.

    Raises RuntimeError where there is none, or a number is out of range.
    """
    for name, given, least in (("kernel_size", kernel, 1), ("dilation", dilation, 1), ("padding", padding, 0)):
        if min(given) < least:
            raise RuntimeError(f"{op}: {name}: got {given}, wanted at least {least} in each dimension")
    if min(stride) < 1:
        raise RuntimeError(f"{op}: stride: got {stride}, wanted at least 1 in each dimension")
    rows, columns = (
        (n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(size, kernel, dilation, padding, stride)
    )
    if rows < 1 or columns < 1:
        raise RuntimeError(
            f"Given an image of spatial size {tuple(size)}, kernel_size={tuple(kernel)}, dilation={tuple(dilation)}, "
            f"padding={tuple(padding)}, stride={tuple(stride)}, calculated shape of the array of sliding blocks as "
            f"({rows}, {columns}), but its components must be at least one."
        )
    return rows, columns


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
    (kh, kw), (dh, dw) = repeated("fold", "kernel_size", kernel_size, 2), repeated("fold", "dilation", dilation, 2)
    (ph, pw), (sh, sw) = repeated("fold", "padding", padding, 2), repeated("fold", "stride", stride, 2)
    h, w = repeated("fold", "output_size", output_size, 2)
    rows, columns = _blocks("fold", (h, w), (kh, kw), (dh, dw), (ph, pw), (sh, sw))
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
    with no_grad():
        blocks = input.reshape(n, c, kh, kw, rows, columns)
        # Each tap of the kernel is one strided placement in the padded image.
        out: Any = 0
        for i in range(kh):
            for j in range(kw):
                placed = _spread(_spread(blocks[:, :, i, j], 2, sh), 3, sw)
                top, left = i * dh, j * dw
                below, right = h + 2 * ph - top - placed.shape[2], w + 2 * pw - left - placed.shape[3]
                out = pad(placed, (left, right, top, below)) + out
        image = out[:, :, ph : ph + h, pw : pw + w]
        image = image.contiguous() if ph or pw else image
    attrs = ((kh, kw), (dh, dw), (ph, pw), (sh, sw))
    return give_backward("Col2ImBackward0", (input,), image, lambda grad: unfold(grad, *attrs))


def _spread(x: Tensor, dim: int, step: int) -> Tensor:
    """`x` with step - 1 zeros between neighbours along `dim`."""
    if step == 1:
        return x
    apart = x.unsqueeze(dim + 1)
    widened = pad(apart, (0, 0) * (x.dim() - dim - 1) + (0, step - 1))
    flat = widened.reshape((*x.shape[:dim], x.shape[dim] * step, *x.shape[dim + 1 :]))
    return flat.narrow(dim, 0, (x.shape[dim] - 1) * step + 1)
