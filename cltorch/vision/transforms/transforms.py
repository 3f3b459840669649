"""Transforms as objects: parameters now, image later."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...dtypes import DType, float32
from ...tensor import Tensor
from ...utils.data.sampler import host_random
from . import functional as F
from .functional import InterpolationMode


class Transform:
    """Base of all transforms: `repr` lists the parameters."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{k}={v!r}" for k, v in vars(self).items() if not k.startswith("_"))
        return f"{type(self).__name__}({shown})"


class Compose(Transform):
    """Several transforms one after the other."""

    def __init__(self, transforms: Sequence[Callable]):
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        return "\n".join(["Compose(", *(f"    {t}" for t in self.transforms), ")"])


class ToTensor(Transform):
    """`functional.to_tensor`: PIL image or array (H, W, C) -> float tensor (C, H, W) in 0..1."""

    def __call__(self, pic: Any) -> Tensor:
        return F.to_tensor(pic)


class PILToTensor(Transform):
    """`functional.pil_to_tensor`: PIL image -> tensor of its own dtype."""

    def __call__(self, pic: Any) -> Tensor:
        return F.pil_to_tensor(pic)


class ToPILImage(Transform):
    """`functional.to_pil_image`: tensor or array -> PIL image."""

    def __init__(self, mode: str | None = None):
        self.mode = mode

    def __call__(self, pic: Any) -> Any:
        return F.to_pil_image(pic, self.mode)


class ConvertImageDtype(Transform):
    """`functional.convert_image_dtype`."""

    def __init__(self, dtype: DType = float32):
        self.dtype = dtype

    def __call__(self, image: Tensor) -> Tensor:
        return F.convert_image_dtype(image, self.dtype)


