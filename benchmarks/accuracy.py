"""Error of the elementary functions over all of float32, against float64, next to the device's own function.

    python -m benchmarks.accuracy [--devices intel,pocl31,pocl30] [--only 'exp|log'] [--points 2000000] [--precise]

Points are random bit patterns (every exponent, both signs alike), as many again from the range in which the function
does something, and the special values. Error is counted in units of the last place of the exact result, of denormal
results in units of 2^-149. `special` counts wrong ones among infinities, NaN and signed zeros, at these arguments or as
exact results. GB/s: 4 million elements read and written, as one kernel. `--precise`: what CLTORCH_PRECISE=1 gives.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

ROOT = Path(__file__).resolve().parent.parent
SPECIALS = np.array(
    [
        0.0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        1e-45,
        -1e-45,
        1e-40,
        -1e-40,
        1.0,
        -1.0,
        0.5,
        -0.5,
        2.0,
        -2.0,
        3.4e38,
        -3.4e38,
    ],
    np.float32,
)


@dataclass(frozen=True)
class Function:
    """An elementary function: our expression, the device's, the reference, and the range of interest."""

    own: str
    builtin: str
    reference: Callable[..., np.ndarray]
    low: float
    high: float
    arguments: int = 1
    includes: tuple[str, ...] = ("math",)


def _unary(
    name: str, reference: Callable[..., np.ndarray], low: float, high: float, *includes: str, builtin: str = ""
) -> Function:
    return Function(f"m_{name}({{0}})", f"{builtin or name}({{0}})", reference, low, high, 1, ("math", *includes))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0.0, x)


FUNCTIONS: dict[str, Function] = {
    "exp": _unary("exp", np.exp, -87, 88),
    "exp2": _unary("exp2", np.exp2, -126, 127),
    "expm1": _unary("expm1", np.expm1, -20, 89),
    "log": _unary("log", np.log, 0, 4),
    "log2": _unary("log2", np.log2, 0, 4),
    "log10": _unary("log10", np.log10, 0, 4),
    "log1p": _unary("log1p", np.log1p, -1, 4),
    "sin": _unary("sin", np.sin, -100, 100),
    "cos": _unary("cos", np.cos, -100, 100),
    "tan": _unary("tan", np.tan, -100, 100),
    "asin": _unary("asin", np.arcsin, -1, 1, "inverse"),
    "acos": _unary("acos", np.arccos, -1, 1, "inverse"),
    "atan": _unary("atan", np.arctan, -10, 10, "inverse"),
    "atan2": Function("m_atan2({0}, {1})", "atan2({0}, {1})", np.arctan2, -4, 4, 2, ("math", "inverse")),
    "hypot": Function("m_hypot({0}, {1})", "hypot({0}, {1})", np.hypot, -4, 4, 2, ("math", "inverse")),
    "sinh": _unary("sinh", np.sinh, -89, 89),
    "cosh": _unary("cosh", np.cosh, -89, 89),
    "tanh": _unary("tanh", np.tanh, -10, 10),
    "asinh": _unary("asinh", np.arcsinh, -100, 100, "inverse"),
    "acosh": _unary("acosh", np.arccosh, 1, 100, "inverse"),
    "atanh": _unary("atanh", np.arctanh, -1, 1, "inverse"),
    "erf": _unary("erf", special.erf, -4, 4),
    "erfc": _unary("erfc", special.erfc, -4, 10.5, "gamma"),
    "erfinv": Function("m_erfinv({0})", "", lambda x: np.copysign(special.erfinv(x), x), -1, 1),
    "sigmoid": Function("m_sigmoid({0})", "$1$ / ($1$ + exp(-{0}))", special.expit, -80, 20),
    "softplus": Function(
        "({0} > $20$) ? {0} : m_log1p(m_exp({0}))", "fmax({0}, $0$) + log1p(exp(-fabs({0})))", _softplus, -80, 80
    ),
    "pow": Function("m_pow({0}, {1})", "pow({0}, {1})", np.power, 0, 20, 2),
    "sqrt": _unary("sqrt", np.sqrt, 0, 4),
    "rsqrt": _unary("rsqrt", lambda x: 1 / np.sqrt(x), 0, 4),
    "lgamma": _unary("lgamma", lambda x: np.where(np.isinf(x), np.inf, special.gammaln(x)), -20, 40, "gamma"),
    "digamma": Function("s_digamma({0})", "", special.digamma, -20, 40, 1, ("math", "special", "gamma")),
}


