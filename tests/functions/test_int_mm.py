"""Products of 8-bit matrices with 32-bit sums, against NumPy, and PyTorch's refusals."""

from __future__ import annotations

import numpy as np
import pytest

import cltorch


@pytest.mark.parametrize("left", ["int8", "uint8"])
@pytest.mark.parametrize("m, k, n", [(33, 70, 19), (1, 5000, 3), (0, 4, 5), (4, 0, 5)])
def test_values(left: str, m: int, k: int, n: int) -> None:
    random = np.random.default_rng(0)
    facts = np.iinfo(left)
    a = random.integers(facts.min, facts.max, (m, k), dtype=left, endpoint=True)
    b = random.integers(-128, 127, (k, n), dtype=np.int8, endpoint=True)
    found = cltorch._int_mm(cltorch.tensor(a), cltorch.tensor(b))
    assert found.dtype is cltorch.int32
    np.testing.assert_array_equal(found.numpy(), a.astype(np.int32) @ b.astype(np.int32))


def test_transposed() -> None:
    a = np.arange(-12, 12, dtype=np.int8).reshape(4, 6)
    found = cltorch._int_mm(cltorch.tensor(a).t(), cltorch.tensor(a))
    np.testing.assert_array_equal(found.numpy(), a.T.astype(np.int32) @ a.astype(np.int32))


def test_refusals() -> None:
    small = cltorch.ones(3, 4, dtype=cltorch.int8)
    with pytest.raises(RuntimeError, match="needs to match"):
        cltorch._int_mm(small, small)
    with pytest.raises(RuntimeError, match="self dtype"):
        cltorch._int_mm(small.float(), small.t())
    with pytest.raises(RuntimeError, match="mat2 dtype"):
        cltorch._int_mm(small, small.t().int())
    with pytest.raises(RuntimeError, match="matrix"):
        cltorch._int_mm(small[0], small.t())
