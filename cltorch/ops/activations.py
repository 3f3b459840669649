"""Records of the activation functions, one fused expression each, with their slopes as records of their own.

Floor 2. A slope `_name_backward(gradient, …)` is one recorded entry in the backward pass; its own gradient is a
composite, so an activation may be differentiated any number of times.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..dtypes import DType
from .pointwise import MATH, _many, _unary, keep, scipy_special

SQRT_HALF, INV_SQRT_2PI = math.sqrt(0.5), 1.0 / math.sqrt(2.0 * math.pi)
SQRT_2_OVER_PI, CUBE = math.sqrt(2.0 / math.pi), 0.044715


def _slope(
    name: str,
    arity: int,
    expr: Any,
    grad: Any,
    saves: tuple[int | str, ...],
    reference: Any,
    names: tuple[str, ...],
    **facts: Any,
):
    """A record that only gradients use, as a method."""
    return _many(
        name,
        arity,
        expr,
        grad,
        saves=saves,
        reference=reference,
        names=names,
        categories="f",
        function=False,
        inplace=False,
        doc="Gradient of the function it is named after.",
        **facts,
    )


def _hidden(
    name: str,
    arity: int,
    expr: Any,
    grad: Any,
    saves: tuple[int | str, ...],
    reference: Any,
    names: tuple[str, ...],
    doc: str,
    **facts: Any,
):
    """A record with parameters, called by the function of the same name, which has PyTorch's signature."""
    facts.setdefault("categories", "f")
    return _many(
        name,
        arity,
        expr,
        grad,
        saves=saves,
        reference=reference,
        names=names,
        function=False,
        method=False,
        inplace=False,
        doc=doc,
        **facts,
    )


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


# ---- sigmoid, tanh

_slope(
    "_sigmoid_backward",
    2,
    "{0} * ({1} * ($1$ - {1}))",
    lambda ctx, g: (
        g._sigmoid_backward(ctx.inputs[1]) if ctx.needs[0] else None,
        g * ctx.inputs[0] * (1 - ctx.inputs[1] * 2) if ctx.needs[1] else None,
    ),
    (0, 1),
    lambda g, y: g * y * (1 - y),
    ("gradient", "output"),
    cost=3,
)
SIGMOID = _unary(
    "sigmoid",
    "m_sigmoid({0})",
    lambda ctx, g: (g._sigmoid_backward(ctx.out),),
    saves=("out",),
    promote="float",
    includes=MATH,
    reference=_sigmoid,
    cost=14,
    doc="1 / (1 + exp(-input)).",
)
_slope(
    "_tanh_backward",
    2,
    "{0} * ($1$ - {1} * {1})",
    lambda ctx, g: (
        g._tanh_backward(ctx.inputs[1]) if ctx.needs[0] else None,
        g * ctx.inputs[0] * ctx.inputs[1] * -2 if ctx.needs[1] else None,
    ),
    (0, 1),
    lambda g, y: g * (1 - y * y),
    ("gradient", "output"),
    cost=3,
)
TANH = _unary(
    "tanh",
    "m_tanh({0})",
    lambda ctx, g: (g._tanh_backward(ctx.out),),
    saves=("out",),
    promote="float",
    includes=MATH,
    reference=np.tanh,
    cost=14,
    doc="Hyperbolic tangent.",
)
LOGIT = _unary(
    "_logit",
    "m_log({0} / ($1$ - {0}))",
    lambda ctx, g: (g / (ctx.inputs[0] * (1 - ctx.inputs[0])),),
    promote="float",
    includes=MATH,
    function=False,
    method=False,
    inplace=False,
    reference=scipy_special("logit"),
    domain=(0.1, 0.9),
    cost=16,
    doc="log(input / (1 - input)).",
)
LOGSIGMOID = _unary(
    "_logsigmoid",
    "(({0} < $0$) ? {0} : $0$) - m_log1p(m_exp(-fabs({0})))",
    lambda ctx, g: (g * (-ctx.inputs[0]).sigmoid(),),
    categories="f",
    includes=MATH,
    function=False,
    method=False,
    inplace=False,
    reference=scipy_special("log_expit"),
    cost=26,
    doc="log(sigmoid(input)).",
)

