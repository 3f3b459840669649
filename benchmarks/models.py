"""Training steps and inference of whole models, written once for any module with PyTorch's API.

Imports neither side: the children that measure memory and cold start load one module only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import recurrent, transformer
from .cases import Case, Goal, normal
from .peer_source import vision_models


def cnn(torch: Any) -> Any:
    """The CIFAR-10 CNN of examples/train_images.py."""
    nn, F = torch.nn, torch.nn.functional

    class CNN(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 6, 5)
            self.pool = nn.MaxPool2d(2, 2)
            self.conv2 = nn.Conv2d(6, 16, 5)
            self.fc1 = nn.Linear(400, 120)
            self.fc2 = nn.Linear(120, 84)
            self.fc3 = nn.Linear(84, 10)

        def forward(self, x):
            x = self.pool(F.relu(self.conv1(x)))
            x = self.pool(F.relu(self.conv2(x)))
            x = x.view(-1, 400)
            return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))

    return CNN()


def _small(name: str) -> Callable[[Any], Any]:
    return lambda torch: getattr(vision_models(torch), name)(num_classes=10, small_images=True)


def densenet_bc(torch: Any) -> Any:
    """DenseNet-BC of 100 layers that add 12 channels each, for 32x32 images (table 2 of arXiv:1608.06993)."""
    return vision_models(torch).DenseNet(12, (16, 16, 16), 24, num_classes=10, small_images=True)


MODELS: dict[str, Callable[[Any], Any]] = {  # image models of ten classes, for 32x32 images
    "cnn": cnn,
    "resnet18": _small("resnet18"),
    "vgg11": _small("vgg11"),
    "vgg11_bn": _small("vgg11_bn"),
    "mobilenet_v2": _small("mobilenet_v2"),
    "densenet_bc": densenet_bc,
}


def training_step(torch: Any, name: str, batch: int) -> Callable[[], float]:
    """A function that runs one step (forward, backward, SGD with momentum, `loss.item()`) of an image model on fixed
    data, and returns the loss.
    """
    torch.manual_seed(0)
    model = MODELS[name](torch)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    criterion = torch.nn.CrossEntropyLoss()
    random = np.random.default_rng(0)
    images = torch.tensor(random.standard_normal((batch, 3, 32, 32)).astype(np.float32))
    labels = torch.tensor(random.integers(0, 10, batch))

    def step() -> float:
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def forward(torch: Any, build: Callable[[Any], Any], make_input: Callable[[Any], Any]) -> Callable[[], Any]:
    """A function that runs a model in eval mode and returns what it gave."""
    torch.manual_seed(0)
    model = build(torch).eval()
    x = make_input(torch)
    return lambda: model(x)


def _image(size: int) -> Callable[[Any], Any]:
    return lambda torch: normal(torch, 1, 3, size, size)


def _step_case(row: str, name: str, batch: int, goal: Goal) -> Case:
    return Case(f"{row} step b{batch}", "models", lambda torch: training_step(torch, name, batch), goal,
                grad=True, whole=True)  # fmt: skip


def _forward_case(row: str, build: Callable[[Any], Any], make_input: Callable[[Any], Any], goal: Goal) -> Case:
    return Case(f"{row} inference b1", "inference", lambda torch: forward(torch, build, make_input), goal)


def goal(what: str, ratio: float) -> Goal:
    """The same on every driver."""
    return Goal(what, ratio, ratio)


RESNET, OTHERS = goal("ResNet-18 step", 1.35), goal("other CNN steps b16", 1.2)
RECURRENT, INFERENCE = goal("LSTM, GRU step b16", 1.3), goal("inference b1", 1.3)

CASES = [
    _step_case("CNN", "cnn", 4, goal("CNN step b4", 2.5)),
    _step_case("CNN", "cnn", 64, goal("CNN step b64", 1.5)),
    _step_case("CNN", "cnn", 256, goal("CNN step b256", 1.2)),
    _step_case("ResNet-18", "resnet18", 16, RESNET),
    _step_case("ResNet-18", "resnet18", 64, RESNET),
    _step_case("VGG-11", "vgg11", 16, OTHERS),
    _step_case("VGG-11-BN", "vgg11_bn", 16, OTHERS),
    _step_case("MobileNetV2", "mobilenet_v2", 16, OTHERS),
    _step_case("DenseNet-BC", "densenet_bc", 16, OTHERS),
    Case("LSTM 2x256 step b16", "models", lambda torch: recurrent.training_step(torch, "LSTM"), RECURRENT,
         grad=True, whole=True),
    Case("GRU 2x256 step b16", "models", lambda torch: recurrent.training_step(torch, "GRU"), RECURRENT,
         grad=True, whole=True),
    Case("transformer step b4", "models", transformer.training_step, goal("transformer step b4", 1.1),
         grad=True, whole=True),
    _forward_case("ResNet-18 224", lambda torch: vision_models(torch).resnet18(), _image(224), INFERENCE),
    _forward_case("MobileNetV2 224", lambda torch: vision_models(torch).mobilenet_v2(), _image(224), INFERENCE),
    Case("transformer inference b1", "inference", transformer.inference, INFERENCE, whole=True),
]  # fmt: skip
