"""What is measured: training steps and single operations, each as a function of a module with PyTorch's API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .models import training_step


def _tensor(torch: Any, *shape: int, seed: int = 0) -> Any:
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def _finish(torch: Any) -> Callable[[], None]:
    synchronize = getattr(getattr(torch, "accelerator", None), "synchronize", None)
    return synchronize if torch.__name__ == "cltorch" and synchronize else (lambda: None)


def operation(prepare: Callable[[Any], Callable[[], Any]]) -> Callable[[Any], Callable[[], None]]:
    """An operation made of `prepare(torch)`; each call runs it and waits."""

    def made(torch: Any) -> Callable[[], None]:
        call, finish = prepare(torch), _finish(torch)

        def run() -> None:
            with torch.no_grad():
                kept = call()
                finish()
                del kept

        return run

    return made


def matmul(m: int, k: int, n: int, ta: bool = False, tb: bool = False) -> Callable:
    def prepare(torch: Any) -> Callable:
        a = _tensor(torch, k, m).t() if ta else _tensor(torch, m, k)
        b = _tensor(torch, n, k).t() if tb else _tensor(torch, k, n)
        return lambda: a @ b

    return operation(prepare)


def conv(n: int, c: int, h: int, k: int, r: int, stride: int) -> Callable:
    def prepare(torch: Any) -> Callable:
        x, w = _tensor(torch, n, c, h, h), _tensor(torch, k, c, r, r)
        return lambda: torch.nn.functional.conv2d(x, w, None, stride, r // 2)

    return operation(prepare)


def conv_training(n: int, c: int, h: int, k: int, r: int, stride: int) -> Callable:
    def made(torch: Any) -> Callable:
        x, w = _tensor(torch, n, c, h, h).requires_grad_(), _tensor(torch, k, c, r, r).requires_grad_()
        finish = _finish(torch)
        out = torch.nn.functional.conv2d(x, w, None, stride, r // 2)
        g = _tensor(torch, *out.shape)

        def run() -> None:
            x.grad = w.grad = None
            torch.nn.functional.conv2d(x, w, None, stride, r // 2).backward(g)
            finish()

        return run

    return made


def pointwise_chain(torch: Any) -> Callable:
    x, w, b, r = (_tensor(torch, 2048, 2048, seed=i) for i in range(4))
    return lambda: torch.nn.functional.gelu(x * w + b) + r


def step(name: str, batch: int) -> Callable[[Any], Callable[[], None]]:
    def made(torch: Any) -> Callable[[], None]:
        return training_step(torch, name, batch)

    return made


MODELS = {
    "CNN step b4": step("cnn", 4),
    "CNN step b64": step("cnn", 64),
    "CNN step b256": step("cnn", 256),
    "ResNet-18 step b16": step("resnet18", 16),
}

OPERATIONS = {
    "gelu(x*w+b)+r 2048^2": operation(pointwise_chain),
    "add 2048^2": operation(
        lambda torch: (lambda a, b: lambda: a + b)(_tensor(torch, 2048, 2048), _tensor(torch, 2048, 2048))
    ),
    "softmax 2048^2": operation(lambda torch: (lambda a: lambda: torch.softmax(a, -1))(_tensor(torch, 2048, 2048))),
    "layer_norm 4096x384": operation(
        lambda torch: (lambda a: lambda: torch.nn.functional.layer_norm(a, (384,)))(_tensor(torch, 4096, 384))
    ),
    "sum 4M": operation(lambda torch: (lambda a: lambda: a.sum())(_tensor(torch, 1 << 22))),
    "sum dim 0 4096x1024": operation(lambda torch: (lambda a: lambda: a.sum(0))(_tensor(torch, 4096, 1024))),
    "transpose copy 2048^2": operation(
        lambda torch: (lambda a: lambda: a.t().contiguous())(_tensor(torch, 2048, 2048))
    ),
    "matmul 256": matmul(256, 256, 256),
    "matmul 512": matmul(512, 512, 512),
    "matmul 1024": matmul(1024, 1024, 1024),
    "matmul 1024 NT": matmul(1024, 1024, 1024, tb=True),
    "matmul 1024 TN": matmul(1024, 1024, 1024, ta=True),
    "matmul 64x1024x1024": matmul(64, 1024, 1024),
    "matvec 1x1024x1024": matmul(1, 1024, 1024),
    "conv 16x64x32 3x3": conv(16, 64, 32, 64, 3, 1),
    "conv 16x128x16 3x3": conv(16, 128, 16, 128, 3, 1),
    "conv 16x64x32 3x3 s2": conv(16, 64, 32, 128, 3, 2),
    "conv fwd+bwd 16x64x32": conv_training(16, 64, 32, 64, 3, 1),
    "conv fwd+bwd 16x512x4": conv_training(16, 512, 4, 512, 3, 1),
    "max_pool2d 16x64x32": operation(
        lambda torch: (lambda a: lambda: torch.nn.functional.max_pool2d(a, 2))(_tensor(torch, 16, 64, 32, 32))
    ),
    "cumsum 1024x1024": operation(lambda torch: (lambda a: lambda: a.cumsum(1))(_tensor(torch, 1024, 1024))),
    "sort 256x1024": operation(lambda torch: (lambda a: lambda: torch.sort(a, -1))(_tensor(torch, 256, 1024))),
    "index_select 4096x256": operation(
        lambda torch: (lambda a, i: lambda: torch.index_select(a, 0, i))(
            _tensor(torch, 4096, 256), torch.tensor(np.random.default_rng(1).integers(0, 4096, 4096))
        )
    ),
}
