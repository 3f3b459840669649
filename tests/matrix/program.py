"""One program through every kernel family, each result compared with NumPy; the matrix runs it on every OpenCL
implementation.

    python tests/matrix/program.py --vendor pocl --driver 3.1 [FAMILY ...]
    python tests/matrix/program.py --vendor null          # everything records, plans and renders; no values

Prints a line per family and ends with status 1 if one is wrong. Sizes are small: oclgrind interprets every instruction.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

import cltorch as torch
import cltorch.nn as nn
import cltorch.nn.functional as F
from cltorch import engine, runtime
from cltorch.config import settings
from cltorch.nn.functional.recurrent import network
from cltorch.ops.pooling import (
    adaptive_avg_pool_reference,
    adaptive_max_pool_reference,
    avg_pool_reference,
    max_pool_reference,
)
from cltorch.ops.recurrent import Recurrence, recurrent_reference
from cltorch.ops.volume import conv3d_input_reference, conv3d_reference

FAMILIES: dict[str, Callable[[], None]] = {}
RNG = np.random.default_rng(7)
NOTHING_RUNS = False
FP64 = True


def family(work: Callable[[], None]) -> Callable[[], None]:
    FAMILIES[work.__name__] = work
    return work


def array(*shape: int, low: float = -2.0, high: float = 2.0, dtype: Any = np.float32) -> np.ndarray:
    return RNG.uniform(low, high, shape).astype(dtype)


def integers(*shape: int, low: int = 0, high: int = 10, dtype: Any = np.int64) -> np.ndarray:
    return RNG.integers(low, high, shape).astype(dtype)


def t(value: np.ndarray, grad: bool = False) -> torch.Tensor:
    made = torch.tensor(value)
    return made.requires_grad_() if grad else made


class Claim(NamedTuple):
    """A tensor and what it must hold (at `places` of its flat elements, or everywhere)."""

    got: torch.Tensor
    wanted: np.ndarray
    tolerance: float
    what: str
    places: np.ndarray | None = None

    def check(self) -> None:
        got = self.got.detach()
        values = got.float().numpy() if got.dtype is torch.bfloat16 else got.numpy()
        if self.places is not None:
            values = values.reshape(-1)[self.places]
        if NOTHING_RUNS:
            return
        assert values.shape == self.wanted.shape, f"{self.what}: shape {values.shape}, wanted {self.wanted.shape}"
        if self.wanted.dtype.kind in "iub":
            np.testing.assert_array_equal(values, self.wanted, err_msg=self.what)
        else:
            limits = {"rtol": self.tolerance, "atol": self.tolerance}
            np.testing.assert_allclose(
                values.astype(np.float64), self.wanted.astype(np.float64), **limits, err_msg=self.what
            )


CLAIMS: list[Claim] = []


def same(got: torch.Tensor, wanted: Any, tolerance: float = 2e-5, what: str = "") -> None:
    """Claim that `got` holds `wanted`. Checked at the end of the family, so that its kernels are built together."""
    CLAIMS.append(Claim(got, np.asarray(wanted), tolerance, what or f"line {sys._getframe(1).f_lineno}"))


def gradients(
    ours: Callable[..., torch.Tensor], reference: Callable[..., np.ndarray], inputs: list[np.ndarray],
    tolerance: float = 1e-3,
) -> None:  # fmt: skip
    """Claim forward and gradients of `ours`: the reference, and its central differences at up to 12 elements."""
    given = [t(each, grad=True) for each in inputs]
    exact = [each.astype(np.float64) for each in inputs]
    out, wanted = ours(*given), reference(*exact)
    same(out, wanted, tolerance, "forward")
    weight = array(*wanted.shape)
    (out * t(weight)).sum().backward()
    for number, (tensor, values) in enumerate(zip(given, exact)):
        places = RNG.permutation(values.size)[:12]
        slopes = []
        for place in places:
            kept, sides = values.flat[place], []
            for step in (1e-5, -1e-5):
                values.flat[place] = kept + step
                sides.append((reference(*exact) * weight).sum())
            values.flat[place] = kept
            slopes.append((sides[0] - sides[1]) / 2e-5)
        CLAIMS.append(Claim(tensor.grad, np.array(slopes), tolerance, f"gradient {number}", places))


# -- pointwise --------------------------------------------------------------------------------------------------------


@family
def pointwise_chains() -> None:
    for shape in [(1,), (7,), (3, 5), (64, 33), (2, 3, 4, 5)]:
        a, b = array(*shape), array(*shape, low=0.5)
        x, y = t(a), t(b)
        same((x * y + 2.0).relu() - y.sqrt() / (x.abs() + 1), np.maximum(a * b + 2, 0) - np.sqrt(b) / (np.abs(a) + 1))
        same(torch.sigmoid(x) * torch.tanh(y) + torch.exp(-x), np.tanh(b) / (1 + np.exp(-a)) + np.exp(-a))
        same(torch.where(x > y, x, -y), np.where(a > b, a, -b))
        same(x.clamp(-1, 1).pow(2).add(y.log()), np.clip(a, -1, 1) ** 2 + np.log(b))
        c, d = x + y, x - y  # several results of one chain
        same(c, a + b)
        same(d, a - b)


@family
def pointwise_functions() -> None:
    a = array(37, low=0.1, high=0.9)
    x = t(a)
    erf = np.vectorize(math.erf)
    for name, reference in {
        "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
        "sinh": np.sinh, "cosh": np.cosh, "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log,
        "log2": np.log2, "log10": np.log10, "log1p": np.log1p, "sqrt": np.sqrt, "rsqrt": lambda v: 1 / np.sqrt(v),
        "reciprocal": np.reciprocal, "floor": np.floor, "ceil": np.ceil, "round": np.round, "trunc": np.trunc,
        "sign": np.sign, "square": np.square, "neg": np.negative, "erf": erf, "erfc": lambda v: 1 - erf(v),
        "lgamma": np.vectorize(math.lgamma),
    }.items():  # fmt: skip
        same(getattr(torch, name)(x), reference(a.astype(np.float64)), 5e-5, name)
    wide = array(41, low=-4, high=4)
    v, w = wide.astype(np.float64), t(wide)
    sigmoid = 1 / (1 + np.exp(-v))
    for name, wanted in {
        "relu": np.maximum(v, 0), "silu": v * sigmoid, "softplus": np.log1p(np.exp(v)),
        "elu": np.where(v > 0, v, np.expm1(v)), "leaky_relu": np.where(v > 0, v, 0.01 * v),
        "gelu": v * 0.5 * (1 + erf(v / math.sqrt(2))), "hardtanh": np.clip(v, -1, 1),
        "hardswish": v * np.clip(v + 3, 0, 6) / 6, "logsigmoid": np.log(sigmoid),
        "mish": v * np.tanh(np.log1p(np.exp(v))),
    }.items():  # fmt: skip
        same(getattr(F, name)(w), wanted, 5e-5, name)


@family
def pointwise_views() -> None:
    a, b = array(12, 10), array(10)
    x, y = t(a), t(b)
    same(x.t() * 2, a.T * 2)
    same(x[:, 1::3] + x[:, ::3][:, :3], a[:, 1::3] + a[:, ::3][:, :3])
    same(x + y, a + b)
    same(x[:, :1] * y, a[:, :1] * b)
    same(x.unsqueeze(2) - y, a[:, :, None] - b)
    same(x.expand(3, 12, 10) + 1, np.broadcast_to(a, (3, 12, 10)) + 1)
    same(x.view(3, 4, 10).permute(2, 0, 1).contiguous(), a.reshape(3, 4, 10).transpose(2, 0, 1))
    same(x.flip(0) + x, a[::-1] + a)
    same(x.roll(3, 1), np.roll(a, 3, 1))
    z = x.clone()
    z[2:9:2, 3] += 5.0
    z[:, 0] = z[:, 1]
    z.t()[4].mul_(y[0])
    wanted = a.copy()
    wanted[2:9:2, 3] += 5
    wanted[:, 0] = wanted[:, 1]
    wanted.T[4] *= b[0]
    same(z, wanted)
    same(torch.tensor(2.5) * x[3, 4], np.float32(2.5) * a[3, 4])
    same(torch.zeros(0, 4) + 1, np.ones((0, 4), np.float32))


@family
def pointwise_dtypes() -> None:
    doubles = ("float64",) if FP64 else ()
    for name in (*doubles, "float32", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8"):
        dtype = getattr(torch, name)
        a, b = integers(2, 19, low=1, high=6), integers(2, 19, low=1, high=6)
        x, y = t(a).to(dtype), t(b).to(dtype)
        same((x * y + x).to(torch.float32), (a * b + a).astype(np.float32), what=name)
        same(x > y, a > b, what=name)
        same((x // y).to(torch.int64), a // b, what=name)
        same((x % y).to(torch.int64), a % b, what=name)
        assert (x + 1.5).dtype is (dtype if dtype.is_floating_point else torch.float32), name
    a, b = integers(33, low=-100, high=100), integers(33, low=1, high=8)
    x, y = t(a), t(b)
    same(x & y | (x ^ y), a & b | (a ^ b))
    same(~x, ~a)
    same(x << 2, a << 2)
    same(x >> 1, a >> 1)
    same(x // -y, a // -b)
    same(x % -y, a % -b)
    same((x > 0) & ~(y < 4), (a > 0) & ~(b < 4))
    same(x / y, (a / b).astype(np.float32))
    same(t(a.astype(np.int32)) * t(a.astype(np.int32)), (a * a).astype(np.int32))
    half = array(50).astype(np.float16)
    same(t(half) * 3, (half.astype(np.float32) * 3).astype(np.float16), 1e-3)
    same(t(array(9)).to(torch.bool).to(torch.uint8), np.ones(9, np.uint8))


# -- rows and reductions ----------------------------------------------------------------------------------------------


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@family
def rows() -> None:
    for shape in [(1, 1), (3, 7), (5, 64), (2, 3, 33)]:
        a = array(*shape)
        for dim in range(len(shape)):
            gradients(lambda x, dim=dim: F.softmax(x, dim), lambda x, dim=dim: softmax(x, dim), [a])
            same(F.log_softmax(t(a), dim), np.log(softmax(a.astype(np.float64), dim)))
    a = array(4, 19)

    def layer_norm(x, w, b):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * w + b

    gradients(lambda x, w, b: F.layer_norm(x, (19,), w, b), layer_norm, [a, array(19), array(19)], 3e-3)


@family
def batch_norm() -> None:
    def reference(x, w, b):
        centred = x - x.mean((0, 2, 3), keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean((0, 2, 3), keepdims=True) + 1e-5)
        return scaled * w[:, None, None] + b[:, None, None]

    a = array(3, 4, 5, 3)
    ours = lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True)
    gradients(ours, reference, [a, array(4), array(4)], 3e-3)
    layer = nn.BatchNorm2d(4)
    layer(t(a))
    same(layer.running_mean, 0.1 * a.mean((0, 2, 3)))
    same(layer.running_var, 0.9 + 0.1 * a.var((0, 2, 3), ddof=1))
    layer.eval()
    mean, var = 0.1 * a.mean((0, 2, 3)), 0.9 + 0.1 * a.var((0, 2, 3), ddof=1)
    same(layer(t(a)), (a - mean[:, None, None]) / np.sqrt(var[:, None, None] + 1e-5))


@family
def reductions() -> None:
    for shape in [(1,), (5,), (1000,), (7, 9), (33, 65), (3, 4, 5), (2, 300, 3)]:
        a = array(*shape)
        x = t(a)
        for dims in [None, *range(len(shape)), *([(0, 2)] if len(shape) == 3 else [])]:
            d = a.astype(np.float64)
            keep = {} if dims is None else {"dim": dims}
            same(x.sum(**keep), d.sum(dims), 1e-4)
            same(x.mean(**keep), d.mean(dims), 1e-4)
            same((x * x + 1).sum(**keep), (d * d + 1).sum(dims), 1e-4)
            if not isinstance(dims, tuple):
                same(x.prod(**keep) if dims is not None else (x / 2).prod(),
                     d.prod(dims) if dims is not None else (d / 2).prod(), 1e-4)  # fmt: skip
            same(torch.amax(x, **keep), a.max(dims))
            same(torch.amin(x, **keep), a.min(dims))
            same((x > 1).any(**keep), (a > 1).any(dims))
            same((x > -1.9).all(**keep), (a > -1.9).all(dims))
            if dims is None or a.shape[dims if not isinstance(dims, tuple) else 0] > 1:
                same(x.var(unbiased=False) if dims is None else x.var(dims, unbiased=False), d.var(dims), 1e-4)
        for dim in range(len(shape)):
            same(x.argmax(dim), a.argmax(dim))
            same(x.argmin(dim), a.argmin(dim))
            values, places = x.max(dim)
            same(values, a.max(dim))
            same(places, a.argmax(dim))
            same(torch.logsumexp(x, dim), np.log(np.exp(a.astype(np.float64)).sum(dim)))
        same(x.norm(), np.linalg.norm(a.astype(np.float64)), 1e-4)
    n = integers(6, 40, low=-1000, high=1000)
    same(t(n).sum(1), n.sum(1))
    same(t(n.astype(np.int32)).sum(), n.sum())
    same(t(n).t().amax(0), n.T.max(0))
    a = array(4, 6)
    same(t(a).t()[::2].sum(1), a.T[::2].sum(1))


# -- products ---------------------------------------------------------------------------------------------------------


@family
def matrix_products() -> None:
    for m, k, n in [(1, 1, 1), (3, 5, 7), (17, 33, 9), (64, 48, 40), (1, 70, 30), (30, 70, 1), (70, 1, 31)]:
        a, b = array(m, k), array(k, n)
        wanted = a.astype(np.float64) @ b
        x, y = t(a), t(b)
        same(x @ y, wanted, 1e-4)
        same(torch.tensor(np.ascontiguousarray(a.T)).t() @ y, wanted, 1e-4)
        same(x @ torch.tensor(np.ascontiguousarray(b.T)).t(), wanted, 1e-4)
        same(torch.tensor(np.ascontiguousarray(a.T)).t() @ torch.tensor(np.ascontiguousarray(b.T)).t(), wanted, 1e-4)
        bias = array(n)
        same(torch.addmm(t(bias), x, y).relu(), np.maximum(wanted + bias, 0), 1e-4)
        same(F.linear(x, torch.tensor(np.ascontiguousarray(b.T)), t(bias)), wanted + bias, 1e-4)
    a, b = array(4, 6, 5), array(4, 5, 3)
    same(torch.bmm(t(a), t(b)), a @ b, 1e-4)
    same(t(a) @ t(b)[0], a @ b[0], 1e-4)
    same(torch.baddbmm(torch.ones(4, 6, 3), t(a), t(b), beta=2, alpha=0.5), 2 + 0.5 * (a @ b), 1e-4)
    same(torch.einsum("bij,bjk->ik", t(a), t(b)), np.einsum("bij,bjk->ik", a, b), 1e-4)
    v, w = array(5), array(5)
    same(t(a) @ t(v), a @ v, 1e-4)
    same(torch.dot(t(v), t(w)), v @ w, 1e-4)
    same(torch.outer(t(v), t(w)), np.outer(v, w), 1e-4)
    n = integers(5, 6), integers(6, 4)
    same(t(n[0]) @ t(n[1]), n[0] @ n[1])
    for dtype in (np.float16, *((np.float64,) if FP64 else ())):
        p, q = array(9, 20, dtype=dtype), array(20, 11, dtype=dtype)
        same(t(p) @ t(q), p.astype(np.float64) @ q.astype(np.float64), 2e-2 if dtype == np.float16 else 1e-9)
    gradients(lambda x, y: x @ y, lambda x, y: x @ y, [array(3, 4), array(4, 5)])
    gradients(
        lambda x, w, b: F.linear(x, w, b).tanh(),
        lambda x, w, b: np.tanh(x @ w.T + b),
        [array(4, 3), array(5, 3), array(5)],
    )


def convolution(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    (n, _, h, width), (out_channels, per_group, kh, kw) = x.shape, w.shape
    oh = (h - dilation * (kh - 1) - 1) // stride + 1
    ow = (width - dilation * (kw - 1) - 1) // stride + 1
    out = np.zeros((n, out_channels, oh, ow), np.float64)
    share = out_channels // groups
    for g in range(groups):
        part, taps = x[:, g * per_group : (g + 1) * per_group], w[g * share : (g + 1) * share]
        for i in range(kh):
            for j in range(kw):
                y0, x0 = i * dilation, j * dilation
                seen = part[:, :, y0 : y0 + (oh - 1) * stride + 1 : stride, x0 : x0 + (ow - 1) * stride + 1 : stride]
                out[:, g * share : (g + 1) * share] += np.einsum("nchw,oc->nohw", seen, taps[:, :, i, j])
    return out if b is None else out + b[:, None, None]


@family
def convolutions() -> None:
    for (n, c, h, w), (o, kernel), options in [
        ((2, 3, 8, 8), (4, 3), {}),
        ((1, 2, 7, 9), (3, 3), {"padding": 1}),
        ((2, 2, 9, 8), (5, 3), {"stride": 2, "padding": 1}),
        ((2, 5, 4, 5), (6, 1), {}),
        ((1, 4, 6, 6), (3, 1), {"stride": 2}),
        ((2, 4, 6, 5), (6, 3), {"groups": 2, "padding": 1}),
        ((1, 4, 6, 6), (4, 3), {"groups": 4}),
        ((1, 2, 9, 9), (2, 3), {"dilation": 2}),
        ((1, 3, 12, 12), (6, 5), {}),
        ((1, 1, 3, 3), (1, 3), {"padding": 2}),
    ]:
        weight = array(o, c // options.get("groups", 1), kernel, kernel)
        gradients(
            lambda x, k, b, options=options: F.conv2d(x, k, b, **options),
            lambda x, k, b, options=options: convolution(x, k, b, **options),
            [array(n, c, h, w), weight, array(o)],
        )
    x, w = array(2, 16, 16, 16), array(24, 16, 3, 3)
    same(F.conv2d(t(x), t(w), padding=1).relu(), np.maximum(convolution(x.astype(np.float64), w, padding=1), 0), 1e-4)
    x, w = array(2, 3, 11), array(4, 3, 3)
    same(F.conv1d(t(x), t(w)), convolution(x[:, :, None].astype(np.float64), w[:, :, None])[:, :, 0], 1e-4)


@family
def winograd_convolutions() -> None:
    """Tiles of 2x2 and 4x4 outputs, where the choice would take the direct form for so little."""
    for form, (n, c, h, w), o, padding in [("2", (2, 20, 5, 6), 17, 1), ("4", (1, 33, 9, 7), 18, 0)]:
        settings.winograd = form
        gradients(
            lambda x, k, padding=padding: F.conv2d(x, k, padding=padding).relu(),
            lambda x, k, padding=padding: np.maximum(convolution(x, k, padding=padding), 0),
            [array(n, c, h, w), array(o, c, 3, 3)],
        )
        engine.synchronize()  # planned before the setting changes
    settings.winograd = "auto"


def pooled(x: np.ndarray, kernel: int, stride: int, of: Callable) -> np.ndarray:
    n, c, h, w = x.shape
    out = np.zeros((n, c, (h - kernel) // stride + 1, (w - kernel) // stride + 1), x.dtype)
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            out[:, :, i, j] = of(x[:, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel], (2, 3))
    return out


@family
def volumes() -> None:
    """Convolutions of volumes, forward and transposed, and a row too long for the kernels of images."""
    for (n, c, d, h, w), (o, kernel), options in [
        ((2, 3, 3, 5, 6), (4, (3, 3, 3)), {"padding": 1}),
        ((1, 2, 5, 4, 7), (18, (2, 3, 1)), {"stride": (2, 1, 2), "padding": (1, 0, 0)}),
        ((1, 4, 4, 5, 5), (6, (2, 2, 2)), {"dilation": 2, "groups": 2}),
        ((2, 3, 2, 3, 4), (5, (1, 1, 1)), {}),
    ]:
        weight = array(o, c // options.get("groups", 1), *kernel)
        triples = [
            (value,) * 3 if isinstance(value, int) else value
            for value in (options.get("stride", 1), options.get("padding", 0), options.get("dilation", 1))
        ]
        facts = (*triples, options.get("groups", 1))
        gradients(
            lambda x, k, options=options: F.conv3d(x, k, **options).tanh(),
            lambda x, k, facts=facts: np.tanh(conv3d_reference(x, k, *facts)),
            [array(n, c, d, h, w), weight],
        )
    gradients(
        lambda x, k: F.conv_transpose3d(x, k, stride=2, padding=1, output_padding=1),
        lambda x, k: conv3d_input_reference(x, k, (2,) * 3, (1,) * 3, (1,) * 3, 1, (4, 6, 8)),
        [array(1, 3, 2, 3, 4), array(3, 2, 3, 3, 3)],
    )
    gradients(
        lambda x, k: F.conv1d(x, k, padding=1),
        lambda x, k: convolution(np.pad(x, ((0, 0), (0, 0), (1, 1)))[:, :, None], k[:, :, None])[:, :, 0],
        [array(1, 2, 517), array(3, 2, 3)],
    )


@family
def pooling_of_volumes() -> None:
    """Maxima and means of volumes, fixed and adaptive, vectors of windows and one dim after the other."""
    a = RNG.permutation(2 * 2 * 5 * 6 * 9).reshape(2, 2, 5, 6, 9).astype(np.float32) / 100
    for kernel, stride, padding in [((2, 2, 2), (2, 2, 2), (0, 0, 0)), ((3, 2, 3), (1, 3, 4), (1, 1, 1))]:
        gradients(
            lambda x, k=kernel, s=stride, p=padding: F.max_pool3d(x, k, s, p),
            lambda x, k=kernel, s=stride, p=padding: max_pool_reference(x, k, s, p, (1, 1, 1), False)[0],
            [a],
        )
        gradients(
            lambda x, k=kernel, s=stride, p=padding: F.avg_pool3d(x, k, s, p),
            lambda x, k=kernel, s=stride, p=padding: avg_pool_reference(x, k, s, p, False, True, None),
            [a],
        )
    cells = (2, 4, 4)
    gradients(lambda x: F.adaptive_max_pool3d(x, cells), lambda x: adaptive_max_pool_reference(x, cells)[0], [a])
    gradients(lambda x: F.adaptive_avg_pool3d(x, cells), lambda x: adaptive_avg_pool_reference(x, cells), [a])


@family
def pooling() -> None:
    for kernel, stride in [(2, 2), (3, 2), (3, 1)]:
        a = RNG.permutation(2 * 3 * 8 * 7).reshape(2, 3, 8, 7).astype(np.float32) / 50
        for ours, of in [(F.max_pool2d, np.max), (F.avg_pool2d, np.mean)]:
            gradients(
                lambda x, ours=ours, kernel=kernel, stride=stride: ours(x, kernel, stride),
                lambda x, of=of, kernel=kernel, stride=stride: pooled(x, kernel, stride, of),
                [a],
            )
    a = array(2, 3, 8, 6)
    same(F.adaptive_avg_pool2d(t(a), 1)[..., 0, 0], a.mean((2, 3)))
    same(F.adaptive_avg_pool2d(t(a), (4, 3)), pooled(a, 2, 2, np.mean))


# -- places -----------------------------------------------------------------------------------------------------------


@family
def indexing() -> None:
    a = array(9, 7)
    x = t(a)
    rows, columns = integers(5, high=9), integers(5, high=7)
    same(x[t(rows)], a[rows])
    same(x[t(rows), t(columns)], a[rows, columns])
    same(x[:, t(columns)], a[:, columns])
    same(x[x > 0], a[a > 0])
    same(x[1:4, None, t(columns)], a[1:4, None][:, :, columns])
    same(x.index_select(1, t(columns)), a[:, columns])
    places = integers(4, 7, high=9)
    same(torch.gather(x, 0, t(places)), np.take_along_axis(a, places, 0))
    same(x.take_along_dim(t(places), 0), np.take_along_axis(a, places, 0))
    wanted = np.zeros((9, 7), np.float32)
    source = array(4, 7)
    for i in range(4):
        for j in range(7):
            wanted[places[i, j], j] += source[i, j]
    same(torch.zeros(9, 7).scatter_add(0, t(places), t(source)), wanted)
    unique = np.stack([RNG.permutation(9)[:4] for _ in range(7)], 1)
    wanted = a.copy()
    np.put_along_axis(wanted, unique, source, 0)
    same(x.scatter(0, t(unique), t(source)), wanted)
    wanted = a.copy()
    np.add.at(wanted, (rows, columns), source[0, :5])
    z = x.clone()
    z.index_put_((t(rows), t(columns)), t(source)[0, :5], accumulate=True)
    same(z, wanted)
    z = x.clone()
    z[t(unique[:, 0])] = 3.0
    z[z < 0] = 0.5
    wanted = a.copy()
    wanted[unique[:, 0]] = 3
    wanted[wanted < 0] = 0.5
    same(z, wanted)
    wanted = a.copy()
    np.add.at(wanted, rows, 2.0)
    same(x.index_add(0, t(rows), torch.full((5, 7), 2.0)), wanted)
    same(x.masked_fill(x > 1, -1.0), np.where(a > 1, -1, a).astype(np.float32))
    same(torch.nonzero(x > 1), np.argwhere(a > 1))
    same(F.one_hot(t(rows), 9), np.eye(9, dtype=np.int64)[rows])
    w = t(a, grad=True)
    (w[t(rows)] * 2).sum().backward()
    wanted = np.zeros_like(a)
    np.add.at(wanted, rows, 2.0)
    same(w.grad, wanted)


@family
def embedding() -> None:
    table, ids = array(11, 6), integers(4, 5, high=11)
    weight = t(table, grad=True)
    out = F.embedding(t(ids), weight)
    same(out, table[ids])
    scale = array(4, 5, 6)
    (out * t(scale)).sum().backward()
    wanted = np.zeros_like(table)
    np.add.at(wanted, ids, scale)
    same(weight.grad, wanted)


@family
def sorting() -> None:
    for shape in [(1,), (17,), (3, 40), (2, 300), (5, 4, 6)]:
        a = array(*shape)
        for dim in range(len(shape)):
            values, places = torch.sort(t(a), dim)
            same(values, np.sort(a, dim))
            same(places, np.argsort(a, dim, kind="stable"))
            same(torch.argsort(t(a), dim, descending=True), np.argsort(-a, dim, kind="stable"))
            k = min(3, shape[dim])
            values, places = torch.topk(t(a), k, dim)
            order = np.argsort(-a, dim, kind="stable").take(range(k), dim)
            same(values, np.take_along_axis(a, order, dim))
            same(places, order)
    n = integers(60, high=8)
    same(torch.unique(t(n)), np.unique(n))
    same(torch.sort(t(n))[0], np.sort(n))
    same(torch.searchsorted(torch.arange(0.0, 9.0), torch.tensor([0.5, 3.0, 99.0])), np.array([1, 3, 9]))


@family
def scans() -> None:
    for shape in [(1,), (9,), (1500,), (3, 21), (4, 3, 5)]:
        a = array(*shape)
        for dim in range(len(shape)):
            same(t(a).cumsum(dim), a.astype(np.float64).cumsum(dim), 1e-4)
            same(torch.cummax(t(a), dim)[0], np.maximum.accumulate(a, dim))
            if shape != (1500,):
                same(t(a).cumprod(dim), a.astype(np.float64).cumprod(dim), 1e-4)
    n = integers(40)
    same(t(n).cumsum(0), n.cumsum())


@family
def special_functions() -> None:
    """SciPy's values, written down: it is not there on every machine."""
    x = np.array([0.5, 1.0, 2.0], np.float32)
    same(torch.special.i0(t(x)), [1.0634834, 1.2660659, 2.2795853], 1e-5)
    same(torch.special.i1e(t(x)), [0.1564208, 0.2079104, 0.2152693], 1e-5)
    same(torch.special.bessel_j0(t(x)), [0.9384698, 0.7651977, 0.2238908], 1e-5)
    same(torch.special.bessel_y1(t(x)), [-1.4714724, -0.7812128, -0.1070324], 1e-5)
    same(torch.special.modified_bessel_k0(t(x)), [0.9244191, 0.4210244, 0.1138939], 1e-5)
    same(torch.special.airy_ai(t(x)), [0.2316936, 0.1352924, 0.0349241], 1e-5)
    same(torch.special.erfcx(t(x)), [0.6156903, 0.4275836, 0.2553957], 1e-5)
    same(torch.special.ndtri(t(np.array([0.1, 0.5, 0.9], np.float32))), [-1.2815516, 0.0, 1.2815516], 1e-5)
    same(torch.special.zeta(t(x + 1.5), t(x)), [4.9348022, 1.3414873, 0.1267339], 1e-5)
    same(torch.special.gammainc(t(x), t(x)), [0.6826895, 0.6321206, 0.5939942], 1e-5)
    same(torch.special.chebyshev_polynomial_t(t(x), 3), [-1.0, 1.0, 26.0], 1e-5)
    same(torch.special.hermite_polynomial_he(t(x), 4), [1.5625, -2.0, -5.0], 1e-5)


