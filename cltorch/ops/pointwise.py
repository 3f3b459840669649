"""Records of the element-by-element operations: arithmetic, rounding, elementary functions, comparison, logic,
selection.

Floor 2. Expression text follows codegen/program.py; functions called `m_…` are those of kernels/math.cl, `s_…` of
kernels/special.cl; kernels/arithmetic.cl holds `floor_divide`, `floor_remainder` and `integer_power`. Gradients are
written with differentiable methods of their arguments, so they may be differentiated again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..dtypes import BOOL, FLOAT, DType
from .table import POINTWISE, Op, register

MATH, SPECIAL, ARITHMETIC = ("math",), ("math", "special"), ("arithmetic",)
INVERSE, GAMMA = ("math", "inverse"), ("math", "gamma")
LN2, LN10 = math.log(2.0), math.log(10.0)


def scipy_special(name: str) -> Callable[..., Any]:
    """A reference that needs SciPy, imported only when a test calls it."""

    def reference(*arrays: Any) -> Any:
        import scipy.special

        return getattr(scipy.special, name)(*arrays)

    return reference


def zeros(g: Any) -> Any:
    """The gradient of a function that is constant almost everywhere."""
    return g.new_zeros(g.shape)


def keep(g: Any, condition: Any) -> Any:
    """`g` where `condition` holds, else 0 (not g * condition, which makes NaN of an infinite g)."""
    return g.where(condition, 0.0)


def _unary(name: str, expr: Any, grad: Any = None, *, saves: tuple[int | str, ...] = (0,), **facts: Any) -> Op:
    facts.setdefault("names", ("input",))
    return register(Op(name, POINTWISE, 1, expr, grad=grad, saves=saves if grad else (), **facts))


def _binary(name: str, expr: Any, grad: Any = None, *, saves: tuple[int | str, ...] = (0, 1), **facts: Any) -> Op:
    facts.setdefault("names", ("input", "other"))
    return register(Op(name, POINTWISE, 2, expr, grad=grad, saves=saves if grad else (), **facts))


def _many(name: str, arity: int, expr: Any, grad: Any = None, *, saves: tuple[int | str, ...] = (), **facts: Any) -> Op:
    return register(Op(name, POINTWISE, arity, expr, grad=grad, saves=saves, **facts))


def _by_kind(
    floats: str, integers: str, bools: str | None = None, unsigned: str | None = None
) -> Callable[[DType], str]:
    """A text per category of the computing dtype."""

    def text(dtype: DType) -> str:
        if dtype.category == FLOAT:
            return floats
        if dtype.category == BOOL:
            return integers if bools is None else bools
        return unsigned if unsigned is not None and not dtype.is_signed else integers

    return text


# ---- movement of values

CAST = _unary(
    "cast",
    "cast",
    lambda ctx, g: (g,),
    saves=(),
    promote="none",
    method=False,
    inplace=False,
    function=False,
    cost=0,
    doc="The same value in another dtype, converted as C converts; to bool: value != 0.",
)
COPY = _unary(
    "copy",
    "cast",
    lambda ctx, g: (g,),
    saves=(),
    promote="none",
    method=False,
    inplace=False,
    function=False,
    cost=0,
    reference=np.copy,
    doc="out = input, converted to the dtype of out.",
)
FILL = _unary(
    "fill",
    "cast",
    promote="none",
    method=False,
    inplace=False,
    function=False,
    cost=0,
    why="the operand is a number",
    doc="out = value.",
)
INDEX = register(
    Op(
        "_index",
        POINTWISE,
        0,
        "index",
        promote="none",
        result="index",
        method=False,
        inplace=False,
        function=False,
        cost=0,
        names=(),
        why="integers",
        doc="The C-order number of each element.",
    )
)

# ---- arithmetic


def _mul_grad(ctx: Any, g: Any) -> tuple[Any, Any]:
    a, b = ctx.inputs
    return g * b if ctx.needs[0] else None, g * a if ctx.needs[1] else None


def _div_grad(ctx: Any, g: Any) -> tuple[Any, Any]:
    a, b = ctx.inputs
    return g / b if ctx.needs[0] else None, -(g * a) / (b * b) if ctx.needs[1] else None


ADD = _binary(
    "add",
    _by_kind("{0} + {1}", "{0} + {1}", "{0} | {1}"),
    lambda ctx, g: (g, g),
    saves=(),
    reference=np.add,
    doc="input + other; `or` of bools.",
)
ADD_SCALED = _many(
    "_add_scaled",
    3,
    _by_kind("{0} + {2} * {1}", "{0} + {2} * {1}", "{0} | ({2} & {1})"),
    lambda ctx, g: (g, g * ctx.inputs[2] if ctx.needs[1] else None, None),
    saves=(2,),
    cost=2,
    reference=lambda a, b, k: a + k * b,
    method=False,
    inplace=False,
    function=False,
    domain=((-3, 3), (-3, 3), (0.5, 0.5)),
    names=("input", "other", "alpha"),
    doc="input + alpha * other: what add, sub and rsub with alpha record.",
)
SUB = _binary(
    "sub",
    "{0} - {1}",
    lambda ctx, g: (g, -g if ctx.needs[1] else None),
    saves=(),
    categories="if",
    reference=np.subtract,
    doc="input - other.",
)
MUL = _binary(
    "mul",
    _by_kind("{0} * {1}", "{0} * {1}", "{0} & {1}"),
    _mul_grad,
    reference=np.multiply,
    doc="input * other; `and` of bools.",
)
DIV = _binary(
    "div",
    "{0} / {1}",
    _div_grad,
    promote="float",
    reference=np.true_divide,
    domain=((-3, 3), (0.5, 3)),
    cost=4,
    doc="input / other; of integers, in the default float dtype.",
)

# Integer division never reaches the hardware with 0 or (where -2**n / -1 overflows) -1 as divisor: both fault on x86.
_SAFE = "((({1} == $0$) | ({1} == $-1$)) ? $1$ : {1})"
_QUOTIENT = f"((({{1}} == $0$) ? $0$ : (({{1}} == $-1$) ? -{{0}} : {{0}})) / {_SAFE})"
_REST = f"({{0}} % {_SAFE})"
_USAFE = "(({1} == $0$) ? $1$ : {1})"
_UQUOTIENT = f"((({{1}} == $0$) ? $0$ : {{0}}) / {_USAFE})"
_UREST = f"({{0}} % {_USAFE})"
_ADJUST = f"((({_REST}) != $0$) & ((({_REST}) ^ {{1}}) < $0$))"  # the rest is not 0 and has not the divisor's sign

FLOOR_DIVIDE = _binary(
    "floor_divide",
    _by_kind("floor_divide({0}, {1})", f"({_ADJUST}) ? ({_QUOTIENT} - $1$) : {_QUOTIENT}", unsigned=_UQUOTIENT),
    lambda ctx, g: (zeros(g), g.new_zeros(ctx.shapes[1]) if ctx.needs[1] else None),
    saves=(),
    includes=ARITHMETIC,
    categories="if",
    reference=np.floor_divide,
    domain=((-9, 9), (0.5, 3)),
    cost=8,
    doc="floor(input / other); an integer divided by 0 gives 0.",
)
TRUNC_DIVIDE = _binary(
    "_trunc_divide",
    _by_kind("trunc({0} / {1})", _QUOTIENT, unsigned=_UQUOTIENT),
    lambda ctx, g: (zeros(g), g.new_zeros(ctx.shapes[1]) if ctx.needs[1] else None),
    saves=(),
    categories="if",
    domain=((-9, 9), (0.5, 3)),
    cost=8,
    function=False,
    method=False,
    inplace=False,
    reference=lambda a, b: np.trunc(a / b),
    doc="trunc(input / other); an integer divided by 0 gives 0.",
)
REMAINDER = _binary(
    "remainder",
    _by_kind("floor_remainder({0}, {1})", f"({_ADJUST}) ? ({_REST} + {{1}}) : {_REST}", unsigned=_UREST),
    lambda ctx, g: (g, -g * ctx.inputs[0].div(ctx.inputs[1], rounding_mode="floor") if ctx.needs[1] else None),
    includes=ARITHMETIC,
    categories="if",
    reference=np.remainder,
    domain=((-9, 9), (2.1, 2.9)),
    cost=8,
    doc="input - other * floor(input / other): has the sign of other.",
)
FMOD = _binary(
    "fmod",
    _by_kind("fmod({0}, {1})", _REST, unsigned=_UREST),
    lambda ctx, g: (g, -g * ctx.inputs[0].div(ctx.inputs[1], rounding_mode="trunc") if ctx.needs[1] else None),
    categories="if",
    reference=np.fmod,
    domain=((-9, 9), (2.1, 2.9)),
    cost=8,
    doc="input - other * trunc(input / other): has the sign of input.",
)


def _pow_grad(ctx: Any, g: Any) -> tuple[Any, Any]:
    x, y = ctx.inputs
    first = second = None
    if ctx.needs[0]:
        if isinstance(y, (int, float)):
            first = zeros(g) if y == 0 else g * (x.pow(y - 1) * y)
        else:
            first = keep(g * (y * x.pow(y - 1)), y != 0)
    if ctx.needs[1]:
        if isinstance(x, (int, float)):
            second = keep(g * ctx.out * _log(x), y < 0) if x == 0 else g * ctx.out * _log(x)
        else:
            second = (g * ctx.out * x.log()).where((x != 0) | (y < 0), 0.0)
    return first, second


def _log(x: float) -> float:
    return math.log(x) if x > 0 else (-math.inf if x == 0 else math.nan)


POW = _binary(
    "pow",
    _by_kind("m_pow({0}, {1})", "integer_power({0}, {1})", "{0} | ($1$ - {1})"),
    _pow_grad,
    saves=(0, 1, "out"),
    includes=("math", "arithmetic"),
    reference=lambda a, b: np.power(a, b),
    domain=((0.2, 3), (-2, 2)),
    cost=20,
    doc="input ** exponent.",
    names=("input", "exponent"),
)
GCD = _binary(
    "gcd",
    "greatest_divisor({0}, {1})",
    categories="i",
    includes=("arithmetic",),
    reference=np.gcd,
    domain=(-12, 12),
    cost=40,
    why="defined on integers",
    doc="Greatest common divisor of |input| and |other|; gcd(0, 0) = 0.",
)
LCM = _binary(
    "lcm",
    "least_multiple({0}, {1})",
    categories="i",
    includes=("arithmetic",),
    reference=np.lcm,
    domain=(-10, 10),
    cost=42,
    why="defined on integers",
    doc="Least common multiple of |input| and |other|.",
)
NEG = _unary("neg", "-{0}", lambda ctx, g: (-g,), saves=(), categories="if", reference=np.negative, doc="-input.")
ABS = _unary(
    "abs",
    _by_kind("fabs({0})", "({0} < $0$) ? -{0} : {0}", "{0}", "{0}"),
    lambda ctx, g: (g * ctx.inputs[0].sgn(),),
    reference=np.abs,
    domain=(0.1, 3),
    doc="|input|; its gradient at 0 is 0.",
)
_SIGN = _by_kind(
    "({0} > $0$) ? $1$ : (({0} < $0$) ? $-1$ : $0$)",
    "({0} > $0$) ? $1$ : (({0} < $0$) ? $-1$ : $0$)",
    "{0}",
    "({0} > $0$) ? $1$ : $0$",
)
SIGN = _unary(
    "sign", _SIGN, lambda ctx, g: (zeros(g),), saves=(), reference=np.sign, domain=(0.1, 3), doc="-1, 0 or 1."
)
SGN = _unary("sgn", _SIGN, lambda ctx, g: (zeros(g),), saves=(), reference=np.sign, domain=(0.1, 3), doc="-1, 0 or 1.")
SIGNBIT = _unary(
    "signbit",
    _by_kind("?signbit({0})", "?{0} < $0$", "?{0} != {0}", "?{0} != {0}"),
    result="bool",
    inplace=False,
    reference=np.signbit,
    why="bools",
    doc="True where the sign bit is set (-0.0 included).",
)
COPYSIGN = _binary(
    "copysign",
    "copysign({0}, {1})",
    lambda ctx, g: (
        keep(g * (ctx.out / ctx.inputs[0]), ctx.inputs[0] != 0) if ctx.needs[0] else None,
        zeros(g) if ctx.needs[1] else None,
    ),
    saves=(0, "out"),
    promote="float",
    reference=np.copysign,
    domain=((0.1, 3), (0.1, 3)),
    doc="|input| with the sign of other.",
)
RECIPROCAL = _unary(
    "reciprocal",
    "$1$ / {0}",
    lambda ctx, g: (-g * (ctx.out * ctx.out),),
    saves=("out",),
    promote="float",
    reference=np.reciprocal,
    domain=(0.3, 3),
    cost=4,
    doc="1 / input.",
)
SQRT = _unary(
    "sqrt",
    "sqrt({0})",
    lambda ctx, g: (g / (ctx.out * 2),),
    saves=("out",),
    promote="float",
    reference=np.sqrt,
    domain=(0.1, 4),
    cost=4,
    doc="Square root.",
)
RSQRT = _unary(
    "rsqrt",
    "$1$ / sqrt({0})",
    lambda ctx, g: (g * (ctx.out * ctx.out * ctx.out) * -0.5,),
    saves=("out",),
    promote="float",
    reference=lambda a: 1 / np.sqrt(a),
    domain=(0.2, 4),
    cost=8,
    doc="1 / sqrt(input).",
)
SQUARE = _unary(
    "square",
    _by_kind("{0} * {0}", "{0} * {0}", "{0}"),
    lambda ctx, g: (g * (ctx.inputs[0] * 2),),
    reference=np.square,
    doc="input * input.",
)
HYPOT = _binary(
    "hypot",
    "m_hypot({0}, {1})",
    lambda ctx, g: (
        g * (ctx.inputs[0] / ctx.out) if ctx.needs[0] else None,
        g * (ctx.inputs[1] / ctx.out) if ctx.needs[1] else None,
    ),
    saves=(0, 1, "out"),
    includes=INVERSE,
    categories="f",
    reference=np.hypot,
    domain=(0.1, 3),
    cost=8,
    doc="sqrt(input^2 + other^2).",
)

# ---- exponentials and logarithms


def _float(
    name: str, expr: str, grad: Any, reference: Any, doc: str, *, saves: tuple[int | str, ...] = (0,), **facts: Any
) -> Op:
    facts.setdefault("includes", MATH)
    facts.setdefault("cost", 12)
    return _unary(name, expr, grad, saves=saves, promote="float", reference=reference, doc=doc, **facts)


EXP = _float("exp", "m_exp({0})", lambda ctx, g: (g * ctx.out,), np.exp, "e ** input.", saves=("out",))
EXP2 = _float("exp2", "m_exp2({0})", lambda ctx, g: (g * ctx.out * LN2,), np.exp2, "2 ** input.", saves=("out",))
EXPM1 = _float(
    "expm1",
    "m_expm1({0})",
    lambda ctx, g: (g * (ctx.out + 1),),
    np.expm1,
    "exp(input) - 1, exact near 0.",
    saves=("out",),
)
LOG = _float("log", "m_log({0})", lambda ctx, g: (g / ctx.inputs[0],), np.log, "Natural logarithm.", domain=(0.1, 4))
LOG2 = _float(
    "log2", "m_log2({0})", lambda ctx, g: (g / (ctx.inputs[0] * LN2),), np.log2, "Logarithm to base 2.", domain=(0.1, 4)
)
LOG10 = _float(
    "log10",
    "m_log10({0})",
    lambda ctx, g: (g / (ctx.inputs[0] * LN10),),
    np.log10,
    "Logarithm to base 10.",
    domain=(0.1, 4),
)
LOG1P = _float(
    "log1p",
    "m_log1p({0})",
    lambda ctx, g: (g / (ctx.inputs[0] + 1),),
    np.log1p,
    "log(1 + input), exact near 0.",
    domain=(-0.5, 4),
)


def _logaddexp_grad(ctx: Any, g: Any) -> tuple[Any, Any]:
    a, b = ctx.inputs
    return g * (a - b).sigmoid() if ctx.needs[0] else None, g * (b - a).sigmoid() if ctx.needs[1] else None


def _logaddexp2_grad(ctx: Any, g: Any) -> tuple[Any, Any]:
    a, b = ctx.inputs
    return g * ((a - b) * LN2).sigmoid() if ctx.needs[0] else None, g * ((b - a) * LN2).sigmoid() if ctx.needs[
        1
    ] else None


_HIGH, _LOW = "(({0} > {1}) ? {0} : {1})", "-fabs({0} - {1})"
LOGADDEXP = _binary(
    "logaddexp",
    f"({{0}} == {{1}}) ? ({{0}} + $0.6931471805599453$) : ({_HIGH} + m_log1p(m_exp({_LOW})))",
    _logaddexp_grad,
    includes=MATH,
    promote="float",
    reference=np.logaddexp,
    cost=30,
    doc="log(exp(input) + exp(other)).",
    inplace=False,
)
LOGADDEXP2 = _binary(
    "logaddexp2",
    f"({{0}} == {{1}}) ? ({{0}} + $1$) : ({_HIGH} + m_log1p(m_exp2({_LOW})) * $1.4426950408889634$)",
    _logaddexp2_grad,
    includes=MATH,
    promote="float",
    reference=np.logaddexp2,
    cost=30,
    doc="log2(2**input + 2**other).",
    inplace=False,
)


def _xlogy_grad(ctx: Any, g: Any) -> tuple[Any, Any]:
    x, y = ctx.inputs
    log = y.log() if hasattr(y, "log") else _log(y)
    first = keep(g * log, ~((x == 0) & (y <= 0))) if ctx.needs[0] else None
    return first, g * x / y if ctx.needs[1] else None


XLOGY = _binary(
    "xlogy",
    "({1} != {1}) ? {1} : (({0} == $0$) ? $0$ : ({0} * m_log({1})))",
    _xlogy_grad,
    includes=MATH,
    promote="float",
    reference=scipy_special("xlogy"),
    domain=((-3, 3), (0.2, 3)),
    cost=14,
    doc="input * log(other), 0 where input is 0.",
)

# ---- trigonometric and hyperbolic functions

SIN = _float("sin", "m_sin({0})", lambda ctx, g: (g * ctx.inputs[0].cos(),), np.sin, "Sine.")
COS = _float("cos", "m_cos({0})", lambda ctx, g: (g * -ctx.inputs[0].sin(),), np.cos, "Cosine.")
TAN = _float(
    "tan",
    "m_tan({0})",
    lambda ctx, g: (g * (ctx.out * ctx.out + 1),),
    np.tan,
    "Tangent.",
    saves=("out",),
    domain=(-1.2, 1.2),
)
ASIN = _float(
    "asin",
    "m_asin({0})",
    lambda ctx, g: (g * (1 - ctx.inputs[0] * ctx.inputs[0]).rsqrt(),),
    np.arcsin,
    "Inverse sine.",
    domain=(-0.9, 0.9),
    includes=INVERSE,
)
ACOS = _float(
    "acos",
    "m_acos({0})",
    lambda ctx, g: (-g * (1 - ctx.inputs[0] * ctx.inputs[0]).rsqrt(),),
    np.arccos,
    "Inverse cosine.",
    domain=(-0.9, 0.9),
    includes=INVERSE,
)
ATAN = _float(
    "atan",
    "m_atan({0})",
    lambda ctx, g: (g / (ctx.inputs[0] * ctx.inputs[0] + 1),),
    np.arctan,
    "Inverse tangent.",
    includes=INVERSE,
)


def _atan2_grad(ctx: Any, g: Any) -> tuple[Any, Any]:
    y, x = ctx.inputs
    scaled = g / (y * y + x * x)
    return scaled * x if ctx.needs[0] else None, -(scaled * y) if ctx.needs[1] else None


ATAN2 = _binary(
    "atan2",
    "m_atan2({0}, {1})",
    _atan2_grad,
    includes=INVERSE,
    promote="float",
    reference=np.arctan2,
    domain=(0.2, 3),
    cost=20,
    doc="Angle of the point (other, input).",
)
SINH = _float("sinh", "m_sinh({0})", lambda ctx, g: (g * ctx.inputs[0].cosh(),), np.sinh, "Hyperbolic sine.")
COSH = _float("cosh", "m_cosh({0})", lambda ctx, g: (g * ctx.inputs[0].sinh(),), np.cosh, "Hyperbolic cosine.")
ASINH = _float(
    "asinh",
    "m_asinh({0})",
    lambda ctx, g: (g * (ctx.inputs[0] * ctx.inputs[0] + 1).rsqrt(),),
    np.arcsinh,
    "Inverse hyperbolic sine.",
    includes=INVERSE,
)
ACOSH = _float(
    "acosh",
    "m_acosh({0})",
    lambda ctx, g: (g * (ctx.inputs[0] * ctx.inputs[0] - 1).rsqrt(),),
    np.arccosh,
    "Inverse hyperbolic cosine.",
    domain=(1.2, 4),
    includes=INVERSE,
)
ATANH = _float(
    "atanh",
    "m_atanh({0})",
    lambda ctx, g: (g / (1 - ctx.inputs[0] * ctx.inputs[0]),),
    np.arctanh,
    "Inverse hyperbolic tangent.",
    domain=(-0.9, 0.9),
    includes=INVERSE,
)

# ---- special functions

_ERF_SLOPE = 2.0 / math.sqrt(math.pi)
ERF = _float(
    "erf",
    "m_erf({0})",
    lambda ctx, g: (g * ((-ctx.inputs[0].square()).exp() * _ERF_SLOPE),),
    scipy_special("erf"),
    "Error function.",
    source="Abramowitz and Stegun 7.1",
)
ERFC = _float(
    "erfc",
    "m_erfc({0})",
    lambda ctx, g: (g * ((-ctx.inputs[0].square()).exp() * -_ERF_SLOPE),),
    scipy_special("erfc"),
    "1 - erf(input).",
    includes=GAMMA,
)
ERFINV = _float(
    "erfinv",
    "m_erfinv({0})",
    lambda ctx, g: (g * (ctx.out.square().exp() / _ERF_SLOPE),),
    scipy_special("erfinv"),
    "Inverse of erf.",
    saves=("out",),
    domain=(-0.9, 0.9),
)
LGAMMA = _float(
    "lgamma",
    "m_lgamma({0})",
    lambda ctx, g: (g * ctx.inputs[0].digamma(),),
    scipy_special("gammaln"),
    "log |Gamma(input)|.",
    includes=GAMMA,
    domain=(0.2, 4),
    cost=40,
)
DIGAMMA = _float(
    "digamma",
    "s_digamma({0})",
    lambda ctx, g: (g * ctx.inputs[0]._polygamma(1),),
    scipy_special("digamma"),
    "Derivative of lgamma.",
    includes=(*SPECIAL, "gamma"),
    domain=(0.2, 4),
    cost=60,
)
POLYGAMMA = _binary(
    "_polygamma",
    "s_polygamma({1}, {0})",
    lambda ctx, g: (g * ctx.inputs[0]._polygamma(ctx.inputs[1] + 1), None),
    promote="float",
    includes=SPECIAL,
    reference=lambda a, n: scipy_special("polygamma")(n, a),
    domain=((0.3, 4), (1, 1)),
    cost=100,
    inplace=False,
    function=False,
    names=("input", "n"),
    doc="n-th derivative of digamma, n >= 1 (a number).",
)


def _sinc_grad(ctx: Any, g: Any) -> tuple[Any]:
    x = ctx.inputs[0]
    t = x * math.pi
    return (keep(g * ((t * t.cos() - t.sin()) / (t * x)), x != 0),)


SINC = _float(
    "sinc",
    "({0} == $0$) ? $1$ : (m_sin({0} * $3.141592653589793$) / ({0} * $3.141592653589793$))",
    _sinc_grad,
    np.sinc,
    "sin(pi input) / (pi input).",
    domain=(0.2, 2),
    cost=16,
)
DEG2RAD = _float(
    "deg2rad",
    "{0} * $0.017453292519943295$",
    lambda ctx, g: (g * (math.pi / 180),),
    np.deg2rad,
    "Degrees to radians.",
    saves=(),
    includes=(),
    cost=1,
)
RAD2DEG = _float(
    "rad2deg",
    "{0} * $57.29577951308232$",
    lambda ctx, g: (g * (180 / math.pi),),
    np.rad2deg,
    "Radians to degrees.",
    saves=(),
    includes=(),
    cost=1,
)

# ---- rounding


def _rounding(name: str, text: str, reference: Any, doc: str) -> Op:
    return _unary(
        name,
        _by_kind(text, "{0}"),
        lambda ctx, g: (zeros(g),),
        saves=(),
        reference=reference,
        doc=doc,
        domain=(0.1, 0.4),
        categories="if",
    )


FLOOR = _rounding("floor", "floor({0})", np.floor, "Largest integer not above input.")
CEIL = _rounding("ceil", "ceil({0})", np.ceil, "Smallest integer not below input.")
TRUNC = _rounding("trunc", "trunc({0})", np.trunc, "Integer part.")
ROUND = _rounding("round", "rint({0})", np.rint, "Nearest integer, halves to even.")
FRAC = _unary(
    "frac",
    "{0} - trunc({0})",
    lambda ctx, g: (g,),
    saves=(),
    categories="f",
    reference=lambda a: a - np.trunc(a),
    domain=(0.1, 0.9),
    doc="input - trunc(input).",
)

# ---- bounds


def _bound(sign: str, a: str, b: str) -> str:
    """max (`>`) or min (`<`) of two texts in which a NaN wins."""
    return f"((({a} {sign} {b}) | ({a} != {a})) ? {a} : {b})"


MAXIMUM_BACKWARD = _many(
    "_maximum_backward",
    3,
    "({1} == {2}) ? ({0} * $0.5$) : (({1} < {2}) ? $0$ : {0})",
    lambda ctx, g: (g._maximum_backward(ctx.inputs[1], ctx.inputs[2]), None, None),
    saves=(1, 2),
    categories="f",
    function=False,
    inplace=False,
    reference=lambda g, a, b: np.where(a == b, g / 2, np.where(a < b, 0, g)),
    names=("gradient", "a", "b"),
    doc="gradient where a > b, half of it where a == b, else 0.",
)
MAXIMUM = _binary(
    "maximum",
    _by_kind(_bound(">", "{0}", "{1}"), "({0} > {1}) ? {0} : {1}", "{0} | {1}"),
    lambda ctx, g: (
        g._maximum_backward(*ctx.inputs) if ctx.needs[0] else None,
        g._maximum_backward(*ctx.inputs[::-1]) if ctx.needs[1] else None,
    ),
    inplace=False,
    reference=np.maximum,
    doc="Larger of the two; NaN wins. Equal operands share the gradient.",
)
MINIMUM = _binary(
    "minimum",
    _by_kind(_bound("<", "{0}", "{1}"), "({0} < {1}) ? {0} : {1}", "{0} & {1}"),
    lambda ctx, g: (
        g._maximum_backward(*ctx.inputs[::-1]) if ctx.needs[0] else None,
        g._maximum_backward(*ctx.inputs) if ctx.needs[1] else None,
    ),
    inplace=False,
    reference=np.minimum,
    doc="Smaller of the two; NaN wins. Equal operands share the gradient.",
)


def _fmax_grad(ctx: Any, g: Any) -> tuple[Any, Any]:
    first = (ctx.inputs[0] >= ctx.inputs[1]) | ctx.inputs[1].isnan()
    return keep(g, first), keep(g, ~first)


def _fmin_grad(ctx: Any, g: Any) -> tuple[Any, Any]:
    first = (ctx.inputs[0] <= ctx.inputs[1]) | ctx.inputs[1].isnan()
    return keep(g, first), keep(g, ~first)


FMAX = _binary(
    "fmax",
    _by_kind("(({0} >= {1}) | ({1} != {1})) ? {0} : {1}", "({0} > {1}) ? {0} : {1}", "{0} | {1}"),
    _fmax_grad,
    inplace=False,
    reference=np.fmax,
    doc="Larger of the two; a number wins over NaN.",
)
FMIN = _binary(
    "fmin",
    _by_kind("(({0} <= {1}) | ({1} != {1})) ? {0} : {1}", "({0} < {1}) ? {0} : {1}", "{0} & {1}"),
    _fmin_grad,
    inplace=False,
    reference=np.fmin,
    doc="Smaller of the two; a number wins over NaN.",
)
CLAMP_BACKWARD = _many(
    "_clamp_backward",
    4,
    "(({1} < {2}) | ({1} > {3})) ? $0$ : {0}",
    lambda ctx, g: (g._clamp_backward(*ctx.inputs[1:]), None, None, None),
    saves=(1, 2, 3),
    categories="f",
    function=False,
    inplace=False,
    reference=lambda g, x, low, high: np.where((x < low) | (x > high), 0, g),
    domain=((-3, 3), (-3, 3), (-1, -1), (1, 1)),
    names=("gradient", "input", "min", "max"),
    doc="gradient where min <= input <= max, else 0.",
)


def _clamp_grad(ctx: Any, g: Any) -> tuple[Any, Any, Any]:
    x, low, high = ctx.inputs
    return (
        g._clamp_backward(x, low, high) if ctx.needs[0] else None,
        keep(g, (x < low) & (low < high)) if ctx.needs[1] else None,
        keep(g, (x > high) | (low > high)) if ctx.needs[2] else None,
    )


CLAMP = _many(
    "_clamp",
    3,
    _by_kind(
        _bound("<", _bound(">", "{0}", "{1}"), "{2}"), "(({0} > {1} ? {0} : {1}) < {2}) ? ({0} > {1} ? {0} : {1}) : {2}"
    ),
    _clamp_grad,
    saves=(0, 1, 2),
    categories="if",
    reference=lambda x, low, high: np.minimum(np.maximum(x, low), high),
    function=False,
    method=False,
    inplace=False,
    names=("input", "min", "max"),
    domain=((-3, 3), (-1, -1), (1, 1)),
    doc="min(max(input, min), max).",
)
CLAMP_MIN = _binary(
    "clamp_min",
    _by_kind(_bound(">", "{0}", "{1}"), "({0} > {1}) ? {0} : {1}"),
    lambda ctx, g: (
        keep(g, ctx.inputs[0] >= ctx.inputs[1]) if ctx.needs[0] else None,
        keep(g, ctx.inputs[0] < ctx.inputs[1]) if ctx.needs[1] else None,
    ),
    categories="if",
    reference=np.maximum,
    names=("input", "min"),
    doc="max(input, min); the gradient is input's where they are equal.",
)
CLAMP_MAX = _binary(
    "clamp_max",
    _by_kind(_bound("<", "{0}", "{1}"), "({0} < {1}) ? {0} : {1}"),
    lambda ctx, g: (
        keep(g, ctx.inputs[0] <= ctx.inputs[1]) if ctx.needs[0] else None,
        keep(g, ctx.inputs[0] > ctx.inputs[1]) if ctx.needs[1] else None,
    ),
    categories="if",
    reference=np.minimum,
    names=("input", "max"),
    doc="min(input, max); the gradient is input's where they are equal.",
)
NAN_TO_NUM = _many(
    "_nan_to_num",
    4,
    _by_kind("({0} != {0}) ? {1} : (({0} == $INFINITY$) ? {2} : (({0} == $-INFINITY$) ? {3} : {0}))", "{0}"),
    lambda ctx, g: (keep(g, ctx.inputs[0].isfinite()), None, None, None),
    saves=(0,),
    function=False,
    method=False,
    inplace=False,
    reference=lambda x, a, b, c: np.nan_to_num(x, nan=a, posinf=b, neginf=c),
    names=("input", "nan", "posinf", "neginf"),
    domain=((-3, 3), (0, 0), (1, 1), (-1, -1)),
    doc="input with NaN, +inf and -inf replaced.",
)
HEAVISIDE = _binary(
    "heaviside",
    "({0} == $0$) ? {1} : (({0} > $0$) ? $1$ : $0$)",
    reference=np.heaviside,
    names=("input", "values"),
    why="PyTorch has none",
    doc="0 below 0, values at 0, 1 above.",
)

# ---- fused arithmetic


def _lerp_grad(ctx: Any, g: Any) -> tuple[Any, Any, Any]:
    a, b, w = ctx.inputs
    return g * (1 - w) if ctx.needs[0] else None, g * w if ctx.needs[1] else None, g * (b - a) if ctx.needs[2] else None


LERP = _many(
    "lerp",
    3,
    "(fabs({2}) < $0.5$) ? ({0} + {2} * ({1} - {0})) : ({1} - ({1} - {0}) * ($1$ - {2}))",
    _lerp_grad,
    saves=(0, 1, 2),
    categories="f",
    reference=lambda a, b, w: a + w * (b - a),
    names=("input", "end", "weight"),
    cost=3,
    doc="input + weight * (end - input), exact at weight 0 and 1.",
)


def _addcmul_grad(ctx: Any, g: Any) -> tuple[Any, ...]:
    _, a, b, value = ctx.inputs
    return g, g * value * b if ctx.needs[1] else None, g * value * a if ctx.needs[2] else None, None


def _addcdiv_grad(ctx: Any, g: Any) -> tuple[Any, ...]:
    _, a, b, value = ctx.inputs
    return g, g * value / b if ctx.needs[1] else None, -(g * value * a) / (b * b) if ctx.needs[2] else None, None


ADDCMUL = _many(
    "_addcmul",
    4,
    "{0} + {3} * {1} * {2}",
    _addcmul_grad,
    saves=(1, 2, 3),
    categories="if",
    reference=lambda x, a, b, k: x + k * a * b,
    names=("input", "tensor1", "tensor2", "value"),
    function=False,
    method=False,
    inplace=False,
    cost=3,
    domain=((-3, 3), (-3, 3), (-3, 3), (0.5, 0.5)),
    doc="input + value * tensor1 * tensor2.",
)
ADDCDIV = _many(
    "_addcdiv",
    4,
    "{0} + {3} * ({1} / {2})",
    _addcdiv_grad,
    saves=(1, 2, 3),
    categories="f",
    reference=lambda x, a, b, k: x + k * a / b,
    names=("input", "tensor1", "tensor2", "value"),
    function=False,
    method=False,
    inplace=False,
    cost=6,
    domain=((-3, 3), (-3, 3), (0.5, 3), (0.5, 0.5)),
    doc="input + value * tensor1 / tensor2.",
)

# ---- comparison


def _comparison(name: str, sign: str, reference: Any) -> Op:
    return _binary(
        name, f"?{{0}} {sign} {{1}}", result="bool", reference=reference, why="bools", doc=f"input {sign} other."
    )


EQ = _comparison("eq", "==", np.equal)
NE = _comparison("ne", "!=", np.not_equal)
LT = _comparison("lt", "<", np.less)
LE = _comparison("le", "<=", np.less_equal)
GT = _comparison("gt", ">", np.greater)
GE = _comparison("ge", ">=", np.greater_equal)


def _test(name: str, floats: str, integers: str, reference: Any, doc: str) -> Op:
    return _unary(
        name, _by_kind(floats, integers), result="bool", inplace=False, reference=reference, why="bools", doc=doc
    )


_NEVER, _ALWAYS = "?{0} != {0}", "?{0} == {0}"
ISNAN = _test("isnan", "?{0} != {0}", _NEVER, np.isnan, "True where NaN.")
ISINF = _test("isinf", "?fabs({0}) == $INFINITY$", _NEVER, np.isinf, "True where infinite.")
ISFINITE = _test("isfinite", "?fabs({0}) < $INFINITY$", _ALWAYS, np.isfinite, "True where neither infinite nor NaN.")
ISPOSINF = _test("isposinf", "?{0} == $INFINITY$", _NEVER, np.isposinf, "True where +inf.")
ISNEGINF = _test("isneginf", "?{0} == $-INFINITY$", _NEVER, np.isneginf, "True where -inf.")

# ---- logic and bits

LOGICAL_AND = _binary(
    "logical_and",
    "?({0} != $0$) & ({1} != $0$)",
    result="bool",
    reference=np.logical_and,
    why="bools",
    doc="Both are not 0.",
)
LOGICAL_OR = _binary(
    "logical_or",
    "?({0} != $0$) | ({1} != $0$)",
    result="bool",
    reference=np.logical_or,
    why="bools",
    doc="One is not 0.",
)
LOGICAL_XOR = _binary(
    "logical_xor",
    "?({0} != $0$) != ({1} != $0$)",
    result="bool",
    reference=np.logical_xor,
    why="bools",
    doc="Exactly one is not 0.",
)
LOGICAL_NOT = _unary(
    "logical_not", "?{0} == $0$", result="bool", reference=np.logical_not, why="bools", doc="input is 0."
)
BITWISE_AND = _binary(
    "bitwise_and", "{0} & {1}", categories="bi", reference=np.bitwise_and, why="integers", doc="Bits set in both."
)
BITWISE_OR = _binary(
    "bitwise_or", "{0} | {1}", categories="bi", reference=np.bitwise_or, why="integers", doc="Bits set in either."
)
BITWISE_XOR = _binary(
    "bitwise_xor", "{0} ^ {1}", categories="bi", reference=np.bitwise_xor, why="integers", doc="Bits set in one only."
)
BITWISE_NOT = _unary(
    "bitwise_not",
    _by_kind("", "~{0}", "$1$ - {0}"),
    categories="bi",
    reference=np.invert,
    why="integers",
    doc="Bits not set.",
)


def _shift(left: bool) -> Callable[[DType], str]:
    def text(dtype: DType) -> str:
        bits = 8 * dtype.itemsize
        inside = f"(({{1}} < $0$) | ({{1}} > ${bits - 1}$))" if dtype.is_signed else f"({{1}} > ${bits - 1}$)"
        if left:
            return f"{inside} ? $0$ : ({{0}} << ({inside} ? $0$ : {{1}}))"
        return (
            f"{{0}} >> ({inside} ? ${bits - 1}$ : {{1}})"
            if dtype.is_signed
            else f"{inside} ? $0$ : ({{0}} >> ({inside} ? $0$ : {{1}}))"
        )

    return text


BITWISE_LEFT_SHIFT = _binary(
    "bitwise_left_shift",
    _shift(True),
    categories="i",
    reference=np.left_shift,
    domain=((-9, 9), (0, 7)),
    why="integers",
    doc="input << other; 0 for shifts beyond the width.",
)
BITWISE_RIGHT_SHIFT = _binary(
    "bitwise_right_shift",
    _shift(False),
    categories="i",
    reference=np.right_shift,
    domain=((-9, 9), (0, 7)),
    why="integers",
    doc="input >> other, sign-filling.",
)

# ---- selection


def _where_grad(ctx: Any, g: Any) -> tuple[Any, Any, Any]:
    condition = ctx.inputs[0]
    return None, g.where(condition, 0.0) if ctx.needs[1] else None, g.where(~condition, 0.0) if ctx.needs[2] else None


WHERE = _many(
    "_where",
    3,
    "{0?} ? {1} : {2}",
    _where_grad,
    saves=(0,),
    promote="none",
    result=lambda condition, a, b: a,
    reference=np.where,
    names=("condition", "input", "other"),
    function=False,
    method=False,
    inplace=False,
    doc="input where condition, else other; the two have one dtype.",
)
