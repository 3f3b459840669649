"""What image datasets share: root, transforms, download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...utils.data import Dataset


class VisionDataset(Dataset):
    """An image dataset below a folder.

    Args:
        root: the folder.
        transforms: called with (image, target), or instead
        transform, target_transform: called with the image and with the target.

    Raises:
        ValueError: both forms of transforms are given.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        transforms: Callable | None = None,
        transform: Callable | None = None,
        target_transform: Callable | None = None,
    ):
        if transforms is not None and (transform is not None or target_transform is not None):
            raise ValueError("Only transforms or transform/target_transform can be passed as argument")
        self.root = Path(root).expanduser() if root is not None else Path()
        self.transforms, self.transform, self.target_transform = transforms, transform, target_transform

    def transformed(self, image: Any, target: Any) -> tuple[Any, Any]:
        """The sample as the user wants it."""
        if self.transforms is not None:
            return self.transforms(image, target)
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def extra_repr(self) -> str:
        return ""

    def __repr__(self) -> str:
        lines = [f"Number of datapoints: {len(self)}"]  # type: ignore[arg-type]
        if str(self.root) != ".":
            lines.append(f"Root location: {self.root}")
        lines += self.extra_repr().splitlines()
        if self.transform is not None:
            lines.append(f"Transform: {self.transform!r}")
        return "\n    ".join([f"Dataset {type(self).__name__}", *lines])


def retrieve(url: str, md5: str, folder: Path) -> Path:
    """Download a file into `folder` with a progress bar, unless it is there; its checksum is verified, and it appears
    under its name only when complete.

    Raises:
        ImportError: pooch is not installed.
        RuntimeError: the download failed or the checksum differs.
    """
    try:
        import pooch
    except ImportError as error:
        raise ImportError("download=True needs pooch: pip install cltorch[vision]") from error
    name = url.rsplit("/", 1)[1]
    try:
        return Path(pooch.retrieve(url, known_hash=f"md5:{md5}", fname=name, path=folder, progressbar=True))
    except Exception as error:
        raise RuntimeError(f"download: {url}: {error}. Fetch it yourself and put it into {folder}") from error
