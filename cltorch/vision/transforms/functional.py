"""Image operations as functions, on PIL images and on tensors (..., C, H, W)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from ...dtypes import DType
from ...tensor import Tensor, from_array


class InterpolationMode(Enum):
    """How pixels between pixels are made."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
    "lanczos": Image.Resampling.LANCZOS,
}


def _resampling(op: str, mode: Any) -> Image.Resampling:
    name = mode.value if isinstance(mode, InterpolationMode) else mode
    if isinstance(name, Image.Resampling):
        return name
    if name not in _RESAMPLING:
        raise ValueError(f"{op}: interpolation: got {mode!r}, wanted one of {', '.join(_RESAMPLING)}")
    return _RESAMPLING[name]


def _is_pil(op: str, image: Any) -> bool:
    if isinstance(image, Image.Image):
        return True
    if isinstance(image, Tensor):
        if image.dim() < 2:
            raise TypeError(f"{op}: img: got a tensor of shape {tuple(image.shape)}, wanted (..., H, W)")
        return False
    raise TypeError(f"{op}: img: got {type(image)}, wanted a PIL Image or a Tensor")


def _on_array(image: Tensor, function: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """A tensor with `function` applied to its array in host memory."""
    return from_array(np.ascontiguousarray(function(image.detach().numpy())))


def get_image_size(img: Any) -> list[int]:
    """[width, height]."""
    return list(img.size) if _is_pil("get_image_size", img) else [img.shape[-1], img.shape[-2]]


def get_dimensions(img: Any) -> list[int]:
    """[channels, height, width]."""
    if _is_pil("get_dimensions", img):
        return [len(img.getbands()), img.height, img.width]
    return [img.shape[-3] if img.dim() > 2 else 1, img.shape[-2], img.shape[-1]]


def _array_of(image: Image.Image) -> np.ndarray:
    """(C, H, W) of a PIL image."""
    if image.mode == "1":
        array = np.asarray(image, np.uint8) * 255
    elif image.mode == "I;16":
        array = np.asarray(image, np.int32).astype(np.int16)
    else:
        array = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def pil_to_tensor(pic: Image.Image) -> Tensor:
    """A PIL image as a tensor (C, H, W) of its own dtype. Raises TypeError for anything else."""
    if not isinstance(pic, Image.Image):
        raise TypeError(f"pil_to_tensor: pic: got {type(pic)}, wanted a PIL Image")
    return from_array(np.array(_array_of(pic), order="C"))


def to_tensor(pic: Any) -> Tensor:
    """A PIL image or an array (H, W) or (H, W, C) as a tensor (C, H, W); uint8 becomes float32 in 0..1.

    Raises:
        TypeError: neither. ValueError: an array of other than 2 or 3 dimensions.
    """
    if isinstance(pic, Image.Image):
        array = _array_of(pic)
    elif isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        array = pic[None] if pic.ndim == 2 else pic.transpose(2, 0, 1)
    else:
        raise TypeError(f"pic should be PIL Image or ndarray. Got {type(pic)}")
    if array.dtype == np.uint8:
        out = np.empty(array.shape, np.float32)
        return from_array(np.divide(array, np.float32(255), out=out))
    return from_array(np.array(array, order="C"))


def to_pil_image(pic: Any, mode: str | None = None) -> Image.Image:
    """A tensor (C, H, W) or (H, W), or an array (H, W, C), as a PIL image; floats are taken as 0..1.

    Raises:
        TypeError: neither. ValueError: a shape or dtype that is no image.
    """
    if isinstance(pic, Tensor):
        array = pic.detach().numpy()
        if array.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {array.ndim} dimensions.")
        array = array[..., None] if array.ndim == 2 else array.transpose(1, 2, 0)
        if array.dtype.kind == "f" and mode != "F":
            array = (array * 255).astype(np.uint8)
    elif isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        array = pic[..., None] if pic.ndim == 2 else pic
    else:
        raise TypeError(f"pic should be Tensor or ndarray. Got {type(pic)}.")
    if array.shape[2] > 4:
        raise ValueError(f"pic should not have > 4 channels. Got {array.shape[2]} channels.")
    image = Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))
    return image if mode is None or image.mode == mode else image.convert(mode)


