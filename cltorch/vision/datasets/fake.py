"""Random images, for trying things out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from .base import VisionDataset


class FakeData(VisionDataset):
    """`size` images of random pixels with random classes; samples are (PIL image, class number), always the same for
    one index.

    Args:
        size: number of images. image_size: (channels, height, width), 1 or 3 channels. num_classes: number of classes.
        random_offset: added to the index, so that several sets differ.
    """

    def __init__(
        self,
        size: int = 1000,
        image_size: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 10,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        random_offset: int = 0,
    ):
        super().__init__(transform=transform, target_transform=target_transform)
        self.size, self.image_size, self.num_classes, self.random_offset = (
            size,
            tuple(image_size),
            num_classes,
            random_offset,
        )

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if index >= len(self):
            raise IndexError(f"{type(self).__name__} index out of range")
        random = np.random.default_rng(index + self.random_offset)
        channels, height, width = self.image_size
        pixels = random.integers(0, 256, (height, width, channels), np.uint8)
        image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        return self.transformed(image, int(random.integers(self.num_classes)))

    def __len__(self) -> int:
        return self.size
