"""Image models with torchvision's constructors, state_dict names and initialisation.

Each also has a form for 32x32 images: `resnet18(num_classes=10, small_images=True)`. Weights are not downloaded;
state_dicts of files that torchvision offers fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ... import nn
from .densenet import DenseNet, densenet121, densenet161, densenet169, densenet201
from .mobilenet import InvertedResidual, MobileNetV2, mobilenet_v2
from .resnet import (
    BasicBlock,
    Bottleneck,
    ResNet,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    wide_resnet50_2,
)
from .vgg import VGG, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn

_BUILDERS: dict[str, Callable[..., nn.Module]] = {
    builder.__name__: builder
    for builder in (
        densenet121, densenet161, densenet169, densenet201, mobilenet_v2, resnet18, resnet34, resnet50, resnet101,
        resnet152, resnext50_32x4d, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn, wide_resnet50_2,
    )
}  # fmt: skip


def list_models() -> list[str]:
    """Names that `get_model` knows."""
    return sorted(_BUILDERS)


def get_model(name: str, **config: Any) -> nn.Module:
    """The model that the constructor `name` (in any case) makes of the keyword arguments.

    **Raises** ValueError: there is no such model.
    """
    if name.lower() not in _BUILDERS:
        raise ValueError(f"get_model: name: got {name!r}, wanted one of {', '.join(list_models())}")
    return _BUILDERS[name.lower()](**config)


__all__ = [
    "VGG", "BasicBlock", "Bottleneck", "DenseNet", "InvertedResidual", "MobileNetV2", "ResNet", "densenet121",
    "densenet161", "densenet169", "densenet201", "get_model", "list_models", "mobilenet_v2", "resnet18", "resnet34",
    "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16",
    "vgg16_bn", "vgg19", "vgg19_bn", "wide_resnet50_2",
]  # fmt: skip