# ---- relu and its relatives


def _relu(dtype: DType) -> str:
    return "({0} < $0$) ? $0$ : {0}" if dtype.is_signed else "{0}"


_slope(
    "_relu_backward",
    2,
    "({1} <= $0$) ? $0$ : {0}",
    lambda ctx, g: (g._relu_backward(ctx.inputs[1]), None),
    (1,),
    lambda g, y: np.where(y <= 0, 0, g),
    ("gradient", "output"),
)
RELU = _unary(
    "relu",
    _relu,
    lambda ctx, g: (g._relu_backward(ctx.out),),
    saves=("out",),
    categories="if",
    reference=lambda x: np.maximum(x, 0),
    doc="max(input, 0); its gradient at 0 is 0.",
)
_slope(
    "_leaky_relu_backward",
    3,
    "({1} > $0$) ? {0} : ({0} * {2})",
    lambda ctx, g: (
        g._leaky_relu_backward(ctx.inputs[1], ctx.inputs[2]) if ctx.needs[0] else None,
        None,
        keep(g * ctx.inputs[0], ctx.inputs[1] <= 0) if ctx.needs[2] else None,
    ),
    (0, 1, 2),
    lambda g, x, a: np.where(x > 0, g, g * a),
    ("gradient", "input", "slope"),
)
LEAKY_RELU = _hidden(
    "_leaky_relu",
    2,
    "({0} > $0$) ? {0} : ({0} * {1})",
    lambda ctx, g: (
        g._leaky_relu_backward(*ctx.inputs) if ctx.needs[0] else None,
        keep(g * ctx.inputs[0], ctx.inputs[0] <= 0) if ctx.needs[1] else None,
    ),
    (0, 1),
    lambda x, a: np.where(x > 0, x, x * a),
    ("input", "negative_slope"),
    "input above 0, slope * input below; with a tensor as slope, prelu.",
)
_slope(
    "_hardtanh_backward",
    4,
    "(({1} <= {2}) | ({1} >= {3})) ? $0$ : {0}",
    lambda ctx, g: (g._hardtanh_backward(*ctx.inputs[1:]), None, None, None),
    (1, 2, 3),
    lambda g, x, a, b: np.where((x <= a) | (x >= b), 0, g),
    ("gradient", "input", "min_val", "max_val"),
    domain=((-3, 3), (-3, 3), (-1, -1), (1, 1)),
)
HARDTANH = _hidden(
    "_hardtanh",
    3,
    "({0} < {1}) ? {1} : (({0} > {2}) ? {2} : {0})",
    lambda ctx, g: (g._hardtanh_backward(*ctx.inputs), None, None),
    (0, 1, 2),
    np.clip,
    ("input", "min_val", "max_val"),
    "input bounded to [min_val, max_val]; its gradient at the bounds is 0.",
    categories="if",
    domain=((-3, 3), (-1, -1), (1, 1)),
)
THRESHOLD = _hidden(
    "_threshold",
    3,
    "({0} <= {1}) ? {2} : {0}",
    lambda ctx, g: (keep(g, ctx.inputs[0] > ctx.inputs[1]), None, None),
    (0, 1),
    lambda x, t, v: np.where(x <= t, v, x),
    ("input", "threshold", "value"),
    "input above the threshold, else value.",
    categories="if",
    domain=((-3, 3), (0.1, 0.1), (0.5, 0.5)),
)


def _elu(x: Any, scale: Any, positive: Any, inner: Any) -> Any:
    return np.where(x <= 0, scale * np.expm1(x * inner), positive * x)


