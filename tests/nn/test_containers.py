"""Containers against PyTorch's: indexing, editing, names, representation."""

from __future__ import annotations

import pytest
import torch

import cltorch
from cltorch import nn


def edit_sequential(lib):
    s = lib.nn.Sequential(lib.nn.Linear(1, 2), lib.nn.ReLU(), lib.nn.Linear(2, 3))
    s.append(lib.nn.Tanh())
    s.insert(1, lib.nn.Sigmoid())
    s[-1] = lib.nn.ELU()
    del s[0]
    s = s + lib.nn.Sequential(lib.nn.Identity())
    s *= 2
    s.pop(0)
    s.extend([lib.nn.GELU()])
    return [repr(s), repr(s[1:3]), len(s), repr(s[-1]), [n for n, _ in s.named_children()]]


def edit_list(lib):
    m = lib.nn.ModuleList([lib.nn.Linear(1, 1) for _ in range(3)])
    m.append(lib.nn.ReLU())
    m.insert(0, lib.nn.ReLU())
    m += [lib.nn.Tanh()]
    del m[1]
    m[0] = lib.nn.ELU()
    m.pop(-1)
    return [repr(m), repr(m[1:]), len(m), repr(m[-1]), repr(m + [lib.nn.GELU()])]


def edit_dict(lib):
    m = lib.nn.ModuleDict({"a": lib.nn.ReLU(), "b": lib.nn.Tanh()})
    m["c"] = lib.nn.ELU()
    m.update([("d", lib.nn.GELU())])
    m.pop("a")
    del m["b"]
    return [repr(m), list(m), list(m.keys()), "c" in m, len(m), [n for n, _ in m.items()]]


def edit_parameters(lib):
    p = lib.nn.ParameterList([lib.zeros(2), lib.ones(3)])
    p.append(lib.zeros(1))
    p[0] = lib.zeros(4)
    d = lib.nn.ParameterDict({"x": lib.zeros(2)})
    d["y"] = lib.ones(1)
    d.update({"z": lib.zeros(3)})
    d.pop("x")
    d.setdefault("w", lib.zeros(5))
    listed = [(n, tuple(v.shape), v.requires_grad) for m in (p, d) for n, v in m.named_parameters()]
    return [listed, len(p), len(p[1:]), list(d), "y" in d, d.get("nothing"), list(d | {"q": lib.zeros(1)})]


@pytest.mark.parametrize("edit", [edit_sequential, edit_list, edit_dict, edit_parameters], ids=lambda f: f.__name__)
def test_editing_gives_what_torch_gives(edit):
    assert edit(cltorch) == edit(torch)


@pytest.mark.parametrize(
    "act, kind",
    [
        (lambda: nn.Sequential(nn.ReLU())[1], IndexError),
        (lambda: nn.ModuleList([nn.ReLU()])[-2], IndexError),
        (lambda: nn.ModuleDict({"a": nn.ReLU()})["b"], KeyError),
        (lambda: nn.Sequential(3), TypeError),
        (lambda: nn.ModuleList(3), TypeError),
        (lambda: nn.ModuleDict({"items": nn.ReLU()}), KeyError),
        (lambda: nn.ModuleDict([("a",)]), ValueError),
        (lambda: nn.ParameterDict({3: cltorch.zeros(1)}), TypeError),
        (lambda: nn.ParameterList([cltorch.zeros(1)])(1), RuntimeError),
        (lambda: nn.Sequential(nn.ReLU()) * 0, ValueError),
        (lambda: nn.Sequential() + 3, ValueError),
    ],
)
def test_misuse_raises(act, kind):
    with pytest.raises(kind):
        act()
