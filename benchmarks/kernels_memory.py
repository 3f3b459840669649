"""Memory-bound operations against PyTorch: pointwise, softmax, normalisations, losses, reductions; both ways.

python -m benchmarks.kernels_memory --device cl:1 --only softmax --seconds 0.4

As a user writes it (no `out=`), both sides in one process and interleaved, medians. Operations of well under a
millisecond are called several times before each wait, on both sides alike: the wake-up of a sleeping device is not what
is measured here. Each call is submitted on its own, so that none is fused with the next.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import cltorch
from cltorch.engine.replay import flush

from .timing import interleave_calls

Case = Callable[[Any], Callable[[], Any]]  # makes the operation for a module


def tensor(torch: Any, shape: tuple[int, ...], seed: int = 0) -> Any:
    """The same normal numbers on both sides."""
    return torch.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def forward(shape: tuple[int, ...], call: Callable[..., Any], inputs: int = 1) -> Case:
    """`call(torch, x, …)` without a gradient."""

    def made(torch: Any) -> Callable[[], Any]:
        given = [tensor(torch, shape, seed) for seed in range(inputs)]

        def run() -> Any:
            with torch.no_grad():
                return call(torch, *given)

        return run

    return made


def backward(shape: tuple[int, ...], call: Callable[..., Any], *weights: tuple[int, ...]) -> Case:
    """`call(torch, x, weight, …)`, weights of these shapes, and its gradient for all of them."""

    def made(torch: Any) -> Callable[[], Any]:
        leaves = [tensor(torch, shape)] + [tensor(torch, size, 1 + i) for i, size in enumerate(weights)]
        leaves = [leaf.requires_grad_() for leaf in leaves]
        out = call(torch, *leaves)
        gradient = tensor(torch, tuple(out.shape), 3)

        def run() -> Any:
            for leaf in leaves:
                leaf.grad = None
            call(torch, *leaves).backward(gradient)
            return [leaf.grad for leaf in leaves]

        return run

    return made


def cross_entropy(rows: int, classes: int) -> Case:
    """Forward and backward over class indices."""

    def made(torch: Any) -> Callable[[], Any]:
        x = tensor(torch, (rows, classes)).requires_grad_()
        target = torch.tensor(np.random.default_rng(1).integers(0, classes, rows))

        def run() -> Any:
            x.grad = None
            torch.nn.functional.cross_entropy(x, target).backward()
            return x.grad

        return run

    return made


def batch_norm(shape: tuple[int, ...]) -> Case:
    """Training: statistics, running statistics, and all gradients."""

    def made(torch: Any) -> Callable[[], Any]:
        x, gradient = tensor(torch, shape).requires_grad_(), tensor(torch, shape, 1)
        module = torch.nn.BatchNorm2d(shape[1])

        def run() -> Any:
            x.grad = module.weight.grad = module.bias.grad = None
            module(x).backward(gradient)
            return x.grad

        return run

    return made


def dropout(shape: tuple[int, ...]) -> Case:
    return backward(shape, lambda t, x: t.nn.functional.dropout(x, 0.5, True))


MODEL, IMAGES, CLASSES = (1024, 384), (16, 64, 32, 32), (1024, 1000)
CASES: dict[str, Case] = {
    "copy 16M": forward((4096, 4096), lambda t, x: x.clone()),
    "copy 1M": forward((1024, 1024), lambda t, x: x.clone()),
    "add 16M": forward((4096, 4096), lambda t, x, y: x + y, 2),
    "add 4M": forward((2048, 2048), lambda t, x, y: x + y, 2),
    "add 1M": forward((1024, 1024), lambda t, x, y: x + y, 2),
    "chain gelu(x*w+b)+r 16M": forward((4096, 4096), lambda t, x, w, b, r: t.nn.functional.gelu(x * w + b) + r, 4),
    "chain gelu(x*w+b)+r 4M": forward((2048, 2048), lambda t, x, w, b, r: t.nn.functional.gelu(x * w + b) + r, 4),
    "chain gelu(x*w+b)+r 1024x384": forward(MODEL, lambda t, x, w, b, r: t.nn.functional.gelu(x * w + b) + r, 4),
    "exp 4M": forward((2048, 2048), lambda t, x: t.exp(x)),
    "relu fwd+bwd 4M": backward((2048, 2048), lambda t, x: t.relu(x)),
    "gelu 4M": forward((2048, 2048), lambda t, x: t.nn.functional.gelu(x)),
    "gelu fwd+bwd 4M": backward((2048, 2048), lambda t, x: t.nn.functional.gelu(x)),
    "silu fwd+bwd 4M": backward((2048, 2048), lambda t, x: t.nn.functional.silu(x)),
    "dropout fwd+bwd 4M": dropout((2048, 2048)),
    "softmax 4096^2": forward((4096, 4096), lambda t, x: t.softmax(x, -1)),
    "softmax 2048^2": forward((2048, 2048), lambda t, x: t.softmax(x, -1)),
    "softmax 1024x384": forward(MODEL, lambda t, x: t.softmax(x, -1)),
    "softmax 1024x1000": forward(CLASSES, lambda t, x: t.softmax(x, -1)),
    "softmax dim 1 of 16x64x32x32": forward(IMAGES, lambda t, x: t.softmax(x, 1)),
    "softmax fwd+bwd 2048^2": backward((2048, 2048), lambda t, x: t.softmax(x, -1)),
    "log_softmax 2048^2": forward((2048, 2048), lambda t, x: t.log_softmax(x, -1)),
    "log_softmax 1024x1000": forward(CLASSES, lambda t, x: t.log_softmax(x, -1)),
    "log_softmax fwd+bwd 1024x1000": backward(CLASSES, lambda t, x: t.log_softmax(x, -1)),
    "layer_norm 4096^2": forward((4096, 4096), lambda t, x: t.nn.functional.layer_norm(x, (4096,))),
    "layer_norm 4096x384": forward((4096, 384), lambda t, x: t.nn.functional.layer_norm(x, (384,))),
    "layer_norm 1024x384": forward(MODEL, lambda t, x: t.nn.functional.layer_norm(x, (384,))),
    "layer_norm fwd+bwd 4096x384": backward(
        (4096, 384), lambda t, x, w, b: t.nn.functional.layer_norm(x, (384,), w, b), (384,), (384,)
    ),
    "layer_norm fwd+bwd 1024x384": backward(
        MODEL, lambda t, x, w, b: t.nn.functional.layer_norm(x, (384,), w, b), (384,), (384,)
    ),
    "rms_norm 4096x384": forward((4096, 384), lambda t, x: t.nn.functional.rms_norm(x, (384,))),
    "rms_norm fwd+bwd 4096x384": backward((4096, 384), lambda t, x, w: t.nn.functional.rms_norm(x, (384,), w), (384,)),
    "group_norm 16x64x32x32": forward(IMAGES, lambda t, x: t.nn.functional.group_norm(x, 8)),
    "group_norm fwd+bwd 16x64x32x32": backward(
        IMAGES, lambda t, x, w, b: t.nn.functional.group_norm(x, 8, w, b), (64,), (64,)
    ),
    "instance_norm 16x64x32x32": forward(IMAGES, lambda t, x: t.nn.functional.instance_norm(x)),
    "batch_norm fwd+bwd 16x64x32x32": batch_norm(IMAGES),
    "batch_norm fwd+bwd 64x128x32x32": batch_norm((64, 128, 32, 32)),
    "cross_entropy fwd+bwd 1024x1000": cross_entropy(1024, 1000),
    "cross_entropy fwd+bwd 4096x4096": cross_entropy(4096, 4096),
    "cross_entropy fwd+bwd 1024x10": cross_entropy(1024, 10),
    "sum 16M": forward((4096, 4096), lambda t, x: x.sum()),
    "sum 4M": forward((2048, 2048), lambda t, x: x.sum()),
    "sum 1M": forward((1024, 1024), lambda t, x: x.sum()),
    "sum dim -1 4096^2": forward((4096, 4096), lambda t, x: x.sum(-1)),
    "sum dim -1 1024x384": forward(MODEL, lambda t, x: x.sum(-1)),
    "sum dim 0 4096^2": forward((4096, 4096), lambda t, x: x.sum(0)),
    "sum dim 0 4096x1024": forward((4096, 1024), lambda t, x: x.sum(0)),
    "sum dim 1 of 16x64x32x32": forward(IMAGES, lambda t, x: x.sum(1)),
    "sum dims 0,2,3 of 16x64x32x32": forward(IMAGES, lambda t, x: x.sum((0, 2, 3))),
    "mean 4M": forward((2048, 2048), lambda t, x: x.mean()),
    "var dim -1 4096x1024": forward((4096, 1024), lambda t, x: x.var(-1)),
    "var 4M": forward((2048, 2048), lambda t, x: x.var()),
    "amax dim -1 4096x1024": forward((4096, 1024), lambda t, x: x.amax(-1)),
    "argmax dim -1 4096x1024": forward((4096, 1024), lambda t, x: x.argmax(-1)),
    "argmax dim 0 4096x1024": forward((4096, 1024), lambda t, x: x.argmax(0)),
    "norm 4M": forward((2048, 2048), lambda t, x: x.norm()),
}


def side(torch: Any, make: Case) -> Callable[[int], None]:
    """The operation so many times, and one wait."""
    call = make(torch)

    def run(times: int) -> None:
        if torch is not cltorch:
            for _ in range(times):
                call()
            return
        for _ in range(times):
            kept = call()
            flush()  # or calls would be merged into one kernel, or left out as nobody reads what they give
            del kept
        cltorch.accelerator.synchronize()

    return run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels_memory", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="regular expression on names")
    parser.add_argument("--device", action="append", help="cl:0, …; default: all CPU devices")
    parser.add_argument("--seconds", type=float, default=0.3, help="per case and side")
    parser.add_argument("--threads", type=int, default=2, help="PyTorch's threads")
    given = parser.parse_args()
    import torch

    torch.set_num_threads(given.threads)
    for device in given.device or [f"cl:{i}" for i in range(cltorch.accelerator.device_count())]:
        cltorch.set_default_device(device)
        print(f"{device}: {cltorch.accelerator.device_name()}")
        for name, make in CASES.items():
            if not re.search(given.only, name):
                continue
            found = interleave_calls(
                {"cltorch": side(cltorch, make), "torch": side(torch, make)}, given.seconds, rounds=9
            )
            ours, theirs = found["cltorch"], found["torch"]
            print(
                f"{name:34} {ours.median * 1e6:9.1f} us  torch {theirs.median * 1e6:9.1f} us  "
                f"{theirs.median / ours.median:6.2f}x",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
