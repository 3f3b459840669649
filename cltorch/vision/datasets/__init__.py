"""Image datasets in torchvision's on-disk formats, and `Digits`, which needs no network."""

from .base import VisionDataset
from .cifar import CIFAR10, CIFAR100
from .digits import Digits
from .fake import FakeData
from .folder import DatasetFolder, ImageFolder, default_loader
from .mnist import MNIST, FashionMNIST

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "DatasetFolder",
    "Digits",
    "FakeData",
    "FashionMNIST",
    "ImageFolder",
    "MNIST",
    "VisionDataset",
    "default_loader",
]
