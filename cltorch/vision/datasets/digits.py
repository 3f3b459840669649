"""Real handwritten digits that come with scikit-learn: no network needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .base import VisionDataset


class Digits(VisionDataset):
    """1797 grey images of 8x8 pixels of handwritten digits by 43 people; samples are (PIL image, class number).

    Args:
        root: unused; there so that the class is called like its siblings.
        train: four of five images (1437), or every fifth (360). The split is fixed.
        transform, target_transform: applied to image and class.

    Raises:
        ImportError: scikit-learn is not installed.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998 (as in
        `sklearn.datasets.load_digits`).
    """

    classes = [str(n) for n in range(10)]

    def __init__(
        self,
        root: str | Path | None = None,
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ):
        super().__init__(root, transform=transform, target_transform=target_transform)
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise ImportError("Digits needs scikit-learn: pip install cltorch[vision]") from error
        images, labels = load_digits(return_X_y=True)
        order = np.random.RandomState(0).permutation(len(images))  # neighbours in the file are by the same writer
        chosen = order[np.arange(len(order)) % 5 != 0] if train else order[::5]
        self.train = train
        self.data = np.round(images[chosen].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)  # (N, 8, 8)
        self.targets = labels[chosen].astype(int).tolist()

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.transformed(Image.fromarray(self.data[index]), self.targets[index])

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"
