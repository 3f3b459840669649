"""Reduction and contraction records against their references: dtypes, layouts, empty rows, and second derivatives."""

from __future__ import annotations

import numpy as np
import pytest

import cltorch as torch
from cltorch.dispatch import apply
from cltorch.ops.table import CONTRACTION, REDUCTION, TABLE

REDUCTIONS = [op for op in TABLE.values() if op.kind == REDUCTION]
RNG = np.random.default_rng(0)
FLOATS = RNG.uniform(0.5, 1.5, (4, 3, 5))
DIMS = [(0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)]


def values(dtype: str) -> np.ndarray:
    if dtype == "bool":
        return FLOATS > 0.7
    return FLOATS.astype(dtype) if dtype.startswith("f") else np.round(FLOATS * 6 - 6).astype(dtype)


@pytest.mark.parametrize("op", REDUCTIONS, ids=[op.name for op in REDUCTIONS])
def test_reductions(op) -> None:
    kinds = {"b": ["bool"], "i": ["int32", "int64"], "f": ["float32", "float64", "float16"]}
    dtypes = [d for letter in op.categories for d in kinds[letter] if not (d == "bool" and op.name.startswith("_arg"))]
    if op.categories == "bif":
        dtypes = [d for d in dtypes if d != "bool"]
    found = []
    for dtype in dtypes:
        x = torch.tensor(values(dtype))
        for given in (x, x.transpose(0, 2).contiguous().transpose(0, 2), torch.cat([x, x], 1)[:, :3]):
            found += [(dtype, dims, keep, apply(op, (given,), (dims, keep))) for dims in DIMS for keep in (False, True)]
    for dtype, dims, keep, result in found:
        wanted = op.reference(values(dtype).astype(np.float64) if dtype.startswith("f") else values(dtype), dims, keep)
        tolerance = {"float16": 4e-3, "float32": 1e-5}.get(dtype, 1e-12)
        assert result.shape == wanted.shape
        np.testing.assert_allclose(
            result.numpy().astype(np.float64), wanted.astype(np.float64), rtol=tolerance, err_msg=f"{dtype} {dims}"
        )


def test_empty_rows() -> None:
    x = torch.empty(3, 0)
    assert x.sum(1).tolist() == [0, 0, 0] and x.prod(1).tolist() == [1, 1, 1]
    assert x.sum().item() == 0 and x.all().item() is True and x.any().item() is False
    assert x.sum(0).shape == (0,) and x.amax(0).shape == (0,)
    with pytest.raises(IndexError, match="non-zero size"):
        x.amax(1)
    assert np.isnan(x.mean().item())


def test_0d() -> None:
    x = torch.tensor(3.0, requires_grad=True)
    total = x.sum() + x.prod() + x.amax() + x.max() + x.softmax(0) + x.mean() + x.sum(0) + x.logsumexp(0)
    total.backward()
    assert x.grad.item() == pytest.approx(7)
    assert x.argmax().item() == 0 and x.max(0).indices.item() == 0


CONTRACTIONS = {
    "_matmul": (((2, 5, 7), (2, 7, 3)), ()),
    "_conv2d": (((2, 4, 7, 6), (6, 2, 3, 2)), ((2, 1), (1, 0), (1, 2), 2, None)),
    "_conv2d_input": (((2, 6, 4, 4), (6, 2, 3, 2)), ((2, 1), (1, 0), (1, 2), 2, (7, 6))),
    "_conv2d_weight": (((2, 6, 4, 4), (2, 4, 7, 6)), ((2, 1), (1, 0), (1, 2), 2, (3, 2))),
    "_conv3d": (((1, 4, 4, 5, 4), (6, 2, 2, 3, 2)), ((1, 2, 1), (0, 1, 0), (2, 1, 1), 2, None)),
    "_conv3d_input": (((1, 6, 2, 3, 3), (6, 2, 2, 3, 2)), ((1, 2, 1), (0, 1, 0), (2, 1, 1), 2, (4, 5, 4))),
    "_conv3d_weight": (((1, 6, 2, 3, 3), (1, 4, 4, 5, 4)), ((1, 2, 1), (0, 1, 0), (2, 1, 1), 2, (2, 3, 2))),
}


def test_contractions_are_all_listed() -> None:
    assert set(CONTRACTIONS) == {op.name for op in TABLE.values() if op.kind == CONTRACTION and op.grad}


@pytest.mark.parametrize("name", CONTRACTIONS)
def test_contraction_forward_and_gradients(name: str) -> None:
    op, (shapes, attrs) = TABLE[name], CONTRACTIONS[name]
    a, b = (RNG.standard_normal(s) for s in shapes)
    np.testing.assert_allclose(
        apply(op, (torch.tensor(a), torch.tensor(b)), attrs).numpy(), op.reference(a, b, *attrs), rtol=1e-10, atol=1e-10
    )
    low = apply(op, (torch.tensor(a.astype(np.float32)), torch.tensor(b.astype(np.float32))), attrs).numpy()
    np.testing.assert_allclose(low, op.reference(a, b, *attrs), rtol=1e-4, atol=1e-4)
    x, y = (torch.tensor(v, requires_grad=True) for v in (a, b))
    assert torch.autograd.gradcheck(lambda x, y: apply(op, (x, y), attrs), (x, y))
    u, v = (torch.tensor(RNG.standard_normal(s)) for s in shapes)

    def slopes(x, y):
        out = apply(op, (x, y), attrs)
        return torch.autograd.grad((out * out).sum(), (x, y), create_graph=True)

    curve = torch.autograd.grad(sum((g * d).sum() for g, d in zip(slopes(x, y), (u, v))), (x, y))
    step = 1e-5
    ends = []
    for s in (step, -step):
        moved = [(t.detach() + d * s).requires_grad_() for t, d in ((x, u), (y, v))]
        ends.append([g.detach().numpy() for g in slopes(*moved)])
    for got, up, down in zip(curve, *ends):
        np.testing.assert_allclose(got.numpy(), (up - down) / (2 * step), rtol=1e-5, atol=1e-4)
