"""The backward pass against PyTorch: accumulation, retain_graph, create_graph, grad(), hooks, errors."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import cltorch
from tests.oracle import same, same_error

A = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]], dtype=np.float32)
B = np.array([1.0, 2.0, 3.0], dtype=np.float32)


def leaf(t, array=A):
    return t.tensor(array, requires_grad=True)


def test_chain_with_broadcast():
    def program(t):
        a, b = leaf(t), leaf(t, B)
        y = (a * b + a.exp() / b).sum()
        y.backward()
        return [y, a.grad, b.grad]

    same(program)


def test_diamond_and_reuse():
    def program(t):
        a = leaf(t)
        b = a * a
        c = b + a
        (b * c + c).sum().backward()
        return a.grad

    same(program)


def test_same_operand_twice():
    def program(t):
        a = leaf(t)
        (a + a).sum().backward()
        return a.grad

    same(program)


def test_gradients_accumulate_over_passes():
    def program(t):
        a = leaf(t)
        (a * 2).sum().backward()
        first = a.grad.clone()
        held = a.grad
        (a * 3).sum().backward()
        return [first, a.grad, held is a.grad]

    same(program)


def test_leaves_do_not_share_gradients():
    def program(t):
        a, b = leaf(t), leaf(t)
        (a + b).backward(t.ones(2, 3))
        a.grad.zero_()
        return [a.grad, b.grad]

    same(program)


def test_given_gradient_is_not_changed():
    def program(t):
        a, g = leaf(t), t.ones(2, 3)
        (a + 0).backward(g)
        a.grad.add_(1)
        return [g, a.grad]

    same(program)


def test_saved_tensor_is_not_shared_with_gradient():
    def program(t):
        a, w = leaf(t), t.tensor(A)
        (a * w).sum().backward()
        a.grad.mul_(5)
        return [w, a.grad]

    same(program)


@pytest.mark.parametrize("retain", [True, False])
def test_second_backward(retain):
    def program(t):
        a = leaf(t)
        y = (a * a).sum()
        y.backward(retain_graph=retain)
        y.backward()
        return a.grad

    if retain:
        same(program)
    else:
        same_error(program, "Trying to backward through the graph a second time")


def test_second_backward_without_saved_values_is_fine():
    def program(t):
        a = leaf(t)
        y = (a + 1).sum()
        y.backward()
        y.backward()
        return a.grad

    same(program)


def test_double_backward():
    def program(t):
        a = leaf(t)
        y = (a * a * a).sum()
        (g,) = t.autograd.grad(y, a, create_graph=True)
        (h,) = t.autograd.grad((g * g).sum(), a)
        return [g, h]

    same(program)


def test_third_derivative():
    def program(t):
        x = t.tensor(0.7, requires_grad=True)
        y = x.sin() * x.exp()
        out = []
        for _ in range(3):
            (y,) = t.autograd.grad(y, x, create_graph=True)
            out.append(y)
        return out

    same(program)


@pytest.mark.filterwarnings("ignore:Using backward")  # PyTorch's
def test_backward_with_create_graph_gives_grad_a_history():
    def program(t):
        a = leaf(t)
        (a * a).sum().backward(create_graph=True)
        return [a.grad, a.grad.grad_fn is not None]

    same(program)


def test_grad_leaves_grad_alone():
    def program(t):
        a, b = leaf(t), leaf(t, B)
        found = t.autograd.grad((a * b).sum(), [a, b])
        return [*found, a.grad, b.grad]

    same(program)


def test_grad_of_intermediate():
    def program(t):
        a = leaf(t)
        b = a * 2
        c = (b * b).sum()
        return list(t.autograd.grad(c, [b, a]))

    same(program)


def test_grad_allow_unused_and_materialize():
    def program(t):
        a, b = leaf(t), leaf(t, B)
        y = (a * 2).sum()
        return [
            *t.autograd.grad(y, [a, b], allow_unused=True, retain_graph=True),
            *t.autograd.grad(y, [a, b], materialize_grads=True),
        ]

    same(program)


def test_grad_unused_raises():
    def program(t):
        a, b = leaf(t), leaf(t, B)
        t.autograd.grad((a * 2).sum(), [b])

    same_error(program, "not have been used in the graph")


def test_grad_batched():
    def program(t):
        a = leaf(t)
        y = a * a
        g = t.tensor(np.stack([A, 2 * A, A * A]))
        return t.autograd.grad(y, a, g, is_grads_batched=True)[0]

    same(program)


def test_backward_to_given_inputs_only():
    def program(t):
        a, b = leaf(t), leaf(t, B)
        (a * b).sum().backward(inputs=[a])
        return [a.grad, b.grad]

    same(program)


def test_several_roots():
    def program(t):
        a = leaf(t)
        y, z = a * 2, (a * a).sum()
        t.autograd.backward([y, z], [t.ones(2, 3), None])
        return a.grad

    same(program)


@pytest.mark.parametrize(
    "program, match",
    [
        (lambda t: leaf(t).backward(), "implicitly created only for scalar"),
        (lambda t: t.tensor(1.0).backward(), "does not require grad"),
        (lambda t: (leaf(t) * 2).backward(t.ones(3)), "Mismatch in shape"),
        (lambda t: t.autograd.grad(leaf(t).sum(), t.tensor(1.0)), "does not require grad"),
        (lambda t: (leaf(t) * 2).sum().backward(inputs=[]), "cannot be empty"),
    ],
)
def test_errors(program, match):
    same_error(program, match)


def test_tensor_hooks():
    def program(t):
        seen = []
        a = leaf(t)
        b = a * 2
        b.register_hook(lambda g: seen.append(g.clone()))
        handle = b.register_hook(lambda g: g * 10)
        a.register_hook(lambda g: g + 1)
        (b * 3).sum().backward()
        first = a.grad.clone()
        handle.remove()
        a.grad = None
        (a * 2 * 3).sum().backward()
        return [first, a.grad, seen]

    same(program)


def test_hook_on_leaf_sees_the_sum():
    def program(t):
        seen = []
        a = leaf(t)
        a.register_hook(lambda g: seen.append(g.clone()))
        (a * 2 + a * 3).sum().backward()
        return [a.grad, seen]

    same(program)


def test_retain_grad():
    def program(t):
        a = leaf(t)
        b = a * 2
        b.retain_grad()
        b.retain_grad()
        (b * b).sum().backward()
        return [b.grad, b.retains_grad, a.retains_grad, b.is_leaf]

    same(program)


def test_post_accumulate_hook():
    def program(t):
        seen = []
        a = leaf(t)
        a.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
        (a * 2).sum().backward()
        (a * 2).sum().backward()
        return seen

    same(program)


def test_node_hooks():
    def program(t):
        seen = []
        a = leaf(t)
        b = a * 2
        b.grad_fn.register_hook(lambda gi, go: seen.append([gi[0].clone(), go[0].clone()]))
        b.grad_fn.register_prehook(lambda go: (go[0] * 3,))
        b.sum().backward()
        return [a.grad, seen]

    same(program)


def test_leaf_facts():
    def program(t):
        a = leaf(t)
        b, c = a * 2, t.tensor(A)
        return [
            a.is_leaf,
            b.is_leaf,
            c.is_leaf,
            a.grad_fn is None,
            b.requires_grad,
            (c * 2).requires_grad,
            b.detach().requires_grad,
            a.grad,
            (a == 0).requires_grad,
            a.sign().requires_grad,
        ]

    same(program)


@pytest.mark.parametrize(
    "program, match",
    [
        (lambda t: setattr(leaf(t) * 2, "requires_grad", False), "leaf variables"),
        (lambda t: t.tensor([1, 2]).requires_grad_(), "floating point"),
        (lambda t: t.tensor([1.0]).register_hook(print), "doesn't require gradient"),
        (lambda t: setattr(leaf(t), "grad", t.ones(3)), "different size|size"),
        (lambda t: setattr(leaf(t), "grad", 3), "Tensor or None"),
        (lambda t: leaf(t).numpy(), "requires grad"),
    ],
)
def test_state_errors(program, match):
    same_error(program, match)


def test_deep_graph_needs_no_recursion():
    a = cltorch.tensor(1.0, requires_grad=True)
    y = a
    for _ in range(3000):
        y = y + 1.0
    y.backward()
    assert a.grad.item() == 1.0
    del y  # and tearing it down neither


def test_graph_is_freed_without_the_collector():
    gc.disable()
    try:
        a = leaf(cltorch)
        b = a.exp()
        c = b * b
        watched = [weakref.ref(b._storage), weakref.ref(c.grad_fn)]
        c.sum().backward()
        del b, c
        a.grad.tolist()  # what is recorded holds its operands until it has run
        assert [w() for w in watched] == [None, None]
    finally:
        gc.enable()


def test_unneeded_operand_is_not_saved():
    def program(t):
        a, w = leaf(t), t.tensor(A)
        y = a * w
        with t.no_grad():
            a.add_(1)  # backward needs w only
        y.sum().backward()
        return a.grad

    same(program)


def test_next_functions():
    a = leaf(cltorch)
    y = a * 2 + a.exp()
    (first, _), (second, _) = y.grad_fn.next_functions
    assert (first.name(), second.name()) == ("MulBackward0", "ExpBackward0")
    assert second.next_functions[0][0].variable is a
