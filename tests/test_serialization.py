"""Checkpoints: round trips, PyTorch's own, damage, hostile files."""

import errno
import io
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

import cltorch as torch

DTYPES = ["float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool"]


def through(obj, **options):
    file = io.BytesIO()
    torch.save(obj, file)
    return torch.load(io.BytesIO(file.getvalue()), **options)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (0, 3), (4, 5)])
def test_every_dtype(name, shape):
    x = (torch.arange(20).reshape(4, 5) if shape == (4, 5) else torch.ones(shape)).to(getattr(torch, name))
    y = through(x)
    assert y.dtype is x.dtype and y.shape == x.shape and y.tolist() == x.tolist()


def test_views_and_shared_storages():
    base = torch.arange(12.0).reshape(3, 4)
    saved = through(
        {
            "base": base,
            "t": base.t(),
            "row": base[1],
            "list": [1, 2.5, "s", None, (True,)],
            "size": base.shape,
            "dtype": torch.float16,
            "device": base.device,
        }
    )
    assert saved["t"].stride() == (1, 4) and saved["row"].tolist() == [4, 5, 6, 7]
    saved["base"][1, 0] = 99
    assert saved["row"][0].item() == 99 and saved["t"][0, 1].item() == 99
    assert saved["list"] == [1, 2.5, "s", None, (True,)] and saved["size"] == (3, 4) and saved["dtype"] is torch.float16


def test_module_and_optimizer_resume(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)

    def step(model, optimizer):
        optimizer.zero_grad()
        model(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()

    step(model, optimizer)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "a.pt")
    step(model, optimizer)
    other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    saved = torch.load(tmp_path / "a.pt")
    other.load_state_dict(saved["model"])
    resumed = torch.optim.Adam(other.parameters(), lr=0.5)
    resumed.load_state_dict(saved["optimizer"])
    step(other, resumed)
    for p, q in zip(model.parameters(), other.parameters()):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-6)


def test_pytorch_reads_what_we_write(tmp_path):
    peer = pytest.importorskip("torch")
    state = {n: torch.arange(6).reshape(2, 3).to(getattr(torch, n)) for n in DTYPES}
    state["t"] = state["float32"].t()
    state["parameter"] = torch.nn.Parameter(torch.ones(3))
    torch.save({"state": OrderedDict(state), "epoch": 3, "lr": 0.1}, tmp_path / "ours.pt")
    for mmap in (False, True):
        found = peer.load(tmp_path / "ours.pt", weights_only=True, mmap=mmap)
        assert found["epoch"] == 3
        for name in DTYPES:
            assert found["state"][name].dtype is getattr(peer, name)
            assert found["state"][name].tolist() == state[name].tolist()
        assert found["state"]["t"].stride() == (1, 3) and isinstance(found["state"]["parameter"], peer.nn.Parameter)


def test_we_read_what_pytorch_writes(tmp_path):
    peer = pytest.importorskip("torch")
    base = peer.arange(6.0).reshape(2, 3)
    state = {n: peer.arange(6).reshape(2, 3).to(getattr(peer, n)) for n in DTYPES}
    net = peer.nn.Sequential(peer.nn.Linear(3, 4), peer.nn.BatchNorm1d(4))
    sgd = peer.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(peer.ones(2, 3)).sum().backward()
    sgd.step()
    peer.save(
        {
            **state,
            "t": base.t(),
            "view": base[1],
            "net": net.state_dict(),
            "sgd": sgd.state_dict(),
            "p": peer.nn.Parameter(base),
        },
        tmp_path / "theirs.pt",
    )
    for mmap in (False, True):
        found = torch.load(tmp_path / "theirs.pt", mmap=mmap)
        for name in DTYPES:
            assert found[name].dtype is getattr(torch, name) and found[name].tolist() == state[name].tolist()
        assert found["t"].tolist() == base.t().tolist() and found["view"].tolist() == [3, 4, 5]
        ours = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
        ours.load_state_dict(found["net"])
        torch.optim.SGD(ours.parameters(), lr=0.5, momentum=0.9).load_state_dict(found["sgd"])
        np.testing.assert_allclose(ours[0].weight.detach().numpy(), net[0].weight.detach().numpy())


def test_truncated_and_damaged_files(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"x": torch.arange(1000.0)}, path)
    whole = path.read_bytes()
    for cut in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(RuntimeError, match="cut short|damaged"):
            torch.load(path)
    middle = whole.index(np.arange(1000, dtype=np.float32)[500:510].tobytes())
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    with pytest.raises(RuntimeError, match="damaged"):
        torch.load(path)
    path.write_bytes(pickle.dumps({"x": 1}))
    with pytest.raises(RuntimeError, match="not a checkpoint"):
        torch.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello", "world")
    with pytest.raises(RuntimeError, match="no checkpoint"):
        torch.load(path)
    with pytest.raises(FileNotFoundError):
        torch.load(tmp_path / "none.pt")


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_hostile_pickles_run_nothing(tmp_path):
    path, trap = tmp_path / "bad.pt", tmp_path / "trap"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Hostile(trap), 2))
        archive.writestr("archive/version", "3\n")
    with pytest.raises(pickle.UnpicklingError, match="system"):
        torch.load(path)
    assert not trap.exists()


def test_a_tensor_that_reaches_outside_its_storage_is_refused(tmp_path):
    path = tmp_path / "a.pt"
    torch.save(torch.arange(4.0), path)
    with zipfile.ZipFile(path) as archive:
        entries = {n: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data[:-4] if name.endswith("data/0") else data)
    with pytest.raises((RuntimeError, pickle.UnpicklingError), match="damaged|outside"):
        torch.load(path)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    torch.save({"x": 1}, path)

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        torch.save({"x": 2}, path)
    assert torch.load(path) == {"x": 1} and os.listdir(tmp_path) == ["a.pt"]


def test_safetensors_round_trip(tmp_path):
    pytest.importorskip("safetensors")
    tensors = {n: torch.arange(6).reshape(2, 3).to(getattr(torch, n)) for n in DTYPES}
    torch.save_safetensors(tensors, tmp_path / "a.safetensors", {"format": "pt"})
    found = torch.load_safetensors(tmp_path / "a.safetensors")
    assert all(found[n].dtype is t.dtype and found[n].tolist() == t.tolist() for n, t in tensors.items())
    peer = pytest.importorskip("torch")
    assert peer is not None
    from safetensors.torch import load_file

    assert load_file(tmp_path / "a.safetensors")["bfloat16"].dtype is peer.bfloat16
    (tmp_path / "a.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(RuntimeError, match="safetensors"):
        torch.load_safetensors(tmp_path / "a.safetensors")