def points(function: Function, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """The arguments: random bits, the range of interest, special values (all pairs of them)."""
    found = []
    for k in range(function.arguments):
        bits = rng.integers(0, 1 << 32, count, dtype=np.uint32).view(np.float32)
        dense = rng.uniform(function.low, function.high, count).astype(np.float32)
        chosen = np.repeat(SPECIALS, len(SPECIALS)) if k else np.tile(SPECIALS, len(SPECIALS))
        found.append(np.concatenate([bits, dense, chosen]))
    return found


@dataclass
class Error:
    """Largest and mean error in units of the last place, where the largest is, largest one of denormal results, and
    wrong special values with an example.
    """

    largest: float
    mean: float
    at: tuple[float, ...]
    denormal: float
    special: int
    example: str


def compare(got: np.ndarray, wanted: np.ndarray, arguments: list[np.ndarray]) -> Error:
    """`got`, in float32, against the exact `wanted`, in float64."""
    with np.errstate(all="ignore"):
        rounded = wanted.astype(np.float32)
        plain = np.isfinite(rounded) & np.isfinite(got) & (rounded != 0)
        wrong = ~plain & ~(
            (got == rounded) & (np.signbit(got) == np.signbit(rounded)) | np.isnan(got) & np.isnan(rounded)
        )
        ulp = np.spacing(np.maximum(np.abs(rounded), np.float32(1e-45))).astype(np.float64)
        error = np.where(plain, np.abs(got.astype(np.float64) - wanted) / ulp, 0.0)
        # the largest number and infinity are neighbours, and so are 0 and the smallest one
        edge = wrong & (np.isinf(got) ^ np.isinf(rounded)) & ~np.isnan(got) & ~np.isnan(rounded)
        edge &= np.minimum(np.abs(got), np.abs(rounded)) > 3.4028e38
        edge |= wrong & (rounded == 0) & (np.abs(got) <= np.float32(3e-45)) & (wanted != 0)
        wrong &= ~edge
    tiny = plain & (np.abs(rounded) < np.float32(1.17549435e-38))
    normal = np.where(tiny, 0.0, error)
    at = int(np.argmax(normal))
    bad = np.flatnonzero(wrong)
    example = ""
    if len(bad):
        given = ", ".join(f"{float(a[bad[0]]):.9g}" for a in arguments)
        example = f"({given}) gave {got[bad[0]]:.6g}, wanted {rounded[bad[0]]:.6g}"
    counted = normal[plain & ~tiny]
    return Error(
        float(normal[at]),
        float(counted.mean()) if len(counted) else 0.0,
        tuple(float(a[at]) for a in arguments),
        float(error[tiny].max()) if tiny.any() else 0.0,
        len(bad),
        example,
    )


class Bench:
    """One device that evaluates expressions."""

    def __init__(self, name: str):
        import pyopencl as cl
        import runner

        self.cl, self.runner, self.device = cl, runner, runner.device(name)
        self.target = runner.target(self.device)

    def _lowered(self, expression: str, arguments: int, n: int, includes: tuple[str, ...]) -> Any:
        from cltorch.codegen.pointwise import lower_pointwise
        from cltorch.codegen.program import Body, Instr
        from cltorch.dtypes import float32
        from cltorch.shapes import layout

        place = layout(float32, (n,))
        instr = Instr(expression, tuple(range(arguments)), float32, includes)
        body = Body((n,), (place,) * arguments, (), (instr,), ((arguments, place),))
        return lower_pointwise(body, self.target), place

    def values(self, expression: str, given: list[np.ndarray], includes: tuple[str, ...]) -> np.ndarray:
        """The results."""
        lowered, place = self._lowered(expression, len(given), len(given[0]), includes)
        (out,) = self.runner.run(lowered, given, [place], device=self.device)
        return out

    def gigabytes(self, expression: str, function: Function, n: int = 1 << 22) -> float:
        """Per second, read and written."""
        cl = self.cl
        lowered, _ = self._lowered(expression, function.arguments, n, function.includes)
        self.device.build(lowered)
        launch = lowered.launches[0]
        rng = np.random.default_rng(0)
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
        given = [
            cl.Buffer(
                self.device.context, flags, hostbuf=rng.uniform(function.low, function.high, n).astype(np.float32)
            )
            for _ in range(function.arguments)
        ]
        out = cl.Buffer(self.device.context, cl.mem_flags.READ_WRITE, 4 * n)
        kernel, queue = self.device.kernels[launch.source.name], self.device.queue
        from cltorch.codegen.source import Input, Output

        for k, argument in enumerate(launch.args):
            if isinstance(argument, Input):
                kernel.set_arg(k, given[argument.index])
            elif isinstance(argument, Output):
                kernel.set_arg(k, out)
            else:
                kernel.set_arg(k, {"int": np.int32, "long": np.int64}[argument.ctype](argument.value))
        took = []
        for _ in range(4):
            start = time.perf_counter()
            for _ in range(2):
                cl.enqueue_nd_range_kernel(queue, kernel, launch.global_size, launch.source.local_size)
            queue.finish()
            took.append((time.perf_counter() - start) / 2)
        return 4 * n * (function.arguments + 1) / min(took) / 1e9


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__.splitlines()[0])
    parser.add_argument("--devices", default="intel,pocl31,pocl30")
    parser.add_argument("--only", default="", help="regular expression on names")
    parser.add_argument("--points", type=int, default=1 << 20, help="random bit patterns, and as many in the range")
    parser.add_argument("--precise", action="store_true", help="what CLTORCH_PRECISE=1 gives")
    parser.add_argument("--skip-builtin", action="store_true")
    given = parser.parse_args()
    os.environ["CLTORCH_TEST_DEVICES"] = given.devices
    sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "codegen")]
    from cltorch.config import settings

    settings.precise = given.precise
    for name in given.devices.split(","):
        bench = Bench(name)
        print(name)
        print(
            f"{'function':9} {'':7} {'max ulp':>9} {'mean':>6} {'denormal':>9} {'special':>8} {'GB/s':>6}  largest at"
        )
        for label, function in FUNCTIONS.items():
            if not re.fullmatch(given.only or ".*", label):
                continue
            arguments = points(function, given.points, np.random.default_rng(3))
            with np.errstate(all="ignore"):
                wanted = function.reference(*(a.astype(np.float64) for a in arguments))
            sides = {"own": function.own}
            if function.builtin and not given.skip_builtin:
                sides["builtin"] = function.builtin
            for side, expression in sides.items():
                error = compare(bench.values(expression, arguments, function.includes), wanted, arguments)
                speed = bench.gigabytes(expression, function)
                largest = ", ".join(f"{x:.9g}" for x in error.at)
                measured = (
                    f"{error.largest:9.4g} {error.mean:6.3g} {error.denormal:9.3g} {error.special:8} {speed:6.1f}"
                )
                print(f"{label:9} {side:7} {measured}  ({largest}) {error.example}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
