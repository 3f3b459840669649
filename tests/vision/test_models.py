"""Image models: torchvision's keys and sizes, the papers' arithmetic, and the same numbers as PyTorch gives on the same
source.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest

import cltorch
from benchmarks.peer_source import vision_models
from cltorch.vision import models

RNG = np.random.default_rng(0)
PARAMETERS = {  # as torchvision's documentation and the papers have them
    "densenet121": 7_978_856,
    "densenet161": 28_681_000,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "mobilenet_v2": 3_504_872,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnext50_32x4d": 25_028_904,
    "vgg11": 132_863_336,
    "vgg11_bn": 132_868_840,
    "vgg13": 133_047_848,
    "vgg13_bn": 133_053_736,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vgg19": 143_667_240,
    "vgg19_bn": 143_678_248,
    "wide_resnet50_2": 68_883_240,
}


@pytest.fixture(scope="module")
def peers():
    """The same files, read with PyTorch's nn."""
    return vision_models(pytest.importorskip("torch"))


def test_every_model_has_a_known_size() -> None:
    assert models.list_models() == sorted(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_number_of_parameters(name: str, peers) -> None:
    torch = sys.modules["torch"]
    with torch.device("meta"):  # sizes without the work of drawing weights
        model = peers.get_model(name)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


SMALL = {"num_classes": 10, "small_images": True}


@pytest.mark.parametrize(
    "name, given, size",
    [
        ("resnet18", SMALL, 32),
        ("resnet18", {"num_classes": 7}, 64),
        ("resnet50", {"num_classes": 7, "replace_stride_with_dilation": [False, True, True]}, 48),
        ("resnext50_32x4d", {"num_classes": 7}, 48),
        ("vgg11", SMALL, 32),
        ("vgg11_bn", SMALL, 32),
        ("mobilenet_v2", SMALL, 32),
        ("mobilenet_v2", {"width_mult": 0.35, "num_classes": 7}, 64),
        ("densenet121", {"block_config": (2, 3), "num_classes": 7}, 48),
    ],
)
def test_the_same_numbers_as_pytorch(name: str, given: dict, size: int, peers) -> None:
    torch = sys.modules["torch"]
    torch.manual_seed(0)
    if name == "densenet121":
        ours, peer = models.DenseNet(8, num_init_features=16, **given), peers.DenseNet(8, num_init_features=16, **given)
    else:
        ours, peer = models.get_model(name, **given), peers.get_model(name, **given)
    state = peer.state_dict()
    assert list(ours.state_dict()) == list(state)
    ours.load_state_dict({key: cltorch.tensor(value.numpy()) for key, value in state.items()})
    x = RNG.standard_normal((2, 3, size, size)).astype(np.float32)
    with cltorch.no_grad(), torch.no_grad():
        got, wanted = ours.eval()(cltorch.tensor(x)).numpy(), peer.eval()(torch.tensor(x)).numpy()
    np.testing.assert_allclose(got, wanted, atol=2e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("name", ["mobilenet_v2", "densenet_bc", "resnet18"])
def test_gradients_of_a_training_step_as_pytorchs(name: str, peers) -> None:
    torch = sys.modules["torch"]

    def build(side, module):
        if name == "densenet_bc":
            return side.DenseNet(6, (2, 2), 8, num_classes=10, small_images=True)
        if name == "mobilenet_v2":
            setting = [[1, 8, 1, 1], [6, 16, 2, 2], [6, 24, 1, 2]]
            return side.MobileNetV2(10, inverted_residual_setting=setting, dropout=0.0, small_images=True)
        return side.ResNet(side.BasicBlock, [1, 1, 1, 1], num_classes=10, small_images=True)

    ours, peer = build(models, cltorch), build(peers, torch)
    ours.load_state_dict({key: cltorch.tensor(value.numpy()) for key, value in peer.state_dict().items()})
    x, labels = RNG.standard_normal((4, 3, 16, 16)).astype(np.float32), RNG.integers(0, 10, 4)
    losses = []
    for module, model in ((cltorch, ours), (torch, peer)):
        loss = module.nn.functional.cross_entropy(model(module.tensor(x)), module.tensor(labels))
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for (key, p), q in zip(ours.named_parameters(), peer.parameters(), strict=True):
        wanted = q.grad.numpy()
        # batch norm over few values divides by small deviations: rounding grows with depth on either side
        np.testing.assert_allclose(p.grad.numpy(), wanted, atol=2e-3 * np.abs(wanted).max() + 1e-6, err_msg=key)
    for key, value in peer.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[key].numpy(), value.numpy(), rtol=1e-3, atol=1e-5, err_msg=key)


def test_keys_as_torchvisions() -> None:
    keys = set(models.mobilenet_v2(num_classes=3, width_mult=0.1).state_dict())
    assert {"features.0.0.weight", "features.1.conv.0.0.weight", "features.1.conv.1.weight", "features.2.conv.3.bias",
            "features.18.1.running_var", "classifier.1.weight"} <= keys  # fmt: skip
    keys = set(models.DenseNet(4, (1, 1), 8, num_classes=3).state_dict())
    assert {"features.conv0.weight", "features.norm0.bias", "features.denseblock1.denselayer1.conv2.weight",
            "features.transition1.conv.weight", "features.norm5.running_mean", "classifier.bias"} <= keys  # fmt: skip
    keys = set(models.vgg11_bn(small_images=True).state_dict())
    assert {"features.0.weight", "features.1.running_mean", "features.25.weight", "classifier.weight"} <= keys


def test_initialisation() -> None:
    model = models.mobilenet_v2(num_classes=40, small_images=True)
    weight = model.features[18][0].weight  # 320 -> 1280, 1x1: fan out 1280
    assert weight.std().item() == pytest.approx((2 / 1280) ** 0.5, rel=0.02)
    assert model.classifier[1].weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert model.classifier[1].bias.abs().max().item() == 0
    model = models.vgg11(small_images=True, num_classes=100)
    assert model.features[18].weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.02)
    assert model.features[18].bias.abs().max().item() == 0
    model = models.DenseNet(32, (2,), 64, num_classes=4)
    weight = model.features.denseblock1.denselayer2.conv1.weight  # 96 -> 128, 1x1: fan in 96
    assert weight.std().item() == pytest.approx((2 / 96) ** 0.5, rel=0.04)
    model = models.resnet18(zero_init_residual=True, **SMALL)
    assert model.layer3[1].bn2.weight.abs().max().item() == 0 and model.layer3[1].bn1.weight.min().item() == 1