_slope(
    "_elu_backward",
    5,
    "({1} <= $0$) ? ({0} * {2} * {4} * m_exp({1} * {4})) : ({0} * {3})",
    lambda ctx, g: (
        g._elu_backward(*ctx.inputs[1:]) if ctx.needs[0] else None,
        keep(g * ctx.inputs[0], ctx.inputs[1] <= 0)
        * (ctx.inputs[1].clamp(max=0) * ctx.inputs[4]).exp()
        * (ctx.inputs[2] * ctx.inputs[4] ** 2)
        if ctx.needs[1]
        else None,
        None,
        None,
        None,
    ),
    (0, 1, 2, 3, 4),
    lambda g, x, a, p, i: np.where(x <= 0, g * a * i * np.exp(x * i), g * p),
    ("gradient", "input", "scale", "positive", "inner"),
    domain=((-3, 3), (-3, 3), (1.2, 1.2), (1.1, 1.1), (0.9, 0.9)),
    includes=MATH,
    cost=16,
)
ELU = _hidden(
    "_elu",
    4,
    "({0} <= $0$) ? ({1} * m_expm1({0} * {3})) : ({2} * {0})",
    lambda ctx, g: (g._elu_backward(*ctx.inputs), None, None, None),
    (0, 1, 2, 3),
    _elu,
    ("input", "scale", "positive", "inner"),
    "positive * input above 0, scale * (exp(inner * input) - 1) below: elu, selu, celu.",
    includes=MATH,
    cost=16,
    domain=((-3, 3), (1.2, 1.2), (1.1, 1.1), (0.9, 0.9)),
)
HARDSHRINK = _hidden(
    "_hardshrink",
    2,
    "(({0} >= -{1}) & ({0} <= {1})) ? $0$ : {0}",
    lambda ctx, g: (keep(g, (ctx.inputs[0] < -ctx.inputs[1]) | (ctx.inputs[0] > ctx.inputs[1])), None),
    (0, 1),
    lambda x, a: np.where((x >= -a) & (x <= a), 0, x),
    ("input", "lambd"),
    "input outside [-lambd, lambd], else 0.",
    domain=((-3, 3), (0.5, 0.5)),
)
SOFTSHRINK = _hidden(
    "_softshrink",
    2,
    "({0} > {1}) ? ({0} - {1}) : (({0} < -{1}) ? ({0} + {1}) : ({0} * $0$))",
    lambda ctx, g: (keep(g, (ctx.inputs[0] < -ctx.inputs[1]) | (ctx.inputs[0] > ctx.inputs[1])), None),
    (0, 1),
    lambda x, a: np.where(x > a, x - a, np.where(x < -a, x + a, 0)),
    ("input", "lambd"),
    "input moved towards 0 by lambd.",
    domain=((-3, 3), (0.5, 0.5)),
)

# ---- gelu, silu, mish, softplus

_slope(
    "_gelu_backward",
    2,
    f"{{0}} * ($0.5$ * ($1$ + m_erf_quick({{1}} * ${SQRT_HALF!r}$)) "
    f"+ {{1}} * ${INV_SQRT_2PI!r}$ * m_exp($-0.5$ * {{1}} * {{1}}))",
    lambda ctx, g: (
        g._gelu_backward(ctx.inputs[1]) if ctx.needs[0] else None,
        g * ctx.inputs[0] * ((ctx.inputs[1].square() * -0.5).exp() * (2 - ctx.inputs[1].square())) * INV_SQRT_2PI
        if ctx.needs[1]
        else None,
    ),
    (0, 1),
    lambda g, x: g * (scipy_special("ndtr")(x) + x * np.exp(-x * x / 2) * INV_SQRT_2PI),
    ("gradient", "input"),
    includes=MATH,
    cost=40,
)
GELU = _hidden(
    "_gelu",
    1,
    f"$0.5$ * {{0}} * ($1$ + m_erf_quick({{0}} * ${SQRT_HALF!r}$))",
    lambda ctx, g: (g._gelu_backward(ctx.inputs[0]),),
    (0,),
    lambda x: x * scipy_special("ndtr")(x),
    ("input",),
    "input * Phi(input), Phi the normal distribution.",
    includes=MATH,
    cost=20,
)


