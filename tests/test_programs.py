"""Random programs of the public API (views, in-place writes, chains, reductions, dropped tensors) against NumPy, fused
and eager.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cltorch as torch
from cltorch import engine
from cltorch.config import settings as cltorch_settings

SHAPE = (4, 6)


class Program:
    """A program on tensors and on arrays side by side; values stay small integers, so that float32 is exact."""

    def __init__(self, seed):
        random = np.random.default_rng(seed)
        arrays = [random.integers(-4, 5, SHAPE).astype(np.float32) for _ in range(3)]
        self.pairs = [(torch.tensor(a), a) for a in arrays]

    def step(self, kind, i, j, number):
        x, a = self.pairs[i % len(self.pairs)]
        y, b = self.pairs[j % len(self.pairs)]
        made = None
        if kind == "slice" and x.dim() and x.shape[0] > 1:
            made = (x[1:], a[1:]) if number % 2 else (x[:, ::2], a[:, ::2]) if x.dim() > 1 else (x[::2], a[::2])
        elif kind == "t" and x.dim() == 2:
            made = x.t(), a.T
        elif kind == "select" and x.dim() == 2 and x.shape[0]:
            made = x[0], a[0]
        elif kind == "add_" and self.fits(a, b) and not np.shares_memory(a, b):
            x.add_(y, alpha=number % 3 - 1)
            a += np.float32(number % 3 - 1) * b
            self.bound(x, a)
        elif kind == "mul_":
            x.mul_(number % 3 - 1)
            a *= np.float32(number % 3 - 1)
        elif kind == "fill":
            x[...] = number
            a[...] = number
        elif kind == "setitem" and x.dim() == 2 and x.shape[1] > 1:
            x[:, 1] = number
            a[:, 1] = number
        elif kind == "copy_" and a.shape == b.shape and not np.shares_memory(a, b):
            x.copy_(y)
            a[...] = b
        elif kind == "add" and self.fits(a, b):
            made = self.bounded(x + y, a + b)
        elif kind == "chain" and self.fits(a, b):
            made = self.bounded((x * 2 - y).abs().clamp(max=9) + 1, np.minimum(np.abs(a * 2 - b), 9) + 1)
        elif kind == "where" and self.fits(a, b):
            chosen = np.where(a > b, a, np.float32(number)).astype(np.float32)
            made = torch.where(x > y, x, y * 0 + number), chosen + b * 0
        elif kind == "sum" and x.dim():
            made = self.bounded(x.sum(-1, keepdim=True), a.sum(-1, keepdims=True))
        elif kind == "centre" and x.dim():
            made = self.bounded(x - x.amax(-1, keepdim=True), a - a.max(-1, keepdims=True)) if a.shape[-1] else None
        elif kind == "colsum" and x.dim() == 2:
            made = self.bounded(x.sum(0), a.sum(0))
        elif kind == "matmul" and x.dim() == 2:
            made = self.bounded(x @ x.t(), a @ a.T)
        elif kind == "cat" and x.dim() == 2 and b.ndim == 2 and a.shape[0] == b.shape[0]:
            made = torch.cat([x, y], 1), np.concatenate([a, b], 1)
        elif kind == "clone":
            made = x.clone(), a.copy()
        elif kind == "flush":
            engine.flush()
        elif kind == "read":
            np.testing.assert_array_equal(x.numpy(), a)
        elif kind == "drop" and len(self.pairs) > 2:
            del self.pairs[i % len(self.pairs)]
        if made is not None and made[1].size <= 256:
            self.pairs.append(made)

    @staticmethod
    def fits(a, b):
        try:
            return np.broadcast_shapes(a.shape, b.shape) == a.shape
        except ValueError:
            return False

    @staticmethod
    def bounded(x, a):
        return torch.remainder(x, 11), np.remainder(a, np.float32(11)).astype(np.float32)

    @staticmethod
    def bound(x, a):
        x.remainder_(11)
        a[...] = np.remainder(a, np.float32(11))

    def check(self):
        for x, a in self.pairs:
            assert tuple(x.shape) == a.shape
            np.testing.assert_array_equal(x.numpy(), a)


KINDS = (
    "slice t select add_ mul_ fill setitem copy_ add add chain chain where sum centre "
    "colsum matmul cat clone flush read drop drop"
).split()
STEP = st.tuples(st.sampled_from(KINDS), st.integers(0, 20), st.integers(0, 20), st.integers(-3, 5))
STEPS = st.lists(STEP, min_size=1, max_size=25)


@pytest.mark.parametrize("eager", [False, True], ids=["fused", "eager"])
def test_random_programs(eager):
    @settings(max_examples=150 if not eager else 40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(STEPS, st.integers(0, 99))
    def run(steps, seed):
        program = Program(seed)
        for step in steps:
            program.step(*step)
        program.check()

    cltorch_settings.eager = eager
    engine.watch()
    try:
        run()
    finally:
        cltorch_settings.eager = False
        engine.watch()
