"""Optimizers against PyTorch's: parameters after ten steps, state_dict exchange, groups, hooks, refusals."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import cltorch
from cltorch import optim
from cltorch.runtime.profiler import Profiler

P = cltorch.nn.Parameter
CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("SGD", {"lr": 0.1, "maximize": True, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05}),
    ("Adam", {"lr": 0.05, "weight_decay": 0.1, "amsgrad": True}),
    ("Adam", {"lr": 0.05, "betas": (0.5, 0.9), "eps": 1e-3, "maximize": True}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.5, "amsgrad": True, "maximize": True}),
    ("RMSprop", {"lr": 0.05}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.5, "centered": True, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2}),
    ("Adadelta", {"lr": 1.0, "weight_decay": 0.1}),
    ("Adamax", {"lr": 0.05, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "momentum_decay": 6e-3}),
    ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {"lr": 0.05, "weight_decay": 0.1}),
    ("Rprop", {"lr": 0.05, "etas": (0.4, 1.5)}),
    ("ASGD", {"lr": 0.05, "lambd": 0.1, "t0": 3, "weight_decay": 0.1}),
    ("Adafactor", {"lr": 0.05, "weight_decay": 0.1, "d": 1.5}),
    ("AdamW", {"lr": 0.05, "maximize": True}),
    ("RAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("Rprop", {"lr": 0.05, "maximize": True}),
]
SHAPES = ((3, 4), (5,), (), (2, 1, 3))


def parameters(lib):
    rng = np.random.RandomState(0)
    return [lib.nn.Parameter(lib.tensor(np.asarray(rng.randn(*s), "f"))) for s in SHAPES]


def gradients(lib, params, step):
    rng = np.random.RandomState(step)
    for p in params:
        p.grad = lib.tensor(np.asarray(rng.randn(*tuple(p.shape)), "f"))


def train(lib, params, optimizer, steps, first=0):
    for step in range(first, first + steps):
        optimizer.zero_grad()
        gradients(lib, params, step)
        optimizer.step()


def check(mine, theirs, tolerance=1e-6):
    for p, q in zip(mine, theirs):
        want = q.detach().numpy()
        np.testing.assert_allclose(p.detach().numpy(), want, rtol=5 * tolerance, atol=tolerance)


@pytest.mark.parametrize("name, options", CASES, ids=[f"{n}{i}" for i, (n, _) in enumerate(CASES)])
def test_ten_steps_are_torchs(name, options):
    mine, theirs = parameters(cltorch), parameters(torch)
    train(cltorch, mine, getattr(optim, name)(mine, **options), 10)
    train(torch, theirs, getattr(torch.optim, name)(theirs, **options), 10)
    check(mine, theirs)


@pytest.mark.parametrize(
    "name, options", [CASES[1], CASES[7], CASES[10], CASES[13]], ids=lambda v: v if isinstance(v, str) else ""
)
def test_state_of_torch_is_taken_over(name, options):
    mine, theirs = parameters(cltorch), parameters(torch)
    a, b = getattr(optim, name)(mine, **options), getattr(torch.optim, name)(theirs, **options)
    train(torch, theirs, b, 5)
    with cltorch.no_grad():
        for p, q in zip(mine, theirs):
            p.copy_(cltorch.tensor(q.detach().numpy()))
    put = lambda v: cltorch.tensor(v.numpy()) if isinstance(v, torch.Tensor) else v
    state = b.state_dict()
    state["state"] = {k: {n: put(v) for n, v in held.items()} for k, held in state["state"].items()}
    a.load_state_dict(state)
    train(cltorch, mine, a, 5, 5)
    train(torch, theirs, b, 5, 5)
    check(mine, theirs)


@pytest.mark.parametrize("again", [lambda s: s, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_training_goes_on_from_a_state_dict(again):
    straight, broken = parameters(cltorch), parameters(cltorch)
    train(cltorch, straight, optim.Adam(straight, lr=0.05), 8)
    first = optim.Adam(broken, lr=0.05)
    train(cltorch, broken, first, 4)
    second = optim.Adam(broken, lr=1.0)
    second.load_state_dict(again(first.state_dict()))
    assert second.param_groups[0]["lr"] == 0.05
    train(cltorch, broken, second, 4, 4)
    for p, q in zip(straight, broken):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_groups_have_their_own_options():
    mine, theirs = parameters(cltorch), parameters(torch)

    def make(lib, p):
        o = lib.optim.SGD([{"params": p[:2]}, {"params": p[2], "lr": 0.01, "momentum": 0.5}], lr=0.1)
        o.add_param_group({"params": p[3:], "weight_decay": 0.5})
        return o

    a, b = make(cltorch, mine), make(torch, theirs)
    train(cltorch, mine, a, 3)
    train(torch, theirs, b, 3)
    check(mine, theirs)
    assert [g["lr"] for g in a.param_groups] == [0.1, 0.01, 0.1]
    assert [g["params"] for g in a.state_dict()["param_groups"]] == [[0, 1], [2], [3]]


def test_parameters_without_gradient_are_left_alone():
    mine = parameters(cltorch)
    before = [p.detach().numpy().copy() for p in mine]
    o = optim.Adam(mine, lr=0.1)
    gradients(cltorch, mine, 0)
    mine[1].grad = None
    o.step()
    assert (mine[1].detach().numpy() == before[1]).all() and not (mine[0].detach().numpy() == before[0]).any()
    assert mine[1] not in o.state


def test_zero_grad():
    mine = parameters(cltorch)
    o = optim.SGD(mine)
    gradients(cltorch, mine, 0)
    o.zero_grad(set_to_none=False)
    assert all((p.grad.numpy() == 0).all() for p in mine)
    o.zero_grad()
    assert all(p.grad is None for p in mine)


def test_closure_is_run_with_gradients_and_returned():
    p = cltorch.nn.Parameter(cltorch.tensor([2.0]))
    o = optim.SGD([p], lr=0.1)

    def closure():
        o.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with cltorch.no_grad():
        assert o.step(closure).item() == 4.0
    assert abs(p.item() - 1.6) < 1e-6


def test_updates_count_as_versions_and_keep_the_leaf():
    p = cltorch.nn.Parameter(cltorch.ones(3))
    o = optim.SGD([p], lr=0.1, momentum=0.9)
    y = (p * p).sum()
    p.grad = cltorch.ones(3)
    o.step()
    assert p.is_leaf and p.requires_grad
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_dtypes_and_strides(name, dtype):
    options = {"lr": 0.1, "momentum": 0.9} if name == "SGD" else {"lr": 0.1, "eps": 1e-3}
    rng = np.random.RandomState(0)
    data, grad = rng.randn(4, 3), rng.randn(4, 3)

    def run(lib):
        p = lib.nn.Parameter(lib.tensor(data).to(getattr(lib, dtype)).t())
        o = getattr(lib.optim, name)([p], **options)
        for _ in range(3):
            p.grad = lib.tensor(grad).to(getattr(lib, dtype)).t()
            o.step()
        return p.detach().to(lib.float64).numpy()

    np.testing.assert_allclose(
        run(cltorch), run(torch), rtol=1e-9 if dtype == "float64" else 1e-2, atol=1e-2 * (dtype == "float16")
    )


def test_a_tensor_as_learning_rate():
    mine, theirs = parameters(cltorch), parameters(torch)
    train(cltorch, mine, optim.SGD(mine, lr=cltorch.tensor(0.1)), 3)
    train(torch, theirs, torch.optim.SGD(theirs, lr=0.1), 3)
    check(mine, theirs)


def test_a_parameter_given_twice_warns():
    p = P(cltorch.ones(1))
    with pytest.warns(UserWarning, match="duplicate parameters"):
        optim.SGD([p, p])


def test_hooks():
    mine, seen = parameters(cltorch), []
    o = optim.SGD(mine, lr=0.1)
    o.register_step_pre_hook(lambda opt, args, kwargs: seen.append("before"))
    o.register_step_post_hook(lambda opt, args, kwargs: seen.append("after"))
    o.register_state_dict_post_hook(lambda opt, state: {**state, "note": 1})
    o.register_load_state_dict_pre_hook(lambda opt, state: {k: v for k, v in state.items() if k != "note"})
    with optim.optimizer.register_optimizer_step_post_hook(lambda opt, args, kwargs: seen.append("everywhere")):
        o.step()
    o.step()
    assert seen == ["before", "after", "everywhere", "before", "after"]
    state = o.state_dict()
    assert state["note"] == 1
    o.load_state_dict(state)


def test_representation_and_pickling():
    mine = parameters(cltorch)
    o = optim.SGD(mine, lr=0.1, momentum=0.9)
    assert repr(o) == repr(torch.optim.SGD(parameters(torch), lr=0.1, momentum=0.9))
    train(cltorch, mine, o, 1)
    again = pickle.loads(pickle.dumps(o))
    assert again.param_groups[0]["momentum"] == 0.9 and len(again.state) == len(SHAPES)


@pytest.mark.parametrize(
    "act, kind, words",
    [
        (lambda: optim.SGD([]), ValueError, "empty parameter list"),
        (lambda: optim.SGD(cltorch.ones(1)), TypeError, "iterable of Tensors"),
        (lambda: optim.SGD([1]), TypeError, "can only optimize Tensors"),
        (lambda: optim.SGD([{"params": {P(cltorch.ones(1))}}]), TypeError, "ordered collections"),
        (lambda: optim.SGD([P(cltorch.ones(1)) * 2]), ValueError, "non-leaf"),
        (lambda: optim.SGD([P(cltorch.ones(1))], lr=-1.0), ValueError, "Invalid learning rate: -1.0"),
        (lambda: optim.SGD([P(cltorch.ones(1))], nesterov=True), ValueError, "Nesterov momentum requires"),
        (
            lambda: optim.Adam([P(cltorch.ones(1))], betas=(1.0, 0.9)),
            ValueError,
            "Invalid beta parameter at index 0: 1.0",
        ),
        (lambda: optim.Adam([P(cltorch.ones(1))], eps=-1.0), ValueError, "Invalid epsilon value"),
        (
            lambda: optim.SGD([{"params": [p := P(cltorch.ones(1))]}, {"params": p}]),
            ValueError,
            "more than one parameter group",
        ),
        (
            lambda: optim.SGD([P(cltorch.ones(1))]).load_state_dict({"state": {}, "param_groups": []}),
            ValueError,
            "number of parameter groups",
        ),
        (
            lambda: optim.SGD([P(cltorch.ones(1))]).load_state_dict(
                {"state": {}, "param_groups": [{"params": [0, 1]}]}
            ),
            ValueError,
            "doesn't match the size",
        ),
    ],
)
def test_misuse_raises(act, kind, words):
    with pytest.raises(kind, match=words):
        act()


SINGLE = [case for case in CASES if case[0] != "Adafactor"]


@pytest.mark.parametrize("name, options", SINGLE, ids=[f"{n}{i}" for i, (n, _) in enumerate(SINGLE)])
def test_one_launch_for_all_parameters(name, options):
    """20 parameters of different sizes: a step, with or without decay, momentum or amsgrad, is one launch."""
    params = [cltorch.nn.Parameter(cltorch.ones(n + 1)) for n in range(20)]
    optimizer = getattr(optim, name)(params, **options)

    def step():
        for p in params:
            p.grad = cltorch.tensor(np.ones(tuple(p.shape), "f"))
        optimizer.step()
        cltorch.engine.synchronize()

    for _ in range(7):  # RAdam moves on to other kernels in its sixth step
        step()
    with Profiler(params[0]._storage.device) as profiler:
        step()
    assert profiler.table().splitlines()[-1].split()[1] == "1", profiler.table()


def test_zero_grad_is_one_launch():
    params = [cltorch.nn.Parameter(cltorch.ones(n + 1)) for n in range(20)]
    for p in params:
        p.grad = cltorch.tensor(np.ones(tuple(p.shape), "f"))
    optimizer = optim.SGD(params, lr=0.1)
    cltorch.engine.synchronize()
    with Profiler(params[0]._storage.device) as profiler:
        optimizer.zero_grad(set_to_none=False)
        cltorch.engine.synchronize()
    assert profiler.table().splitlines()[-1].split()[1] == "1", profiler.table()
    assert all((p.grad == 0).all().item() for p in params)


@pytest.mark.parametrize(
    "options", [{}, {"nesterov": False, "adjust_lr_fn": "match_rms_adamw"}, {"weight_decay": 0.5, "momentum": 0.5}]
)
def test_muon(options):
    """PyTorch iterates in bfloat16 (8 bits), hence the tolerance; singular values come near 1."""
    rng = np.random.default_rng(0)
    start, slopes = rng.standard_normal((2, 9, 5)).astype("f")
    results = []
    for lib in (cltorch, torch):
        p = lib.nn.Parameter(lib.tensor(start))
        optimizer = lib.optim.Muon([p], lr=0.1, **options)
        for _ in range(3):
            p.grad = lib.tensor(slopes)
            optimizer.step()
        results.append(p.detach().numpy())
    np.testing.assert_allclose(*results, atol=0.01)
    with pytest.raises(ValueError, match="2D"):
        optim.Muon([cltorch.nn.Parameter(cltorch.ones(3))])
    with pytest.raises(ValueError, match="not supported"):
        optim.Muon([cltorch.nn.Parameter(cltorch.ones(3, 3))], adjust_lr_fn="x")
