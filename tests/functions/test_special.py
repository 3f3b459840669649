"""Special functions, windows and masked functions where the table's tests do not reach: edges, dtypes, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import torch as oracle

import cltorch

EDGES = [0.0, -0.0, math.nan, -1.0, 1.0, 1e300, 0.5, 30.0]
UNARY = (
    "i0 i0e i1 i1e modified_bessel_k0 modified_bessel_k1 scaled_modified_bessel_k0 scaled_modified_bessel_k1 "
    "bessel_j0 bessel_j1 bessel_y0 bessel_y1 spherical_bessel_j0 airy_ai erfcx log_ndtr ndtri entr"
).split()


def test_every_name_of_pytorch_is_there() -> None:
    for room in ("special", "signal.windows"):
        theirs, ours = oracle, cltorch
        for part in room.split("."):
            theirs, ours = getattr(theirs, part), getattr(ours, part)
        assert not [name for name in theirs.__all__ if not hasattr(ours, name)]


def test_edges_as_in_pytorch() -> None:
    values = [x for x in EDGES if abs(x) < 1e10 or math.isnan(x)]
    ours = {name: getattr(cltorch.special, name)(cltorch.tensor(values, dtype=cltorch.double)) for name in UNARY}
    for name in UNARY:
        wanted = getattr(oracle.special, name)(oracle.tensor(values, dtype=oracle.double)).numpy()
        np.testing.assert_allclose(ours[name].numpy(), wanted, rtol=1e-12, atol=1e-14, err_msg=name)


def test_lower_tails_keep_their_digits() -> None:
    x = cltorch.tensor([-35.25, -20.5], dtype=cltorch.double)
    np.testing.assert_allclose(cltorch.special.ndtr(x).numpy()[1], scipy.special.ndtr(-20.5), rtol=1e-12)
    back = cltorch.special.ndtri(cltorch.special.ndtr(x)).numpy()
    np.testing.assert_allclose(back, x.numpy(), rtol=1e-14)


def test_incomplete_gamma_in_each_region() -> None:
    a = np.array([0.3, 0.01, 5, 19, 20, 100, 100, 1e4, 1e4, 30, 0, 2, np.inf])
    x = np.array([0.2, 1.4, 9, 3, 21, 95, 300, 10100, 9900, 5, 2, 0, 1])
    made = [f(cltorch.tensor(a), cltorch.tensor(x)) for f in (cltorch.igamma, cltorch.igammac)]
    for got, name in zip(made, ("gammainc", "gammaincc")):
        np.testing.assert_allclose(got.numpy()[:-3], getattr(scipy.special, name)(a, x)[:-3], rtol=2e-13)
    assert made[0].tolist()[-3:] == [1, 0, 0] and made[1].tolist()[-3:] == [0, 1, 1]
    bad = cltorch.igamma(cltorch.tensor([-1.0, 1.0, 0.0]), cltorch.tensor([1.0, -1.0, 0.0]))
    assert bad.isnan().all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_parts_and_neighbours(dtype: str) -> None:
    values, towards = [3.0, 0.0, -0.75, math.inf, 96.0], [9.0, 1.0, 0.0, 0.0, 96.0]
    ours, theirs = getattr(cltorch, dtype), getattr(oracle, dtype)
    mantissa, exponent = cltorch.frexp(cltorch.tensor(values, dtype=ours))
    wanted = oracle.frexp(oracle.tensor(values, dtype=theirs))
    assert mantissa.tolist() == wanted.mantissa.tolist() and exponent.tolist() == wanted.exponent.tolist()
    assert exponent.dtype is cltorch.int32
    step = cltorch.nextafter(cltorch.tensor(values, dtype=ours), cltorch.tensor(towards, dtype=ours))
    assert (
        step.tolist()
        == oracle.nextafter(oracle.tensor(values, dtype=theirs), oracle.tensor(towards, dtype=theirs)).tolist()
    )


def test_windows() -> None:
    for name in ("hann", "hamming", "blackman", "bartlett", "kaiser"):
        for length, periodic in ((0, True), (1, False), (7, True), (8, False)):
            wanted = getattr(oracle, name + "_window")(length, periodic).numpy()
            got = getattr(cltorch, name + "_window")(length, periodic).numpy()
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    assert cltorch.signal.windows.hann(5, requires_grad=True).requires_grad
    for wrong in ({"M": -1}, {"M": 3, "dtype": cltorch.int32}, {"M": 3, "layout": "sparse_coo"}):
        with pytest.raises(ValueError, match="general_cosine"):
            cltorch.signal.windows.hann(**wrong)
    with pytest.raises(RuntimeError, match="non-negative"):
        cltorch.hann_window(-1)
    with pytest.raises(ValueError, match="Center"):
        cltorch.signal.windows.exponential(4, center=1.0)


def test_masked_errors_and_empty_rows() -> None:
    masked, x = cltorch.masked, cltorch.tensor([[1.0, 2.0], [3.0, 4.0]])
    mask = cltorch.tensor([[True, False], [False, False]])
    assert masked.sum(x, 1, mask=mask).tolist() == [1, 0]
    assert masked.amax(x, 1, mask=mask).tolist() == [1, -math.inf]
    assert masked.mean(x, 1, mask=mask).isnan().tolist() == [False, True]
    with pytest.raises(ValueError, match="fully masked"):
        masked.median(x.int(), 1, mask=mask)
    with pytest.raises(IndexError, match="broadcastable"):
        masked.sum(x[0], mask=mask)
    with pytest.raises(NotImplementedError, match="masked_tensor"):
        masked.masked_tensor(x, mask)
