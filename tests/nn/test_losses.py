"""Every loss against PyTorch's, in each reduction: value and gradients."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import cltorch
from cltorch.nn import functional as F

rng = np.random.RandomState(0)
X = rng.randn(4, 5).astype("f")
Y = rng.randn(4, 5).astype("f")
P = (1 / (1 + np.exp(-X))).astype("f")
B = (rng.rand(4, 5) > 0.5).astype("f")
SIGNS = np.sign(rng.randn(4, 5)).astype("f")
W = (rng.rand(5) + 0.5).astype("f")

# name, arguments (arrays become tensors; the first requires a gradient), keyword arguments
LOSSES = [
    ("mse_loss", (X, Y), {}),
    ("l1_loss", (X, Y), {}),
    ("smooth_l1_loss", (X, Y), {"beta": 0.7}),
    ("huber_loss", (X, Y), {"delta": 0.6}),
    ("binary_cross_entropy", (P, B), {}),
    ("binary_cross_entropy", (P, B), {"weight": W}),
    ("binary_cross_entropy", (np.array([0.0, 1.0, 0.5], "f"), np.array([1.0, 1.0, 0.0], "f")), {}),
    ("binary_cross_entropy_with_logits", (X * 30, B), {}),
    ("binary_cross_entropy_with_logits", (X, B), {"weight": W, "pos_weight": W}),
    ("kl_div", (np.log(P), P), {}),
    ("kl_div", (np.log(P), np.log(P) * 0.5), {"log_target": True}),
    ("poisson_nll_loss", (X, P), {"full": True}),
    ("gaussian_nll_loss", (X, Y, P), {"full": True}),
    ("hinge_embedding_loss", (X, SIGNS), {}),
    ("soft_margin_loss", (X, SIGNS), {}),
    ("margin_ranking_loss", (X, Y, SIGNS), {"margin": 0.3}),
    ("cosine_embedding_loss", (X, Y, SIGNS[:, 0]), {"margin": 0.1}),
    ("triplet_margin_loss", (X, Y, Y[::-1].copy()), {"swap": True}),
    ("multilabel_soft_margin_loss", (X, B), {}),
    ("multi_margin_loss", (X, np.array([0, 4, 2, 1])), {"p": 2}),
    ("multilabel_margin_loss", (X, np.array([[0, 3, -1, 1, 1], [4, -1, 0, 0, 0], [-1] * 5, [0, 1, 2, 3, 4]])), {}),
    ("nll_loss", (np.log(P), np.array([0, 4, 2, 1])), {"weight": W, "ignore_index": 2}),
]
CLASSES = np.array([0, 4, -100, 1])
CROSS_ENTROPIES = [
    ((X, CLASSES), {}),
    ((X, CLASSES), {"weight": W}),
    ((X, CLASSES), {"label_smoothing": 0.2}),
    ((X, CLASSES), {"label_smoothing": 0.2, "weight": W}),
    ((X, np.array([0, 4, 2, 1])), {"ignore_index": 4}),
    ((X[0], np.array(3)), {}),
    ((X, P / P.sum(1, keepdims=True)), {}),
    ((X, P / P.sum(1, keepdims=True)), {"label_smoothing": 0.1, "weight": W}),
    ((rng.randn(2, 5, 3, 2).astype("f"), rng.randint(0, 5, (2, 3, 2))), {}),
    ((rng.randn(2, 5, 3).astype("f"), rng.randint(0, 5, (2, 3))), {"weight": W}),
    ((X * 1000, CLASSES), {}),
    ((np.where(X > 1, -np.inf, X).astype("f"), np.array([3, 4, 2, 1])), {"ignore_index": 3}),
]
CASES = LOSSES + [("cross_entropy", a, k) for a, k in CROSS_ENTROPIES]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name, args, kwargs", CASES, ids=[f"{n}{i}" for i, (n, _, _) in enumerate(CASES)])
def test_loss_is_torchs(name, args, kwargs, reduction):
    def run(lib):
        put = lambda v: lib.tensor(v) if isinstance(v, np.ndarray) else v
        given = [put(v) for v in args]
        given[0].requires_grad_(True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loss = getattr(lib.nn.functional, name)(
                *given, reduction=reduction, **{k: put(v) for k, v in kwargs.items()}
            )
        (loss * lib.arange(loss.numel()).reshape(tuple(loss.shape)).add(1)).sum().backward()
        return loss.detach().numpy(), given[0].grad.numpy()

    for mine, theirs in zip(run(cltorch), run(torch)):
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=1e-5)


def test_cross_entropy_second_derivative():
    x = cltorch.tensor(X[:2].astype("d"), requires_grad=True)
    target = cltorch.tensor(np.array([1, -100]))
    assert cltorch.autograd.gradcheck(lambda x: F.cross_entropy(x, target), (x,))
    assert cltorch.autograd.gradgradcheck(lambda x: F.cross_entropy(x, target), (x,))


def test_cross_entropy_of_a_class_out_of_range_is_infinite():
    assert F.cross_entropy(cltorch.tensor(X), cltorch.tensor(np.array([0, 5, 1, 2]))).item() == float("inf")


def test_cross_entropy_of_nothing_is_nan_as_in_torch():
    ignored = np.full(4, -100)
    assert np.isnan(F.cross_entropy(cltorch.tensor(X), cltorch.tensor(ignored)).item())
    assert F.cross_entropy(cltorch.tensor(X), cltorch.tensor(ignored), reduction="sum").item() == 0.0


def test_half_precision_cross_entropy():
    x = cltorch.tensor(X).half().requires_grad_(True)
    loss = F.cross_entropy(x, cltorch.tensor(CLASSES))
    loss.backward()
    want = torch.nn.functional.cross_entropy(torch.tensor(X), torch.tensor(CLASSES)).item()
    assert loss.dtype is cltorch.float16 and x.grad.dtype is cltorch.float16
    assert abs(loss.item() - want) < 5e-3


@pytest.mark.parametrize("name", ["CrossEntropyLoss", "NLLLoss", "BCEWithLogitsLoss", "MSELoss"])
def test_loss_modules_are_called_like_functions(name):
    target = cltorch.tensor(CLASSES.clip(0)) if name in ("CrossEntropyLoss", "NLLLoss") else cltorch.tensor(B)
    function = {
        "CrossEntropyLoss": F.cross_entropy,
        "NLLLoss": F.nll_loss,
        "MSELoss": F.mse_loss,
        "BCEWithLogitsLoss": F.binary_cross_entropy_with_logits,
    }[name]
    x = cltorch.tensor(X)
    assert getattr(cltorch.nn, name)(reduction="sum")(x, target).item() == function(x, target, reduction="sum").item()


@pytest.mark.parametrize(
    "act, kind, words",
    [
        (lambda x: F.cross_entropy(x, cltorch.tensor([1, 2])), ValueError, "batch_size"),
        (lambda x: F.cross_entropy(x, cltorch.ones(4)), RuntimeError, "expected scalar type Long but found Float"),
        (lambda x: F.cross_entropy(x, cltorch.tensor(CLASSES), weight=cltorch.ones(3)), RuntimeError, "weight tensor"),
        (
            lambda x: F.cross_entropy(x, cltorch.tensor(CLASSES), reduction="most"),
            ValueError,
            "not a valid value for reduction",
        ),
        (lambda x: F.cross_entropy(x, cltorch.tensor(CLASSES), label_smoothing=2.0), RuntimeError, "label_smoothing"),
        (lambda x: F.binary_cross_entropy(x, cltorch.ones(3)), ValueError, "different to the input size"),
        (lambda x: F.binary_cross_entropy_with_logits(x, cltorch.ones(3)), ValueError, "same as input size"),
        (lambda x: F.smooth_l1_loss(x, x, beta=-1.0), RuntimeError, "beta"),
        (lambda x: F.huber_loss(x, x, delta=0.0), RuntimeError, "delta"),
    ],
)
def test_misuse_raises(act, kind, words):
    with pytest.raises(kind, match=words):
        act(cltorch.tensor(X))


def test_mse_warns_about_broadcasting():
    with pytest.warns(UserWarning, match="target size"):
        F.mse_loss(cltorch.tensor(X), cltorch.tensor(X[0]))
