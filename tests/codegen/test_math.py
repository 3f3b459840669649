"""kernels/math.cl and philox.cl against float64 references: wide ranges, special values, every width."""

from __future__ import annotations

import numpy as np
import pytest
import runner
import scipy.special as special
from scipy import optimize

from benchmarks.accuracy import FUNCTIONS, compare, points
from cltorch import dtypes
from cltorch.codegen.pointwise import lower_pointwise
from cltorch.codegen.program import Body, Instr
from cltorch.codegen.source import Input, KernelSource, Launch, Lowered, Output, Value
from cltorch.config import settings
from cltorch.shapes import layout

DEVICES = runner.devices()
rng = np.random.default_rng(7)
SPECIAL = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1.0, -1.0, 200.0, -200.0, 1e5, 3e38, -3e38, 1e-45, -2.0],
    np.float32,
)


def _spread(low: float, high: float, n: int) -> np.ndarray:
    """Both signs, evenly in the exponent."""
    x = np.exp(rng.uniform(np.log(low), np.log(high), n))
    return np.concatenate([x, -x])


def _positive(n: int) -> np.ndarray:
    return np.concatenate([np.abs(_spread(1e-38, 3e38, n)), rng.uniform(0.5, 2, n)])


def _lgamma(x: np.ndarray) -> np.ndarray:
    return np.where(np.isinf(x), np.inf, special.gammaln(x))


INCLUDES = ("math", "special", "inverse", "gamma")
# name, reference, inputs, bound of the relative error
CASES = [
    ("m_exp", np.exp, rng.uniform(-87, 88.7, 8000), 2e-7),
    ("m_exp2", np.exp2, rng.uniform(-125, 127.9, 8000), 2e-7),
    ("m_expm1", np.expm1, np.concatenate([rng.uniform(-20, 88, 4000), _spread(1e-30, 1, 4000)]), 3e-7),
    ("m_log", np.log, _positive(4000), 2e-7),
    ("m_log2", np.log2, _positive(4000), 3e-7),
    ("m_log10", np.log10, _positive(4000), 3e-7),
    ("m_log1p", np.log1p, np.concatenate([np.abs(_spread(1e-37, 1e37, 2000)), _spread(1e-30, 0.99, 4000)]), 2e-7),
    ("m_sigmoid", special.expit, rng.uniform(-80, 80, 8000), 3e-7),
    ("m_sin", np.sin, np.concatenate([rng.uniform(-10, 10, 4000), _spread(1e-30, 9000, 4000)]), 4e-7),
    ("m_cos", np.cos, np.concatenate([rng.uniform(-10, 10, 4000), _spread(1e-30, 9000, 4000)]), 4e-7),
    ("m_tan", np.tan, rng.uniform(-10, 10, 8000), 4e-7),
    ("m_tanh", np.tanh, np.concatenate([rng.uniform(-10, 10, 4000), _spread(1e-30, 20, 4000)]), 4e-7),
    ("m_erf", special.erf, np.concatenate([rng.uniform(-5, 5, 4000), _spread(1e-30, 20, 4000)]), 4e-7),
    (
        "m_erfinv",
        special.erfinv,
        np.concatenate([rng.uniform(-1, 1, 4000), 1 - np.exp(rng.uniform(-16, 0, 2000))]),
        6e-7,
    ),
    ("m_erfc", special.erfc, rng.uniform(-4, 8, 4000), 4e-7),
    ("m_lgamma", _lgamma, np.concatenate([rng.uniform(-20, 100, 4000), _spread(1e-38, 1e30, 2000)]), 7e-8),
    (
        "s_digamma",
        special.digamma,
        np.concatenate([rng.uniform(-20, 100, 4000), np.abs(_spread(1e-37, 1e30, 2000))]),
        7e-8,
    ),
    ("m_asin", np.arcsin, np.concatenate([rng.uniform(-1, 1, 4000), _spread(1e-30, 1, 2000)]), 2e-7),
    ("m_acos", np.arccos, rng.uniform(-1, 1, 6000), 2e-7),
    ("m_atan", np.arctan, np.concatenate([rng.uniform(-3, 3, 4000), _spread(1e-30, 1e30, 2000)]), 3e-7),
    ("m_asinh", np.arcsinh, np.concatenate([rng.uniform(-3, 3, 4000), _spread(1e-30, 1e38, 2000)]), 3e-7),
    ("m_acosh", np.arccosh, np.concatenate([rng.uniform(1, 3, 4000), np.exp(rng.uniform(0, 88, 2000))]), 3e-7),
    ("m_atanh", np.arctanh, np.concatenate([rng.uniform(-1, 1, 4000), _spread(1e-30, 0.5, 2000)]), 3e-7),
    ("m_sqrt", np.sqrt, _positive(2000), 4e-7),
    ("m_rsqrt", lambda x: 1 / np.sqrt(x), _positive(2000), 6e-7),
]


