"""Densely connected networks (DenseNet-BC): each layer sees the outputs of all layers before it in its block.

Source: G. Huang, Z. Liu, L. van der Maaten, K. Weinberger, Densely Connected Convolutional Networks, arXiv:1608.06993.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ... import nn
from ...copies import cat
from ...tensor import Tensor
from ...utils.checkpoint import checkpoint
from .weights import refuse_weights


class _DenseLayer(nn.Module):
    """Normalisation, ReLU, 1x1 to `bn_size * growth_rate` channels; the same with 3x3 to `growth_rate`."""

    def __init__(self, inputs: int, growth_rate: int, bn_size: int, drop_rate: float, memory_efficient: bool = False):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, bn_size * growth_rate, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bn_size * growth_rate)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(bn_size * growth_rate, growth_rate, 3, padding=1, bias=False)
        self.drop_rate = float(drop_rate)
        self.memory_efficient = memory_efficient

    def _bottleneck(self, x: Tensor) -> Tensor:
        return self.conv1(self.relu1(self.norm1(x)))

    def forward(self, x: Tensor) -> Tensor:
        if self.memory_efficient and x.requires_grad:
            narrow = checkpoint(self._bottleneck, x, use_reentrant=False)
        else:
            narrow = self._bottleneck(x)
        new = self.conv2(self.relu2(self.norm2(narrow)))
        return nn.functional.dropout(new, self.drop_rate, self.training) if self.drop_rate > 0 else new


class _DenseBlock(nn.ModuleDict):
    """Layers that each add `growth_rate` channels to what the next one sees."""

    def __init__(
        self, layers: int, inputs: int, bn_size: int, growth_rate: int, drop_rate: float, memory_efficient: bool
    ):
        super().__init__()
        for i in range(layers):
            self[f"denselayer{i + 1}"] = _DenseLayer(
                inputs + i * growth_rate, growth_rate, bn_size, drop_rate, memory_efficient
            )

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for layer in self.values():
            features.append(layer(cat(features, 1)))
        return cat(features, 1)


class _Transition(nn.Sequential):
    """Between blocks: 1x1 to half the channels, images halved."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.pool = nn.AvgPool2d(2, 2)


class DenseNet(nn.Module):
    """A DenseNet-BC for images (N, 3, H, W).

    Args:
        growth_rate: channels that each layer adds.
        block_config: layers of each block.
        num_init_features: channels of the first convolution.
        bn_size: a layer's 1x1 convolution has `bn_size * growth_rate` outputs.
        drop_rate: dropout behind each layer.
        num_classes: outputs.
        memory_efficient: compute the 1x1 convolutions anew in the backward pass instead of keeping what they need.
        small_images: the form for 32x32 images (as CIFAR): first convolution 3x3 with stride 1, and no first pooling.
    """

    def __init__(
        self,
        growth_rate: int = 32,
        block_config: Sequence[int] = (6, 12, 24, 16),
        num_init_features: int = 64,
        bn_size: int = 4,
        drop_rate: float = 0,
        num_classes: int = 1000,
        memory_efficient: bool = False,
        small_images: bool = False,
    ):
        super().__init__()
        channels = num_init_features
        self.features = nn.Sequential()
        if small_images:
            self.features.add_module("conv0", nn.Conv2d(3, channels, 3, padding=1, bias=False))
        else:
            self.features.add_module("conv0", nn.Conv2d(3, channels, 7, 2, 3, bias=False))
            self.features.add_module("norm0", nn.BatchNorm2d(channels))
            self.features.add_module("relu0", nn.ReLU(inplace=True))
            self.features.add_module("pool0", nn.MaxPool2d(3, 2, 1))
        for i, layers in enumerate(block_config):
            block = _DenseBlock(layers, channels, bn_size, growth_rate, drop_rate, memory_efficient)
            self.features.add_module(f"denseblock{i + 1}", block)
            channels += layers * growth_rate
            if i + 1 < len(block_config):
                self.features.add_module(f"transition{i + 1}", _Transition(channels, channels // 2))
                channels //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu(self.features(x), inplace=True)
        return self.classifier(nn.functional.adaptive_avg_pool2d(x, (1, 1)).flatten(1))


def _densenet(
    name: str, weights: Any, growth_rate: int, block_config: Sequence[int], first: int, given: dict[str, Any]
) -> DenseNet:
    refuse_weights(name, weights)
    return DenseNet(growth_rate, block_config, first, **given)


def densenet121(*, weights: None = None, progress: bool = True, **kwargs: Any) -> DenseNet:
    """DenseNet-121; keyword arguments as of DenseNet."""
    return _densenet("densenet121", weights, 32, (6, 12, 24, 16), 64, kwargs)


def densenet161(*, weights: None = None, progress: bool = True, **kwargs: Any) -> DenseNet:
    """DenseNet-161; keyword arguments as of DenseNet."""
    return _densenet("densenet161", weights, 48, (6, 12, 36, 24), 96, kwargs)


def densenet169(*, weights: None = None, progress: bool = True, **kwargs: Any) -> DenseNet:
    """DenseNet-169; keyword arguments as of DenseNet."""
    return _densenet("densenet169", weights, 32, (6, 12, 32, 32), 64, kwargs)


def densenet201(*, weights: None = None, progress: bool = True, **kwargs: Any) -> DenseNet:
    """DenseNet-201; keyword arguments as of DenseNet."""
    return _densenet("densenet201", weights, 32, (6, 12, 48, 32), 64, kwargs)