def test_memory_efficient_densenet_has_the_same_gradients() -> None:
    x = cltorch.tensor(RNG.standard_normal((2, 3, 16, 16)).astype(np.float32))
    plain = models.DenseNet(4, (3,), 8, num_classes=5, small_images=True)
    saving = models.DenseNet(4, (3,), 8, num_classes=5, small_images=True, memory_efficient=True)
    saving.load_state_dict(plain.state_dict())
    for model in (plain, saving):
        model(x).square().sum().backward()
    for (key, p), q in zip(saving.named_parameters(), plain.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-4, atol=1e-5, err_msg=key)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="resnet18: weights: got 'DEFAULT', wanted None"):
        models.resnet18(weights="DEFAULT")
    with pytest.raises(ValueError, match="get_model: name: got 'alexnet'"):
        models.get_model("alexnet")
    with pytest.raises(ValueError, match="base_width: got 2, 64"):
        models.ResNet(models.BasicBlock, [1, 1, 1, 1], groups=2)
    with pytest.raises(NotImplementedError, match="dilation: got 2"):
        models.BasicBlock(8, 8, dilation=2)
    with pytest.raises(ValueError, match="wanted None or 3 bools"):
        models.resnet50(replace_stride_with_dilation=[True])
    with pytest.raises(ValueError, match="stride: got 3"):
        models.InvertedResidual(8, 8, 3, 1)
    with pytest.raises(ValueError, match="stages of 4 numbers"):
        models.MobileNetV2(inverted_residual_setting=[[1, 2, 3]])