@family
def linear_algebra() -> None:
    a = array(3, 5, 5) + 4 * np.eye(5, dtype=np.float32)
    wide = a.astype(np.float64)
    same(torch.linalg.inv(t(a)), np.linalg.inv(wide), 1e-4)
    same(torch.linalg.det(t(a)), np.linalg.det(wide), 1e-4)
    same(torch.linalg.solve(t(a), t(a[:, :, :2])), np.linalg.solve(wide, wide[:, :, :2]), 1e-4)
    spd = wide @ wide.transpose(0, 2, 1)
    same(torch.linalg.cholesky(t(spd.astype(np.float32))), np.linalg.cholesky(spd), 1e-4)
    q, r = torch.linalg.qr(t(a[:, :, :3]))
    same(q @ r, wide[:, :, :3], 1e-4)


@family
def joining() -> None:
    a, b, c = array(3, 4), array(2, 4), array(3, 4)
    same(torch.cat([t(a), t(b), t(a)[1:2]]), np.concatenate([a, b, a[1:2]]))
    same(torch.cat([t(a), t(c)], 1), np.concatenate([a, c], 1))
    same(torch.stack([t(a), t(c)], 1), np.stack([a, c], 1))
    same(F.pad(t(a), (1, 2, 0, 1), value=7.0), np.pad(a, ((0, 1), (1, 2)), constant_values=7))
    same(F.pad(t(a)[None], (1, 2), mode="reflect")[0], np.pad(a, ((0, 0), (1, 2)), mode="reflect"))
    same(torch.tril(t(a)) + torch.triu(t(a), 1), a)
    same(t(a).repeat(2, 3), np.tile(a, (2, 3)))
    for part, wanted in zip(t(a).split([1, 3], 1), np.split(a, [1], 1)):
        same(part * 1, wanted)
    same(t(a).t().reshape(2, 6), a.T.reshape(2, 6))
    same(torch.arange(2, 20, 3), np.arange(2, 20, 3))
    same(torch.linspace(0, 1, 7), np.linspace(0, 1, 7))
    same(torch.eye(4, 5), np.eye(4, 5, dtype=np.float32))
    x, y = t(a, grad=True), t(b, grad=True)
    (torch.cat([x, y]) * torch.full((5, 4), 3.0)).sum().backward()
    same(x.grad, np.full((3, 4), 3, np.float32))
    same(y.grad, np.full((2, 4), 3, np.float32))


