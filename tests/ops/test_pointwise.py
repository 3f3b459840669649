"""Every pointwise record against its NumPy or SciPy reference, in every dtype; and gradients by finite differences.

All records of one dtype are recorded first and run in one flush, so the file costs a handful of program builds.
"""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest

import cltorch as torch
from cltorch.dispatch import apply
from cltorch.ops.table import POINTWISE, TABLE, Op

DTYPES = {
    "f": ("float32", "float64", "float16", "bfloat16"),
    "i": ("int8", "int16", "int32", "int64", "uint8"),
    "b": ("bool",),
}
TOLERANCE = {"float32": 8e-6, "float64": 1e-11, "float16": 2e-3, "bfloat16": 2e-2}
OPS = [op for op in TABLE.values() if op.kind == POINTWISE and op.reference is not None and op.promote != "none"]
LETTER = {name: letter for letter, names in DTYPES.items() for name in names}
SHAPE = (5, 7)
NUMBERS = {"_polygamma": (1,)}  # operands that are numbers although their domain has a width


def domains(op: Op) -> list[tuple[float, float]]:
    given = list(op.domain) if isinstance(op.domain[0], tuple) else [op.domain] * op.arity
    return given + [given[-1]] * (op.arity - len(given))


def is_number(op: Op, i: int) -> bool:
    low, high = domains(op)[i]
    return low == high or i in NUMBERS.get(op.name, ())


