"""Datasets in torchvision's on-disk formats, written here, and their faults."""

import gzip
import pickle
import struct

import numpy as np
import pytest
from PIL import Image

import cltorch.vision as torchvision

RNG = np.random.default_rng(0)


def write_cifar10(root, n=4):
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    images = {}
    for name in ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"]:
        data = RNG.integers(0, 256, (n, 3072), np.uint8)
        labels = RNG.integers(0, 10, n).tolist()
        images[name] = (data, labels)
        (folder / name).write_bytes(
            pickle.dumps({"data": data, "labels": labels, "batch_label": name, "filenames": ["x"] * n}, 2)
        )
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class{i}" for i in range(10)]}, 2))
    return images


def test_cifar10(tmp_path):
    written = write_cifar10(tmp_path)
    train, test = (torchvision.datasets.CIFAR10(tmp_path, train=t, download=True) for t in (True, False))
    assert len(train) == 20 and len(test) == 4 and train.classes[3] == "class3"
    image, label = train[5]
    data, labels = written["data_batch_2"]
    assert image.size == (32, 32) and label == labels[1]
    np.testing.assert_array_equal(np.asarray(image).transpose(2, 0, 1).reshape(-1), data[1])


def test_cifar_faults(tmp_path):
    with pytest.raises(RuntimeError, match="download=True"):
        torchvision.datasets.CIFAR10(tmp_path)
    write_cifar10(tmp_path)
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    whole = batch.read_bytes()
    for damaged, text in [
        (whole[: len(whole) // 2], "not a CIFAR batch"),
        (pickle.dumps([1]), "wanted a dict"),
        (pickle.dumps({"data": np.zeros((2, 5), np.uint8), "labels": [1, 2]}), "3072"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}), "2 class numbers"),
        (b"cos\nsystem\n(S'echo hacked > /tmp/hacked'\ntR.", "refused"),
    ]:
        batch.write_bytes(damaged)
        with pytest.raises(RuntimeError, match=text):
            torchvision.datasets.CIFAR10(tmp_path)


@pytest.mark.parametrize("kind", ["MNIST", "FashionMNIST"])
def test_mnist(tmp_path, kind):
    folder = tmp_path / kind / "raw"
    folder.mkdir(parents=True)
    images, labels = RNG.integers(0, 256, (5, 28, 28), np.uint8), np.array([3, 1, 4, 1, 5], np.uint8)
    (folder / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">iiii", 0x803, 5, 28, 28) + images.tobytes())
    (folder / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">ii", 0x801, 5) + labels.tobytes())
    data = getattr(torchvision.datasets, kind)(tmp_path, train=False)
    image, label = data[2]
    assert label == 4 and len(data) == 5 and data.targets.tolist() == [3, 1, 4, 1, 5]
    np.testing.assert_array_equal(np.asarray(image), images[2])
    (folder / "t10k-images-idx3-ubyte").write_bytes(gzip.compress(b"no")[:30])
    with pytest.raises(RuntimeError, match="not an IDX file"):
        getattr(torchvision.datasets, kind)(tmp_path, train=False)
    (folder / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">iiii", 0x803, 5, 28, 28) + images.tobytes()[:-9])
    with pytest.raises(RuntimeError, match="wanted 3936"):
        getattr(torchvision.datasets, kind)(tmp_path, train=False)


def test_image_folder(tmp_path):
    for name in ("cat", "ant"):
        (tmp_path / name / "deep").mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.full((4, 6, 3), i * 50, np.uint8)).save(tmp_path / name / "deep" / f"{i}.png")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    data = torchvision.datasets.ImageFolder(tmp_path)
    assert data.classes == ["ant", "cat"] and data.targets == [0, 0, 1, 1]
    image, label = data[3]
    assert image.size == (6, 4) and image.mode == "RGB" and label == 1
    (tmp_path / "dog").mkdir()
    with pytest.raises(FileNotFoundError, match="dog"):
        torchvision.datasets.ImageFolder(tmp_path)
    with pytest.raises(FileNotFoundError, match="class folder"):
        torchvision.datasets.ImageFolder(tmp_path / "dog")


def test_digits():
    train, test = torchvision.datasets.Digits(train=True), torchvision.datasets.Digits(train=False)
    assert len(train) == 1437 and len(test) == 360
    assert train[0][0].size == (8, 8) and set(test.targets) == set(range(10))
    assert not {a.tobytes() for a in train.data[:50]} & {a.tobytes() for a in test.data}


def test_fake_data_is_reproducible():
    data = torchvision.datasets.FakeData(5, (3, 8, 9), transform=torchvision.transforms.ToTensor())
    assert data[1][0].tolist() == data[1][0].tolist() and data[1][0].shape == (3, 8, 9)
    with pytest.raises(IndexError):
        data[5]
    assert "Number of datapoints: 5" in repr(data)
