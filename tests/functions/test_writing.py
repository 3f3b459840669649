"""Overwriting by host functions and patterns; corners of composites; reductions of nothing, outside the graph too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cltorch
from cltorch import direct
from cltorch.ops import reductions


def on_both(function):
    return function(cltorch), function(torch)


@pytest.mark.parametrize("shape, wrap", [((7, 3), True), ((7, 3), False), ((3, 5), True), ((3, 3, 3), False)])
def test_fill_diagonal(shape, wrap) -> None:
    mine, theirs = on_both(lambda lib: lib.zeros(*shape).fill_diagonal_(2, wrap))
    np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def test_host_functions_and_triangles() -> None:
    x = cltorch.arange(4.0).reshape(2, 2).t()
    assert x.apply_(lambda v: v + 1).tolist() == [[1, 3], [2, 4]]
    assert x.map_(cltorch.ones(2, 2), lambda a, b: a - b).tolist() == [[0, 2], [1, 3]]
    assert x.triu_().tolist() == [[0, 2], [0, 3]]
    assert x.new([1, 2]).dtype is x.dtype
    assert x.new(2, 3).shape == (2, 3)
    with pytest.raises(TypeError, match="requires grad"):
        cltorch.ones(1, requires_grad=True).apply_(abs)


def test_storage_is_known_by_its_views() -> None:
    x = cltorch.zeros(4, 2)
    assert x.untyped_storage() == x[1].untyped_storage()
    assert x.untyped_storage() != x.clone().untyped_storage()
    assert x.untyped_storage().nbytes() == 32


@pytest.mark.parametrize(
    "op, wanted", [(reductions.SUM, 0), (reductions.PROD, 1), (reductions.ANY, False), (reductions.ALL, True)]
)
def test_reductions_of_nothing_give_the_identity(op, wanted) -> None:
    empty = cltorch.empty(3, 0, dtype=cltorch.bool if isinstance(wanted, bool) else cltorch.float32)
    for _ in range(2):
        assert direct.run(op, (empty,), ((1,), False)).tolist() == [wanted] * 3


CORNERS = {
    "similarity": lambda lib: lib.nn.functional.cosine_similarity(lib.ones(1, 2, 3), lib.arange(6.0).view(2, 1, 3), -2),
    "replicated": lambda lib: lib.nn.functional.pad(lib.arange(8.0).view(1, 2, 4), (-4, 5), "replicate"),
    "patches": lambda lib: lib.nn.functional.unfold(lib.zeros(0, 1, 3, 3), 2),
    "beyond": lambda lib: lib.nn.functional.conv_transpose2d(
        lib.ones(1, 1, 2, 2), lib.ones(1, 1, 3, 3), stride=1, dilation=2, output_padding=1
    ),
    "bicubic": lambda lib: lib.nn.functional.interpolate(lib.arange(12.0).view(1, 1, 3, 4), (5, 3), mode="bicubic"),
    "unique": lambda lib: lib.unique(lib.zeros(0, 3), dim=0),
    "taken": lambda lib: lib.take(lib.arange(4.0), lib.tensor(2)),
    "truncated": lambda lib: lib.addmm(lib.ones(1, dtype=lib.int64), *[lib.ones(2, 2, dtype=lib.int64)] * 2, alpha=1.7),
    "powers": lambda lib: lib.logspace(2, 3.9, 4, 2, dtype=lib.int64),
}


@pytest.mark.parametrize("name", CORNERS)
def test_corners(name) -> None:
    mine, theirs = on_both(CORNERS[name])
    np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-5)
