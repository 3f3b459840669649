"""Lowers 2-D convolutions over NCHW tensors: forward, gradient of the input, gradient of the weight.

Floor 1b. `attrs` is `(stride, padding, dilation, groups, extra)`; the first three are pairs (y, x), `extra` is None for
the forward direction, the input's (H, W) for the gradient of the input and the kernel's (R, S) for that of the weight.

Forms, each a template with its own description; `choose_*` pick one and its parameters from the problem and the
Target, and every lowering takes a `ConvConfig`, `WinogradConfig` or `WeightConfig` instead, so that a tuner may decide
otherwise:

- `channels`: vectors along output channels, weights packed and input rows padded in local memory (CPU class,
  the usual one);
- `pixels`: vectors along a row of pixels, for few output channels, forward and gradient of the input (CPU class);
- `planes`: vectors along whole padded planes, for few channels per group: depthwise, grouped (CPU class);
- Winograd's F(2, 3) and F(4, 3) for 3x3 kernels of stride 1 with many channels (CPU class);
- `gemm`: implicit matrix product with local-memory tiles (GPU class);
- `plain`: loops with bounds checks, for whatever fits nowhere else.

This room chooses between direct forms and Winograd's and names what others use: `conv_shapes` infers and checks,
`conv_images` lowers forward and gradient of the input (one problem) directly, `conv_winograd` by Winograd's algorithm,
`conv_weight` the gradient of the weight, `conv_planes` the planes form of all three, `conv_gemm` has the two other
forms that serve all three, `conv_finish` the epilogue at any width.

Inputs must have unit stride in their last dim (`accepts`), weights also contiguous taps (`accepts_weight`).
"""

from __future__ import annotations

from ..shapes import Layout
from ..target import Target
from . import conv_images
from .conv_images import ConvConfig, choose, choose_channels, choose_pixels
from .conv_shapes import accepts, accepts_weight, infer_conv, infer_conv_input, infer_conv_weight
from .conv_weight import WeightConfig, choose_weight, lower_conv_weight
from .conv_winograd import WinogradConfig, choose_winograd, lower_winograd
from .program import Epilogue
from .source import Lowered

__all__ = [
    "ConvConfig",
    "WeightConfig",
    "WinogradConfig",
    "accepts",
    "accepts_weight",
    "choose",
    "choose_channels",
    "choose_pixels",
    "choose_weight",
    "choose_winograd",
    "infer_conv",
    "infer_conv_input",
    "infer_conv_weight",
    "keeps",
    "lower_conv",
    "lower_conv_input",
    "lower_conv_weight",
]


def keeps(
    op: str,
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> tuple[int, ...]:
    """The inputs of which a lowering keeps something while they are `constant`: the weight, in Winograd's form."""
    return (1,) if choose_winograd(op, inputs, outputs, attrs, target, epilogue) else ()


def lower_conv(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
    config: ConvConfig | WinogradConfig | None = None,
    constant: bool = False,
) -> Lowered:
    """y (N, K, Ho, Wo) of x (N, C, H, W) and w (K, C / groups, R, S), then the epilogue.

    `constant`: the weight will hardly change, so what can be made of it alone is.
    """
    config = config or choose_winograd("conv", inputs, outputs, attrs, target, epilogue)
    if isinstance(config, WinogradConfig):
        return lower_winograd("conv", inputs, outputs, attrs, target, epilogue, config, constant)
    return conv_images.lower_conv(inputs, outputs, attrs, target, epilogue, config)


def lower_conv_input(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
    config: ConvConfig | WinogradConfig | None = None,
    constant: bool = False,
) -> Lowered:
    """dx (N, C, H, W) of dy (N, K, Ho, Wo) and w (K, C / groups, R, S), then the epilogue; `constant` as above."""
    config = config or choose_winograd("conv_input", inputs, outputs, attrs, target, epilogue)
    if isinstance(config, WinogradConfig):
        return lower_winograd("conv_input", inputs, outputs, attrs, target, epilogue, config, constant)
    return conv_images.lower_conv_input(inputs, outputs, attrs, target, epilogue, config)
