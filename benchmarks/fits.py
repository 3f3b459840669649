"""Makes the tables of the special functions: kernels/bessel.cl, modified.cl, airy.cl, normal.cl, incomplete.cl.

    python -m benchmarks.fits [NAME ...]

Each table is the Chebyshev series of a smooth factor of a function on an interval: interpolated in 128 Chebyshev points
with mpmath at 50 digits, cut where what is left out is below 2^-56 of the factor's least value (of its greatest, where
it has zeros). Printed as OpenCL C, with the greatest error of the cut series, in exact arithmetic, over 400 points.
Needs mpmath; the library never does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath as mp

mp.mp.dps = 50
POINTS = 128


def series(f: Callable[[Any], Any], degree: int = POINTS) -> list[Any]:
    """Coefficients c with f(u) = sum c_k T_k(u) on [-1, 1]."""
    angles = [mp.pi * (k + mp.mpf(1) / 2) / degree for k in range(degree)]
    values = [f(mp.cos(a)) for a in angles]
    found = [2 * mp.fsum(v * mp.cos(j * a) for v, a in zip(values, angles)) / degree for j in range(degree)]
    found[0] /= 2
    return found


def value(c: list[Any], u: Any) -> Any:
    b1 = b2 = mp.mpf(0)
    for k in range(len(c) - 1, 0, -1):
        b1, b2 = 2 * u * b1 - b2 + c[k], b1
    return u * b1 - b2 + c[0]


def fit(name: str, f: Callable[[Any], Any], text: str, zeros: bool = False, scale: float = 1.0) -> None:
    """Print the table `name` of `f` over u in [-1, 1]; `text` says what f is. `scale`: part of the usual accuracy
    that is wanted.
    """
    c = series(f)
    samples = [(u, f(u)) for u in (mp.cos(mp.pi * (k + mp.mpf("0.37")) / 400) for k in range(400))]
    sizes = [abs(v) for _, v in samples]
    unit = (max(sizes) if zeros else min(sizes)) * mp.mpf(2) ** -56 * scale
    count = len(c)
    while count > 1 and mp.fsum(abs(x) for x in c[count - 1 :]) < unit:
        count -= 1
    kept = [mp.mpf(float(x)) for x in c[:count]]
    errors = [abs(value(kept, u) - v) / (max(sizes) if zeros else abs(v)) for u, v in samples]
    print(f"// {text}: {count} terms, error {mp.nstr(max(errors), 2)}")
    _table(name, [float(x) for x in kept])


def _table(name: str, numbers: list[float]) -> None:
    print(f"__constant REAL {name}[] = {{")
    line = "   "
    for x in numbers:
        word = f" {x!r},"
        if len(line) + len(word) > 118:
            print(line)
            line = "   "
        line += word
    print(line + "\n};\n")


# ---- modified Bessel functions


def over(low: float, high: float) -> Callable[[Any], Any]:
    """u in [-1, 1] -> [low, high]."""
    return lambda u: mp.mpf(low) + (mp.mpf(high) - mp.mpf(low)) * (u + 1) / 2


def modified() -> None:
    near, reciprocal = over(0, 6), over(0, mp.mpf(1) / 6)
    fit("I0_NEAR", lambda u: mp.exp(-near(u)) * mp.besseli(0, near(u)), "exp(-x) I0(x), u = x / 3 - 1, x in [0, 6]")
    fit("I0_FAR", lambda u: _far_i(0, 1 / reciprocal(u)), "sqrt(x) exp(-x) I0(x), u = 12 / x - 1, x >= 6")
    fit(
        "I1_NEAR",
        lambda u: mp.exp(-near(u)) * mp.besseli(1, near(u)) / near(u),
        "exp(-x) I1(x) / x, u = x / 3 - 1, x in [0, 6]",
    )
    fit("I1_FAR", lambda u: _far_i(1, 1 / reciprocal(u)), "sqrt(x) exp(-x) I1(x), u = 12 / x - 1, x >= 6")
    square, half = over(0, 4), over(0, mp.mpf(1) / 2)

    def k0(u: Any) -> Any:
        x = mp.sqrt(square(u))
        return mp.besselk(0, x) + mp.log(x / 2) * mp.besseli(0, x)

    def k1(u: Any) -> Any:
        x = mp.sqrt(square(u))
        return x * (mp.besselk(1, x) - mp.log(x / 2) * mp.besseli(1, x))

    fit("K0_NEAR", k0, "K0(x) + log(x / 2) I0(x), u = x^2 / 2 - 1, x in [0, 2]", zeros=True)
    fit("K0_FAR", lambda u: _far_k(0, 1 / half(u)), "sqrt(x) exp(x) K0(x), u = 4 / x - 1, x >= 2")
    fit("K1_NEAR", k1, "x (K1(x) - log(x / 2) I1(x)), u = x^2 / 2 - 1, x in [0, 2]", zeros=True)
    fit("K1_FAR", lambda u: _far_k(1, 1 / half(u)), "sqrt(x) exp(x) K1(x), u = 4 / x - 1, x >= 2")


def _far_i(n: int, x: Any) -> Any:
    return mp.sqrt(x) * mp.exp(-x) * mp.besseli(n, x)


def _far_k(n: int, x: Any) -> Any:
    return mp.sqrt(x) * mp.exp(x) * mp.besselk(n, x)


# ---- Bessel functions


def bessel() -> None:
    square = over(0, 64)

    def root(u: Any) -> Any:
        return mp.sqrt(square(u))

    def y0(u: Any) -> Any:
        x = root(u)
        return mp.bessely(0, x) - 2 / mp.pi * mp.log(x / 2) * mp.besselj(0, x)

    def y1(u: Any) -> Any:
        x = root(u)
        return (mp.bessely(1, x) - 2 / mp.pi * (mp.log(x / 2) * mp.besselj(1, x) - 1 / x)) / x

    where = "u = x^2 / 32 - 1, x in [0, 8]"
    fit("J0_NEAR", lambda u: mp.besselj(0, root(u)), f"J0(x), {where}", zeros=True)
    fit("J1_NEAR", lambda u: mp.besselj(1, root(u)) / root(u), f"J1(x) / x, {where}", zeros=True)
    fit("Y0_NEAR", y0, f"Y0(x) - 2 / pi log(x / 2) J0(x), {where}", zeros=True)
    fit("Y1_NEAR", y1, f"(Y1(x) - 2 / pi (log(x / 2) J1(x) - 1 / x)) / x, {where}", zeros=True)
    where = "u = 128 / x^2 - 1, x >= 8"
    inverse = over(0, mp.mpf(1) / 64)
    for n in (0, 1):

        def parts(u: Any, n: int = n) -> tuple[Any, Any]:
            x = 1 / mp.sqrt(inverse(u))
            angle, size = x - mp.pi * (2 * n + 1) / 4, mp.sqrt(mp.pi * x / 2)
            j, y, c, s = mp.besselj(n, x), mp.bessely(n, x), mp.cos(angle), mp.sin(angle)
            return size * (j * c + y * s), size * (y * c - j * s) * x

        phase = f"x - {2 * n + 1} pi / 4"
        fit(
            f"J{n}_COS",
            lambda u, parts=parts: parts(u)[0],
            f"sqrt(pi x / 2) (J{n} cos(a) + Y{n} sin(a)), a = {phase}, {where}",
        )
        fit(
            f"J{n}_SIN",
            lambda u, parts=parts: parts(u)[1],
            f"x sqrt(pi x / 2) (Y{n} cos(a) - J{n} sin(a)), a = {phase}, {where}",
        )


def airy() -> None:
    near = over(-5, 2)
    fit("AIRY_NEAR", lambda u: mp.airyai(near(u)), "Ai(x), u = (2 x + 3) / 7, x in [-5, 2]", zeros=True, scale=0.06)
    start = 2 * mp.mpf(2) ** mp.mpf("1.5") / 3
    far = over(0, 1 / start)

    def decay(u: Any) -> Any:
        z = 1 / far(u)
        x = (z * 3 / 2) ** (mp.mpf(2) / 3)
        return 2 * mp.sqrt(mp.pi) * x ** mp.mpf("0.25") * mp.exp(z) * mp.airyai(x)

    fit("AIRY_FAR", decay, "2 sqrt(pi) x^(1/4) exp(z) Ai(x), z = 2/3 x^(3/2), u = 2 z(2) / z - 1, x >= 2")
    first = 2 * mp.mpf(5) ** mp.mpf("1.5") / 3
    wave = over(0, 1 / first**2)

    def parts(u: Any) -> tuple[Any, Any]:
        z = 1 / mp.sqrt(wave(u))
        x = (z * 3 / 2) ** (mp.mpf(2) / 3)
        angle, size = z - mp.pi / 4, mp.sqrt(mp.pi) * x ** mp.mpf("0.25")
        a, b, c, s = mp.airyai(-x), mp.airybi(-x), mp.cos(angle), mp.sin(angle)
        return size * (a * c - b * s), size * (a * s + b * c) * z

    where = "a = z - pi / 4, z = 2/3 x^(3/2), u = 2 (z(5) / z)^2 - 1, x >= 5"
    fit("AIRY_COS", lambda u: parts(u)[0], f"sqrt(pi) x^(1/4) (Ai(-x) cos(a) - Bi(-x) sin(a)), {where}")
    fit("AIRY_SIN", lambda u: parts(u)[1], f"z sqrt(pi) x^(1/4) (Ai(-x) sin(a) + Bi(-x) cos(a)), {where}")


# ---- the normal distribution


def normal() -> None:
    def scaled(u: Any) -> Any:
        x = 4 * (1 + u) / (1 - u)
        tail = mp.erfc(x) * mp.exp(x * x) if x < 1000 else _erfcx_far(x)
        return (1 + 2 * x) * tail

    fit("ERFCX", scaled, "(1 + 2 x) exp(x^2) erfc(x), u = (x - 4) / (x + 4), x >= 0")
    square = over(0, mp.mpf("0.16"))

    def middle(u: Any) -> Any:
        y = mp.sqrt(square(u))
        return mp.sqrt(2) * mp.erfinv(2 * y) / y

    fit("NDTRI_MIDDLE", middle, "ndtri(1/2 + y) / y, u = y^2 / 0.08 - 1, |y| <= 0.4")
    low, high = mp.sqrt(-2 * mp.log(mp.mpf("0.1"))), mp.mpf("38.7")
    a = mp.sqrt(low * high)
    edge = (high - a) / (high + a)

    def tail(u: Any) -> Any:
        v = u * edge
        r = a * (1 + v) / (1 - v)
        p_log = -r * r / 2
        x = -r + mp.log(r * mp.sqrt(2 * mp.pi)) / r
        for _ in range(60):  # Newton on log ndtr(x) = log p
            ratio = mp.erfc(-x / mp.sqrt(2)) / 2
            step = (mp.log(ratio) - p_log) * ratio / mp.npdf(x)
            x -= step
            if abs(step) < mp.mpf(10) ** -45:
                break
        return r + x

    print(f"// NDTRI_TAIL: a = {float(a)!r}, 1 / edge = {float(1 / edge)!r}")
    fit(
        "NDTRI_TAIL", tail, "r + ndtri(p), r = sqrt(-2 log p), u = (r - a) / (r + a) / edge, r in [2.1459, 38.7]",
        zeros=True, scale=4,
    )  # fmt: skip


def _erfcx_far(x: Any) -> Any:
    total, term = mp.mpf(1), mp.mpf(1)
    for k in range(1, 12):
        term *= -(2 * k - 1) / (2 * x * x)
        total += term
    return total / (x * mp.sqrt(mp.pi))


# ---- the incomplete gamma function


def gamma() -> None:
    unit = over(1, 2)
    fit("GAMMA_UNIT", lambda u: mp.gamma(unit(u)), "Gamma(x), u = 2 x - 3, x in [1, 2]")
    fit("LGAMMA1P", lambda u: mp.loggamma(1 + (u + 1) / 2) / ((u + 1) / 2), "log Gamma(1 + a) / a, u = 2 a - 1, a in "
        "[0, 1]", zeros=True)  # fmt: skip
    fit("LOG1PMX", lambda u: (mp.log1p(u / 2) - u / 2) / (u / 2) ** 2, "(log(1 + m) - m) / m^2, u = 2 m, |m| <= 1/2")
    temme()


def temme(a: int = 20, eta: float = 0.34) -> None:
    """Coefficients d[k][n] of Temme's expansion of the incomplete gamma function (DLMF 8.12.11 to 8.12.20): cut
    where a^-k eta^n d[k][n] is below 2^-58.
    """
    terms, depth = 64, 18
    alpha = [
        Fraction(0),
        Fraction(1),
        Fraction(1, 3),
    ]  # lambda = 1 + sum alpha_n eta^n solves eta^2/2 = lambda - 1 - log
    for n in range(3, terms + 2 * depth + 4):
        inner = sum((j + 1) * alpha[j + 1] * alpha[n - j] for j in range(1, n - 1))
        alpha.append((alpha[n - 1] - inner) / (n + 1))
    stirling = [Fraction(1)]  # Gamma*(a) = sum g_k a^-k, from exp(sum B_2j / (2j (2j - 1) a^(2j - 1)))
    logs = {2 * j - 1: _bernoulli(2 * j) / (2 * j * (2 * j - 1)) for j in range(1, depth)}
    for k in range(1, depth):
        stirling.append(sum(i * logs[i] * stirling[k - i] for i in logs if i <= k) / k)
    rows = [[Fraction(-1, 3)] + [(n + 2) * alpha[n + 2] for n in range(1, terms + 2 * depth)]]
    for k in range(1, depth):
        last = rows[-1]
        rows.append(
            [(-1) ** k * stirling[k] * rows[0][n] + (n + 2) * last[n + 2] for n in range(terms + 2 * (depth - k) - 2)]
        )
    limit = 2.0**-58
    needed = [
        max((n + 1 for n in range(terms) if abs(float(row[n])) * eta**n * float(a) ** -k > limit), default=0)
        for k, row in enumerate(rows)
    ]
    height = max(k + 1 for k, n in enumerate(needed) if n)
    print(f"// c_k(eta) = sum of d_kn eta^n, rows k of {height}, a >= {a}, |eta| <= {eta}; lengths of the rows:")
    print(f"#define TEMME_ROWS {height}")
    print(f"__constant int TEMME_LENGTH[] = {{{', '.join(map(str, needed[:height]))}}};")
    _table("TEMME", [float(x) for k in range(height) for x in rows[k][: needed[k]]])


def _bernoulli(n: int) -> Fraction:
    b = [Fraction(0)] * (n + 1)
    for m in range(n + 1):
        b[m] = Fraction(1, m + 1)
        for j in range(m, 0, -1):
            b[j - 1] = j * (b[j - 1] - b[j])
    return b[0]


ALL = {"modified": modified, "bessel": bessel, "airy": airy, "normal": normal, "gamma": gamma}

if __name__ == "__main__":
    for name in sys.argv[1:] or ALL:
        ALL[name]()
