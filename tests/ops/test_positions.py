"""Pooling, indexing, sorting and scans through the public API: values and two gradients against PyTorch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cltorch

oracle = pytest.importorskip("torch")

_rng = np.random.default_rng(0)
IMAGE = _rng.standard_normal((2, 3, 9, 8))
A, S, S7 = _rng.standard_normal((5, 6)), _rng.standard_normal((4, 6)), _rng.standard_normal((7, 6))
INDEX = _rng.integers(0, 5, (4, 6))  # collides along dim 0
DISTINCT = np.stack([_rng.permutation(5)[:4] for _ in range(6)], 1)
VECTOR, FEW = _rng.integers(0, 5, 7), _rng.permutation(5)[:4]
ZEROS, ZEROS_OF_S = A.copy(), S.copy()
ZEROS[0], ZEROS[1, 1], ZEROS_OF_S[0, :3], ZEROS_OF_S[2] = 0, 0, 0, 0
HOLES = A.copy()
HOLES[0, 2], HOLES[0, 4], HOLES[2, 0] = 0, 0, 0


def functional(m: Any) -> Any:
    return m.nn.functional


def assigned(m: Any, a: Any, s: Any) -> Any:
    b = a * 1
    b[1:3] = s[:2]
    b[b > 1] = 0.5
    return b


CASES = {
    "max_pool2d": (lambda m, x: functional(m).max_pool2d(x, 2), IMAGE),
    "max_pool2d_overlapping": (lambda m, x: functional(m).max_pool2d(x, 3, 2, 1, 1, True), IMAGE),
    "max_pool2d_dilated": (lambda m, x: functional(m).max_pool2d(x, 3, 1, 1, 2, False, True), IMAGE),
    "max_pool1d": (lambda m, x: functional(m).max_pool1d(x[0], 2), IMAGE),
    "avg_pool2d": (lambda m, x: functional(m).avg_pool2d(x, 3, 2, 1, True, False), IMAGE),
    "avg_pool2d_padding": (lambda m, x: functional(m).avg_pool2d(x, 3, 2, 1, True, True), IMAGE),
    "avg_pool2d_divisor": (lambda m, x: functional(m).avg_pool2d(x, 2, divisor_override=3), IMAGE),
    "adaptive_avg_pool2d": (lambda m, x: functional(m).adaptive_avg_pool2d(x, (4, 3)), IMAGE),
    "adaptive_max_pool2d": (lambda m, x: functional(m).adaptive_max_pool2d(x, (4, 3), True), IMAGE),
    "gather": (lambda m, a, i: a.gather(0, i), A, INDEX),
    "index_select": (lambda m, a, i: a.index_select(0, i), A, VECTOR),
    "embedding": (lambda m, a, i: functional(m).embedding(i, a), A, VECTOR),
    "embedding_padding": (lambda m, a, i: functional(m).embedding(i, a, padding_idx=2), A, VECTOR),
    "getitem": (lambda m, a, i: a[i], A, VECTOR),
    "getitem_two": (lambda m, a, i: a[i, i], A, VECTOR),
    "getitem_mixed": (lambda m, a, i: a[:, i[:4], None], A, VECTOR),
    "getitem_mask": (lambda m, a: a[a > 0], A),
    "scatter": (lambda m, a, i, s: a.scatter(0, i, s), A, DISTINCT, S),
    "scatter_value": (lambda m, a, i: a.scatter(0, i, 2.5), A, INDEX),
    "scatter_add": (lambda m, a, i, s: a.scatter_add(0, i, s), A, INDEX, S),
    "scatter_prod_zeros": (lambda m, a, i, s: a.scatter_reduce(0, i, s, "prod"), ZEROS, INDEX, ZEROS_OF_S),
    "scatter_amax_ties": (lambda m, a, i, s: a.scatter_reduce(0, i, s, "amax"), np.round(A), INDEX, np.round(S)),
    "index_add": (lambda m, a, i, s: a.index_add(0, i, s, alpha=2), A, VECTOR, S7),
    "index_copy": (lambda m, a, i, s: a.index_copy(0, i, s), A, FEW, S),
    "index_fill": (lambda m, a, i: a.index_fill(0, i, 3.0), A, VECTOR),
    "index_put": (lambda m, a, i, s: a.index_put((i,), s), A, FEW, S),
    "index_put_accumulate": (lambda m, a, i, s: a.index_put((i,), s, accumulate=True), A, VECTOR, S7),
    "masked_select": (lambda m, a: a.masked_select(a > 0.3), A),
    "masked_scatter": (lambda m, a, s: a.masked_scatter(a > 0.3, s), A, _rng.standard_normal(40)),
    "setitem": (assigned, A, S),
    "nonzero": (lambda m, a: (a > 0).nonzero(), A),
    "sort": (lambda m, a: m.sort(a, 1), A),
    "sort_descending": (lambda m, a: m.sort(a, 0, descending=True), A),
    "topk": (lambda m, a: m.topk(a, 3, 1), A),
    "cumprod_zeros": (lambda m, a: m.cumprod(a, 1), ZEROS),
    "cumprod_holes": (lambda m, a: m.cumprod(a, 1), HOLES),
    "searchsorted": (lambda m, a, b: m.searchsorted(m.sort(a, 1)[0].detach(), b.detach()), A, A + 0.1),
    "bucketize": (lambda m, a: m.bucketize(a.detach(), m.tensor([-1.0, 0.0, 1.0], dtype=m.float64)), A),
    "bincount": (lambda m, i: m.bincount(i), VECTOR),
}
for _name in ("sum", "prod", "mean", "amax", "amin"):
    for _itself in (True, False):
        CASES[f"scatter_{_name}_{_itself}"] = (
            lambda m, a, i, s, name=_name, itself=_itself: a.scatter_reduce(0, i, s, name, include_self=itself),
            A,
            INDEX,
            S,
        )
for _name in ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"):
    for _dim in (0, 1):
        CASES[f"{_name}_{_dim}"] = (lambda m, a, name=_name, dim=_dim: getattr(m, name)(a, dim), A)


def results(m: Any, function: Any, arrays: tuple[np.ndarray, ...], once: bool) -> list[np.ndarray]:
    """Outputs, gradients of a curved function of them, gradients of the gradients' squares."""
    tensors = [m.tensor(a.tolist(), dtype=m.float64 if a.dtype.kind == "f" else m.int64) for a in arrays]
    floats = [t.requires_grad_(True) for t in tensors if t.is_floating_point()]
    made = function(m, *tensors)
    outs = list(made) if isinstance(made, (tuple, list)) else [made]
    found = list(outs)
    curved = [(o * o * m.cos(o * 0.1)).sum() for o in outs if o.requires_grad]
    if curved:
        first = [g for g in m.autograd.grad(sum(curved), floats, create_graph=True, allow_unused=True) if g is not None]
        found += first
        squares = sum((g * g).sum() for g in first)
        if squares.requires_grad and not once:
            found += [g for g in m.autograd.grad(squares, floats, allow_unused=True) if g is not None]
    return [np.asarray(t.detach().numpy()) for t in found]


@pytest.mark.parametrize("name", CASES)
def test_values_and_two_gradients(name):
    function, *arrays = CASES[name]
    once = name == "scatter_prod_zeros"  # PyTorch has no second gradient there
    wanted = results(oracle, function, tuple(arrays), once)
    got = results(cltorch, function, tuple(arrays), once)
    assert len(got) == len(wanted)
    for g, w in zip(got, wanted):
        np.testing.assert_allclose(g, w, rtol=1e-9, atol=1e-9)
