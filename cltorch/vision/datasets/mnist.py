"""MNIST and Fashion-MNIST in the IDX format that torchvision keeps on disk."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...tensor import from_array
from .base import VisionDataset, retrieve

_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    """The array of an IDX file. Raises RuntimeError if it is none, or cut short."""
    raw = path.read_bytes()
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_TYPES:
        raise RuntimeError(f"{path}: not an IDX file (first bytes {raw[:4]!r})")
    ndim = raw[3]
    shape = tuple(np.frombuffer(raw, ">i4", ndim, 4).tolist()) if len(raw) >= 4 + 4 * ndim else ()
    dtype = np.dtype(_IDX_TYPES[raw[2]])
    wanted = 4 + 4 * ndim + int(np.prod(shape)) * dtype.itemsize
    if len(raw) != wanted:
        raise RuntimeError(f"{path}: got {len(raw)} bytes, wanted {wanted} for shape {shape}")
    return np.frombuffer(raw, dtype, offset=4 + 4 * ndim).reshape(shape).astype(dtype.newbyteorder("="))


class MNIST(VisionDataset):
    """70 000 grey images of 28x28 pixels of handwritten digits; samples are (PIL image, class number).

    Args:
        root: folder that holds (or receives) `MNIST/raw/*-ubyte`; files already there are used as they are.
        train: the 60 000 training images, or the 10 000 test images.
        transform, target_transform: applied to image and class.
        download: fetch the files that are not there.

    Attributes:
        data: uint8 tensor (N, 28, 28). targets: int64 tensor (N,).

    Raises:
        RuntimeError: files are missing or not in IDX format.

    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits.
    """

    mirror = "https://ossci-datasets.s3.amazonaws.com/mnist/"
    resources = {
        "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
    }
    classes = [
        "0 - zero",
        "1 - one",
        "2 - two",
        "3 - three",
        "4 - four",
        "5 - five",
        "6 - six",
        "7 - seven",
        "8 - eight",
        "9 - nine",
    ]

    def __init__(
        self,
        root: str | Path,
        train: bool = True,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
        download: bool = False,
    ):
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        folder = self.root / type(self).__name__ / "raw"
        if download:
            self.download(folder)
        part = "train" if train else "t10k"
        paths = [folder / f"{part}-images-idx3-ubyte", folder / f"{part}-labels-idx1-ubyte"]
        if not all(p.is_file() for p in paths):
            raise RuntimeError(
                f"Dataset not found: {folder} lacks {part}-*-ubyte. You can use download=True to download it"
            )
        images, labels = map(read_idx, paths)
        if images.ndim != 3 or images.dtype != np.uint8 or labels.shape != images.shape[:1]:
            raise RuntimeError(
                f"{folder}: got images {images.dtype} {images.shape} and labels {labels.shape}, "
                "wanted uint8 (N, H, W) and (N,)"
            )
        self._images, self._labels = images, labels.astype(np.int64)

    @property
    def data(self) -> Any:
        return from_array(self._images)

    @property
    def targets(self) -> Any:
        return from_array(self._labels)

    @property
    def class_to_idx(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.classes)}

    def download(self, folder: Path) -> None:
        """Fetch and unpack the files that are not there."""
        for name, md5 in self.resources.items():
            if (folder / name).is_file():
                continue
            archive = retrieve(f"{self.mirror}{name}.gz", md5, folder)
            partial = folder / f"{name}.{os.getpid()}.tmp"
            partial.write_bytes(gzip.decompress(archive.read_bytes()))
            os.replace(partial, folder / name)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.transformed(Image.fromarray(self._images[index]), int(self._labels[index]))

    def __len__(self) -> int:
        return len(self._images)

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


class FashionMNIST(MNIST):
    """70 000 grey images of 28x28 pixels of clothing; otherwise as MNIST.

    Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, arXiv:1708.07747.
    """

    mirror = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    resources = {
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    }
    classes = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
