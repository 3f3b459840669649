"""Lowers 2-D convolutions over NCHW tensors: forward, gradient of the input, gradient of the weight.

Floor 1b. `attrs` is `(stride, padding, dilation, groups, extra)`; the first three are pairs (y, x), `extra` is None for
the forward direction, the input's (H, W) for the gradient of the input and the kernel's (R, S) for that of the weight.

Four forms, each a template with its own description; `choose_*` pick one and its parameters from the problem and the
Target, and every lowering takes a `ConvConfig` or `WeightConfig` instead, so that a tuner may decide otherwise:

- `channels`: vectors along output channels, weights packed and input rows padded in local memory (CPU class,
  the usual one);
- `pixels`: vectors along a row of pixels, for few output channels (CPU class);
- `gemm`: implicit matrix product with local-memory tiles (GPU class);
- `plain`: loops with bounds checks, for whatever fits nowhere else.

This room only names what others use: `conv_shapes` infers and checks, `conv_images` lowers forward and gradient of the
input (one problem), `conv_weight` the gradient of the weight, `conv_gemm` has the two forms that serve all three,
`conv_finish` the epilogue at any width.

Inputs must have unit stride in their last dim (`accepts`), weights also contiguous taps (`accepts_weight`).
"""

from __future__ import annotations

from .conv_images import ConvConfig, choose, choose_channels, choose_pixels, lower_conv, lower_conv_input
from .conv_shapes import accepts, accepts_weight, infer_conv, infer_conv_input, infer_conv_weight
from .conv_weight import WeightConfig, choose_weight, choose_weight_pixels, lower_conv_weight

__all__ = [
    "ConvConfig",
    "WeightConfig",
    "accepts",
    "accepts_weight",
    "choose",
    "choose_channels",
    "choose_pixels",
    "choose_weight",
    "choose_weight_pixels",
    "infer_conv",
    "infer_conv_input",
    "infer_conv_weight",
    "lower_conv",
    "lower_conv_input",
    "lower_conv_weight",
]
