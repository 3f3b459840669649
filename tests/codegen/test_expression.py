"""The expression emitter: every kind of instruction, at every width, in every dtype, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import runner

from cltorch import dtypes
from cltorch.codegen import expression
from cltorch.codegen.pointwise import lower_pointwise
from cltorch.codegen.program import Body, Epilogue, Instr
from cltorch.codegen.source import Input, KernelSource, Launch, Lowered, Output, Scalar, Value
from cltorch.dtypes import ALL, DType, bfloat16, bool_, by_name, float16, float32, float64, int8, int32, int64, uint8
from cltorch.shapes import layout

DEVICES = runner.devices()
N = 37  # vectors and left-over scalars


def bf16_bits(x: np.ndarray) -> np.ndarray:
    """float32 to bfloat16 bits, to nearest even."""
    u = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((u + 0x7FFF + ((u >> np.uint64(16)) & np.uint64(1))) >> np.uint64(16)).astype(np.uint16)


def bf16_value(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def encode(x: np.ndarray, dtype: DType) -> np.ndarray:
    """Values as the bytes of `dtype`."""
    return bf16_bits(x) if dtype is bfloat16 else x.astype(dtype.numpy)


def decode(bits: np.ndarray, dtype: DType) -> np.ndarray:
    return bf16_value(bits) if dtype is bfloat16 else bits


def compute_all(device, instrs, arrays, dtypes_in, stores, scalars=(), scalar_dtypes=(), kind="cpu"):
    """Run a flat program; returns the decoded value of each of `stores`, (value, dtype)."""
    n = arrays[0].size
    inputs = tuple(layout(d, (n,)) for d in dtypes_in)
    places = tuple((value, layout(d, (n,))) for value, d in stores)
    lowered = lower_pointwise(
        Body((n,), inputs, tuple(scalar_dtypes), tuple(instrs), places), runner.target(device, kind)
    )
    given = [encode(a, d) for a, d in zip(arrays, dtypes_in)]
    outs = runner.run(lowered, given, [place for _, place in places], scalars, device)
    return [decode(out, d) for out, (_, d) in zip(outs, stores)]


def compute(device, instrs, arrays, dtypes_in, out_dtype, scalars=(), scalar_dtypes=(), kind="cpu"):
    """Run a flat program that stores its last value."""
    last = len(arrays) + len(scalars) + len(instrs) - 1
    return compute_all(device, instrs, arrays, dtypes_in, [(last, out_dtype)], scalars, scalar_dtypes, kind)[0]


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("source", [d.name for d in ALL])
def test_cast_to_every_dtype(device, source):
    source = by_name(source)
    if source is bool_:
        x = np.arange(N) % 3 == 0
    elif source.category == dtypes.FLOAT:
        x = np.linspace(-100.7, 120.3, N)
        x[:4] = 0.0, 0.3, -0.9, 2.5
    else:
        x = np.arange(N) * 3 - (0 if source is uint8 else 50)
    given = decode(encode(x, source), source)
    casts = [Instr("cast", (0,), target) for target in ALL]
    results = compute_all(device, casts, [x], [source], [(1 + k, target) for k, target in enumerate(ALL)])
    for target, got in zip(ALL, results):
        with np.errstate(all="ignore"):
            if target.category == dtypes.INTEGER and source.category == dtypes.FLOAT:
                wanted = np.trunc(given.astype(np.float64)).astype(np.int64).astype(target.numpy)
            else:
                wanted = decode(encode(given.astype(np.float64) if target is bfloat16 else given, target), target)
        assert np.array_equal(got, wanted), f"{source} to {target}"


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_nan_and_infinity_are_true(device):
    x = np.array([np.nan, np.inf, 0.0, -0.0, 1e-40] * 7, np.float32)
    got = compute(device, [Instr("cast", (0,), bool_)], [x], [float32], bool_)
    assert np.array_equal(got, x != 0)


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("low", [float16, bfloat16], ids=["float16", "bfloat16"])
def test_a_cast_rounds_inside_a_chain(device, low):
    x = np.linspace(0.1, 3, N).astype(np.float32)
    chain = [Instr("cast", (0,), low), Instr("cast", (1,), float32), Instr("{0} * $3$", (2,), float32)]
    # an unrounded intermediate is rounded where it leaves its dtype
    chain += [Instr("{0} * {0}", (1,), low), Instr("cast", (4,), float32)]
    tripled, got = compute_all(device, chain, [x], [float32], [(3, float32), (5, float32)])
    assert np.array_equal(tripled, decode(encode(x, low), low).astype(np.float32) * np.float32(3))
    exact = decode(encode(x, low), low).astype(np.float32)
    assert np.array_equal(got, decode(encode(exact * exact, low), low).astype(np.float32))


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("name", ["uint8", "int8", "int16", "int32", "int64"])
def test_integer_arithmetic_wraps(device, name):
    dtype = by_name(name)
    rng = np.random.default_rng(1)
    info = np.iinfo(dtype.numpy)
    a = rng.integers(info.min, info.max, N, dtype=dtype.numpy, endpoint=True)
    b = rng.integers(info.min, info.max, N, dtype=dtype.numpy, endpoint=True)
    instrs = [
        Instr("{0} * {1}", (0, 1), dtype),
        Instr("{0} + $7$", (2,), dtype),
        Instr("({0} >> $1$) ^ {1}", (3, 1), dtype),
    ]
    with np.errstate(all="ignore"):
        wanted = ((a * b + dtype.numpy.type(7)) >> dtype.numpy.type(1)) ^ b
    assert np.array_equal(compute(device, instrs, [a, b], [dtype, dtype], dtype), wanted)


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_select_on_lanes_of_another_size(device, kind):
    """A comparison of one size selects in all others: int64 index, float data, double, uint8, and a loaded bool."""
    x = np.linspace(-2, 2, N).astype(np.float32)
    mask = np.arange(N) % 3 == 0
    targets = (float32, float64, int64, uint8, float16)
    instrs = [
        Instr("index", (), int64),
        Instr("?{0} >= $18$", (2,), bool_),
        Instr("?{0} > $0.5$", (0,), bool_),
        Instr("({0} & {1}) | {2}", (3, 4, 1), bool_),
    ]
    stores = []
    for target in targets:
        at = 2 + len(instrs)
        instrs += [
            Instr("cast", (0,), target),
            Instr("{0?} ? {1} : $3$", (5, at), target),
            Instr("{0?} ? {1} : $1$", (1, at + 1), target),
        ]
        stores.append((at + 2, target))
    for target, got in zip(targets, compute_all(device, instrs, [x, mask], [float32, bool_], stores, kind=kind)):
        with np.errstate(all="ignore"):
            given = (
                np.trunc(x).astype(np.int64).astype(target.numpy)
                if target in (int64, uint8)
                else x.astype(target.numpy)
            )
        wanted = np.where(
            mask, np.where(((np.arange(N) >= 18) & (x > 0.5)) | mask, given, target.numpy.type(3)), target.numpy.type(1)
        )
        assert np.array_equal(got, wanted), target


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_run_time_scalars_of_every_type(device):
    x = np.arange(N, dtype=np.float64)
    kinds = (float32, float64, int64, int8, bool_, float16)
    numbers = (0.5, 1e-300, 1 << 40, -3, 1, 0.25)
    instrs = [Instr("cast", (1 + k,), float64) for k in range(len(kinds))]
    instrs += [Instr("{0} + {1}", (0, 1 + len(kinds) + k), float64) for k in range(len(kinds))]
    stores = [(1 + 2 * len(kinds) + k, float64) for k in range(len(kinds))]
    for number, got in zip(numbers, compute_all(device, instrs, [x], [float64], stores, numbers, kinds)):
        assert np.array_equal(got, x + float(number))


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_literals(device):
    x = np.zeros(N)
    cases = (
        ("$inf$", float32, np.inf),
        ("$-inf$", float64, -np.inf),
        ("$nan$", float16, np.nan),
        ("$pi$", float64, np.pi),
        ("$1e-5$", float32, np.float32(1e-5)),
        ("$-3$", int64, -3),
        ("$min$", int64, -(2**63)),
        ("$max$", int32, 2**31 - 1),
        ("$min$", int32, -(2**31)),
        ("$max$", uint8, 255),
        ("$min$", int8, -128),
        ("$max$", float16, 65504.0),
        ("$min$", float32, np.finfo(np.float32).min),
        ("$max$", float64, np.finfo(np.float64).max),
        ("$M_E_F$", float32, np.float32(np.e)),
        ("$true$", bool_, True),
        ("$9007199254740993$", int64, 9007199254740993),
    )
    instrs = [Instr(text, (), dtype) for text, dtype, _ in cases]
    results = compute_all(device, instrs, [x], [float64], [(1 + k, dtype) for k, (_, dtype, _) in enumerate(cases)])
    for (text, dtype, wanted), got in zip(cases, results):
        assert np.array_equal(got, np.full(N, wanted, dtype.numpy), equal_nan=dtype.is_floating_point), text


def test_a_fraction_is_no_integer_literal():
    with pytest.raises(ValueError, match="wanted an integer for int32"):
        expression.literal("0.5", int32, 1)


def test_index_where_the_kernel_has_none():
    block = expression.Block(1)
    with pytest.raises(ValueError, match="does not number"):
        block.run([Instr("index", (), int64)], 0)


def test_only_what_is_wanted_is_computed():
    block = expression.Block(4)
    block.bind(0, float32, "x")
    block.run([Instr("{0} + $1$", (0,), float32), Instr("{0} * $2$", (0,), float32)], 1, [2])
    assert block.knows(2) and not block.knows(1)
    assert not any("+" in line for line in block.statements)


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("width", [1, 2, 4, 8, 16])
def test_epilogue(device, width):
    """relu(acc + bias) * scale + residual into float16, and the accumulator itself: as gemm drives it."""
    n = 64
    bias_layout, residual_layout = layout(float32, (1,)).broadcast_to((n,)), layout(bfloat16, (n,))
    epilogue = Epilogue(
        (n,),
        float32,
        (bias_layout, residual_layout),
        (float32,),
        (
            Instr("{0} + {1}", (0, 1), float32),
            Instr("?{0} > $0$", (4,), bool_),
            Instr("{0?} ? {1} : $0$", (5, 4), float32),
            Instr("cast", (2,), float32),
            Instr("{0} * {1} + {2}", (6, 3, 7), float32),
            Instr("cast", (8,), float16),
        ),
        ((9, layout(float16, (n,))), (0, layout(float32, (n,)))),
    )
    kind = expression.vector_type("float", width)

    def load(i: int) -> str:
        return f"({kind})(bias[0])" if i == 0 else expression.load(bfloat16, "residual + i", width)

    statements, stores, includes = expression.emit_epilogue(epilogue, width, f"vec_load{width}(acc + i)", load)
    written = [expression.store(epilogue.stores[k][1].dtype, text, f"out{k} + i", width) for k, text in stores]
    body = f"""__kernel __attribute__((reqd_work_group_size(1, 1, 1)))
void KERNEL(__global const float *acc, __global const float *bias, __global const ushort *residual,
            __global ushort *out0,
            __global float *out1, int n, {", ".join(expression.scalar_parameters(epilogue.scalars))}) {{
  for (int i = 0; i < n; i += {width}) {{ {" ".join(statements + written)} }}
}}"""
    args = (Input(0), Input(1), Input(2), Output(0), Output(1), Value("int", n), Scalar(0, "float"))
    rng = np.random.default_rng(3)
    acc, bias = rng.standard_normal(n).astype(np.float32), np.array([0.25], np.float32)
    residual = bf16_bits(rng.standard_normal(n).astype(np.float32))
    out = runner.run(
        Lowered((Launch(KernelSource("epilogue", body, includes), args, (1,)),)),
        [acc, bias, residual],
        [layout(float16, (n,)), layout(float32, (n,))],
        [1.5],
        device,
    )
    wanted = np.maximum(acc + bias, 0).astype(np.float64) * 1.5 + bf16_value(residual)
    assert np.abs(out[0].astype(np.float64) - wanted).max() < 4e-3
    assert np.array_equal(out[1], acc)
