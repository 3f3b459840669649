"""MobileNetV2: inverted residuals with linear bottlenecks.

Source: M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen, MobileNetV2: Inverted Residuals and Linear Bottlenecks,
arXiv:1801.04381.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ... import nn
from ...tensor import Tensor
from .weights import refuse_weights

_SETTING = (  # expansion, channels, blocks, stride of the first: table 2 of the paper
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _rounded(channels: float, divisor: int) -> int:
    """The multiple of `divisor` nearest to `channels`, at least `divisor` and not more than a tenth below."""
    found = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return found + divisor if found < 0.9 * channels else found


def _conv_norm(
    inputs: int, outputs: int, kernel: int, norm: Callable[..., nn.Module], stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution, normalisation, ReLU6."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, norm(outputs), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """1x1 to `expand_ratio` times the channels, 3x3 of each channel alone, 1x1 back; a shortcut where shapes allow.

    **Raises** ValueError: the stride is neither 1 nor 2.
    """

    def __init__(
        self,
        inp: int,
        oup: int,
        stride: int,
        expand_ratio: int,
        norm_layer: Callable[..., nn.Module] | None = None,
    ):
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"InvertedResidual: stride: got {stride}, wanted 1 or 2")
        norm = norm_layer or nn.BatchNorm2d
        hidden = int(round(inp * expand_ratio))
        self.stride = stride
        self.use_res_connect = stride == 1 and inp == oup
        self.out_channels = oup
        layers: list[nn.Module] = []
        if expand_ratio != 1:
            layers.append(_conv_norm(inp, hidden, 1, norm))
        layers += [
            _conv_norm(hidden, hidden, 3, norm, stride, groups=hidden),
            nn.Conv2d(hidden, oup, 1, bias=False),
            norm(oup),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    """MobileNetV2 for images (N, 3, H, W).

    Args:
        num_classes: outputs.
        width_mult: scales all widths.
        inverted_residual_setting: (expansion, channels, blocks, first stride) of each stage; default: the paper's.
        round_nearest: widths become multiples of it.
        block: default InvertedResidual. norm_layer: default BatchNorm2d.
        dropout: of the classifier.
        small_images: the form for 32x32 images (as CIFAR): the first convolution and the second stage do not stride.

    **Raises** ValueError: a stage of `inverted_residual_setting` has not four numbers.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        inverted_residual_setting: Sequence[Sequence[int]] | None = None,
        round_nearest: int = 8,
        block: Callable[..., nn.Module] | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
        dropout: float = 0.2,
        small_images: bool = False,
    ):
        super().__init__()
        setting = _SETTING if inverted_residual_setting is None else inverted_residual_setting
        if not setting or any(len(stage) != 4 for stage in setting):
            raise ValueError(
                f"MobileNetV2: inverted_residual_setting: got {inverted_residual_setting}, wanted stages of 4 numbers"
            )
        made = block or InvertedResidual
        norm = norm_layer or nn.BatchNorm2d
        inputs = _rounded(32 * width_mult, round_nearest)
        self.last_channel = _rounded(1280 * max(1.0, width_mult), round_nearest)
        features: list[nn.Module] = [_conv_norm(3, inputs, 3, norm, stride=1 if small_images else 2)]
        for stage, (expansion, channels, blocks, first) in enumerate(setting):
            outputs = _rounded(channels * width_mult, round_nearest)
            for i in range(blocks):
                stride = first if i == 0 and not (small_images and stage == 1) else 1
                features.append(made(inputs, outputs, stride, expand_ratio=expansion, norm_layer=norm))
                inputs = outputs
        features.append(_conv_norm(inputs, self.last_channel, 1, norm))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(p=dropout), nn.Linear(self.last_channel, num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(x.flatten(1))


def mobilenet_v2(*, weights: None = None, progress: bool = True, **kwargs: Any) -> MobileNetV2:
    """MobileNetV2; keyword arguments as of MobileNetV2."""
    refuse_weights("mobilenet_v2", weights)
    return MobileNetV2(**kwargs)
