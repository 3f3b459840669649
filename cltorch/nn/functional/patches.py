"""Images as columns of patches, and back.

Floor 7.
"""

from __future__ import annotations

from typing import Any

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
    (kh, kw), (dh, dw) = repeated("fold", "kernel_size", kernel_size, 2), repeated("fold", "dilation", dilation, 2)
    (ph, pw), (sh, sw) = repeated("fold", "padding", padding, 2), repeated("fold", "stride", stride, 2)
    h, w = repeated("fold", "output_size", output_size, 2)
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