@pytest.fixture(scope="module", autouse=True)
def _build_together():
    """All kernels of the table in one program per device: one parse of math.cl instead of forty."""
    for device in DEVICES:
        sources = [_source(f"{name}({{0}})", width, INCLUDES, "float", 1) for name, *_ in CASES for width in (16, 1)]
        device.build(Lowered(tuple(Launch(source, (), (1,)) for source in sources)))


def _source(text: str, width: int, includes: tuple[str, ...], kind: str, arrays: int) -> KernelSource:
    pointers = ", ".join(f"__global const {kind} *a{k}" for k in range(arrays))
    loads = [f"vec_load{width}(a{k} + i)" for k in range(arrays)]
    body = f"""__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void KERNEL({pointers}, __global {kind} *out, int n) {{
  for (int i = (int)get_global_id(0) * {width}; i < n; i += {width} * (int)get_global_size(0))
    vec_store{width}({text.format(*loads)}, out + i);
}}"""
    return KernelSource("math", body, includes)


def _apply(
    device: runner.RawDevice, text: str, width: int, includes: tuple[str, ...], *arrays: np.ndarray
) -> np.ndarray:
    """`text` (with {0}, {1}) of arrays of one dtype whose length is a multiple of 16."""
    kind = "float" if arrays[0].dtype == np.float32 else "double"
    args = (*(Input(k) for k in range(len(arrays))), Output(0), Value("int", arrays[0].size))
    launch = Launch(_source(text, width, includes, kind, len(arrays)), args, (8,))
    (out,) = runner.run(Lowered((launch,)), list(arrays), [np.zeros_like(arrays[0])], device=device)
    return out


