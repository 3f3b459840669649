"""Sorting, scanning and indexing at a million elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .cases import Case, Goal, integers, normal

GOAL = Goal("sort, topk, cumsum, indexing at 1M", 1.0, 1.0)
MILLION = 1 << 20


def of(call: Callable[[Any, Any], Any], *shape: int) -> Callable[[Any], Callable[[], Any]]:
    """`call(torch, x)` on random numbers of a shape."""

    def prepare(torch: Any) -> Callable[[], Any]:
        x = normal(torch, *shape)
        return lambda: call(torch, x)

    return prepare


def embedding_backward(torch: Any) -> Callable[[], Any]:
    """4096 tokens of 256 channels (1M gradients) into a table of 32768."""
    table, tokens = normal(torch, 32768, 256).requires_grad_(), integers(torch, 32768, 4096)
    y = torch.nn.functional.embedding(tokens, table)
    g = normal(torch, 4096, 256, seed=2)
    return lambda: torch.autograd.grad(y, table, g, retain_graph=True)


def scatter_add(torch: Any) -> Callable[[], Any]:
    zeros, places, x = torch.zeros(MILLION), integers(torch, MILLION, MILLION), normal(torch, MILLION)
    return lambda: zeros.scatter_add(0, places, x)


def index_select(torch: Any) -> Callable[[], Any]:
    x, rows = normal(torch, 4096, 256), integers(torch, 4096, 4096)
    return lambda: torch.index_select(x, 0, rows)


def _case(name: str, prepare: Callable[[Any], Callable[[], Any]], nbytes: float, grad: bool = False) -> Case:
    return Case(name, "index", prepare, GOAL, nbytes=nbytes, grad=grad)


CASES = [
    _case("sort 1M", of(lambda torch, x: torch.sort(x), MILLION), 16.0 * MILLION),
    _case("sort 1024x1024", of(lambda torch, x: torch.sort(x, -1), 1024, 1024), 16.0 * MILLION),
    _case("topk 100 of 1M", of(lambda torch, x: torch.topk(x, 100), MILLION), 4.0 * MILLION),
    _case("topk 5 of 1024x1024", of(lambda torch, x: torch.topk(x, 5, -1), 1024, 1024), 4.0 * MILLION),
    _case("cumsum 1M", of(lambda torch, x: x.cumsum(0), MILLION), 8.0 * MILLION),
    _case("cumsum 1024x1024", of(lambda torch, x: x.cumsum(1), 1024, 1024), 8.0 * MILLION),
    _case("embedding backward 4096x256", embedding_backward, 4.0 * (MILLION + 32768 * 256), grad=True),
    _case("scatter_add 1M", scatter_add, 20.0 * MILLION),
    _case("index_select 4096x256", index_select, 8.0 * MILLION),
]
