"""Transforms against NumPy and Pillow, on PIL images and tensors."""

import numpy as np
import pytest
from PIL import Image

import cltorch as torch
import cltorch.vision.transforms as T
from cltorch.vision.transforms import functional as F
from cltorch.vision.utils import make_grid, save_image

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (9, 12, 3), np.uint8)
PICTURE = Image.fromarray(PIXELS)
TENSOR = torch.tensor(np.ascontiguousarray(PIXELS.transpose(2, 0, 1)))


def array(image):
    return np.asarray(image).transpose(2, 0, 1) if isinstance(image, Image.Image) else image.numpy()


def test_to_tensor():
    x = T.ToTensor()(PICTURE)
    assert x.dtype is torch.float32 and x.shape == (3, 9, 12)
    np.testing.assert_allclose(x.numpy(), PIXELS.transpose(2, 0, 1) / 255, rtol=1e-6)
    assert T.ToTensor()(np.ones((4, 5), np.float64)).shape == (1, 4, 5)
    assert T.PILToTensor()(PICTURE).dtype is torch.uint8
    with pytest.raises(TypeError, match="PIL Image or ndarray"):
        T.ToTensor()("no")
    with pytest.raises(ValueError, match="2/3 dimensional"):
        T.ToTensor()(np.ones(3))
    np.testing.assert_array_equal(np.asarray(T.ToPILImage()(x)), PIXELS)


def test_normalize():
    x = T.ToTensor()(PICTURE)
    y = T.Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))(x).numpy()
    for c, (m, s) in enumerate(zip((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))):
        np.testing.assert_allclose(y[c], (x.numpy()[c] - m) / s, rtol=1e-5, atol=1e-6)
    with pytest.raises(TypeError, match="float tensor"):
        F.normalize(TENSOR, (0.5,) * 3, (0.5,) * 3)
    with pytest.raises(ValueError, match="division by zero"):
        F.normalize(x, (0.5,) * 3, (0.5, 0, 0.5))


@pytest.mark.parametrize("image", [PICTURE, TENSOR], ids=["pil", "tensor"])
@pytest.mark.parametrize(
    "function, expected",
    [
        (F.hflip, lambda a: a[:, :, ::-1]),
        (F.vflip, lambda a: a[:, ::-1]),
        (lambda i: F.crop(i, 2, 3, 4, 5), lambda a: a[:, 2:6, 3:8]),
        (lambda i: F.pad(i, (1, 2, 3, 4)), lambda a: np.pad(a, ((0, 0), (2, 4), (1, 3)))),
        (lambda i: F.pad(i, 2, padding_mode="reflect"), lambda a: np.pad(a, ((0, 0), (2, 2), (2, 2)), mode="reflect")),
        (lambda i: F.center_crop(i, (3, 4)), lambda a: a[:, 3:6, 4:8]),
        (F.invert, lambda a: 255 - a),
        (lambda i: F.crop(i, -1, -2, 4, 5), lambda a: np.pad(a, ((0, 0), (1, 0), (2, 0)))[:, :4, :5]),
    ],
)
def test_exact_forms(image, function, expected):
    np.testing.assert_array_equal(array(function(image)), expected(array(image)))


def test_resize_sizes():
    assert T.Resize(18)(PICTURE).size == (24, 18) and T.Resize((5, 7))(PICTURE).size == (7, 5)
    np.testing.assert_allclose(array(T.Resize((5, 7))(PICTURE)), array(T.Resize((5, 7))(TENSOR)), atol=1)
    assert T.Resize(18, max_size=20)(PICTURE).size[0] == 20
    with pytest.raises(ValueError, match="positive int"):
        F.resize(PICTURE, 0)


def test_colours_agree_between_forms():
    for function, factor in [(F.adjust_brightness, 1.3), (F.adjust_contrast, 0.6), (F.adjust_saturation, 1.7)]:
        np.testing.assert_allclose(array(function(PICTURE, factor)), array(function(TENSOR, factor)), atol=3)
    assert array(F.rgb_to_grayscale(TENSOR, 3)).shape == (3, 9, 12)
    np.testing.assert_array_equal(array(F.adjust_hue(TENSOR, 0.0)).shape, TENSOR.shape)
    with pytest.raises(ValueError, match="hue_factor"):
        F.adjust_hue(PICTURE, 0.9)
    with pytest.raises(ValueError, match="non-negative"):
        F.adjust_brightness(PICTURE, -1)


@pytest.mark.parametrize("image", [PICTURE, TENSOR], ids=["pil", "tensor"])
@pytest.mark.parametrize(
    "make, shape",
    [
        (lambda: T.RandomCrop(6, padding=2), (3, 6, 6)),
        (lambda: T.RandomResizedCrop((5, 4)), (3, 5, 4)),
        (lambda: T.RandomRotation(30), (3, 9, 12)),
        (lambda: T.ColorJitter(0.4, 0.4, 0.4, 0.2), (3, 9, 12)),
        (lambda: T.GaussianBlur(3), (3, 9, 12)),
        (lambda: T.RandomGrayscale(1.0), (3, 9, 12)),
        (lambda: T.RandomApply([T.RandomHorizontalFlip(1.0)], 0.5), (3, 9, 12)),
        (lambda: T.RandomOrder([T.RandomInvert(1.0), T.RandomVerticalFlip(1.0)]), (3, 9, 12)),
        (lambda: T.RandomChoice([T.RandomInvert(1.0), T.RandomVerticalFlip(1.0)]), (3, 9, 12)),
    ],
)
def test_random_transforms_follow_the_seed(image, make, shape):
    transform = make()
    results = []
    for seed in (1, 1, *range(2, 8)):
        torch.manual_seed(seed)
        results.append(array(transform(image)))
    assert results[0].shape == shape
    np.testing.assert_array_equal(results[0], results[1])
    if not isinstance(transform, (T.RandomGrayscale, T.RandomOrder)):
        assert any(not np.array_equal(results[0], r) for r in results[2:])


def test_random_erasing_and_crops():
    torch.manual_seed(0)
    x = torch.ones(3, 20, 20)
    y = T.RandomErasing(1.0)(x)
    assert 0 < (y == 0).sum().item() < 3 * 20 * 20 and x.min().item() == 1
    assert len(T.FiveCrop(4)(PICTURE)) == 5 and len(T.TenCrop(4)(TENSOR)) == 10
    with pytest.raises(ValueError, match="larger than input"):
        T.RandomCrop(50)(PICTURE)
    with pytest.raises(ValueError, match="bigger than input"):
        T.FiveCrop(50)(PICTURE)


def test_dtype_conversion():
    x = T.ConvertImageDtype(torch.float32)(TENSOR)
    np.testing.assert_allclose(x.numpy(), TENSOR.numpy() / 255, rtol=1e-6)
    np.testing.assert_array_equal(T.ConvertImageDtype(torch.uint8)(x).numpy(), TENSOR.numpy())


def test_compose_and_repr():
    both = T.Compose([T.Resize(4), T.ToTensor()])
    assert both(PICTURE).shape == (3, 4, 5) and "Resize(size=4" in repr(both)


def test_grid(tmp_path):
    grid = make_grid(torch.ones(5, 1, 4, 6), nrow=3, padding=1)
    assert grid.shape == (3, 11, 22)
    save_image(torch.rand(5, 3, 4, 6), tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as picture:
        assert picture.size == (42, 8)
