"""Padding: constant, reflected, replicated, circular.

Floor 7.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...autograd import no_grad
from ...copies import cat
from ...functions.nodes import give_backward
from ...tensor import Tensor


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """`input` with more (or, where negative, fewer) elements at the ends of its last dimensions.

    Args:
        pad: pairs (before, after) for the last dimension, the one before it, and so on.
        mode: 'constant' (filled with `value`, 0 if None), 'reflect', 'replicate' or 'circular'.

    Raises:
        RuntimeError: the number of pairs, or their sizes, do not fit the input and the mode.
        NotImplementedError: an unknown mode, or one not defined for this number of dimensions.
    """
    sides = tuple(pad)
    if mode == "constant":
        return _constant(input, sides, 0 if value is None else value)
    if value is not None and value != 0:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in _FILLS:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    n = len(sides) // 2
    if len(sides) % 2 or input.dim() not in (n + 1, n + 2) or not 1 <= n <= 3:
        raise NotImplementedError(
            f"Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now (got mode {mode!r}, "
            f"{len(sides)} "
            f"paddings, input of {input.dim()} dimensions)"
        )
    for i in range(n):
        before, after = sides[2 * i : 2 * i + 2]
        if before or after:
            input = _FILLS[mode](input, input.dim() - 1 - i, before, after)
    return input


def _constant(input: Tensor, sides: tuple[int, ...], value: float) -> Tensor:
    """`input` in the middle of a tensor of `value`; the gradient is the middle of the gradient."""
    if len(sides) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(sides) > 2 * input.dim():
        raise RuntimeError(
            f"Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(sides)} and input "
            f"of dimension {input.dim()}"
        )
    first = input.dim() - len(sides) // 2
    around = [(0, 0)] * first + [(sides[i], sides[i + 1]) for i in range(len(sides) - 2, -1, -2)]
    shape = tuple(n + before + after for n, (before, after) in zip(input.shape, around))
    if any(n < 0 for n in shape):
        raise RuntimeError(
            f"The input size {list(input.shape)}, plus negative padding {list(sides)}, resulted in a negative "
            f"output size"
        )
    source = tuple(slice(max(-before, 0), n - max(-after, 0)) for n, (before, after) in zip(input.shape, around))
    target = tuple(slice(max(before, 0), n - max(after, 0)) for n, (before, after) in zip(shape, around))
    with no_grad():
        out = input.new_full(shape, value)
        if input.dim():
            out[target] = input[source]
        else:
            out.copy_(input)
    back = [-side for side in sides]
    return give_backward("ConstantPadNdBackward0", (input,), out, lambda grad: pad(grad, back))


def _cropped(input: Tensor, dim: int, before: int, after: int) -> tuple[Tensor, int, int]:
    """Negative paddings carried out; the rest is left."""
    if before < 0 or after < 0:
        start = max(-before, 0)
        input = input.narrow(dim, start, input.shape[dim] - start - max(-after, 0))
    return input, max(before, 0), max(after, 0)


def _joined(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else cat(parts, dim)


def _reflect(input: Tensor, dim: int, before: int, after: int) -> Tensor:
    n = input.shape[dim]
    if max(before, after) >= n:
        raise RuntimeError(
            f"Argument #4: Padding size should be less than the corresponding input dimension, but got: padding "
            f"({before}, {after}) at dimension {dim} of input {list(input.shape)}"
        )
    input, before, after = _cropped(input, dim, before, after)
    n = input.shape[dim]
    parts = [input.narrow(dim, 1, before).flip(dim)] if before else []
    parts.append(input)
    if after:
        parts.append(input.narrow(dim, n - 1 - after, after).flip(dim))
    return _joined(parts, dim)


def _replicate(input: Tensor, dim: int, before: int, after: int) -> Tensor:
    n = input.shape[dim]
    if n == 0 or n + before + after < 1:
        raise RuntimeError(
            f"replicate padding: got {n} elements and padding ({before}, {after}) in dimension {dim} of "
            f"{list(input.shape)}, wanted at least one element in input and result"
        )
    if -before >= n or -after >= n:  # nothing of the inner part is left: the end nearest to it, repeated
        shape = list(input.shape)
        shape[dim] = n + before + after
        return input.narrow(dim, n - 1 if before < 0 else 0, 1).expand(shape)
    first, last = input.narrow(dim, 0, 1), input.narrow(dim, n - 1, 1)
    input, before, after = _cropped(input, dim, before, after)
    shape, parts = list(input.shape), [input]
    if before:
        shape[dim] = before
        parts.insert(0, first.expand(shape))
    if after:
        shape[dim] = after
        parts.append(last.expand(shape))
    return _joined(parts, dim)


def _circular(input: Tensor, dim: int, before: int, after: int) -> Tensor:
    n = input.shape[dim]
    if max(before, after) > n:
        raise RuntimeError("Padding value causes wrapping around more than once.")
    input, before, after = _cropped(input, dim, before, after)
    n, parts = input.shape[dim], [input]
    if before:
        parts.insert(0, input.narrow(dim, n - before, before))
    if after:
        parts.append(input.narrow(dim, 0, after))
    return _joined(parts, dim)


_FILLS = {"reflect": _reflect, "replicate": _replicate, "circular": _circular}
