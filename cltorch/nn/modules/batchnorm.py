"""Normalisations with running statistics: BatchNorm1d/2d/3d and InstanceNorm1d/2d/3d.

Floor 7.
"""

from __future__ import annotations

import warnings
from typing import Any

from ...dtypes import int64
from ...functions import creation
from ...tensor import Tensor
from .. import functional as F
from .. import init
from ..parameter import Parameter
from .module import Module


class _NormBase(Module):
    """Weight, bias and running statistics per channel."""

    _version = 2
    shapes: tuple[int, ...]
    affine_default = True
    track_default = True

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool | None = None,
        track_running_stats: bool | None = None,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine = self.affine_default if affine is None else affine
        self.track_running_stats = self.track_default if track_running_stats is None else track_running_stats
        for name, wanted in (("weight", self.affine), ("bias", self.affine and bias)):
            self.register_parameter(
                name, Parameter(creation.empty(num_features, device=device, dtype=dtype)) if wanted else None
            )
        if self.track_running_stats:
            self.register_buffer("running_mean", creation.zeros(num_features, device=device, dtype=dtype))
            self.register_buffer("running_var", creation.ones(num_features, device=device, dtype=dtype))
            self.register_buffer("num_batches_tracked", creation.zeros((), dtype=int64, device=device))
        else:
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                self.register_buffer(name, None)
        self._reset_affine()

    def _reset_affine(self) -> None:
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def reset_running_stats(self) -> None:
        """mean = 0, variance = 1, no batches seen."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """weight = 1, bias = 0, and the running statistics anew."""
        self.reset_running_stats()
        self._reset_affine()

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in self.shapes:
            wanted = " or ".join(f"{n}D" for n in self.shapes)
            raise ValueError(f"expected {wanted} input (got {input.dim()}D input)")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(self, state_dict: dict, prefix: str, local_metadata: dict, *rest: Any) -> None:
        key = prefix + "num_batches_tracked"
        version = local_metadata.get("version")
        if (version is None or version < 2) and self.track_running_stats and key not in state_dict:
            state_dict[key] = (
                self.num_batches_tracked.clone() if self.num_batches_tracked is not None else creation.tensor(0)
            )
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class _BatchNorm(_NormBase):
    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        training = self.training or self.running_mean is None
        update = self.training and self.track_running_stats
        momentum = 0.0 if self.momentum is None else self.momentum
        if update and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the plain mean of all batches
                momentum = 1.0 / float(self.num_batches_tracked)
        keep = update or not training
        return F.batch_norm(
            input,
            self.running_mean if keep else None,
            self.running_var if keep else None,
            self.weight,
            self.bias,
            training,
            momentum,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """Normalisation of each channel over the batch.

    Args:
        num_features: number of channels.
        momentum: how far the running statistics move towards each batch's; None keeps the plain mean of all batches.
        affine: whether there are `weight` (ones at first) and `bias` (zeros at first).
        track_running_stats: whether evaluation uses running statistics.

    Shape: (N, C) or (N, C, L).

    Source: Ioffe and Szegedy, Batch Normalization, 2015.
    """

    shapes = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Normalisation of each channel over the batch, as BatchNorm1d. Shape: (N, C, H, W)."""

    shapes = (4,)


class BatchNorm3d(_BatchNorm):
    """Normalisation of each channel over the batch, as BatchNorm1d. Shape: (N, C, D, H, W)."""

    shapes = (5,)


class _InstanceNorm(_NormBase):
    affine_default = False
    track_default = False

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        single = input.dim() == self.shapes[0]
        batch = input.unsqueeze(0) if single else input
        if batch.shape[1] != self.num_features:
            if self.affine:
                raise ValueError(
                    f"expected input's size at dim={0 if single else 1} to match num_features "
                    f"({self.num_features}), but got: "
                    f"{batch.shape[1]}."
                )
            warnings.warn(
                f"input's size at dim={0 if single else 1} does not match num_features. You can silence this "
                f"warning by not "
                "passing in num_features, which is not used because affine=False",
                stacklevel=2,
            )
        out = F.instance_norm(
            batch,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return out.squeeze(0) if single else out


class InstanceNorm1d(_InstanceNorm):
    """Normalisation of each channel of each sample. Shape: (N, C, L) or (C, L).

    Source: Ulyanov et al., Instance Normalization, 2016.
    """

    shapes = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Normalisation of each channel of each sample. Shape: (N, C, H, W) or (C, H, W)."""

    shapes = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Normalisation of each channel of each sample. Shape: (N, C, D, H, W) or (C, D, H, W)."""

    shapes = (4, 5)