def _errors(got: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Relative errors where the wanted value is a normal float32; NaN counts as infinite."""
    with np.errstate(all="ignore"):
        normal = np.isfinite(wanted.astype(np.float32)) & (np.abs(wanted) > 1.2e-38)
        e = np.where(normal, np.abs(got.astype(np.float64) - wanted) / np.abs(wanted), 0.0)
    return np.where(np.isnan(e), np.inf, e)


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize(("name", "reference", "inputs", "bound"), CASES, ids=[c[0] for c in CASES])
def test_float_functions(device, name, reference, inputs, bound):
    x = np.resize(inputs.astype(np.float32), -(-inputs.size // 16) * 16)
    x = np.concatenate([x, SPECIAL])
    with np.errstate(all="ignore"):
        wanted = reference(x.astype(np.float64))
    for width in (16, 1):
        got = _apply(device, f"{name}({{0}})", width, INCLUDES, x)
        errors = _errors(got[:-16], wanted[:-16])
        worst = errors.argmax()
        assert errors[worst] <= bound, f"{name} width {width}: {errors[worst]:.2e} at {x[worst]!r}"
        if name == "m_tan":
            continue  # the driver's own at the ends of the range
        with np.errstate(all="ignore"):
            ends = wanted[-16:].astype(np.float32)
        mine = got[-16:]
        tiny = np.abs(ends) < 1.2e-38  # a device may flush denormals
        same = (
            (np.isnan(ends) & np.isnan(mine))
            | np.isclose(mine, ends, rtol=1e-6, atol=0)
            | (tiny & (np.abs(mine) < 1.2e-38))
        )
        assert same.all(), (
            f"{name} width {width}: {[(a, m, e) for a, m, e, s in zip(SPECIAL, mine, ends, same) if not s]}"
        )


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize(
    "name",
    ["m_sin", "m_tanh", "m_expm1", "m_erf", "m_log1p", "m_tan", "m_erfinv", "m_asin", "m_atan", "m_asinh", "m_atanh"],
)
def test_odd_functions_keep_the_sign_of_zero(device, name):
    x = np.zeros(16, np.float32)
    x[::2] = -0.0
    assert (np.signbit(_apply(device, f"{name}({{0}})", 8, INCLUDES, x)) == np.signbit(x)).all()


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize(("name", "reference"), [("m_lgamma", special.gammaln), ("s_digamma", special.digamma)])
def test_gamma_functions_keep_their_digits_next_to_their_zeros(device, name, reference):
    """Where terms of size 1 cancel but for 1e-8: the floats on both sides of the reference's sign changes."""
    if not runner.target(device).fp64:
        pytest.skip("no double: the driver's own functions")
    x = np.linspace(-9.999, 3, 200_000)
    signs = np.sign(reference(x))
    left = np.flatnonzero((signs[:-1] * signs[1:] < 0) & (np.floor(x[:-1]) == np.floor(x[1:])))
    zeros = [optimize.brentq(reference, x[i], x[i + 1], xtol=1e-15) for i in left]
    assert len(zeros) >= 9
    near = np.float32(zeros)
    x = np.concatenate([near + k * np.spacing(near) for k in range(-4, 5)]).astype(np.float32)
    if name == "m_lgamma":
        x = np.concatenate([x, [1 - 6e-8, 1 + 1.2e-7, 2 - 1.2e-7, 2 + 2.4e-7]]).astype(np.float32)
    x = np.resize(x, -(-x.size // 16) * 16)
    error = compare(_apply(device, f"{name}({{0}})", 8, INCLUDES, x), reference(x.astype(np.float64)), [x])
    assert error.largest <= 4.0 and not error.special, error


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_powers(device):
    """Wide ranges, whole powers of whole numbers exactly, and every pair of special values."""
    text, width = "m_pow({0}, {1})", 16
    pairs = []
    for low, high, most in ((1e-30, 1e30, 1.2), (0.5, 2, 80), (0.99, 1.01, 5000), (1e-3, 1e3, 8), (1e-44, 1e-38, 0.9)):
        pairs.append((np.exp(rng.uniform(np.log(low), np.log(high), 4096)), rng.uniform(-most, most, 4096)))
    x, y = (np.concatenate(column).astype(np.float32) for column in zip(*pairs))
    wanted = x.astype(np.float64) ** y
    assert _errors(_apply(device, text, width, ("math",), x, y), wanted).max() <= 4e-7
    assert _errors(_apply(device, text, 1, ("math",), x[::16].copy(), y[::16].copy()), wanted[::16]).max() <= 4e-7
    bases, exponents = (a.ravel().astype(np.float32) for a in np.meshgrid(np.arange(-96, 96), np.arange(0, 8)))
    whole = bases.astype(np.float64) ** exponents
    small = np.abs(whole) < 1 << 24
    assert np.array_equal(_apply(device, text, width, ("math",), bases, exponents)[small], whole[small])
    ends = np.concatenate(
        [
            SPECIAL,
            np.array([0.5, -0.5, 2, 3, -3, 2.5, -2.5, 1e9, 16777216, 33554434, -16777215, 2], np.float32),
            np.float32([0.9999999, 1.0000001, -0.9999999, 1e30]),
        ]
    )
    x, y = (np.ascontiguousarray(a.ravel()) for a in np.meshgrid(ends, ends))
    got = _apply(device, text, width, ("math",), x, y)
    with np.errstate(all="ignore"):
        wanted = (x.astype(np.float64) ** y).astype(np.float32)
    tiny = (np.abs(wanted) < 1.2e-38) & (np.abs(got) < 1.3e-38)
    same = (tiny | np.isclose(got, wanted, rtol=1e-6, atol=0)) & (np.signbit(got) == np.signbit(wanted))
    same |= np.isnan(got) & np.isnan(wanted)
    assert same.all(), list(zip(x[~same], y[~same], got[~same], wanted[~same]))[:8]


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_sine_of_large_arguments(device):
    x = _spread(1e4, 1e30, 512).astype(np.float32)
    got = _apply(device, "m_sin({0})", 8, ("math",), x)
    assert np.abs(got - np.sin(x.astype(np.float64))).max() < 4e-7


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize(
    ("name", "reference"),
    [("m_exp", np.exp), ("m_tanh", np.tanh), ("m_erf", special.erf), ("m_erfinv", special.erfinv)],
)
def test_double_functions(device, name, reference):
    x = rng.uniform(-0.999, 0.999, 1024)
    x[:3] = 0.0, 1 - 1e-12, -1 + 1e-9
    got = _apply(device, f"{name}({{0}})", 4, ("math",), x)
    np.testing.assert_allclose(got, reference(x), rtol=1e-13, atol=0)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_max_and_min_let_nan_win(device):
    a = np.array([1, np.nan, 2, np.nan, -np.inf, 0, 3, np.inf] * 2, np.float32)
    b = np.array([2, 1, np.nan, np.nan, 1, -0.0, 3, np.nan] * 2, np.float32)
    assert np.array_equal(_apply(device, "m_max({0}, {1})", 8, ("math",), a, b), np.maximum(a, b), equal_nan=True)
    assert np.array_equal(_apply(device, "m_min({0}, {1})", 8, ("math",), a, b), np.minimum(a, b), equal_nan=True)


def test_precise_setting_changes_the_kernel_and_is_right(monkeypatch):
    place = layout(dtypes.float32, (100,))
    body = Body((100,), (place,), (), (Instr("m_exp({0})", (0,), dtypes.float32, ("math",)),), ((1, place),))
    device = DEVICES[0]
    fast = lower_pointwise(body, runner.target(device))
    monkeypatch.setattr(settings, "precise", True)
    precise = lower_pointwise(body, runner.target(device))
    assert precise.launches[0].source.includes == ("precise", "math")
    assert fast.launches[0].source.name != precise.launches[0].source.name
    x = rng.uniform(-5, 5, 100).astype(np.float32)
    (out,) = runner.run(precise, [x], [place], device=device)
    assert _errors(out, np.exp(x.astype(np.float64))).max() < 2e-7


# Over all of float32 (benchmarks/accuracy.py with a million points says the same): units of the last place.
# Precise: digamma, which has no fast form, and erfinv, which has no exact one, are the same in both.
_PRECISE_BOUND = {"erfinv": 4.0, "sigmoid": 0.51, "softplus": 1.6}


@pytest.mark.parametrize("precise", [False, True], ids=["fast", "precise"])
@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_units_of_the_last_place_over_all_of_float32(device, precise, monkeypatch):
    monkeypatch.setattr(settings, "precise", precise)
    includes = ("precise",) if precise else ()
    texts, given = {}, {}
    for name, function in FUNCTIONS.items():
        texts[name] = function.own.replace("$20$", "(float8)(20.0f)")
        given[name] = [np.resize(a, 16384 + 512) for a in points(function, 8192, np.random.default_rng(5))]
    if precise and not runner.target(device).fp64:
        pytest.skip("no double: the driver's own functions")
    sources = {
        name: _source(text, 8, (*includes, *FUNCTIONS[name].includes), "float", FUNCTIONS[name].arguments)
        for name, text in texts.items()
    }
    device.build(Lowered(tuple(Launch(source, (), (1,)) for source in sources.values())))
    wrong = []
    for name, text in texts.items():
        with np.errstate(all="ignore"):
            wanted = FUNCTIONS[name].reference(*(a.astype(np.float64) for a in given[name]))
        got = _apply(device, text, 8, (*includes, *FUNCTIONS[name].includes), *given[name])
        error = compare(got, wanted, given[name])
        bound = _PRECISE_BOUND.get(name, 0.51) if precise else 4.0
        if error.largest > bound or error.special:
            wrong.append((name, error))
    assert not wrong


# ---- philox


def _philox(seed: int, offset: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Philox 2x32-10 in NumPy."""
    low = np.uint64(0xFFFFFFFF)
    counter = np.arange(n, dtype=np.uint64) + np.uint64(offset)
    a, b, key = counter & low, (counter >> np.uint64(32)) ^ np.uint64(seed >> 32), np.uint64(seed & 0xFFFFFFFF)
    for _ in range(10):
        product = a * np.uint64(0xD256D193)
        a, b = ((product >> np.uint64(32)) ^ key ^ b) & low, product & low
        key = (key + np.uint64(0x9E3779B9)) & low
    return a, b


def test_reference_gives_the_published_vector():
    a, b = _philox(0, 0, 1)
    assert (int(a[0]), int(b[0])) == (0xFF1DAE59, 0x6CD10DF2)  # Random123's known answers


def _draw(
    device: runner.RawDevice, kind: str, function: str, dtype: dtypes.DType, n: int, seed: int, offset: int
) -> np.ndarray:
    place = layout(dtype, (n,))
    instrs = (
        Instr("index", (), dtypes.int64),
        Instr(f"{function}({{0}}, {{1}}, {{2}})", (0, 1, 2), dtype, ("math", "philox")),
    )
    body = Body((n,), (), (dtypes.int64, dtypes.int64), instrs, ((3, place),))
    return runner.run(lower_pointwise(body, runner.target(device, kind)), [], [place], [seed, offset], device)[0]


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_uniform_bits_are_philox_on_every_device_and_width(device):
    seed, offset, n = 1234567890123, (1 << 32) - 50, 1003
    a, b = _philox(seed, offset, n)
    wanted = (a >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24)
    for kind in ("cpu", "gpu"):
        assert np.array_equal(_draw(device, kind, "rand_uniform", dtypes.float32, n, seed, offset), wanted)
    longs = (((a << np.uint64(32)) | b) >> np.uint64(1)).astype(np.int64)
    assert np.array_equal(_draw(device, "cpu", "rand_long", dtypes.int64, n, seed, offset), longs)


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize(
    ("function", "dtype"), [("rand_normal", dtypes.float32), ("rand_normal_double", dtypes.float64)]
)
def test_normal_numbers_have_the_moments_of_the_distribution(device, function, dtype):
    x = _draw(device, "cpu", function, dtype, 200_000, 42, 0).astype(np.float64)
    assert abs(x.mean()) < 0.01 and abs(x.std() - 1) < 0.01
    assert abs((x**3).mean()) < 0.05 and abs((x**4).mean() - 3) < 0.1
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 0.01
    cumulative = special.ndtr(np.sort(x))
    assert np.abs(cumulative - np.arange(x.size) / x.size).max() < 0.005  # Kolmogorov and Smirnov
