"""Convolution layers.

Floor 7.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ...functions import creation
from ...tensor import Tensor
from .. import functional as F
from .. import init
from ..parameter import Parameter
from .module import Module

Size = int | Sequence[int]


def repeated(value: Size, n: int) -> tuple[int, ...]:
    """`value` as a tuple of n ints; a single one is repeated."""
    return (value,) * n if isinstance(value, int) else tuple(value)


class _ConvNd(Module):
    """What all convolutions hold: weight, bias and the geometry."""

    dims: int
    function: Callable[..., Tensor]
    transposed = False
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size | str = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        output_padding: Size = 0,
    ) -> None:
        super().__init__()
        n = self.dims
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self._check_groups()
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}")
            if padding == "same" and any(s != 1 for s in repeated(stride, n)):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError(
                "padding_mode must be one of {'zeros', 'reflect', 'replicate', 'circular'}, "
                f"but got padding_mode='{padding_mode}'"
            )
        self.padding_mode = padding_mode
        self.kernel_size, self.stride, self.dilation = (
            repeated(kernel_size, n),
            repeated(stride, n),
            repeated(dilation, n),
        )
        self.padding: str | tuple[int, ...] = padding if isinstance(padding, str) else repeated(padding, n)
        self.output_padding = repeated(output_padding, n)
        self._make_parameters(bias, device, dtype)
        self._around = self._padding_around()
        self.reset_parameters()

    def _check_groups(self) -> None:
        if self.groups <= 0:
            raise ValueError("groups must be a positive integer")
        if self.in_channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        if self.out_channels % self.groups:
            raise ValueError("out_channels must be divisible by groups")

    def _weight_shape(self) -> tuple[int, ...]:
        if self.transposed:
            return (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    def _make_parameters(self, bias: bool, device: Any, dtype: Any) -> None:
        self.weight = Parameter(creation.empty(self._weight_shape(), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(creation.empty(self.out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)

    def _padding_around(self) -> list[int]:
        """The padding as pairs for `F.pad`, last dim first."""
        pairs = []
        for d in reversed(range(self.dims)):
            if self.padding == "same":
                total = self.dilation[d] * (self.kernel_size[d] - 1)
                pairs += [total // 2, total - total // 2]
            else:
                pairs += [0, 0] if self.padding == "valid" else [self.padding[d]] * 2  # type: ignore[list-item]
        return pairs

    def reset_parameters(self) -> None:
        """Draw new initial values: uniform in +- 1 / sqrt(in_channels / groups * taps)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.padding_mode != "zeros":
            padded = F.pad(input, self._around, mode=self.padding_mode)
            return self.function(padded, weight, bias, self.stride, 0, self.dilation, self.groups)
        return self.function(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("padding_mode", "zeros")

    def extra_repr(self) -> str:
        shown = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        n = self.dims
        for name, usual in (("padding", (0,) * n), ("dilation", (1,) * n), ("output_padding", (0,) * n), ("groups", 1)):
            value = getattr(self, name)
            if value != usual:
                shown += f", {name}={value}"
        if self.bias is None:
            shown += ", bias=False"
        if self.padding_mode != "zeros":
            shown += f", padding_mode={self.padding_mode}"
        return shown


class Conv1d(_ConvNd):
    """Cross-correlation along one dimension.

    Args:
        in_channels, out_channels: channels of input and output.
        kernel_size, stride, dilation: of the window.
        padding: at both ends, or 'same', or 'valid'.
        groups: input and output channels are connected within groups only.
        padding_mode: 'zeros', 'reflect', 'replicate' or 'circular'.

    Shape: (N, C, L) or (C, L) to (N, out, (L + 2 p - d (k - 1) - 1) / s + 1).
    """

    dims = 1
    function = staticmethod(F.conv1d)


class Conv2d(_ConvNd):
    """Cross-correlation along two dimensions.

    Args:
        in_channels, out_channels: channels of input and output.
        kernel_size, stride, dilation: of the window; one number or a pair (height, width).
        padding: at all sides, or a pair, or 'same', or 'valid'.
        groups: input and output channels are connected within groups only.
        padding_mode: 'zeros', 'reflect', 'replicate' or 'circular'.

    Shape: (N, C, H, W) or (C, H, W) to (N, out, (H + 2 p - d (k - 1) - 1) / s + 1, ...).

    >>> cltorch.nn.Conv2d(16, 33, 3, stride=2)(cltorch.ones(2, 16, 9, 9)).shape
    torch.Size([2, 33, 4, 4])
    """

    dims = 2
    function = staticmethod(F.conv2d)


class Conv3d(_ConvNd):
    """Cross-correlation along three dimensions.

    Args:
        in_channels, out_channels: channels of input and output.
        kernel_size, stride, dilation: of the window; one number or a triple (depth, height, width).
        padding: at all sides, or a triple, or 'same', or 'valid'.
        groups: input and output channels are connected within groups only.
        padding_mode: 'zeros', 'reflect', 'replicate' or 'circular'.

    Shape: (N, C, D, H, W) or (C, D, H, W) to (N, out, (D + 2 p - d (k - 1) - 1) / s + 1, ...).
    """

    dims = 3
    function = staticmethod(F.conv3d)


class _ConvTransposeNd(_ConvNd):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
            output_padding,
        )

    def _output_padding(self, input: Tensor, output_size: Sequence[int] | None) -> tuple[int, ...]:
        """What must be added at the end to reach `output_size`."""
        if output_size is None:
            return self.output_padding
        n = self.dims
        wanted = list(output_size)
        if len(wanted) == input.dim():
            wanted = wanted[-n:]
        if len(wanted) != n:
            raise ValueError(
                f"ConvTranspose{n}D: for {input.dim()}D input, output_size must have {n} or {input.dim()} elements "
                f"(got {len(output_size)})"
            )
        least = [
            (input.shape[d - n] - 1) * self.stride[d]
            - 2 * int(self.padding[d])
            + self.dilation[d] * (self.kernel_size[d] - 1)
            + 1
            for d in range(n)
        ]
        most = [low + s - 1 for low, s in zip(least, self.stride)]
        if any(not low <= w <= high for low, w, high in zip(least, wanted, most)):
            raise ValueError(
                f"requested an output size of {wanted}, but valid sizes range from {least} to {most} (for an input of "
                f"{input.size()[2:]})"
            )
        return tuple(w - low for w, low in zip(wanted, least))

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:  # type: ignore[override]
        return self.function(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self._output_padding(input, output_size),
            self.groups,
            self.dilation,
        )


class ConvTranspose1d(_ConvTransposeNd):
    """The transpose of Conv1d as a linear map of its input.

    Shape: (N, C, L) or (C, L) to (N, out, (L - 1) s - 2 p + d (k - 1) + output_padding + 1).
    """

    dims = 1
    function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTransposeNd):
    """The transpose of Conv2d as a linear map of its input.

    Shape: (N, C, H, W) or (C, H, W) to (N, out, (H - 1) s - 2 p + d (k - 1) + output_padding + 1, ...).
    """

    dims = 2
    function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_ConvTransposeNd):
    """The transpose of Conv3d as a linear map of its input.

    Shape: (N, C, D, H, W) or (C, D, H, W) to (N, out, (D - 1) s - 2 p + d (k - 1) + output_padding + 1, ...).
    """

    dims = 3
    function = staticmethod(F.conv_transpose3d)
