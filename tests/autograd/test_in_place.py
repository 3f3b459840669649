"""In-place operations and the graph, against PyTorch: versions, leaves, views of graphs, modes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.oracle import same, same_error

A = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]], dtype=np.float32)
B = np.array([1.0, 2.0, 3.0], dtype=np.float32)


def leaf(t, array=A):
    return t.tensor(array, requires_grad=True)


def test_in_place_chain():
    def program(t):
        a, b = leaf(t), leaf(t, B)
        y = a * 1
        y.mul_(b)
        y.add_(a).exp_()
        y.sum().backward()
        return [y, a.grad, b.grad]

    same(program)


def test_operand_that_backward_needs_was_changed():
    def program(t):
        a = leaf(t)
        y = a.exp()
        z = y * y
        y.add_(1)
        z.sum().backward()

    same_error(program, "modified by an inplace operation")


def test_result_that_backward_needs_was_changed():
    def program(t):
        a = leaf(t)
        y = a.exp()
        y.add_(1)
        y.sum().backward()

    same_error(program, "modified by an inplace operation")


def test_changed_through_a_view():
    def program(t):
        a = leaf(t)
        y = a.exp()
        z = y * y
        y.detach()[0].zero_()
        z.sum().backward()

    same_error(program, "is at version 1; expected version 0")


def test_change_of_data_is_not_noticed():
    def program(t):
        a, w = leaf(t), leaf(t)
        y = a * w
        w.data.add_(1)
        y.sum().backward()
        return [a.grad, w.grad, w._version]

    same(program)


def test_versions():
    def program(t):
        a = t.zeros(2, 3)
        v = a[0]
        counts = [a._version]
        a.add_(1)
        v.mul_(2)
        counts += [a._version, v._version, a.detach()._version]
        a.copy_(a * 2)
        a.zero_()
        return counts + [a._version]

    same(program)


@pytest.mark.parametrize(
    "program, match",
    [
        (lambda t: leaf(t).add_(1), "a leaf Variable that requires grad"),
        (lambda t: leaf(t)[0].add_(1), "view of a leaf Variable"),
        (lambda t: leaf(t).zero_(), "a leaf Variable"),
        (lambda t: leaf(t).copy_(t.zeros(2, 3)), "a leaf Variable"),
        (lambda t: (leaf(t) * 1).unbind(0)[0].mul_(2), "multiple views"),
        (lambda t: (leaf(t) * 1).split(1)[0].mul_(2), "multiple views"),
        (lambda t: t.tensor([1, 2]).add_(0.5), "can't be cast"),
        (lambda t: t.tensor(B).add_(t.tensor(A)), "doesn't match the broadcast shape"),
        (lambda t: t.tensor(B).expand(2, 3).add_(1), "single memory location"),
        (lambda t: t.tensor(np.eye(3, dtype=np.float32)).add_(leaf(t)), "broadcast"),
    ],
)
def test_errors(program, match):
    same_error(program, match)


def test_leaf_without_grad_mode():
    def program(t):
        a = leaf(t)
        with t.no_grad():
            a.add_(1)
            a[0].mul_(2)
        return [a, a.is_leaf]

    same(program)


def test_view_made_without_grad_mode():
    def program(t):
        a = leaf(t) * 1
        with t.no_grad():
            v = a[0]
        v.mul_(2)

    same_error(program, "no_grad mode")


def test_view_changed_then_base_used():
    def program(t):
        a = leaf(t)
        y = a * 1
        v = y[0]
        v.mul_(3)
        (y * y).sum().backward()
        return [y, v, a.grad]

    same(program)


def test_base_changed_then_view_used():
    def program(t):
        a = leaf(t)
        y = a * 1
        v = y[1]
        y.mul_(3)
        (v * v).sum().backward()
        return [v, a.grad, v.requires_grad]

    same(program)


def test_other_view_sees_the_change():
    def program(t):
        a, b = leaf(t), leaf(t, B)
        y = a * 1
        v, w = y[0], y.t()
        v.mul_(b)
        (w * w).sum().backward()
        return [w, a.grad, b.grad]

    same(program)


def test_view_of_view():
    def program(t):
        a = leaf(t)
        y = a * 1
        v = y.t()[1:].select(1, 0)
        v.mul_(4)
        (y * y).sum().backward()
        return [v, y, a.grad]

    same(program)


def test_writing_a_graph_into_plain_memory():
    def program(t):
        b = leaf(t, B)
        y = t.zeros(2, 3)
        y[0] = b * 2
        w = y[1]
        y[1].copy_(b)
        y[0].mul_(b)
        (y * y).sum().backward()
        return [y, y.requires_grad, w.requires_grad, b.grad]

    same(program)


def test_writing_into_a_part_many_times():
    def program(t):
        a = leaf(t)
        y = t.zeros(4, 3)
        for i in range(4):
            y[i] = (a[i % 2] * (i + 1)).exp() if i < 2 else y[i - 1] + a[i % 2]
        y.sum().backward()
        return [y, a.grad]

    same(program)


def test_copy_broadcast_and_converted():
    def program(t):
        b = t.tensor(B, requires_grad=True)
        y = t.zeros(2, 3, dtype=t.float64)
        y.copy_(b)
        (y * y).sum().backward()
        return [y, b.grad]

    same(program)


def test_copy_gives_old_history_zeros():
    def program(t):
        a, b = leaf(t), leaf(t)
        y = a * 1
        y.copy_(b)
        (y * y).sum().backward()
        return [a.grad, b.grad]

    same(program)


def test_fill_and_zero():
    def program(t):
        a = leaf(t)
        v = t.tensor(2.0, requires_grad=True)
        y = a * 1
        y[0].zero_()
        y[1, 1:].fill_(v)
        (y * y).sum().backward()
        return [y, a.grad, v.grad]

    same(program)


def test_in_place_needs_the_old_value():
    def program(t):
        a, w = leaf(t), leaf(t)
        y = a * 1
        y.mul_(w)
        y.sum().backward()
        return [a.grad, w.grad]

    same(program)


def test_in_place_on_a_view_needs_the_old_value():
    def program(t):
        a, w = leaf(t), leaf(t, B)
        y = a * 1
        y[0].mul_(w)
        y.sum().backward()
        return [a.grad, w.grad]

    same(program)


def test_in_place_in_another_dtype():
    def program(t):
        a, w = leaf(t), t.tensor(A.astype(np.float64), requires_grad=True)
        y = a * 1
        y.mul_(w)
        y.sum().backward()
        return [y, a.grad, w.grad]

    same(program)


def test_double_backward_through_a_changed_view():
    def program(t):
        a, b = leaf(t), leaf(t, B)
        y = a * 1
        y[0].mul_(b)
        (g,) = t.autograd.grad((y * y * y).sum(), a, create_graph=True)
        return list(t.autograd.grad((g * g).sum(), [a, b]))

    same(program)


def test_retained_gradient_follows():
    def program(t):
        a = leaf(t)
        y = a * 1
        y.retain_grad()
        y.mul_(3)
        (y * 2).sum().backward()
        return [y.grad, a.grad]

    same(program)


def test_overlapping_operand():
    def program(t):
        a = t.tensor(np.arange(9, dtype=np.float32).reshape(3, 3))
        a[1:].copy_(a[:2].clone())
        return a

    same(program)
    same_error(lambda t: (lambda a: a.add_(a.t()))(t.tensor(np.eye(3, dtype=np.float32))), "single memory location")


def test_detach_in_place():
    def program(t):
        a = leaf(t)
        y = a * 2
        y.detach_()
        return [y, y.is_leaf]

    same(program)


def test_inference_mode():
    def program(t):
        a = leaf(t)
        with t.inference_mode():
            y = a * 2
            v = y[0]
            y.add_(1)
            enabled = [t.is_grad_enabled(), t.is_inference_mode_enabled()]
        return [
            y,
            y.is_inference(),
            v.is_inference(),
            y.clone().is_inference(),
            a.is_inference(),
            *enabled,
            t.is_grad_enabled(),
        ]

    same(program)


def test_inference_tensor_outside():
    def program(t):
        with t.inference_mode():
            y = t.ones(2)
        y.add_(1)

    same_error(program, "inference tensor outside InferenceMode")


def test_inference_tensor_saved_for_backward():
    def program(t):
        with t.inference_mode():
            y = t.ones(2)
        return leaf(t, np.ones(2, np.float32)) * y

    same_error(program, "saved for backward")
