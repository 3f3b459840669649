"""VGG networks: stacks of 3x3 convolutions, with and without batch normalisation.

Source: K. Simonyan, A. Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, arXiv:1409.1556.
"""

from __future__ import annotations

from typing import Any

from ... import nn
from ...tensor import Tensor
from .weights import refuse_weights

_STAGES = {  # convolutions in each of the five stages, between which images are halved
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
_WIDTHS = (64, 128, 256, 512, 512)


def _features(depth: int, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = 3
    for convolutions, width in zip(_STAGES[depth], _WIDTHS):
        for _ in range(convolutions):
            layers.append(nn.Conv2d(inputs, width, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU(inplace=True))
            inputs = width
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


class VGG(nn.Module):
    """A VGG network for images (N, 3, H, W).

    Args:
        features: the convolutions, with 512 output channels.
        num_classes: outputs.
        init_weights: draw the weights as the paper's successors do, else leave each layer's own initialisation.
        dropout: of the classifier.
        small_images: the form for 32x32 images (as CIFAR): one linear layer behind the last pooling.
    """

    def __init__(
        self,
        features: nn.Module,
        num_classes: int = 1000,
        init_weights: bool = True,
        dropout: float = 0.5,
        small_images: bool = False,
    ):
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1) if small_images else (7, 7))
        self.classifier: nn.Module = nn.Linear(512, num_classes)
        if not small_images:
            self.classifier = nn.Sequential(
                nn.Linear(512 * 7 * 7, 4096),
                nn.ReLU(inplace=True),
                nn.Dropout(p=dropout),
                nn.Linear(4096, 4096),
                nn.ReLU(inplace=True),
                nn.Dropout(p=dropout),
                nn.Linear(4096, num_classes),
            )
        for module in self.modules() if init_weights else ():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.01)
            if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def _vgg(depth: int, batch_norm: bool, weights: Any, given: dict[str, Any]) -> VGG:
    refuse_weights(f"vgg{depth}{'_bn' if batch_norm else ''}", weights)
    return VGG(_features(depth, batch_norm), **given)


def vgg11(*, weights: None = None, progress: bool = True, **kwargs: Any) -> VGG:
    """VGG-11 (configuration A); keyword arguments as of VGG."""
    return _vgg(11, False, weights, kwargs)


def vgg11_bn(*, weights: None = None, progress: bool = True, **kwargs: Any) -> VGG:
    """VGG-11 with batch normalisation; keyword arguments as of VGG."""
    return _vgg(11, True, weights, kwargs)


def vgg13(*, weights: None = None, progress: bool = True, **kwargs: Any) -> VGG:
    """VGG-13 (configuration B); keyword arguments as of VGG."""
    return _vgg(13, False, weights, kwargs)


def vgg13_bn(*, weights: None = None, progress: bool = True, **kwargs: Any) -> VGG:
    """VGG-13 with batch normalisation; keyword arguments as of VGG."""
    return _vgg(13, True, weights, kwargs)


def vgg16(*, weights: None = None, progress: bool = True, **kwargs: Any) -> VGG:
    """VGG-16 (configuration D); keyword arguments as of VGG."""
    return _vgg(16, False, weights, kwargs)


def vgg16_bn(*, weights: None = None, progress: bool = True, **kwargs: Any) -> VGG:
    """VGG-16 with batch normalisation; keyword arguments as of VGG."""
    return _vgg(16, True, weights, kwargs)


def vgg19(*, weights: None = None, progress: bool = True, **kwargs: Any) -> VGG:
    """VGG-19 (configuration E); keyword arguments as of VGG."""
    return _vgg(19, False, weights, kwargs)


def vgg19_bn(*, weights: None = None, progress: bool = True, **kwargs: Any) -> VGG:
    """VGG-19 with batch normalisation; keyword arguments as of VGG."""
    return _vgg(19, True, weights, kwargs)