class Normalize(Transform):
    """(tensor - mean) / std, channel by channel."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False):
        self.mean, self.std, self.inplace = mean, std, inplace

    def __call__(self, tensor: Tensor) -> Tensor:
        return F.normalize(tensor, self.mean, self.std, self.inplace)


class Resize(Transform):
    """To (height, width), or the shorter side to a length."""

    def __init__(
        self,
        size: Any,
        interpolation: Any = InterpolationMode.BILINEAR,
        max_size: int | None = None,
        antialias: bool | None = True,
    ):
        if not isinstance(size, (int, list, tuple)):
            raise TypeError(f"Size should be int or sequence. Got {type(size)}")
        if isinstance(size, (list, tuple)) and len(size) not in (1, 2):
            raise ValueError("If size is a sequence, it should have 1 or 2 values")
        self.size, self.interpolation, self.max_size, self.antialias = size, interpolation, max_size, antialias

    def __call__(self, img: Any) -> Any:
        return F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return size, size
    if len(size) not in (1, 2):
        raise ValueError("Please provide only two dimensions (h, w) for size.")
    return size[0], size[-1]


class CenterCrop(Transform):
    """The middle of the image."""

    def __init__(self, size: Any):
        self.size = _pair(size)

    def __call__(self, img: Any) -> Any:
        return F.center_crop(img, self.size)


class FiveCrop(Transform):
    """Corners and middle, as a tuple."""

    def __init__(self, size: Any):
        self.size = _pair(size)

    def __call__(self, img: Any) -> tuple:
        return F.five_crop(img, self.size)


class TenCrop(Transform):
    """FiveCrop of the image and of its mirror image."""

    def __init__(self, size: Any, vertical_flip: bool = False):
        self.size, self.vertical_flip = _pair(size), vertical_flip

    def __call__(self, img: Any) -> tuple:
        return F.ten_crop(img, self.size, self.vertical_flip)


class Pad(Transform):
    """Borders: an int, (x, y) or (left, top, right, bottom)."""

    def __init__(self, padding: Any, fill: Any = 0, padding_mode: str = "constant"):
        F._padding("Pad", padding)
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode

    def __call__(self, img: Any) -> Any:
        return F.pad(img, self.padding, self.fill, self.padding_mode)


class Grayscale(Transform):
    """To grey, in one or three channels."""

    def __init__(self, num_output_channels: int = 1):
        self.num_output_channels = num_output_channels

    def __call__(self, img: Any) -> Any:
        return F.rgb_to_grayscale(img, self.num_output_channels)


class Lambda(Transform):
    """Any function."""

    def __init__(self, lambd: Callable):
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__!r}")
        self.lambd = lambd

    def __call__(self, img: Any) -> Any:
        return self.lambd(img)


class _Chance(Transform):
    """Applies `change` with probability p."""

    def __init__(self, p: float = 0.5):
        self.p = p

    def change(self, img: Any) -> Any:
        raise NotImplementedError

    def __call__(self, img: Any) -> Any:
        return self.change(img) if host_random().random() < self.p else img


class RandomHorizontalFlip(_Chance):
    """Mirrored left to right with probability p."""

    def change(self, img: Any) -> Any:
        return F.hflip(img)


class RandomVerticalFlip(_Chance):
    """Mirrored top to bottom with probability p."""

    def change(self, img: Any) -> Any:
        return F.vflip(img)


class RandomInvert(_Chance):
    """Colours inverted with probability p."""

    def change(self, img: Any) -> Any:
        return F.invert(img)


class RandomGrayscale(_Chance):
    """Grey, with as many channels as before, with probability p."""

    def __init__(self, p: float = 0.1):
        super().__init__(p)

    def change(self, img: Any) -> Any:
        return F.rgb_to_grayscale(img, F.get_dimensions(img)[0])


class RandomApply(_Chance):
    """A list of transforms with probability p."""

    def __init__(self, transforms: Sequence[Callable], p: float = 0.5):
        super().__init__(p)
        self.transforms = transforms

    def change(self, img: Any) -> Any:
        return Compose(self.transforms)(img)


class RandomChoice(Transform):
    """One of several transforms, with probabilities p."""

    def __init__(self, transforms: Sequence[Callable], p: Sequence[float] | None = None):
        self.transforms, self.p = transforms, p

    def __call__(self, img: Any) -> Any:
        weights = None if self.p is None else np.asarray(self.p, float) / sum(self.p)
        return self.transforms[int(host_random().choice(len(self.transforms), p=weights))](img)


class RandomOrder(Transform):
    """Several transforms in random order."""

    def __init__(self, transforms: Sequence[Callable]):
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for i in host_random().permutation(len(self.transforms)):
            img = self.transforms[i](img)
        return img


class RandomCrop(Transform):
    """A window at a random place, after optional padding.

    Raises:
        ValueError: the (padded) image is smaller than the window.
    """

    def __init__(
        self, size: Any, padding: Any = None, pad_if_needed: bool = False, fill: Any = 0, padding_mode: str = "constant"
    ):
        self.size, self.padding, self.pad_if_needed = _pair(size), padding, pad_if_needed
        self.fill, self.padding_mode = fill, padding_mode

    def __call__(self, img: Any) -> Any:
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        high, wide = self.size
        width, height = F.get_image_size(img)
        if self.pad_if_needed and (width < wide or height < high):
            img = F.pad(img, (max(wide - width, 0), max(high - height, 0)), self.fill, self.padding_mode)
            width, height = F.get_image_size(img)
        if width < wide or height < high:
            raise ValueError(f"Required crop size {(high, wide)} is larger than input image size {(height, width)}")
        random = host_random()
        top, left = int(random.integers(height - high + 1)), int(random.integers(width - wide + 1))
        return F.crop(img, top, left, high, wide)


class RandomResizedCrop(Transform):
    """A window of random area and aspect ratio, resized."""

    def __init__(
        self,
        size: Any,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: Any = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
    ):
        self.size, self.scale, self.ratio, self.interpolation, self.antialias = (
            _pair(size),
            scale,
            ratio,
            interpolation,
            antialias,
        )

    def __call__(self, img: Any) -> Any:
        width, height = F.get_image_size(img)
        random = host_random()
        for _ in range(10):
            area = width * height * random.uniform(self.scale[0], self.scale[1])
            ratio = math.exp(random.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                top, left = int(random.integers(height - h + 1)), int(random.integers(width - w + 1))
                return F.resized_crop(img, top, left, h, w, self.size, self.interpolation)
        ratio = min(
            max(width / height, self.ratio[0]), self.ratio[1]
        )  # the largest window of an allowed ratio, in the middle
        w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
        return F.resized_crop(img, (height - h) // 2, (width - w) // 2, h, w, self.size, self.interpolation)


class RandomRotation(Transform):
    """Turned by a random angle within `degrees` (a number, or lowest and highest)."""

    def __init__(
        self,
        degrees: Any,
        interpolation: Any = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Any = None,
        fill: Any = 0,
    ):
        if isinstance(degrees, (int, float)) and degrees < 0:
            raise ValueError("If degrees is a single number, it must be positive.")
        self.degrees = (-degrees, degrees) if isinstance(degrees, (int, float)) else tuple(degrees)
        self.interpolation, self.expand, self.center, self.fill = interpolation, expand, center, fill

    def __call__(self, img: Any) -> Any:
        return F.rotate(
            img, host_random().uniform(*self.degrees), self.interpolation, self.expand, self.center, self.fill
        )


class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue changed by random amounts, in random order.

    Each argument is a number x (factors 1-x..1+x; hue -x..x) or (lowest, highest).
    """

    def __init__(self, brightness: Any = 0, contrast: Any = 0, saturation: Any = 0, hue: Any = 0):
        self.brightness = self._range("brightness", brightness, 1.0, 0.0, math.inf)
        self.contrast = self._range("contrast", contrast, 1.0, 0.0, math.inf)
        self.saturation = self._range("saturation", saturation, 1.0, 0.0, math.inf)
        self.hue = self._range("hue", hue, 0.0, -0.5, 0.5)

    @staticmethod
    def _range(name: str, value: Any, middle: float, low: float, high: float) -> tuple[float, float] | None:
        if isinstance(value, (int, float)):
            if value < 0:
                raise ValueError(f"If {name} is a single number, it must be non negative.")
            value = (max(middle - value, low) if name != "hue" else -value, middle + value)
        first, last = value
        if not low <= first <= last <= high:
            raise ValueError(f"{name} values should be between ({low}, {high}), but got {value}.")
        return None if first == last == middle else (first, last)

    def __call__(self, img: Any) -> Any:
        random = host_random()
        steps = [
            (F.adjust_brightness, self.brightness),
            (F.adjust_contrast, self.contrast),
            (F.adjust_saturation, self.saturation),
            (F.adjust_hue, self.hue),
        ]
        for i in random.permutation(4):
            adjust, limits = steps[i]
            if limits is not None:
                img = adjust(img, random.uniform(*limits))
        return img


