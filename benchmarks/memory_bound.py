"""Operations whose cost is memory traffic: chains of pointwise ops, softmax, norms, reductions, losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .cases import Case, Goal, integers, normal


def chain(torch: Any) -> Callable[[], Any]:
    x, w, b, r = (normal(torch, 2048, 2048, seed=i) for i in range(4))
    return lambda: torch.nn.functional.gelu(x * w + b) + r


def add(torch: Any) -> Callable[[], Any]:
    a, b = normal(torch, 2048, 2048), normal(torch, 2048, 2048, seed=1)
    return lambda: a + b


def softmax(torch: Any) -> Callable[[], Any]:
    a = normal(torch, 2048, 2048)
    return lambda: torch.softmax(a, -1)


def layer_norm(torch: Any) -> Callable[[], Any]:
    a, w, b = normal(torch, 4096, 384), normal(torch, 384, seed=1), normal(torch, 384, seed=2)
    return lambda: torch.nn.functional.layer_norm(a, (384,), w, b)


def layer_norm_backward(torch: Any) -> Callable[[], Any]:
    """Forward, and the gradients of input, scale and shift."""
    given = [normal(torch, *shape, seed=i).requires_grad_() for i, shape in enumerate(((4096, 384), (384,), (384,)))]
    g = normal(torch, 4096, 384, seed=3)
    return lambda: torch.autograd.grad(torch.nn.functional.layer_norm(given[0], (384,), *given[1:]), given, g)


def batch_norm(torch: Any) -> Callable[[], Any]:
    """Training: forward with running statistics, then the gradients of input, scale and shift."""
    x = normal(torch, 16, 64, 32, 32).requires_grad_()
    layer = torch.nn.BatchNorm2d(64)
    g = normal(torch, 16, 64, 32, 32, seed=1)
    wanted = [x, *layer.parameters()]
    return lambda: torch.autograd.grad(layer(x), wanted, g)


def cross_entropy(torch: Any) -> Callable[[], Any]:
    """Loss and gradient of the logits."""
    x, labels = normal(torch, 1024, 8192).requires_grad_(), integers(torch, 8192, 1024)

    def call() -> Any:
        loss = torch.nn.functional.cross_entropy(x, labels)
        return loss, torch.autograd.grad(loss, x)

    return call


def total(torch: Any) -> Callable[[], Any]:
    a = normal(torch, 1 << 22)
    return lambda: a.sum()


def columns(torch: Any) -> Callable[[], Any]:
    a = normal(torch, 4096, 1024)
    return lambda: a.sum(0)


def transposed(torch: Any) -> Callable[[], Any]:
    a = normal(torch, 2048, 2048)
    return lambda: a.t().contiguous()


def max_pool(torch: Any) -> Callable[[], Any]:
    a = normal(torch, 16, 64, 32, 32)
    return lambda: torch.nn.functional.max_pool2d(a, 2)


def _goal(what: str, ratio: float) -> Goal:
    return Goal(what, ratio, ratio)


_MIB4 = 4.0 * 2048 * 2048  # bytes of a 2048 x 2048 matrix
_IMAGES = 4.0 * 16 * 64 * 32 * 32

CASES = [
    Case("gelu(x*w+b)+r 2048^2", "memory", chain, _goal("chain of 4 pointwise ops", 2.5), nbytes=5 * _MIB4),
    Case("softmax 2048^2", "memory", softmax, _goal("softmax", 1.4), nbytes=2 * _MIB4),
    Case("layer_norm 4096x384", "memory", layer_norm, _goal("layer norm", 1.3), nbytes=2 * 4.0 * 4096 * 384),
    Case("layer_norm 4096x384 with backward", "memory", layer_norm_backward, nbytes=6 * 4.0 * 4096 * 384, grad=True),
    Case("batch_norm train 16x64x32", "memory", batch_norm, _goal("batch norm training", 3.0),
         nbytes=6 * _IMAGES, grad=True),
    Case("sum 4M", "memory", total, _goal("sum", 1.2), nbytes=4.0 * (1 << 22)),
    Case("sum dim 0 4096x1024", "memory", columns, _goal("sum", 1.2), nbytes=4.0 * (1 << 22)),
    Case("cross_entropy 1024x8192", "memory", cross_entropy, _goal("cross-entropy with gradient", 1.5),
         nbytes=3 * 4.0 * (1 << 23), grad=True),
    Case("add 2048^2", "memory", add, _goal("add, copy, pooling", 1.0), nbytes=3 * _MIB4),
    Case("transpose copy 2048^2", "memory", transposed, _goal("add, copy, pooling", 1.0), nbytes=2 * _MIB4),
    Case("max_pool2d 16x64x32", "memory", max_pool, _goal("add, copy, pooling", 1.0), nbytes=1.25 * _IMAGES),
]  # fmt: skip