def _gelu_tanh(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(SQRT_2_OVER_PI * (x + CUBE * x**3)))


def _gelu_tanh_slope(g: Any, x: Any) -> Any:
    t = np.tanh(SQRT_2_OVER_PI * (x + CUBE * x**3))
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * SQRT_2_OVER_PI * (1 + 3 * CUBE * x * x))


def _gelu_tanh_second(ctx: Any, g: Any) -> tuple[Any, Any]:
    slope, x = ctx.inputs
    first = g._gelu_tanh_backward(x) if ctx.needs[0] else None
    if not ctx.needs[1]:
        return first, None
    t = ((x + x * x * x * CUBE) * SQRT_2_OVER_PI).tanh()
    inner = (x * x * (3 * CUBE) + 1) * SQRT_2_OVER_PI  # derivative of tanh's argument
    sech = 1 - t * t
    return first, g * slope * (sech * inner - x * t * sech * inner * inner + x * x * sech * (3 * CUBE * SQRT_2_OVER_PI))


_TANH = f"m_tanh(({{{{0}}}} + ${CUBE!r}$ * {{{{0}}}} * {{{{0}}}} * {{{{0}}}}) * ${SQRT_2_OVER_PI!r}$)".replace(
    "{{", "{"
).replace("}}", "}")
_TANH1 = _TANH.replace("{0}", "{1}")
_slope(
    "_gelu_tanh_backward",
    2,
    f"{{0}} * ($0.5$ * ($1$ + {_TANH1}) + $0.5$ * {{1}} * ($1$ - {_TANH1} * {_TANH1}) * (${SQRT_2_OVER_PI!r}$ + "
    f"${3 * CUBE * SQRT_2_OVER_PI!r}$ * {{1}} * {{1}}))",
    _gelu_tanh_second,
    (0, 1),
    _gelu_tanh_slope,
    ("gradient", "input"),
    includes=MATH,
    cost=40,
)
GELU_TANH = _hidden(
    "_gelu_tanh",
    1,
    f"$0.5$ * {{0}} * ($1$ + {_TANH})",
    lambda ctx, g: (g._gelu_tanh_backward(ctx.inputs[0]),),
    (0,),
    _gelu_tanh,
    ("input",),
    "gelu with Phi approximated by a tanh.",
    includes=MATH,
    cost=24,
    source="Hendrycks and Gimpel, 2016",
)
_slope(
    "_silu_backward",
    2,
    "{0} * m_sigmoid({1}) * ($1$ + {1} * ($1$ - m_sigmoid({1})))",
    lambda ctx, g: (
        g._silu_backward(ctx.inputs[1]) if ctx.needs[0] else None,
        _silu_second(ctx.inputs[1]) * ctx.inputs[0] * g if ctx.needs[1] else None,
    ),
    (0, 1),
    lambda g, x: g * _sigmoid(x) * (1 + x * (1 - _sigmoid(x))),
    ("gradient", "input"),
    includes=MATH,
    cost=20,
)


def _silu_second(x: Any) -> Any:
    s = x.sigmoid()
    return s * (1 - s) * (2 + x * (1 - s * 2))


SILU = _hidden(
    "_silu",
    1,
    "{0} * m_sigmoid({0})",
    lambda ctx, g: (g._silu_backward(ctx.inputs[0]),),
    (0,),
    lambda x: x * _sigmoid(x),
    ("input",),
    "input * sigmoid(input).",
    includes=MATH,
    cost=15,
)
SOFTPLUS = _hidden(
    "_softplus",
    3,
    "({0} * {1} > {2}) ? {0} : (m_log1p(m_exp({0} * {1})) / {1})",
    lambda ctx, g: (
        g.where(ctx.inputs[0] * ctx.inputs[1] > ctx.inputs[2], g * (ctx.inputs[0] * ctx.inputs[1]).sigmoid()),
        None,
        None,
    ),
    (0, 1, 2),
    lambda x, beta, t: np.where(x * beta > t, x, np.log1p(np.exp(np.minimum(x * beta, t))) / beta),
    ("input", "beta", "threshold"),
    "log(1 + exp(beta * input)) / beta; input itself where beta * input is above the threshold.",
    includes=MATH,
    cost=28,
    domain=((-3, 3), (0.8, 0.8), (20, 20)),
)
_SP = "(({0} > $20$) ? {0} : m_log1p(m_exp({0})))"