class GaussianBlur(Transform):
    """Blurred with a random sigma."""

    def __init__(self, kernel_size: Any, sigma: Any = (0.1, 2.0)):
        self.kernel_size = kernel_size
        self.sigma = (sigma, sigma) if isinstance(sigma, (int, float)) else tuple(sigma)
        if not 0 < self.sigma[0] <= self.sigma[1]:
            raise ValueError(f"sigma values should be positive and of the form (min, max). Got {self.sigma}")

    def __call__(self, img: Any) -> Any:
        return F.gaussian_blur(img, self.kernel_size, host_random().uniform(*self.sigma))


class RandomErasing(Transform):
    """A random rectangle of a tensor image erased, with probability p; `value` a number, one per channel, or 'random'.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: Any = 0,
        inplace: bool = False,
    ):
        self.p, self.scale, self.ratio, self.value, self.inplace = p, scale, ratio, value, inplace

    def __call__(self, img: Tensor) -> Tensor:
        random = host_random()
        if random.random() >= self.p:
            return img
        channels, height, width = F.get_dimensions(img)
        for _ in range(10):
            area = height * width * random.uniform(self.scale[0], self.scale[1])
            ratio = math.exp(random.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < h < height and 0 < w < width:
                value: Any = self.value
                if value == "random":
                    value = random.standard_normal((channels, h, w)).astype(np.float32)
                elif isinstance(value, (list, tuple)):
                    value = np.asarray(value, np.float32).reshape(-1, 1, 1)
                top, left = int(random.integers(height - h + 1)), int(random.integers(width - w + 1))
                return F.erase(img, top, left, h, w, value, self.inplace)
        return img
