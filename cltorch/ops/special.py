"""Records of the special functions: Bessel and Airy functions, orthogonal polynomials, the normal distribution,
incomplete gamma functions; and the parts of a floating point number.

Floor 2. `s_…` are functions of the files in kernels/ named in a record's `includes`; they compute in double where the
device has it. PyTorch has no gradients for most of them; `why` says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dtypes
from ..dtypes import DType
from .pointwise import MATH, SPECIAL, _binary, _log, _unary, keep, scipy_special, zeros
from .table import Op

NO_GRADIENT = "PyTorch has none"
SQRT_2, SQRT_2PI = math.sqrt(2.0), math.sqrt(2.0 * math.pi)


def _one(name: str, file: str, reference: Any, doc: str, grad: Any = None, argument: str = "input", **facts: Any) -> Op:
    """A function of one operand that lives in cltorch.special."""
    facts.setdefault("function", False)
    facts.setdefault("inplace", False)
    facts.setdefault("method", False)
    facts.setdefault("cost", 80)
    facts.setdefault("expr", f"s_{name.strip('_')}({{0}})")
    expr = facts.pop("expr")
    if grad is None:
        facts["why"] = NO_GRADIENT
    return _unary(
        name, expr, grad, includes=(file,) if file == "math" else ("real", file), promote="float", reference=reference,
        doc=doc,
        names=(argument,), **facts,
    )  # fmt: skip


def _scipy(name: str) -> Callable[..., Any]:
    return scipy_special(name)


# ---- modified Bessel functions


def _i0e_grad(ctx: Any, g: Any) -> tuple[Any]:
    x = ctx.inputs[0]
    return (g * (x._i1e() - x.sgn() * ctx.out),)


def _over(x: Any, values: Any, at_zero: float) -> Any:
    """`values` made of quotients by x, with their limit where x is 0."""
    return values.where(x != 0, at_zero)


def _i1_grad(ctx: Any, g: Any) -> tuple[Any]:
    x = ctx.inputs[0]
    safe = x.where(x != 0, 1.0)
    return (g * _over(x, x.i0() - ctx.out / safe, 0.5),)


def _i1e_grad(ctx: Any, g: Any) -> tuple[Any]:
    x = ctx.inputs[0]
    safe = x.where(x != 0, 1.0)
    return (g * _over(x, x._i0e() - ctx.out * (x.sgn() + safe.reciprocal()), 0.5),)


_AS = "Abramowitz and Stegun 9"
I0 = _one(
    "i0",
    "modified",
    _scipy("i0"),
    "Modified Bessel function of the first kind, order 0.",
    lambda ctx, g: (g * ctx.inputs[0]._i1(),),
    function=True,
    inplace=True,
    method=True,
    source=_AS,
)
I0E = _one(
    "_i0e", "modified", _scipy("i0e"), "exp(-|input|) i0(input).", _i0e_grad, saves=(0, "out"), method=True,
    domain=(0.2, 9),
)  # fmt: skip
I1 = _one(
    "_i1", "modified", _scipy("i1"), "Modified Bessel function of the first kind, order 1.", _i1_grad,
    saves=(0, "out"), method=True, source=_AS, domain=(0.2, 5),
)  # fmt: skip
I1E = _one(
    "_i1e", "modified", _scipy("i1e"), "exp(-|input|) i1(input).", _i1e_grad, saves=(0, "out"), method=True,
    domain=(0.2, 9),
)  # fmt: skip
K0 = _one(
    "_k0",
    "modified",
    _scipy("k0"),
    "Modified Bessel function of the second kind, order 0.",
    domain=(0.2, 9),
    source=_AS,
)
K1 = _one(
    "_k1",
    "modified",
    _scipy("k1"),
    "Modified Bessel function of the second kind, order 1.",
    domain=(0.2, 9),
    source=_AS,
)
K0E = _one("_k0e", "modified", _scipy("k0e"), "exp(x) k0(x).", argument="x", domain=(0.2, 9))
K1E = _one("_k1e", "modified", _scipy("k1e"), "exp(x) k1(x).", argument="x", domain=(0.2, 9))

# ---- Bessel and Airy functions

J0 = _one("_j0", "bessel", _scipy("j0"), "Bessel function of the first kind, order 0.", domain=(-20, 20), source=_AS)
J1 = _one("_j1", "bessel", _scipy("j1"), "Bessel function of the first kind, order 1.", domain=(-20, 20), source=_AS)
Y0 = _one("_y0", "bessel", _scipy("y0"), "Bessel function of the second kind, order 0.", domain=(0.2, 20), source=_AS)
Y1 = _one("_y1", "bessel", _scipy("y1"), "Bessel function of the second kind, order 1.", domain=(0.2, 20), source=_AS)
SPHERICAL_J0 = _one(
    "_spherical_j0",
    "bessel",
    lambda x: np.sinc(x / np.pi),
    "Spherical Bessel function of the first kind, order 0: sin(x) / x.",
    argument="x",
    domain=(-20, 20),
)
AIRY_AI = _one(
    "_airy_ai", "airy", lambda x: scipy_special("airy")(x)[0], "Airy function Ai.", argument="x", domain=(-12, 6),
    source="Abramowitz and Stegun 10.4",
)  # fmt: skip

# ---- the normal distribution

ERFCX = _one(
    "_erfcx",
    "normal",
    _scipy("erfcx"),
    "exp(input^2) erfc(input).",
    lambda ctx, g: (g * (ctx.inputs[0] * ctx.out * 2 - 2 / math.sqrt(math.pi)),),
    saves=(0, "out"),
    method=True,
    domain=(-2, 6),
)
NDTR = _one(
    "_ndtr",
    "normal",
    _scipy("ndtr"),
    "Area under the standard normal density from -inf to input.",
    lambda ctx, g: (g * ((ctx.inputs[0].square() * -0.5).exp() * (1 / SQRT_2PI)),),
)
LOG_NDTR = _one(
    "_log_ndtr",
    "normal",
    _scipy("log_ndtr"),
    "log of ndtr, also where ndtr itself underflows.",
    lambda ctx, g: (g * ((ctx.inputs[0] * -(1 / SQRT_2))._erfcx().reciprocal() * math.sqrt(2 / math.pi)),),
    domain=(-9, 3),
)
NDTRI = _one(
    "_ndtri",
    "normal",
    _scipy("ndtri"),
    "Inverse of ndtr.",
    lambda ctx, g: (g * ((ctx.out.square() * 0.5).exp() * SQRT_2PI),),
    saves=("out",),
    domain=(0.1, 0.9),
)


def _entr_grad(ctx: Any, g: Any) -> tuple[Any]:
    x = ctx.inputs[0]
    return (g * (-(x.log() + 1)).where(x >= 0, -math.inf),)


ENTR = _one(
    "_entr",
    "math",
    _scipy("entr"),
    "-input * log(input); 0 at 0, -inf below.",
    _entr_grad,
    expr="({0} != {0}) ? {0} : (({0} > $0$) ? (-{0} * m_log({0})) : (({0} == $0$) ? $0$ : $-INFINITY$))",
    domain=(0.2, 3),
    cost=14,
)


def _xlog1py_grad(ctx: Any, g: Any) -> tuple[Any, Any]:
    x, y = ctx.inputs
    log = y.log1p() if hasattr(y, "log1p") else _log(1 + y)
    first = keep(g * log, ~((x == 0) & (y <= -1))) if ctx.needs[0] else None
    return first, g * x / (y + 1) if ctx.needs[1] else None


XLOG1PY = _binary(
    "_xlog1py",
    "({1} != {1}) ? {1} : (({0} == $0$) ? $0$ : ({0} * m_log1p({1})))",
    _xlog1py_grad,
    includes=MATH,
    promote="float",
    reference=scipy_special("xlog1py"),
    domain=((-3, 3), (-0.5, 3)),
    function=False,
    method=False,
    inplace=False,
    cost=16,
    doc="input * log(1 + other), 0 where input is 0.",
)

# ---- zeta and incomplete gamma functions


ZETA = _binary(
    "_zeta",
    "s_zeta({0}, {1})",
    lambda ctx, g: (
        None,
        g * -ctx.inputs[0] * (ctx.inputs[1]._zeta_of(ctx.inputs[0] + 1)) if ctx.needs[1] else None,
    ),
    includes=SPECIAL,
    promote="float",
    reference=scipy_special("zeta"),
    domain=((2.5, 2.5), (0.5, 4)),
    function=False,
    method=False,
    inplace=False,
    cost=200,
    doc="Hurwitz zeta function: sum over k >= 0 of (other + k)^-input. Differentiable in other only, as in PyTorch.",
    source="Abramowitz and Stegun 23.2",
)
ZETA_OF = _binary(
    "_zeta_of",
    "s_zeta({1}, {0})",
    lambda ctx, g: (g * -ctx.inputs[1] * ctx.inputs[0]._zeta_of(ctx.inputs[1] + 1) if ctx.needs[0] else None, None),
    includes=SPECIAL,
    promote="float",
    reference=lambda q, x: scipy_special("zeta")(x, q),
    domain=((0.5, 4), (2.5, 2.5)),
    function=False,
    inplace=False,
    cost=200,
    names=("other", "input"),
    doc="zeta with its arguments in the other order: a method of the differentiable one.",
)


def _density(ctx: Any, g: Any, sign: float) -> tuple[Any, Any]:
    """d P(a, x) / dx = x^(a - 1) exp(-x) / Gamma(a)."""
    a, x = ctx.inputs
    lgamma = a.lgamma() if hasattr(a, "lgamma") else math.lgamma(a)
    return None, g * ((x.log() * (a - 1) - x - lgamma).exp() * sign) if ctx.needs[1] else None


def _incomplete(name: str, kernel: str, sign: float, doc: str) -> Op:
    return _binary(
        name,
        f"{kernel}({{0}}, {{1}})",
        lambda ctx, g: _density(ctx, g, sign),
        includes=("real", "normal", "incomplete"),
        categories="f",
        reference=scipy_special(kernel[2:]),
        domain=((2.5, 2.5), (0.3, 6)),
        cost=400,
        doc=doc + " Differentiable in other only, as in PyTorch.",
        source="DLMF 8",
    )


IGAMMA = _incomplete("igamma", "s_gammainc", 1.0, "Regularised lower incomplete gamma function P(input, other).")
IGAMMAC = _incomplete("igammac", "s_gammaincc", -1.0, "Regularised upper incomplete gamma function Q(input, other).")

# ---- orthogonal polynomials


def _polynomial(name: str, kernel: str, reference: Any, doc: str, shifted: bool = False) -> Op:
    argument = "({0} + {0} - $1$)" if shifted else "{0}"
    return _binary(
        name,
        f"{kernel}({argument}, {{1}})",
        includes=("real", "polynomials"),
        promote="float",
        reference=reference,
        domain=((0, 1), (5, 5)) if shifted else ((-1.5, 1.5), (5, 5)),
        function=False,
        method=False,
        inplace=False,
        names=("x", "n"),
        why=NO_GRADIENT,
        cost=40,
        doc=f"{doc} of degree n; 0 for negative n.",
        source="Abramowitz and Stegun 22",
    )


def _degree(name: str) -> Callable[..., Any]:
    return lambda x, n: scipy_special("eval_" + name)(int(n), np.asarray(x, np.float64))


def _half(sign: int) -> Callable[..., Any]:
    """V (sign -1) and W (sign 1) from U: V_n = U_n - U_(n-1), W_n = U_n + U_(n-1)."""

    def reference(x: Any, n: Any) -> Any:
        u = _degree("chebyu")
        return u(x, n) + sign * u(x, n - 1)

    return reference


def _shift(reference: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, n: reference(2 * np.asarray(x, np.float64) - 1, n)


_KINDS = {
    "t": ("first", _degree("chebyt")),
    "u": ("second", _degree("chebyu")),
    "v": ("third", _half(-1)),
    "w": ("fourth", _half(1)),
}
POLYNOMIALS = {
    f"chebyshev_polynomial_{k}": _polynomial(
        f"_chebyshev_{k}", f"s_chebyshev_{k}", reference, f"Chebyshev polynomial of the {kind} kind"
    )
    for k, (kind, reference) in _KINDS.items()
}
POLYNOMIALS |= {
    f"shifted_chebyshev_polynomial_{k}": _polynomial(
        f"_shifted_chebyshev_{k}",
        f"s_chebyshev_{k}",
        _shift(reference),
        f"Chebyshev polynomial of the {kind} kind in 2 x - 1",
        True,
    )  # fmt: skip
    for k, (kind, reference) in _KINDS.items()
}
POLYNOMIALS |= {
    "hermite_polynomial_h": _polynomial(
        "_hermite_h", "s_hermite_h", _degree("hermite"), "Physicists' Hermite polynomial"
    ),
    "hermite_polynomial_he": _polynomial(
        "_hermite_he", "s_hermite_he", _degree("hermitenorm"), "Probabilists' Hermite polynomial"
    ),
    "laguerre_polynomial_l": _polynomial("_laguerre_l", "s_laguerre_l", _degree("laguerre"), "Laguerre polynomial"),
    "legendre_polynomial_p": _polynomial("_legendre_p", "s_legendre_p", _degree("legendre"), "Legendre polynomial"),
}

# ---- parts of a floating point number

_STEPS = {"float64": "float64", "float32": "float32", "float16": "half", "bfloat16": "bf16"}


def _next(dtype: DType) -> str:
    return f"next_{_STEPS[dtype.name]}({{0}}, {{1}})"


NEXTAFTER = _binary(
    "nextafter",
    _next,
    lambda ctx, g: (keep(g, ctx.inputs[0] != ctx.inputs[1]) if ctx.needs[0] else None, zeros(g)),
    includes=("real", "parts"),
    categories="f",
    reference=np.nextafter,
    doc="The next number of the dtype after input towards other.",
    source="IEEE 754",
)


MANTISSA = _one(
    "_mantissa",
    "parts",
    lambda x: np.frexp(x)[0],
    "input * 2^-exponent, of absolute value in [1/2, 1).",
    lambda ctx, g: (g * (-ctx.inputs[0]._exponent().to(g.dtype)).exp2(),),
    expr="mantissa({0})",
    categories="f",
    domain=(0.55, 0.95),
    cost=4,
)
EXPONENT = _one(
    "_exponent",
    "parts",
    lambda x: np.frexp(x)[1],
    "The exponent that belongs to the mantissa.",
    expr="number_exponent({0})",
    categories="f",
    result=lambda given: dtypes.int32,
    method=True,
    cost=4,
)
