"""Linear algebra with PyTorch's names: `torch.linalg`, and the older functions and methods beside it.

Floor 6. LU, Cholesky, triangular systems and QR run on the device, a matrix per work-group: good for batches of small
matrices. Eigenvalues and singular values are computed by LAPACK on the host, through NumPy; their gradients run on the
device. Complex matrices, and what would give complex results (`eig`), do not exist yet and raise NotImplementedError.
"""

from typing import Any

from ..errors import LinAlgError
from ..tensor import Tensor
from . import older
from .factor import (
    cholesky,
    cholesky_ex,
    householder_product,
    lu,
    lu_factor,
    lu_factor_ex,
    lu_solve,
    qr,
    solve_triangular,
)
from .norms import cond, matrix_norm, matrix_rank, norm, vector_norm
from .products import cross, diagonal, matmul, matrix_exp, matrix_power, multi_dot, vander, vecdot
from .solve import det, inv, inv_ex, lstsq, pinv, slogdet, solve, solve_ex, tensorinv, tensorsolve
from .spectral import eig, eigh, eigvals, eigvalsh, svd, svdvals

__all__ = [
    "LinAlgError",
    "cholesky",
    "cholesky_ex",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "householder_product",
    "inv",
    "inv_ex",
    "lstsq",
    "lu",
    "lu_factor",
    "lu_factor_ex",
    "lu_solve",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_ex",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensorinv",
    "tensorsolve",
    "vander",
    "vecdot",
    "vector_norm",
]


def __getattr__(name: str) -> Any:
    if name in ("ldl_factor", "ldl_factor_ex", "ldl_solve"):
        raise NotImplementedError(f"linalg.{name} is not implemented")
    raise AttributeError(f"module 'cltorch.linalg' has no attribute '{name}'")


for _name, _method in older.METHODS.items():
    setattr(Tensor, _name, _method)