def convert_image_dtype(image: Tensor, dtype: DType) -> Tensor:
    """Another dtype, with values scaled so that the full range of an integer dtype corresponds to 0..1."""
    source = image.dtype
    if source is dtype:
        return image
    array = image.detach().numpy()
    if source.is_floating_point and dtype.is_floating_point:
        return image.to(dtype)
    if source.is_floating_point:
        top = np.iinfo(dtype.numpy).max
        return from_array((array.astype(np.float64) * (top + 1.0 - 1e-3)).astype(dtype.numpy))
    if dtype.is_floating_point:
        return from_array((array / np.float64(np.iinfo(array.dtype).max)).astype(dtype.numpy))
    have, want = np.iinfo(array.dtype).max, np.iinfo(dtype.numpy).max
    if have > want:
        return from_array((array // ((have + 1) // (want + 1))).astype(dtype.numpy))
    return from_array(array.astype(dtype.numpy) * dtype.numpy.type((want + 1) // (have + 1)))


def normalize(tensor: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> Tensor:
    """(tensor - mean) / std, channel by channel; shape (..., C, H, W), floating point.

    Raises:
        TypeError: no floating-point tensor. ValueError: too few dimensions, or a zero in `std`.
    """
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        raise TypeError(f"Input tensor should be a float tensor. Got {getattr(tensor, 'dtype', type(tensor))}.")
    if tensor.dim() < 3:
        raise ValueError(
            f"Expected tensor to be a tensor image of size (..., C, H, W). Got tensor.size() = {tuple(tensor.shape)}."
        )
    dtype = tensor.dtype.numpy
    middle, spread = (np.asarray(v, dtype).reshape(-1, 1, 1) for v in (mean, std))
    if (spread == 0).any():
        raise ValueError(f"std evaluated to zero after conversion to {tensor.dtype}, leading to division by zero.")
    out = _on_array(tensor, lambda array: (array - middle) / spread)
    return tensor.copy_(out) if inplace else out


def _target_size(op: str, size: Any, width: int, height: int, max_size: int | None) -> tuple[int, int]:
    """(height, width) that `size` asks for: both, or the shorter side."""
    if isinstance(size, (list, tuple)) and len(size) == 2:
        return int(size[0]), int(size[1])
    short = size[0] if isinstance(size, (list, tuple)) else size
    if not isinstance(short, int) or short <= 0:
        raise ValueError(f"{op}: size: got {size!r}, wanted a positive int or (height, width)")
    factor = short / min(width, height)
    if max_size is not None and max(width, height) * factor > max_size:
        factor = max_size / max(width, height)
    return max(1, int(height * factor)), max(1, int(width * factor))


def resize(
    img: Any,
    size: Any,
    interpolation: Any = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:
    """The image with the given (height, width), or with its shorter side of the given length."""
    how = _resampling("resize", interpolation)
    width, height = get_image_size(img)
    wanted = _target_size("resize", size, width, height, max_size)
    if wanted == (height, width):
        return img
    if isinstance(img, Image.Image):
        return img.resize(wanted[::-1], how)

    def each(array: np.ndarray) -> np.ndarray:
        planes = array.reshape(-1, height, width)
        resized = [np.asarray(Image.fromarray(p.astype(np.float32), "F").resize(wanted[::-1], how)) for p in planes]
        out = (
            np.stack(resized).reshape(*array.shape[:-2], *wanted) if resized else np.empty((*array.shape[:-2], *wanted))
        )
        if array.dtype.kind in "iu":
            info = np.iinfo(array.dtype)
            out = np.clip(np.rint(out), info.min, info.max)
        return out.astype(array.dtype)

    return _on_array(img, each)


def _padding(op: str, padding: Any) -> tuple[int, int, int, int]:
    """(left, top, right, bottom)."""
    if isinstance(padding, int):
        return (padding,) * 4
    if isinstance(padding, (list, tuple)) and len(padding) in (1, 2, 4):
        if len(padding) == 1:
            return (padding[0],) * 4
        return (*padding, *padding) if len(padding) == 2 else tuple(padding)  # type: ignore[return-value]
    raise ValueError(f"{op}: padding: got {padding!r}, wanted an int or 1, 2 or 4 of them")


def pad(img: Any, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> Any:
    """The image with borders: `constant`, `edge`, `reflect` or `symmetric`."""
    modes = ("constant", "edge", "reflect", "symmetric")
    if padding_mode not in modes:
        raise ValueError(f"Padding mode should be either {', '.join(modes)}, got {padding_mode!r}")
    left, top, right, bottom = _padding("pad", padding)

    def each(array: np.ndarray) -> np.ndarray:  # (..., H, W)
        widths = [(0, 0)] * (array.ndim - 2) + [(top, bottom), (left, right)]
        if padding_mode == "constant":
            return np.pad(array, widths, constant_values=fill)
        return np.pad(array, widths, mode=padding_mode)  # type: ignore[call-overload]

    if not _is_pil("pad", img):
        return _on_array(img, each)
    if padding_mode == "constant":
        colour = tuple(fill) if isinstance(fill, list) else fill
        if isinstance(colour, int) and len(img.getbands()) > 1:
            colour = (colour,) * len(img.getbands())
        return ImageOps.expand(img, (left, top, right, bottom), fill=colour)
    array = np.asarray(img)
    moved = each(array if array.ndim == 2 else array.transpose(2, 0, 1))
    return Image.fromarray(np.ascontiguousarray(moved if array.ndim == 2 else moved.transpose(1, 2, 0)))


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """A window of the image; parts outside are zero."""
    if _is_pil("crop", img):
        return img.crop((left, top, left + width, top + height))
    w, h = get_image_size(img)
    borders = (max(-left, 0), max(-top, 0), max(left + width - w, 0), max(top + height - h, 0))
    if any(borders):
        img = pad(img, borders)
    left, top = max(left, 0), max(top, 0)
    return _on_array(img, lambda array: array[..., top : top + height, left : left + width])


def center_crop(img: Any, output_size: Any) -> Any:
    """The middle of the image, padded with zeros where it is too small."""
    high, wide = (output_size, output_size) if isinstance(output_size, int) else (output_size[0], output_size[-1])
    width, height = get_image_size(img)
    if wide > width or high > height:
        left, top = max((wide - width) // 2, 0), max((high - height) // 2, 0)
        img = pad(img, (left, top, max((wide - width + 1) // 2, 0), max((high - height + 1) // 2, 0)))
        width, height = get_image_size(img)
    return crop(img, round((height - high) / 2), round((width - wide) / 2), high, wide)


def five_crop(img: Any, size: Any) -> tuple:
    """The four corners and the middle. Raises ValueError if the image is smaller than `size`."""
    high, wide = (size, size) if isinstance(size, int) else (size[0], size[-1])
    width, height = get_image_size(img)
    if wide > width or high > height:
        raise ValueError(f"Requested crop size {(high, wide)} is bigger than input size {(height, width)}")
    corners = [(0, 0), (0, width - wide), (height - high, 0), (height - high, width - wide)]
    return (*(crop(img, top, left, high, wide) for top, left in corners), center_crop(img, (high, wide)))


def ten_crop(img: Any, size: Any, vertical_flip: bool = False) -> tuple:
    """`five_crop` of the image and of its mirror image."""
    return five_crop(img, size) + five_crop(vflip(img) if vertical_flip else hflip(img), size)


def resized_crop(
    img: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: Any,
    interpolation: Any = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Any:
    """A window of the image, resized."""
    return resize(crop(img, top, left, height, width), size, interpolation)


def hflip(img: Any) -> Any:
    """Left and right exchanged."""
    if _is_pil("hflip", img):
        return img.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _on_array(img, lambda array: array[..., ::-1])


def vflip(img: Any) -> Any:
    """Top and bottom exchanged."""
    if _is_pil("vflip", img):
        return img.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return _on_array(img, lambda array: array[..., ::-1, :])


def rotate(
    img: Any,
    angle: float,
    interpolation: Any = InterpolationMode.NEAREST,
    expand: bool = False,
    center: Any = None,
    fill: Any = None,
) -> Any:
    """The image turned counter-clockwise by `angle` degrees."""
    how = _resampling("rotate", interpolation)
    if _is_pil("rotate", img):
        return img.rotate(angle, how, expand, tuple(center) if center is not None else None, fillcolor=fill)
    number = 0 if fill is None else fill[0] if isinstance(fill, (list, tuple)) else fill

    def each(array: np.ndarray) -> np.ndarray:
        planes = array.reshape(-1, *array.shape[-2:])
        turned = [
            np.asarray(Image.fromarray(p.astype(np.float32), "F").rotate(angle, how, expand, center, fillcolor=number))
            for p in planes
        ]
        return np.stack(turned).reshape(*array.shape[:-2], *turned[0].shape).astype(array.dtype)

    return _on_array(img, each)


def rgb_to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """Luma 0.2989 R + 0.587 G + 0.114 B, in one or three equal channels."""
    if num_output_channels not in (1, 3):
        raise ValueError("num_output_channels should be either 1 or 3")
    if _is_pil("rgb_to_grayscale", img):
        grey = img.convert("L")
        return grey if num_output_channels == 1 else Image.merge("RGB", (grey,) * 3)

    def each(array: np.ndarray) -> np.ndarray:
        if array.shape[-3] == 3:
            weights = np.array([0.2989, 0.587, 0.114], np.float32)
            array = np.einsum("...chw,c->...hw", array.astype(np.float32), weights)[..., None, :, :].astype(array.dtype)
        return np.repeat(array, num_output_channels, -3)

    return _on_array(img, each)


to_grayscale = rgb_to_grayscale


def _top(array: np.ndarray) -> float:
    return 1.0 if array.dtype.kind == "f" else float(np.iinfo(array.dtype).max)


def _blend(array: np.ndarray, other: Any, ratio: float) -> np.ndarray:
    mixed = array.astype(np.float32) * ratio + np.asarray(other, np.float32) * (1.0 - ratio)
    return np.clip(mixed, 0, _top(array)).astype(array.dtype)


def _luma(array: np.ndarray) -> np.ndarray:
    if array.shape[-3] == 1:
        return array.astype(np.float32)
    return np.einsum("...chw,c->...hw", array.astype(np.float32), np.array([0.2989, 0.587, 0.114], np.float32))[
        ..., None, :, :
    ]


def _factor(op: str, name: str, value: float) -> None:
    if value < 0:
        raise ValueError(f"{op}: {name} ({value}) is not non-negative.")


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """0 gives black, 1 the image, 2 twice its brightness."""
    _factor("adjust_brightness", "brightness_factor", brightness_factor)
    if _is_pil("adjust_brightness", img):
        return ImageEnhance.Brightness(img).enhance(brightness_factor)
    return _on_array(img, lambda array: _blend(array, 0.0, brightness_factor))


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """0 gives plain grey, 1 the image."""
    _factor("adjust_contrast", "contrast_factor", contrast_factor)
    if _is_pil("adjust_contrast", img):
        return ImageEnhance.Contrast(img).enhance(contrast_factor)
    return _on_array(img, lambda array: _blend(array, _luma(array).mean((-3, -2, -1), keepdims=True), contrast_factor))


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """0 gives black and white, 1 the image."""
    _factor("adjust_saturation", "saturation_factor", saturation_factor)
    if _is_pil("adjust_saturation", img):
        return ImageEnhance.Color(img).enhance(saturation_factor)
    return _on_array(
        img, lambda array: array if array.shape[-3] == 1 else _blend(array, _luma(array), saturation_factor)
    )


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """Hue shifted by `hue_factor` of a full turn, -0.5 to 0.5."""
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    if not _is_pil("adjust_hue", img):
        if img.shape[-3] == 1:
            return img
        scaled = _on_array(img, lambda array: np.rint(array.astype(np.float32) * (255 / _top(array))).astype(np.uint8))
        turned = pil_to_tensor(adjust_hue(to_pil_image(scaled), hue_factor)).numpy()
        return _on_array(img, lambda array: (turned * np.float32(_top(array) / 255)).astype(array.dtype))
    if img.mode in ("L", "1", "I", "F"):
        return img
    hue, saturation, value = img.convert("HSV").split()
    shifted = (np.asarray(hue).astype(np.int16) + int(hue_factor * 255)).astype(np.uint8)
    return Image.merge("HSV", (Image.fromarray(shifted), saturation, value)).convert(img.mode)


def invert(img: Any) -> Any:
    """Colours inverted."""
    if _is_pil("invert", img):
        return ImageOps.invert(img)
    return _on_array(img, lambda array: (_top(array) - array).astype(array.dtype))


def gaussian_blur(img: Any, kernel_size: Any, sigma: Any = None) -> Any:
    """Gaussian blur with reflected borders; `kernel_size` odd, (x, y) or one number."""
    sizes = [kernel_size] * 2 if isinstance(kernel_size, int) else list(kernel_size)
    if any(k <= 0 or k % 2 == 0 for k in sizes):
        raise ValueError(f"kernel_size should have odd and positive integers. Got {kernel_size}")
    sigmas = (
        [0.15 * k + 0.35 for k in sizes]
        if sigma is None
        else [sigma] * 2
        if isinstance(sigma, (int, float))
        else list(sigma)
    )
    if _is_pil("gaussian_blur", img):
        return to_pil_image(gaussian_blur(pil_to_tensor(img), kernel_size, sigma), img.mode)

    def each(array: np.ndarray) -> np.ndarray:
        out = array.astype(np.float32)
        for axis, (k, s) in zip((-1, -2), zip(sizes, sigmas)):
            at = np.arange(k) - k // 2
            weights = np.exp(-0.5 * (at / s) ** 2)
            weights = (weights / weights.sum()).astype(np.float32)
            widths = [(0, 0)] * out.ndim
            widths[axis] = (k // 2, k // 2)
            windows = np.lib.stride_tricks.sliding_window_view(np.pad(out, widths, mode="reflect"), k, axis)
            out = windows @ weights
        return (np.rint(out) if array.dtype.kind in "iu" else out).astype(array.dtype)

    return _on_array(img, each)


def erase(img: Tensor, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False) -> Tensor:
    """A window of a tensor image overwritten with `v`."""
    value = v.detach().numpy() if isinstance(v, Tensor) else v

    def each(array: np.ndarray) -> np.ndarray:
        out = array.copy()
        out[..., i : i + h, j : j + w] = value
        return out

    out = _on_array(img, each)
    return img.copy_(out) if inplace else out


__all__ = [
    "InterpolationMode",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "center_crop",
    "convert_image_dtype",
    "crop",
    "erase",
    "five_crop",
    "gaussian_blur",
    "get_dimensions",
    "get_image_size",
    "hflip",
    "invert",
    "normalize",
    "pad",
    "pil_to_tensor",
    "resize",
    "resized_crop",
    "rgb_to_grayscale",
    "rotate",
    "ten_crop",
    "to_grayscale",
    "to_pil_image",
    "to_tensor",
    "vflip",
]