@family
def random_numbers() -> None:
    torch.manual_seed(3)
    first, normal = torch.rand(1001), torch.randn(1001)
    torch.manual_seed(3)
    again = torch.rand(1001)
    dropped = F.dropout(torch.ones(1000), 0.25)
    order = torch.randperm(100)
    drawn = torch.randint(-3, 5, (500,))
    same(again, first.numpy())
    if NOTHING_RUNS:
        return
    assert 0 <= float(first.min()) and float(first.max()) < 1 and abs(float(first.mean()) - 0.5) < 0.05
    assert abs(float(normal.mean())) < 0.15 and abs(float(normal.std()) - 1) < 0.1
    kept = dropped.numpy() > 0
    assert 0.65 < kept.mean() < 0.85 and np.allclose(dropped.numpy()[kept], 4 / 3)
    assert sorted(order.tolist()) == list(range(100))
    assert set(drawn.tolist()) <= set(range(-3, 5)) and len(set(drawn.tolist())) == 8


# -- training ---------------------------------------------------------------------------------------------------------


@family
def optimizers() -> None:
    """All parameters in one launch, against the formulas."""
    shapes = [(3,), (4, 5), (2, 3, 3), (1,), (33,)]
    start = [array(*shape) for shape in shapes]
    slope = [array(*shape) for shape in shapes]
    for make, reference in [
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01), sgd),
        (lambda p: torch.optim.Adam(p, lr=0.1), adam),
        (lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1), adamw),
    ]:
        parameters = [nn.Parameter(t(each)) for each in start]
        optimizer = make(parameters)
        for _ in range(3):
            optimizer.zero_grad()
            sum((p * t(g)).sum() + (p * p).sum() * 0.5 for p, g in zip(parameters, slope)).backward()
            optimizer.step()
        for parameter, first, g in zip(parameters, start, slope):
            same(parameter, reference(first.astype(np.float64), g), 1e-4)


