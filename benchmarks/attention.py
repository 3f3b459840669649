"""Attention, causal and full, forward alone and with its gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .cases import Case, Goal, normal

CAUSAL, FULL = Goal("attention causal", 1.3, 1.3), Goal("attention full", 1.0, 1.0)


def attend(b: int, h: int, t: int, d: int, causal: bool, backward: bool) -> Callable[[Any], Callable[[], Any]]:
    """b sequences of t tokens, h heads of d channels; `backward` times the gradients of a graph that stays."""

    def prepare(torch: Any) -> Callable[[], Any]:
        attention = torch.nn.functional.scaled_dot_product_attention
        qkv = [normal(torch, b, h, t, d, seed=i) for i in range(3)]
        if not backward:
            return lambda: attention(*qkv, is_causal=causal)
        for each in qkv:
            each.requires_grad_()
        y = attention(*qkv, is_causal=causal)
        g = normal(torch, b, h, t, d, seed=3)
        return lambda: torch.autograd.grad(y, qkv, g, retain_graph=True)

    return prepare


def _case(b: int, h: int, t: int, d: int, causal: bool, backward: bool) -> Case:
    """Two products forward and five backward (scores are computed again), half of each where causal."""
    flops = (5 if backward else 2) * 2.0 * b * h * t * t * d * (0.5 if causal else 1)
    name = f"attention {b}x{h}x{t}x{d} {'causal' if causal else 'full'} {'backward' if backward else 'forward'}"
    return Case(name, "attention", attend(b, h, t, d, causal, backward), CAUSAL if causal else FULL, flops,
                4.0 * b * h * t * d * (8 if backward else 4), grad=backward)  # fmt: skip


CASES = [
    _case(b, h, t, d, causal, backward)
    for b, h, t, d in ((4, 6, 256, 64), (1, 8, 1024, 64))
    for causal in (True, False)
    for backward in (False, True)
]
