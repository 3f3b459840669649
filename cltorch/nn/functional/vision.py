"""Images: rearranging channels and pixels, and resizing.

Floor 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

from ...dtypes import int64
from ...functions.creation import tensor
from ...tensor import Tensor


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(*, C r^2, H, W) to (*, C, H r, W r)."""
    r = upscale_factor
    if input.dim() < 3:
        raise RuntimeError(
            f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {input.dim()} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, c, h, w = input.shape
    if c % (r * r):
        raise RuntimeError(
            f"pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
            f"upscale_factor, but "
            f"input.size(-3)={c} is not divisible by {r * r}"
        )
    n = len(lead)
    blocks = input.reshape((*lead, c // (r * r), r, r, h, w))
    return blocks.permute((*range(n), n, n + 3, n + 1, n + 4, n + 2)).reshape((*lead, c // (r * r), h * r, w * r))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(*, C, H r, W r) to (*, C r^2, H, W)."""
    r = downscale_factor
    if input.dim() < 3:
        raise RuntimeError(
            f"pixel_unshuffle expects input to have at least 3 dimensions, but got input with {input.dim()} "
            f"dimension(s)"
        )
    *lead, c, h, w = input.shape
    if h % r or w % r:
        raise RuntimeError(
            f"pixel_unshuffle expects height and width to be divisible by downscale_factor, but got {h} and {w} "
            f"with {r}"
        )
    n = len(lead)
    blocks = input.reshape((*lead, c, h // r, r, w // r, r))
    return blocks.permute((*range(n), n, n + 2, n + 4, n + 1, n + 3)).reshape((*lead, c * r * r, h // r, w // r))


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """(N, groups * C, *) with the channels of the groups interleaved."""
    n, c = input.shape[:2]
    if c % groups:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups.")
    rest = tuple(input.shape[2:])
    return input.reshape((n, groups, c // groups, *rest)).transpose(1, 2).reshape((n, c, *rest))


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """`input` resized to `size`, or by `scale_factor`, in its dims after the second.

    Args:
        mode: 'nearest', 'nearest-exact', 'linear' (3 dims), 'bilinear' or 'bicubic' (4 dims), 'trilinear' (5 dims) or
            'area'.
        align_corners: of the linear modes: the corner pixels' centres, not their corners, are kept.
        recompute_scale_factor: use the ratio of the rounded sizes instead of the given factor.

    Shape: (N, C, *).

    Raises:
        ValueError: size and scale_factor contradict, or do not fit the input.
        NotImplementedError: the mode is not defined for the input's dimensions.
    """
    n = input.dim() - 2
    if antialias:
        raise NotImplementedError("interpolate: antialias=True is not implemented")
    if (size is None) == (scale_factor is None):
        raise ValueError(
            "only one of size or scale_factor should be defined"
            if size is not None
            else "either size or scale_factor should be defined"
        )
    linear = {"linear": 1, "bilinear": 2, "trilinear": 3}
    if align_corners is not None and mode not in linear and mode != "bicubic":
        raise ValueError(
            "align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear"
        )
    factors: list[float | None] = [None] * n
    if size is not None:
        wanted = [size] * n if isinstance(size, int) else list(size)
        if len(wanted) != n:
            raise ValueError(
                "Input and output must have the same number of spatial dimensions, but got input with spatial "
                "dimensions of "
                f"{list(input.shape[2:])} and output size of {size}."
            )
    else:
        assert scale_factor is not None
        factors = (
            [float(scale_factor)] * n if isinstance(scale_factor, (int, float)) else [float(f) for f in scale_factor]
        )
        if len(factors) != n:
            raise ValueError(
                "Input and scale_factor must have the same number of spatial dimensions, but got input with "
                "spatial dimensions "
                f"of {list(input.shape[2:])} and scale_factor of shape {scale_factor}."
            )
        wanted = [floor(s * f) for s, f in zip(input.shape[2:], factors)]  # type: ignore[operator]
        if recompute_scale_factor:
            factors = [None] * n
    if any(s <= 0 for s in wanted):
        raise RuntimeError(
            f"Input and output sizes should be greater than 0, but got input {list(input.shape[2:])} and output "
            f"{wanted}"
        )
    if mode in ("nearest", "nearest-exact"):
        for d in range(n):
            input = _nearest(input, d + 2, wanted[d], factors[d], 0.5 if mode == "nearest-exact" else 0.0)
        return input
    if mode in linear:
        if linear[mode] != n:
            raise NotImplementedError(f"Got {n + 2}D input, but {mode} mode needs {linear[mode] + 2}D input")
        for d in range(n):
            input = _linear(input, d + 2, wanted[d], factors[d], bool(align_corners))
        return input
    if mode == "bicubic":
        if n != 2:
            raise NotImplementedError(f"Got {n + 2}D input, but bicubic mode needs 4D input")
        for d in range(n):
            input = _cubic(input, d + 2, wanted[d], factors[d], bool(align_corners))
        return input
    if mode == "area":
        return _area(input, wanted)
    raise NotImplementedError(
        f"interpolate: mode: got {mode!r}, wanted nearest, nearest-exact, linear, bilinear, bicubic, trilinear or area"
    )


def _nearest(x: Tensor, dim: int, size: int, factor: float | None, shift: float) -> Tensor:
    old = x.shape[dim]
    if size == old and factor is None:
        return x
    if size % old == 0 and (factor is None or factor == size // old):  # whole repeats: a view, expanded
        shape = (*x.shape[:dim], old, size // old, *x.shape[dim + 1 :])
        return x.unsqueeze(dim + 1).expand(shape).reshape((*x.shape[:dim], size, *x.shape[dim + 1 :]))
    step = old / size if factor is None else 1 / factor
    index = [min(floor((i + shift) * step), old - 1) for i in range(size)]
    return x.index_select(dim, tensor(index, dtype=int64, device=x.device))


def _linear(x: Tensor, dim: int, size: int, factor: float | None, align_corners: bool) -> Tensor:
    """Linear interpolation along one dim, as a product with a (size, old) matrix of two weights per row."""
    old = x.shape[dim]
    if size == old and (factor is None or factor == 1.0):
        return x
    rows = [[0.0] * old for _ in range(size)]
    for i, row in enumerate(rows):
        if align_corners:
            at = i * (old - 1) / (size - 1) if size > 1 else 0.0
        else:
            at = max((i + 0.5) * (old / size if factor is None else 1 / factor) - 0.5, 0.0)
        low = min(floor(at), old - 1)
        share = at - low
        row[low] += 1 - share
        row[min(low + 1, old - 1)] += share
    matrix = tensor(rows, dtype=x.dtype, device=x.device)
    return x.transpose(dim, -1).matmul(matrix.t()).transpose(dim, -1)


_CUBIC = -0.75  # the slope at distance 1


def _cubic(x: Tensor, dim: int, size: int, factor: float | None, align_corners: bool) -> Tensor:
    """Cubic convolution along one dim, as a product with a (size, old) matrix of four weights per row; positions
    beyond the ends read the end.

    Source: Keys, Cubic convolution interpolation for digital image processing, 1981.
    """
    old = x.shape[dim]
    rows = [[0.0] * old for _ in range(size)]
    for i, row in enumerate(rows):
        if align_corners:
            at = i * (old - 1) / (size - 1) if size > 1 else 0.0
        else:
            at = (i + 0.5) * (old / size if factor is None else 1 / factor) - 0.5
        low = floor(at)
        for place in range(low - 1, low + 3):
            row[min(max(place, 0), old - 1)] += _keys(abs(at - place))
    matrix = tensor(rows, dtype=x.dtype, device=x.device)
    return x.transpose(dim, -1).matmul(matrix.t()).transpose(dim, -1)


def _keys(far: float) -> float:
    """The weight of a point at this distance."""
    if far <= 1:
        return ((_CUBIC + 2) * far - (_CUBIC + 3)) * far * far + 1
    if far < 2:
        return _CUBIC * (((far - 5) * far + 8) * far - 4)
    return 0.0


def _area(x: Tensor, wanted: list[int]) -> Tensor:
    from_to = (
        [(i * old // new, -((i + 1) * old // -new)) for i in range(new)] for old, new in zip(x.shape[2:], wanted)
    )
    for d, cells in enumerate(from_to):
        old = x.shape[d + 2]
        rows = [[1 / (b - a) if a <= i < b else 0.0 for i in range(old)] for a, b in cells]
        x = x.transpose(d + 2, -1).matmul(tensor(rows, dtype=x.dtype, device=x.device).t()).transpose(d + 2, -1)
    return x


def upsample(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """`interpolate` under its older name."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(
    input: Tensor, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
) -> Tensor:
    """`interpolate` with mode='nearest'."""
    return interpolate(input, size, scale_factor)


def upsample_bilinear(
    input: Tensor, size: int | Sequence[int] | None = None, scale_factor: float | Sequence[float] | None = None
) -> Tensor:
    """`interpolate` with mode='bilinear' and align_corners."""
    return interpolate(input, size, scale_factor, "bilinear", True)
