"""autograd.Function, grad modes, saved-tensor hooks, checkpointing and gradcheck."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.utils.checkpoint

import cltorch
from cltorch.autograd.checkpoint import CheckpointError, checkpoint, checkpoint_sequential
from tests.oracle import same, same_error

A = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]], dtype=np.float32)
B = np.array([1.0, 2.0, 3.0], dtype=np.float32)


def leaf(t, array=A):
    return t.tensor(array, requires_grad=True)


# ---- Function


def functions(t):
    class Scale(t.autograd.Function):
        @staticmethod
        def forward(ctx, x, w, k):
            ctx.save_for_backward(x, w)
            ctx.k = k
            return x * w * k

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            return g * w * ctx.k, g * x * ctx.k if ctx.needs_input_grad[1] else None, None

    class Split(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, g, h):
            return g * 2 + h * 3

    class Separate(t.autograd.Function):
        @staticmethod
        def forward(x, y):
            return x.exp() * y

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(output, inputs[1])

        @staticmethod
        def backward(ctx, g):
            out, y = ctx.saved_tensors
            return g * out, g * out / y

    class InPlace(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(3)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 3

    class Raw(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            positions = x > 0
            ctx.mark_non_differentiable(positions)
            return x * 2, x * 5, positions

        @staticmethod
        def backward(ctx, g, h, none):
            return g * 2 if h is None else g * 0

    class Once(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @(t.autograd.function.once_differentiable)
        def backward(ctx, g):
            return 2 * g * ctx.saved_tensors[0]

    class Bad(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g, g

    class Same(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 7

    return {f.__name__: f.apply for f in (Scale, Split, Separate, InPlace, Raw, Once, Bad, Same)}


def test_function():
    def program(t):
        a, w = leaf(t), t.tensor(A)
        y = functions(t)["Scale"](a, w, 2.0)
        y.sum().backward()
        return [y, a.grad, y.grad_fn.name()]

    same(program)


def test_function_is_differentiable_twice():
    def program(t):
        a, w = leaf(t), leaf(t)
        y = functions(t)["Scale"](a, w, 2.0)
        g = t.autograd.grad((y * y).sum(), [a, w], create_graph=True)
        return list(t.autograd.grad((g[0] * g[1]).sum(), [a, w]))

    same(program)


def test_missing_gradients_become_zeros():
    def program(t):
        a = leaf(t)
        y, z = functions(t)["Split"](a)
        z.sum().backward()
        return [a.grad, y]

    same(program)


def test_function_with_setup_context():
    def program(t):
        a, b = leaf(t), leaf(t, B)
        y = functions(t)["Separate"](a, b.expand(2, 3))
        (y * y).sum().backward()
        return [a.grad, b.grad]

    same(program)


def test_function_in_place():
    def program(t):
        a = leaf(t)
        y = a * 1
        z = functions(t)["InPlace"](y)
        (y * z).sum().backward()
        return [y, z is y, a.grad]

    same(program)


def test_function_in_place_on_view():
    def program(t):
        a = leaf(t)
        y = a * 1
        functions(t)["InPlace"](y[0])
        (y * y).sum().backward()
        return [y, a.grad]

    same(program)


def test_function_without_materialized_gradients():
    def program(t):
        a = leaf(t)
        y, z, p = functions(t)["Raw"](a)
        y.sum().backward()
        return [a.grad, p.requires_grad]

    same(program)


def test_function_that_returns_its_input():
    def program(t):
        a = leaf(t)
        y = functions(t)["Same"](a)
        y.sum().backward()
        return [a.grad, y is a]

    same(program)


def test_function_without_grad_mode():
    def program(t):
        a = leaf(t)
        with t.no_grad():
            y = functions(t)["Scale"](a, a, 2.0)
        return [y, y.grad_fn is None]

    same(program)


def test_once_differentiable():
    def program(t):
        a = leaf(t)
        (g,) = t.autograd.grad(functions(t)["Once"](a).sum(), a, create_graph=True)
        g.sum().backward()

    same_error(program, "once_differentiable")


def test_function_errors():
    same_error(lambda t: functions(t)["Bad"](leaf(t)).sum().backward(), "incorrect number of gradients")

    def freed(t):
        y = functions(t)["Scale"](leaf(t), leaf(t), 1.0).sum()
        y.backward()
        y.backward()

    same_error(freed, "second time")

    def changed(t):
        w = leaf(t) * 1
        y = functions(t)["Scale"](leaf(t), w, 1.0).sum()
        w.add_(1)
        y.backward()

    same_error(changed, "modified by an inplace")


# ---- modes


def test_modes():
    def program(t):
        a = leaf(t)

        @t.no_grad()
        def off(x):
            return x * 2

        @t.enable_grad()
        def on(x):
            return x * 2

        @t.no_grad()
        def steps():
            yield t.is_grad_enabled()
            yield t.is_grad_enabled()

        with t.no_grad():
            inner = [(a * 2).requires_grad, on(a).requires_grad]
            with t.set_grad_enabled(True):
                inner.append((a * 2).requires_grad)
        outside = []
        for s in steps():
            outside += [s, t.is_grad_enabled()]
        t.set_grad_enabled(False)
        off_now = t.is_grad_enabled()
        t.set_grad_enabled(True)
        return [off(a).requires_grad, off.__name__, inner, outside, off_now, t.is_grad_enabled()]

    same(program)


def test_mode_is_restored_after_an_exception():
    with pytest.raises(KeyError), cltorch.no_grad():
        raise KeyError
    assert cltorch.is_grad_enabled()


def test_modes_belong_to_a_thread():
    import threading

    seen = []
    with cltorch.no_grad():
        thread = threading.Thread(target=lambda: seen.append(cltorch.is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


def test_saved_tensors_hooks():
    def program(t):
        packed = []

        def pack(x):
            packed.append(tuple(x.shape))
            return x * 2

        a = leaf(t)
        with t.autograd.graph.saved_tensors_hooks(pack, lambda x: x / 2):
            y = (a * a).exp()
        y.sum().backward()
        return [a.grad, packed]

    same(program)


# ---- checkpoint


def network(t):
    a, w = leaf(t), leaf(t, B)

    def step(x):
        return (x * w).exp() * x.sin()

    return a, w, step


def test_checkpoint():
    def program(t):
        a, w, step = network(t)
        run = checkpoint if t is cltorch else torch.utils.checkpoint.checkpoint
        y = run(step, a, use_reentrant=False)
        z = run(step, y, use_reentrant=False)
        z.sum().backward()
        return [z, a.grad, w.grad]

    same(program)


def test_checkpoint_keeps_only_the_inputs():
    calls = []
    a = leaf(cltorch)

    def step(x):
        calls.append(1)
        return x.exp().exp()

    y = checkpoint(step, a, use_reentrant=False)
    assert calls == [1]
    y.sum().backward()
    assert calls == [1, 1]
    x = A.astype(np.float64)
    np.testing.assert_allclose(a.grad.numpy(), np.exp(np.exp(x)) * np.exp(x), rtol=1e-5)


def test_checkpoint_sequential():
    def program(t):
        a, w, step = network(t)
        run = checkpoint_sequential if t is cltorch else torch.utils.checkpoint.checkpoint_sequential
        y = run([step, lambda x: x * 0.1, step], 2, a, use_reentrant=False)
        y.sum().backward()
        return [y, a.grad, w.grad]

    same(program)


def test_checkpoint_repeats_the_random_numbers():
    a = leaf(cltorch, np.ones(1000, np.float32))
    y = checkpoint(lambda x: cltorch.nn.functional.dropout(x * 2, 0.5).exp(), a, use_reentrant=False)
    cltorch.rand(10)  # moves the stream on between forward and backward
    after = cltorch.get_rng_state()
    y.sum().backward()
    kept = y.detach().numpy() > 1
    assert 300 < kept.sum() < 700
    np.testing.assert_allclose(a.grad.numpy(), np.where(kept, 4 * np.exp(4.0), 0), rtol=1e-5)
    np.testing.assert_array_equal(cltorch.get_rng_state().numpy(), after.numpy())


def test_variable():
    def program(t):
        x = t.autograd.Variable(t.tensor(A), requires_grad=True)
        return [x, x.is_leaf, isinstance(x, t.autograd.Variable)]

    same(program)


def test_checkpoint_that_changes():
    state = [True]

    def step(x):
        state[0] = not state[0]
        return x.exp() if not state[0] else x * x * x

    y = checkpoint(step, leaf(cltorch), use_reentrant=False)
    with pytest.raises(CheckpointError, match="different number of tensors"):
        y.sum().backward()


# ---- gradcheck


def doubles(*shape):
    values = np.random.default_rng(0).uniform(0.5, 2.0, shape)
    return cltorch.tensor(values, requires_grad=True)


def test_gradcheck_accepts():
    assert cltorch.autograd.gradcheck(lambda x, y: (x * y.exp(), x / y), (doubles(2, 3), doubles(3)))
    assert cltorch.autograd.gradgradcheck(lambda x, y: x * x * y.exp(), (doubles(2, 3), doubles(3)))


def test_gradcheck_refuses():
    class Wrong(cltorch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g

    assert not cltorch.autograd.gradcheck(Wrong.apply, doubles(3), raise_exception=False)
    with pytest.raises(cltorch.autograd.GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0"):
        cltorch.autograd.gradcheck(Wrong.apply, doubles(3))
    with pytest.raises(ValueError, match="at least one input"):
        cltorch.autograd.gradcheck(lambda x: x, cltorch.tensor([1.0]))


def test_gradgradcheck_refuses():
    class Wrong(cltorch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 2 * x.detach()

    assert cltorch.autograd.gradcheck(Wrong.apply, doubles(3))
    assert not cltorch.autograd.gradgradcheck(Wrong.apply, doubles(3), raise_exception=False)


# ---- functional


def test_functional():
    def program(t):
        x, y = t.tensor(A[0]), t.tensor(B)
        f = t.autograd.functional
        return [
            f.jacobian(lambda a: a.exp() * 2, x),
            f.jacobian(lambda a, b: (a * b, a + b), (x, y)),
            f.hessian(lambda a: (a * a * a).sum(), x),
            f.hessian(lambda a, b: (a * a * b).sum(), (x, y)),
            f.vjp(lambda a: a * a, x, y),
            f.jvp(lambda a: a * a, x, y),
            f.vhp(lambda a: (a * a * a).sum(), x, y),
        ]

    same(program)
