"""Special functions under the names of `torch.special`: aliases, and functions made from the records of ops/special.py.

Floor 6, above functions.
"""

from __future__ import annotations

from typing import Any

from . import functions as _f
from .attach import function_of
from .ops import special as _records

__all__ = [
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "chebyshev_polynomial_t", "chebyshev_polynomial_u",
    "chebyshev_polynomial_v", "chebyshev_polynomial_w", "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2",
    "expit", "expm1", "gammainc", "gammaincc", "gammaln", "hermite_polynomial_h", "hermite_polynomial_he", "i0", "i0e",
    "i1", "i1e", "laguerre_polynomial_l", "legendre_polynomial_p", "log1p", "log_ndtr", "log_softmax", "logit",
    "logsumexp", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0", "modified_bessel_k1",
    "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round", "scaled_modified_bessel_k0",
    "scaled_modified_bessel_k1", "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u",
    "shifted_chebyshev_polynomial_v", "shifted_chebyshev_polynomial_w", "sinc", "softmax", "spherical_bessel_j0",
    "xlog1py", "xlogy", "zeta",
]  # fmt: skip


def _named(name: str, op: Any) -> Any:
    made = function_of(op)
    made.__name__ = made.__qualname__ = name
    made.__module__ = __name__
    return made


_found: dict[str, Any] = _f.FUNCTIONS
digamma = psi = _found["digamma"]
erf, erfc, erfinv = _found["erf"], _found["erfc"], _found["erfinv"]
exp2, expm1, log1p = _found["exp2"], _found["expm1"], _found["log1p"]
expit, gammaln, sinc = _found["sigmoid"], _found["lgamma"], _found["sinc"]
logit, logsumexp, round, xlogy = _found["logit"], _found["logsumexp"], _found["round"], _found["xlogy"]
log_softmax, softmax = _found["log_softmax"], _found["softmax"]
polygamma, multigammaln = _found["polygamma"], _found["mvlgamma"]
i0, gammainc, gammaincc = _found["i0"], _found["igamma"], _found["igammac"]

i0e, i1, i1e = _named("i0e", _records.I0E), _named("i1", _records.I1), _named("i1e", _records.I1E)
modified_bessel_i0, modified_bessel_i1 = i0, i1
modified_bessel_k0 = _named("modified_bessel_k0", _records.K0)
modified_bessel_k1 = _named("modified_bessel_k1", _records.K1)
scaled_modified_bessel_k0 = _named("scaled_modified_bessel_k0", _records.K0E)
scaled_modified_bessel_k1 = _named("scaled_modified_bessel_k1", _records.K1E)
bessel_j0, bessel_j1 = _named("bessel_j0", _records.J0), _named("bessel_j1", _records.J1)
bessel_y0, bessel_y1 = _named("bessel_y0", _records.Y0), _named("bessel_y1", _records.Y1)
spherical_bessel_j0 = _named("spherical_bessel_j0", _records.SPHERICAL_J0)
airy_ai = _named("airy_ai", _records.AIRY_AI)
entr, erfcx = _named("entr", _records.ENTR), _named("erfcx", _records.ERFCX)
ndtr, log_ndtr, ndtri = (
    _named("ndtr", _records.NDTR), _named("log_ndtr", _records.LOG_NDTR), _named("ndtri", _records.NDTRI),
)  # fmt: skip
xlog1py, zeta = _named("xlog1py", _records.XLOG1PY), _named("zeta", _records.ZETA)
_polynomials = {name: _named(name, op) for name, op in _records.POLYNOMIALS.items()}
chebyshev_polynomial_t = _polynomials["chebyshev_polynomial_t"]
chebyshev_polynomial_u = _polynomials["chebyshev_polynomial_u"]
chebyshev_polynomial_v = _polynomials["chebyshev_polynomial_v"]
chebyshev_polynomial_w = _polynomials["chebyshev_polynomial_w"]
hermite_polynomial_h = _polynomials["hermite_polynomial_h"]
hermite_polynomial_he = _polynomials["hermite_polynomial_he"]
laguerre_polynomial_l = _polynomials["laguerre_polynomial_l"]
legendre_polynomial_p = _polynomials["legendre_polynomial_p"]
shifted_chebyshev_polynomial_t = _polynomials["shifted_chebyshev_polynomial_t"]
shifted_chebyshev_polynomial_u = _polynomials["shifted_chebyshev_polynomial_u"]
shifted_chebyshev_polynomial_v = _polynomials["shifted_chebyshev_polynomial_v"]
shifted_chebyshev_polynomial_w = _polynomials["shifted_chebyshev_polynomial_w"]
