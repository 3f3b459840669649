"""Datasets, transforms and models for images, with torchvision's names and on-disk formats.

Floor 8. Image work is host work (Pillow and NumPy), so that data-loader workers can do it; models are ordinary modules.
"""

from . import datasets, models, transforms, utils

__all__ = ["datasets", "models", "transforms", "utils"]