def _mish_grad(ctx: Any, g: Any) -> tuple[Any]:
    x = ctx.inputs[0]
    t = x._softplus_one().tanh()
    return (g * (t + x * x.sigmoid() * (1 - t * t)),)


SOFTPLUS_ONE = _many(
    "_softplus_one",
    1,
    _SP,
    lambda ctx, g: (g * ctx.inputs[0].sigmoid(),),
    saves=(0,),
    categories="f",
    includes=MATH,
    function=False,
    inplace=False,
    names=("input",),
    reference=lambda x: np.logaddexp(0, x),
    cost=26,
    doc="log(1 + exp(input)).",
)
MISH = _hidden(
    "_mish",
    1,
    f"{{0}} * m_tanh({_SP})",
    _mish_grad,
    (0,),
    lambda x: x * np.tanh(np.logaddexp(0, x)),
    ("input",),
    "input * tanh(softplus(input)).",
    includes=MATH,
    cost=40,
    source="Misra, 2019",
)
TANHSHRINK = _hidden(
    "_tanhshrink",
    1,
    "{0} - m_tanh({0})",
    lambda ctx, g: (g * ctx.inputs[0].tanh().square(),),
    (0,),
    lambda x: x - np.tanh(x),
    ("input",),
    "input - tanh(input).",
    includes=MATH,
    cost=15,
)
SOFTSIGN = _hidden(
    "_softsign",
    1,
    "{0} / ($1$ + fabs({0}))",
    lambda ctx, g: (g / (ctx.inputs[0].abs() + 1).square(),),
    (0,),
    lambda x: x / (1 + np.abs(x)),
    ("input",),
    "input / (1 + |input|).",
    cost=6,
    domain=(0.1, 3),
)
HARDSIGMOID = _hidden(
    "_hardsigmoid",
    1,
    "(({0} < $-3$) ? $0$ : (({0} > $3$) ? $6$ : ({0} + $3$))) / $6$",
    lambda ctx, g: (keep(g / 6, (ctx.inputs[0] > -3) & (ctx.inputs[0] < 3)),),
    (0,),
    lambda x: np.clip(x + 3, 0, 6) / 6,
    ("input",),
    "min(max(input + 3, 0), 6) / 6.",
    cost=6,
    domain=(-2.9, 2.9),
)
_slope(
    "_hardswish_backward",
    2,
    "({1} <= $-3$) ? $0$ : (({1} < $3$) ? ({0} * ({1} / $3$ + $0.5$)) : {0})",
    lambda ctx, g: (
        g._hardswish_backward(ctx.inputs[1]) if ctx.needs[0] else None,
        keep(g * ctx.inputs[0] / 3, (ctx.inputs[1] > -3) & (ctx.inputs[1] < 3)) if ctx.needs[1] else None,
    ),
    (0, 1),
    lambda g, x: np.where(x <= -3, 0, np.where(x < 3, g * (x / 3 + 0.5), g)),
    ("gradient", "input"),
    domain=((-3, 3), (-2.9, 2.9)),
)
HARDSWISH = _hidden(
    "_hardswish",
    1,
    "{0} * (({0} < $-3$) ? $0$ : (({0} > $3$) ? $6$ : ({0} + $3$))) / $6$",
    lambda ctx, g: (g._hardswish_backward(ctx.inputs[0]),),
    (0,),
    lambda x: x * np.clip(x + 3, 0, 6) / 6,
    ("input",),
    "input * hardsigmoid(input).",
    cost=7,
    domain=(-2.9, 2.9),
)
