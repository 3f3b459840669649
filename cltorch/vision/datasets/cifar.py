"""CIFAR-10 and CIFAR-100 in the python-pickle format that torchvision keeps on disk."""

from __future__ import annotations

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .base import VisionDataset, retrieve


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of dicts, lists, strings and NumPy arrays; refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype", "_frombuffer", "scalar"):
            return super().find_class(module, name)
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes in old pickles
            return lambda text, encoding: text.encode("latin1")
        raise pickle.UnpicklingError(f"refused {module}.{name}: a CIFAR batch holds only arrays, lists and strings")


class CIFAR10(VisionDataset):
    """60 000 colour images of 32x32 pixels in 10 classes; samples are (PIL image, class number).

    Args:
        root: folder that holds (or receives) `cifar-10-batches-py`; a folder already there is used as it is.
        train: the 50 000 training images, or the 10 000 test images.
        transform, target_transform: applied to image and class.
        download: fetch the archive if the folder is not there.

    Raises:
        RuntimeError: the files are not there, or not in CIFAR's format.

    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """

    base_folder = "cifar-10-batches-py"
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    md5 = "c58f30108f718f92721af3b95e74349a"
    train_list = ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"]
    test_list = ["test_batch"]
    meta, names_key, label_key = "batches.meta", "label_names", "labels"

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
        folder = self.root / self.base_folder
        if download and not folder.is_dir():
            self.download()
        files = self.train_list if train else self.test_list
        missing = [name for name in [*files, self.meta] if not (folder / name).is_file()]
        if missing:
            raise RuntimeError(
                f"Dataset not found or corrupted: {folder} lacks {', '.join(missing)}. "
                "You can use download=True to download it"
            )
        parts = [self._read(folder / name) for name in files]
        self.data = np.concatenate([images for images, _ in parts])  # (N, 32, 32, 3) uint8
        self.targets: list[int] = [label for _, labels in parts for label in labels]
        names = self._unpickle(folder / self.meta).get(self.names_key)
        if not isinstance(names, list):
            raise RuntimeError(f"{folder / self.meta}: got no list {self.names_key!r}")
        self.classes = [n.decode() if isinstance(n, bytes) else n for n in names]
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}

    def _unpickle(self, path: Path) -> dict:
        try:
            found = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError) as error:
            raise RuntimeError(f"{path}: not a CIFAR batch: {error}") from error
        if not isinstance(found, dict):
            raise RuntimeError(f"{path}: got a {type(found).__name__}, wanted a dict")
        return {k.decode() if isinstance(k, bytes) else k: v for k, v in found.items()}

    def _read(self, path: Path) -> tuple[np.ndarray, list[int]]:
        entry = self._unpickle(path)
        data, labels = entry.get("data"), entry.get(self.label_key)
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
            got = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
            raise RuntimeError(f"{path}: data: got {got}, wanted uint8 (N, 3072)")
        if not isinstance(labels, list) or len(labels) != len(data):
            raise RuntimeError(f"{path}: {self.label_key}: wanted a list of {len(data)} class numbers")
        return np.ascontiguousarray(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), [int(n) for n in labels]

    def download(self) -> None:
        """Fetch and unpack the archive."""
        archive = retrieve(self.url, self.md5, self.root)
        with tarfile.open(archive, "r:gz") as packed:
            for member in packed.getmembers():
                target = (self.root / member.name).resolve()
                if not target.is_relative_to(self.root.resolve()) or not (member.isfile() or member.isdir()):
                    raise RuntimeError(f"{archive}: refused the member {member.name!r}")
                packed.extract(member, self.root)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.transformed(Image.fromarray(self.data[index]), self.targets[index])

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


class CIFAR100(CIFAR10):
    """60 000 colour images of 32x32 pixels in 100 classes; otherwise as CIFAR10."""

    base_folder = "cifar-100-python"
    url = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    md5 = "eb9058c3a382ffc7106e4002c42a8d85"
    train_list = ["train"]
    test_list = ["test"]
    meta, names_key, label_key = "meta", "fine_label_names", "fine_labels"