@functools.cache
def operands(op: Op, dtype: str) -> tuple:
    """Values in the op's domain, with one operand non-contiguous; numbers where the domain is one value."""
    rng = np.random.default_rng(sum(map(ord, op.name)))
    found = []
    for i, (low, high) in enumerate(domains(op)):
        if is_number(op, i):
            found.append(float(low) if LETTER[dtype] == "f" else int(abs(low)))
        elif LETTER[dtype] == "f":
            values = rng.uniform(low, high, SHAPE)
            if dtype == "bfloat16":
                values = (values.astype(np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)
            found.append(values.astype(np.float32 if dtype == "bfloat16" else dtype))
        elif dtype == "bool":
            found.append(rng.integers(0, 2, SHAPE).astype(bool))
        else:
            least = max(int(low), 0) if dtype == "uint8" or (op.name == "pow" and i) else int(low)
            found.append(rng.integers(least, max(int(high), least) + 1, SHAPE).astype(dtype))
    return tuple(found)


def tensors(op: Op, dtype: str) -> list:
    kind = getattr(torch, dtype)
    made = [torch.tensor(a, dtype=kind) if isinstance(a, np.ndarray) else a for a in operands(op, dtype)]
    if isinstance(made[0], torch.Tensor):
        made[0] = made[0].t().contiguous().t()  # other strides, same values
    return made


@functools.cache
def computed(dtype: str) -> dict:
    """Results of all records in one dtype, recorded together."""
    return {op.name: apply(op, tuple(tensors(op, dtype))) for op, wanted in CASES if wanted == dtype}


def expected(op: Op, dtype: str) -> np.ndarray:
    values = [
        a.astype(np.float64) if isinstance(a, np.ndarray) and (a.dtype.kind == "f" or op.promote == "float") else a
        for a in operands(op, dtype)
    ]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(op.reference(*values))


REDUNDANT = ("bfloat16", "int16", "int32")  # the text of float16, int8 and int64 with other words in it: some records
SAMPLED = ("add", "div", "pow", "exp", "floor_divide", "remainder", "bitwise_left_shift", "maximum", "gcd", "eq")
CASES = [
    (op, dtype)
    for op in OPS
    for letter in op.categories
    for dtype in DTYPES[letter]
    if dtype not in REDUNDANT or op.name in SAMPLED
]
UNDEFINED = {("sign", "bool"), ("sgn", "bool"), ("_clamp", "uint8"), ("_hardtanh", "uint8"), ("heaviside", "bool")}


@pytest.mark.parametrize(("op", "dtype"), CASES, ids=[f"{op.name}-{dtype}" for op, dtype in CASES])
def test_forward(op: Op, dtype: str) -> None:
    if (op.name, dtype) in UNDEFINED:
        pytest.skip("NumPy's function is not defined there")
    result = computed(dtype)[op.name]
    got = result.float().numpy() if result.dtype in (torch.float16, torch.bfloat16) else result.numpy()
    wanted = expected(op, dtype)
    assert result.shape == SHAPE
    if got.dtype.kind == "f":
        tolerance = TOLERANCE[result.dtype.__repr__().rpartition(".")[2]]
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    elif op.name == "_trunc_divide":
        divisor = operands(op, dtype)[1]
        np.testing.assert_array_equal(got[divisor != 0], wanted[divisor != 0].astype(got.dtype))
    else:
        np.testing.assert_array_equal(got, wanted.astype(got.dtype))


DIFFERENTIABLE = [op for op in OPS if op.grad is not None and "f" in op.categories]


@functools.cache
def gradients() -> dict:
    """For each differentiable record: analytic and central-difference directional derivatives, first and second
    order.
    """
    found = {}
    step = 1e-5
    for op in DIFFERENTIABLE:
        values = tensors(op, "float64")
        rng = np.random.default_rng(1)
        leaves = [
            (v.clone().requires_grad_() if isinstance(v, torch.Tensor) and not is_number(op, i) else v)
            for i, v in enumerate(values)
        ]
        wanted = [v for v in leaves if isinstance(v, torch.Tensor)]
        directions = [torch.tensor(rng.uniform(-1, 1, SHAPE)) for _ in wanted]
        weight = torch.tensor(rng.uniform(0.5, 1, SHAPE))

        def moved(amount, leaves=leaves, directions=directions):
            rest = iter(directions)
            return [v.detach() + next(rest) * amount if isinstance(v, torch.Tensor) else v for v in leaves]

        out = (apply(op, tuple(leaves)) * weight).sum()
        first = torch.autograd.grad(out, wanted, create_graph=True, allow_unused=True)
        slope = sum((g * d).sum() for g, d in zip(first, directions) if g is not None)
        with torch.no_grad():
            up, down = ((apply(op, tuple(moved(s))) * weight).sum() for s in (step, -step))
        found[op.name] = [slope, (up - down) / (2 * step), None, None]
        if not slope.requires_grad:
            continue
        second = torch.autograd.grad(slope, wanted, allow_unused=True)
        curve = sum((g * d).sum() for g, d in zip(second, directions) if g is not None)
        ends = []
        for s in (step, -step):
            there = [v.requires_grad_() if isinstance(v, torch.Tensor) else v for v in moved(s)]
            total = (apply(op, tuple(there)) * weight).sum()
            slopes = torch.autograd.grad(total, [v for v in there if isinstance(v, torch.Tensor)], allow_unused=True)
            ends.append(sum((g * d).sum() for g, d in zip(slopes, directions) if g is not None))
        found[op.name][2:] = [curve, (ends[0] - ends[1]) / (2 * step)]
    return found


def number(x) -> float:
    return float(x.item()) if isinstance(x, torch.Tensor) else float(x)


@pytest.mark.parametrize("op", DIFFERENTIABLE, ids=[op.name for op in DIFFERENTIABLE])
def test_gradient(op: Op) -> None:
    slope, difference, curve, second_difference = gradients()[op.name]
    assert number(slope) == pytest.approx(number(difference), rel=1e-5, abs=1e-5)
    if curve is not None:
        assert number(curve) == pytest.approx(number(second_difference), rel=1e-5, abs=1e-5)


def test_every_record_has_reference_gradient_or_reason_and_doc() -> None:
    for op in TABLE.values():
        assert op.doc, op.name
        assert op.grad is not None or op.why, op.name
        assert op.reference is not None or op.name in ("cast", "fill", "_index"), op.name
        assert len(op.names) >= min(op.arity, 3) or op.arity < 0, op.name


@pytest.mark.parametrize("name", ["add", "mul", "div", "maximum", "pow", "eq"])
def test_broadcast_empty_and_0d(name: str) -> None:
    op = TABLE[name]
    rng = np.random.default_rng(0)
    a, b = rng.uniform(1, 2, (4, 1, 3)).astype(np.float32), rng.uniform(1, 2, (5, 1)).astype(np.float32)
    function = getattr(torch, name)
    np.testing.assert_allclose(function(torch.tensor(a), torch.tensor(b)).numpy(), op.reference(a, b), rtol=1e-6)
    assert function(torch.empty(0, 3), torch.ones(3)).shape == (0, 3)
    assert function(torch.tensor(2.0), torch.tensor(3.0)).shape == ()


def test_integer_division_faults_nowhere() -> None:
    least = np.iinfo(np.int32).min
    a = torch.tensor([7, -7, 7, -7, least, least, 5], dtype=torch.int32)
    b = torch.tensor([2, 2, -2, -2, -1, 0, 0], dtype=torch.int32)
    assert (a // b).tolist()[:4] == [3, -4, -4, 3]
    assert (a % b).tolist() == [1, 1, -1, -1, 0, 0, 0]
    assert torch.fmod(a, b).tolist()[:5] == [1, -1, 1, -1, 0]
    assert (a // b).tolist()[5:] == [0, 0]
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        a // 0


def test_gradients_at_kinks() -> None:
    def slope(function, at: float) -> float:
        x = torch.tensor(at, requires_grad=True)
        function(x).backward()
        return x.grad.item()

    assert slope(torch.relu, 0.0) == 0
    assert slope(torch.abs, 0.0) == 0
    assert slope(lambda x: torch.maximum(x, torch.tensor(1.0)), 1.0) == 0.5
    assert slope(lambda x: torch.clamp(x, 0.0, 1.0), 1.0) == 1
    assert slope(lambda x: x**0, 0.0) == 0
    assert slope(lambda x: x**2, 0.0) == 0
    assert slope(lambda x: torch.pow(x, torch.tensor(1.0)), 0.0) == 1
    assert slope(torch.nn.functional.relu6, 6.0) == 0
    assert np.isnan(slope(torch.relu, float("nan"))) == np.isnan(1.0)


def test_nan_wins_or_loses_as_in_pytorch() -> None:
    nan = float("nan")
    a, b = torch.tensor([nan, 1.0, nan]), torch.tensor([1.0, nan, nan])
    assert torch.maximum(a, b).isnan().all() and torch.minimum(a, b).isnan().all()
    assert torch.fmax(a, b).tolist()[:2] == [1.0, 1.0]
    assert torch.relu(a).isnan().tolist() == [True, False, True]
    assert torch.clamp(a, 0, 1).isnan().tolist() == [True, False, True]
    assert torch.sign(a).tolist() == [0.0, 1.0, 0.0]