def sgd(p: np.ndarray, slope: np.ndarray) -> np.ndarray:
    momentum = np.zeros_like(p)
    for _ in range(3):
        momentum = 0.9 * momentum + (slope + p + 0.01 * p)
        p = p - 0.1 * momentum
    return p


def adam(p: np.ndarray, slope: np.ndarray, decay: float = 0.0) -> np.ndarray:
    m, v = np.zeros_like(p), np.zeros_like(p)
    for step in range(1, 4):
        g = slope + p
        p = p * (1 - 0.1 * decay)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        p = p - 0.1 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    return p


def adamw(p: np.ndarray, slope: np.ndarray) -> np.ndarray:
    return adam(p, slope, 0.1)


@family
def losses() -> None:
    a, target = array(6, 5), integers(6, high=5)

    def cross_entropy(x):
        return -np.log(softmax(x, 1))[np.arange(6), target].mean()

    gradients(lambda x: F.cross_entropy(x, t(target)), cross_entropy, [a])
    b = array(6, 5)
    gradients(lambda x: F.mse_loss(x, t(b)), lambda x: ((x - b) ** 2).mean(), [a])
    wanted = integers(6, 5, high=2).astype(np.float32)
    gradients(
        lambda x: F.binary_cross_entropy_with_logits(x, t(wanted)),
        lambda x: (np.log1p(np.exp(x)) - x * wanted).mean(),
        [a],
    )
    same(F.l1_loss(t(a), t(b)), np.abs(a - b).mean())


class CNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(4 * 3 * 3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)
        return self.linear(x.view(-1, 4 * 3 * 3))


@family
def training() -> None:
    """The loss falls, the step's gradient agrees with differences of the loss, replays agree with the first run."""
    torch.manual_seed(1)
    model = CNN()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    own = np.random.default_rng(3)  # of its own: with other images the differences below may cross a kink of the loss
    x, target = t(own.uniform(-2, 2, (4, 2, 8, 8)).astype(np.float32)), t(own.integers(0, 5, 4))
    seen = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    if NOTHING_RUNS:
        return
    assert seen[-1] < 0.6 * seen[0], seen
    model.zero_grad()
    F.cross_entropy(model(x), target).backward()
    weight = model.conv.weight
    slope = float(weight.grad[1, 0, 2, 1])
    sides = []
    with torch.no_grad():
        for step in (1e-2, -2e-2):
            weight[1, 0, 2, 1] += step
            sides.append(F.cross_entropy(model(x), target).item())
    assert abs((sides[0] - sides[1]) / 2e-2 - slope) < 2e-3 + 0.05 * abs(slope), (sides, slope)


@family
def recurrent() -> None:
    steps, batch, width, hidden = 3, 3, 4, 17
    counts, starts = (3, 2, 1), np.array([0, 3, 5, 6])
    for kind in ("lstm", "gru", "tanh"):
        for packed in (False, True):
            form = Recurrence(kind, 2, steps, batch, packed=packed)
            gates, rows = form.gates * hidden, (6,) if packed else (steps, batch)
            shapes = [(gates, width), (gates, hidden), (gates,), (gates,)] * 2
            weights = [array(*shape, low=-0.3, high=0.3) for shape in shapes]

            def ours(x, *params, kind=kind, packed=packed):
                states = (None, None) if kind == "lstm" else (None,)
                run = (kind, x, counts if packed else None, states, params, True, 1, 0.0, True, True, False)
                return network(*run)[0]

            def reference(x, *params, form=form):
                given = [x @ params[d * 4].T + params[d * 4 + 2] for d in range(2)]
                given += [*params[1::4], *params[3::4], *([starts] if form.packed else [])]
                return recurrent_reference(*given, form=form)[0]

            gradients(ours, reference, [array(*rows, width), *weights])


