"""Lowers 2-D convolutions over NCHW tensors: forward, gradient of the input, gradient of the weight.

Floor 1b. `attrs` is `(stride, padding, dilation, groups, extra)`; the first three are pairs (y, x), `extra` is None for
the forward direction, the input's (H, W) for the gradient of the input and the kernel's (R, S) for that of the weight.

Forms, each a template with its own description. Which one a problem takes, and its parameters, is what the tuning
database says (`tuned`), else what `choose_*` make of the problem and the Target; `candidates` are what a tuner may try,
and every lowering takes a `ConvConfig`, `WinogradConfig` or `WeightConfig` from it instead:

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

from collections.abc import Callable

from ..config import settings
from ..shapes import Layout
from ..target import Target
from . import conv_images, conv_weight, conv_winograd, tuned
from .conv_images import ConvConfig, choose, choose_channels, choose_pixels
from .conv_planes import choose_planes, choose_weight_planes
from .conv_problem import WeightProblem, problem
from .conv_shapes import accepts, accepts_weight, infer_conv, infer_conv_input, infer_conv_weight, key
from .conv_weight import WeightConfig, choose_weight
from .conv_winograd import WinogradConfig, choose_winograd, lower_winograd
from .program import Epilogue
from .source import Lowered

__all__ = [
    "ConvConfig",
    "WeightConfig",
    "WinogradConfig",
    "accepts",
    "accepts_weight",
    "candidates",
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


def _known(
    op: str, first: Layout, second: tuple[int, ...], attrs: tuple, target: Target
) -> ConvConfig | WinogradConfig | None:
    """What the tuning database says of a problem; it gives way to `CLTORCH_WINOGRAD` and `CLTORCH_PRECISE`."""
    if settings.precise or settings.winograd != "auto":
        return None
    return tuned.find(op, key(first, second, attrs), target, ("winograd", WinogradConfig), ("direct", ConvConfig))


def candidates(
    op: str, inputs: tuple[Layout, ...], output: Layout, attrs: tuple, target: Target
) -> list[ConvConfig | WinogradConfig | WeightConfig]:
    """The configuration of every form that 'conv', 'conv_input' or 'conv_weight' may take, for a tuner to try."""
    first, second = inputs[:2]
    found: list[ConvConfig | WinogradConfig | WeightConfig | None] = []
    if op == "conv_weight":
        k, per_group, r, s = output.shape
        gradient = WeightProblem(first, second, attrs[3], k // attrs[3], per_group, (r, s), attrs)
        for chosen in (conv_weight.choose_weight_channels(gradient, target), choose_weight_planes(gradient, target)):
            found.append(chosen[0] if chosen else None)
        return [some for some in found if some]
    asked = problem(op, first, second, output.shape, attrs)
    choosers: list[Callable[[], ConvConfig | None]] = [
        lambda: choose_channels(asked, target),
        lambda: choose_pixels(asked, target, True),
        lambda: choose_planes(asked, target),
    ]
    found += [chooser() for chooser in choosers]
    if conv_winograd.applies(second, attrs) and not target.loop_limit:
        for outputs in (2, 4):
            for chunked in (False, True):
                made = conv_winograd.configure(outputs, output.shape, first.shape[1], chunked, target)
                found.append(made[0] if made else None)
    return [some for some in found if some]


def keeps(
    op: str,
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
) -> tuple[int, ...]:
    """The inputs of which a lowering keeps something while they are `constant`: the weight, in Winograd's form."""
    known = _known(op, inputs[0], inputs[1].shape, attrs, target)
    form = known or choose_winograd(op, inputs, outputs, attrs, target, epilogue)
    return (1,) if isinstance(form, WinogradConfig) else ()


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
    config = config or _known("conv", inputs[0], inputs[1].shape, attrs, target)
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
    config = config or _known("conv_input", inputs[0], inputs[1].shape, attrs, target)
    config = config or choose_winograd("conv_input", inputs, outputs, attrs, target, epilogue)
    if isinstance(config, WinogradConfig):
        return lower_winograd("conv_input", inputs, outputs, attrs, target, epilogue, config, constant)
    return conv_images.lower_conv_input(inputs, outputs, attrs, target, epilogue, config)


def lower_conv_weight(
    inputs: tuple[Layout, ...],
    outputs: tuple[Layout, ...],
    attrs: tuple,
    target: Target,
    epilogue: Epilogue | None = None,
    config: WeightConfig | None = None,
) -> Lowered:
    """dw (K, C / groups, R, S) of dy (N, K, Ho, Wo) and x (N, C, H, W), then the epilogue."""
    found = config or tuned.find(
        "conv_weight", key(inputs[0], inputs[1].shape, attrs), target, ("direct", WeightConfig)
    )
    return conv_weight.lower_conv_weight(inputs, outputs, attrs, target, epilogue, found)
