"""Convolution layers that learn their number of input channels from the first batch.

Floor 7.
"""

from __future__ import annotations

from typing import Any

from ...tensor import Tensor
from ..parameter import Parameter, UninitializedParameter
from .conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, Size, _ConvNd
from .lazy import LazyModuleMixin


class _LazyConvNd(LazyModuleMixin, _ConvNd):
    """What all lazy convolutions share; arguments are those of the eager layer without `in_channels`."""

    def __init__(self, out_channels: int, kernel_size: Size, *args: Any, **kwargs: Any) -> None:
        super().__init__(0, out_channels, kernel_size, *args, **kwargs)

    def _make_parameters(self, bias: bool, device: Any, dtype: Any) -> None:
        self.weight: Parameter = UninitializedParameter(device=device, dtype=dtype)
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)
        else:
            self.register_parameter("bias", None)

    def reset_parameters(self) -> None:
        """Draw new initial values, once there are parameters."""
        if not self.has_uninitialized_params() and self.in_channels:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        """Take the number of input channels from `input`.

        Raises:
            RuntimeError: `input` has the wrong number of dims.
            ValueError: its channels are not divisible by the groups.
        """
        n = self.dims
        if not self.has_uninitialized_params():
            if not self.in_channels:  # the parameters came from a state_dict
                self.in_channels = input.shape[-n - 1]
            return
        if input.dim() not in (n + 1, n + 2):
            raise RuntimeError(
                f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {type(self).__name__}, but got input of "
                f"size: {list(input.shape)}"
            )
        self.in_channels = input.shape[-n - 1]
        self._check_groups()
        self.weight.materialize(self._weight_shape())  # type: ignore[attr-defined]
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))  # type: ignore[attr-defined]
        self.reset_parameters()


class LazyConv1d(_LazyConvNd, Conv1d):
    """Conv1d with `in_channels` from the first input. Shape: as Conv1d."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConvNd, Conv2d):
    """Conv2d with `in_channels` from the first input. Shape: as Conv2d.

    >>> layer = cltorch.nn.LazyConv2d(8, 3)
    >>> layer(cltorch.ones(1, 5, 9, 9)).shape, layer
    (torch.Size([1, 8, 7, 7]), Conv2d(5, 8, kernel_size=(3, 3), stride=(1, 1)))
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyConvNd, Conv3d):
    """Conv3d with `in_channels` from the first input. Shape: as Conv3d."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvNd, ConvTranspose1d):
    """ConvTranspose1d with `in_channels` from the first input. Shape: as ConvTranspose1d."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvNd, ConvTranspose2d):
    """ConvTranspose2d with `in_channels` from the first input. Shape: as ConvTranspose2d."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvNd, ConvTranspose3d):
    """ConvTranspose3d with `in_channels` from the first input. Shape: as ConvTranspose3d."""

    cls_to_become = ConvTranspose3d
