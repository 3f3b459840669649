"""cltorch.linalg against NumPy, its gradients against finite differences, its errors against PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

import cltorch as torch
from cltorch.autograd import gradcheck, gradgradcheck
from tests.oracle import same, same_error


def matrix(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape) + 2 * np.eye(*shape[-2:])


def positive(n: int) -> np.ndarray:
    a = matrix(n, n)
    return a @ a.T + np.eye(n)


def leaf(a: np.ndarray) -> torch.Tensor:
    return torch.tensor(a).requires_grad_()


L = torch.linalg
GRADIENTS = {
    "inv": (L.inv, matrix(2, 3, 3)),
    "det": (L.det, matrix(2, 3, 3)),
    "slogdet": (lambda a: L.slogdet(a).logabsdet, matrix(3, 3)),
    "solve": (L.solve, matrix(2, 3, 3), matrix(3, 2, seed=1)),
    "solve right": (lambda a, b: L.solve(a, b, left=False), matrix(3, 3), matrix(2, 3, seed=1)),
    "triangular": (lambda a, b: L.solve_triangular(a, b, upper=True), matrix(3, 3), matrix(3, 2, seed=1)),
    "triangular unit": (
        lambda a, b: L.solve_triangular(a, b, upper=False, left=False, unitriangular=True),
        matrix(3, 3), matrix(2, 3, seed=1),
    ),
    "cholesky": (lambda a: L.cholesky(a @ a.mT + torch.eye(3, dtype=torch.float64)), matrix(3, 3)),
    "cholesky_solve": (lambda a, b: torch.cholesky_solve(b, L.cholesky(a @ a.mT)), matrix(3, 3), matrix(3, 2, seed=1)),
    "lu": (lambda a: L.lu(a)[1:], matrix(2, 3, 3)),
    "lu wide": (lambda a: L.lu(a)[1:], matrix(2, 4)),
    "lu tall": (lambda a: L.lu_factor(a)[0], matrix(4, 2)),
    "qr": (L.qr, matrix(4, 3)),
    "qr wide": (L.qr, matrix(2, 4)),
    "householder": (L.householder_product, matrix(4, 2), np.array([1.2, 0.7])),
    "eigh": (lambda a: (lambda r: (r[0], r[1].abs()))(L.eigh(a + a.mT)), matrix(3, 3)),
    "svd": (lambda a: (lambda r: (r[0].abs(), r[1], r[2].abs()))(L.svd(a, full_matrices=False)), matrix(4, 3)),
    "svd wide": (lambda a: (lambda r: (r[0].abs(), r[1], r[2].abs()))(L.svd(a, full_matrices=False)), matrix(2, 4)),
    "pinv": (L.pinv, matrix(4, 2)),
    "lstsq": (lambda a, b: L.lstsq(a, b)[0], matrix(4, 2), matrix(4, 2, seed=1)),
    "matrix_exp": (L.matrix_exp, matrix(2, 2)),
    "nuclear norm": (lambda a: L.matrix_norm(a, "nuc"), matrix(3, 2)),
    "cond": (L.cond, matrix(2, 2)),
    "power": (lambda a: L.matrix_power(a, -2), matrix(2, 2)),
}  # fmt: skip
TWICE = ("inv", "det", "solve", "triangular", "cholesky", "lu wide", "qr", "eigh", "svd", "pinv", "matrix_exp")


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient(name: str) -> None:
    function, *arrays = GRADIENTS[name]
    assert gradcheck(function, tuple(leaf(a) for a in arrays))


@pytest.mark.parametrize("name", TWICE)
def test_second_gradient(name: str) -> None:
    function, *arrays = GRADIENTS[name]
    assert gradgradcheck(function, tuple(leaf(a) for a in arrays))


@pytest.mark.parametrize("rank", [1, 2])
def test_gradient_of_a_singular_determinant(rank: int) -> None:
    """The cofactors, also where the inverse does not exist."""
    a = matrix(3, rank) @ matrix(rank, 3, seed=1)
    x = leaf(a)
    L.det(x).backward()
    wanted = np.array(
        [
            [(-1) ** (i + j) * np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) for j in range(3)]
            for i in range(3)
        ]
    )
    np.testing.assert_allclose(x.grad.numpy(), wanted, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (4, 4), (3, 6, 6), (40, 40), (0, 0), (0, 3, 3)])
def test_square(dtype: str, shape: tuple[int, ...]) -> None:
    a = matrix(*shape).astype(dtype)
    tolerance = 1e-3 if dtype == "float32" else 1e-9
    x = torch.tensor(a)
    wide = a.astype(np.float64)

    def near(got: torch.Tensor, wanted: np.ndarray) -> None:
        np.testing.assert_allclose(got.numpy(), wanted, rtol=tolerance, atol=tolerance)

    near(L.inv(x), np.linalg.inv(wide))
    near(L.det(x), np.linalg.det(wide))
    near(L.slogdet(x)[1], np.linalg.slogdet(wide)[1])
    P, low, up = L.lu(x)
    near(P @ low @ up, wide)
    q, r = L.qr(x)
    near(q @ r, wide)
    near(q.mT @ q, np.broadcast_to(np.eye(shape[-1]), shape))
    u, s, vh = L.svd(x)
    near(u @ s.diag_embed() @ vh, wide)
    near(x.mT.inverse().mT, np.linalg.inv(wide))  # strides that are not contiguous


def test_results_are_pytorchs() -> None:
    a, b = matrix(4, 4), matrix(4, 2, seed=1)
    same(lambda t: list(t.linalg.lu_factor(t.tensor(a))))
    same(lambda t: list(t.lu_unpack(*t.linalg.lu_factor(t.tensor(a)))))
    same(lambda t: t.linalg.lu_solve(*t.linalg.lu_factor(t.tensor(a)), t.tensor(b), adjoint=True))
    same(lambda t: list(t.linalg.inv_ex(t.zeros(2, 2)))[1])
    same(lambda t: t.linalg.cholesky_ex(-t.eye(3)).info)
    same(lambda t: t.linalg.cholesky(t.tensor(positive(4)), upper=True))
    same(lambda t: t.cholesky_inverse(t.linalg.cholesky(t.tensor(positive(4)))))
    same(lambda t: [t.linalg.cond(t.tensor(a), p) for p in (None, 1, -1, 2, -2, float("inf"), "fro", "nuc")])
    same(lambda t: [t.linalg.matrix_norm(t.tensor(b), p) for p in (1, -1, 2, -2, float("inf"), "fro", "nuc")])
    same(lambda t: t.linalg.norm(t.tensor(b), 2, dim=1))
    same(lambda t: t.linalg.matrix_rank(t.tensor(np.outer(b[:, 0], b[:, 1]))))
    same(lambda t: t.linalg.vander(t.tensor([1.0, 2.0, 3.0]), N=4))
    same(lambda t: t.linalg.multi_dot([t.tensor(b[:, 0]), t.tensor(a), t.tensor(b)]))
    same(lambda t: t.linalg.tensorsolve(t.tensor(a.reshape(2, 2, 4)), t.tensor(b[:, 0].reshape(2, 2))))
    same(lambda t: list(t.linalg.lstsq(t.tensor(a[:, :2]), t.tensor(b), driver="gelsd")))
    same(lambda t: t.logdet(t.tensor(a)))
    same(lambda t: t.tensor(a).det())
    same(lambda t: t.ormqr(*t.geqrf(t.tensor(b)), t.tensor(a)))


E = np.eye(3)
ERRORS = {
    "integers": lambda t: t.linalg.inv(t.ones(2, 2, dtype=t.int64)),
    "half": lambda t: t.linalg.det(t.ones(2, 2, dtype=t.float16)),
    "half inverse": lambda t: t.linalg.inv(t.ones(2, 2, dtype=t.float16)),
    "not square": lambda t: t.linalg.inv(t.ones(2, 3)),
    "a vector": lambda t: t.linalg.cholesky(t.ones(3)),
    "singular": lambda t: t.linalg.inv(t.zeros(2, 2)),
    "singular in a batch": lambda t: t.linalg.inv(t.zeros(3, 2, 2)),
    "singular system": lambda t: t.linalg.solve(t.zeros(2, 2), t.ones(2)),
    "singular factor": lambda t: t.linalg.lu_factor(t.ones(2, 2)),
    "not positive": lambda t: t.linalg.cholesky(-t.eye(2)),
    "shapes": lambda t: t.linalg.solve(t.eye(3), t.ones(2, 2)),
    "dtypes": lambda t: t.linalg.solve(t.eye(3), t.ones(3, 2, dtype=t.float64)),
    "mode": lambda t: t.linalg.qr(t.eye(3), "foo"),
    "pivot": lambda t: t.linalg.lu_factor(t.eye(3), pivot=False),
    "triangle": lambda t: t.linalg.eigh(t.eye(3), UPLO="X"),
    "order": lambda t: t.linalg.matrix_norm(t.eye(3), "foo"),
    "one matrix": lambda t: t.linalg.multi_dot([t.eye(3)]),
    "tensorinv": lambda t: t.linalg.tensorinv(t.ones(2, 3, 5)),
    "householder": lambda t: t.linalg.householder_product(t.ones(2, 3), t.ones(2)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_pytorchs(name: str) -> None:
    if "singular" in name or name == "not positive":  # PyTorch's class is not ours, but both are RuntimeErrors
        with pytest.raises(RuntimeError):
            ERRORS[name](torch)
    else:
        same_error(ERRORS[name])
    if name in ("singular", "singular in a batch", "singular system", "not positive"):
        with pytest.raises(torch.linalg.LinAlgError):
            ERRORS[name](torch)


def test_what_needs_complex_numbers_says_so() -> None:
    for function in (L.eig, L.eigvals):
        with pytest.raises(NotImplementedError, match="complex"):
            function(torch.eye(2))


def test_low_rank() -> None:
    torch.manual_seed(0)
    a = matrix(30, 3) @ matrix(3, 20, seed=1)
    u, s, v = torch.svd_lowrank(torch.tensor(a), q=5)
    np.testing.assert_allclose((u * s) @ v.mT, a, atol=1e-9)
    u, s, v = torch.pca_lowrank(torch.tensor(a), q=4)
    np.testing.assert_allclose((u * s) @ v.mT, a - a.mean(0), atol=1e-9)