@family
def attention() -> None:
    """Both directions: causal, several blocks and strips, heads that share keys, masks, dropout, 16 bits."""

    def composed(q: np.ndarray, k: np.ndarray, v: np.ndarray, *seen: np.ndarray, scale: float = 0.25) -> np.ndarray:
        sharing = q.shape[1] // k.shape[1]
        scores = scale * q @ np.repeat(k, sharing, 1).swapaxes(-1, -2)
        for mask in seen:
            scores = np.where(mask, scores, -np.inf)
        return softmax(scores, -1) @ np.repeat(v, sharing, 1)

    attend = F.scaled_dot_product_attention
    for shapes in [((1, 2, 37, 8), (1, 2, 37, 8), (1, 2, 37, 5)), ((1, 2, 15, 18), (1, 1, 40, 18), (1, 1, 40, 33))]:
        given = [array(*s) for s in shapes]
        gradients(lambda *x: attend(*x, scale=0.25, enable_gqa=True), composed, given)
        below = np.tri(shapes[0][2], shapes[1][2], dtype=bool)
        gradients(
            lambda *x: attend(*x, scale=0.25, is_causal=True, enable_gqa=True),
            lambda *x, below=below: composed(*x, below), given,
        )  # fmt: skip
    q, k, v = array(1, 2, 6, 8), array(1, 2, 19, 8), array(1, 2, 19, 8)
    seen = RNG.random((6, 19)) > 0.4
    seen[:, 3] = True
    gradients(
        lambda *x: attend(*x, attn_mask=torch.tensor(seen), scale=0.25), lambda *x: composed(*x, seen), [q, k, v]
    )
    same(attend(t(q).half(), t(k).half(), t(v).half(), scale=0.25), composed(q, k, v), 4e-3)
    eyes, zeros = torch.eye(32).reshape(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    dropped = attend(zeros, zeros, eyes, dropout_p=0.5)
    same(dropped * (dropped - 1 / 16), np.zeros((1, 1, 32, 32)), 1e-6)  # 0 or 1 / 32 / 0.5


@family
def double_backward() -> None:
    a = array(5)
    x = t(a, grad=True)
    (slope,) = torch.autograd.grad((x**3).sum(), x, create_graph=True)
    (slope * slope).sum().backward()
    same(x.grad, 36 * a.astype(np.float64) ** 3, 1e-4)
    w = t(array(2, 1, 3, 3), grad=True)
    image = t(array(1, 1, 5, 5), grad=True)
    (slope,) = torch.autograd.grad(F.conv2d(image, w).tanh().sum(), w, create_graph=True)
    slope.sum().backward()
    assert tuple(image.grad.shape) == (1, 1, 5, 5)
    same(image.grad * 0, np.zeros((1, 1, 5, 5), np.float32))


def choose(vendor: str, driver: str) -> str:
    """The name of the device of that vendor and driver version."""
    if vendor == "null":
        return "null"
    for device in runtime.devices():
        if device.target.vendor == vendor and device.target.driver.startswith(driver):
            return device.spec
    raise SystemExit(f"no device of vendor {vendor!r}, driver {driver!r}: {runtime.devices()}")


def as_gpu(device: runtime.Device) -> None:
    """Have a CPU device run what a GPU of usual limits would get, matrix instructions emulated."""
    device.target = replace(
        device.target, kind="gpu", vector_width=1, local_memory=min(device.target.local_memory, 49152),
        max_work_group=256, compute_units=4, matrix="emulated_nvidia",
    )  # fmt: skip


def main() -> int:
    global NOTHING_RUNS, FP64
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--vendor", default="intel")
    options.add_argument("--driver", default="")
    options.add_argument("--gpu", action="store_true", help="the kernel forms of a GPU, on this device")
    options.add_argument("families", nargs="*")
    arguments = options.parse_args()
    chosen = choose(arguments.vendor, arguments.driver)
    if arguments.gpu:
        as_gpu(runtime.get_device(chosen))
    NOTHING_RUNS = chosen == "null"
    FP64 = runtime.get_device(chosen).target.fp64
    torch.set_default_device(chosen)
    wrong = 0
    for name in arguments.families or FAMILIES:
        start = time.perf_counter()
        try:
            CLAIMS.clear()
            FAMILIES[name]()
            for claim in CLAIMS:
                claim.check()
            print(f"right  {name} {time.perf_counter() - start:.1f} s", flush=True)
        except Exception:
            wrong += 1
            print(f"WRONG  {name}\n{traceback.format_exc()}", flush=True)
    if NOTHING_RUNS:
        null = runtime.get_device("null")
        print(f"{len(null.built)} kernels rendered, {null.stream.queue.launches} launches dropped")
    print(f"{torch.accelerator.device_name(chosen)}: {wrong} families wrong", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
