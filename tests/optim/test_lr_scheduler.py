"""Schedules against PyTorch's: every rate of thirty steps, exactly; round trips through state_dict."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch

import cltorch
from cltorch import optim

SCHEDULES = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, [lambda n: 1 / (n + 1), lambda n: 0.9**n]),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda n: 0.95),
    "StepLR": lambda s, o: s.StepLR(o, 3, 0.5),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [4, 9, 9, 20], 0.3),
    "ConstantLR": lambda s, o: s.ConstantLR(o, 0.5, 10),
    "LinearLR": lambda s, o: s.LinearLR(o, 0.1, 0.9, 12),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, 20, 2.0),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 8, 1e-3),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 4, 2, 1e-3),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=5), s.CosineAnnealingLR(o, 20)], [5]
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.9)]),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 4, 7, "exp_range", 0.98),
    "CyclicLR triangular2": lambda s, o: s.CyclicLR(
        o, [0.01, 0.02], [0.1, 0.2], 6, mode="triangular2", cycle_momentum=False
    ),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.5, total_steps=32),
    "OneCycleLR three": lambda s, o: s.OneCycleLR(
        o, [0.5, 0.2], epochs=4, steps_per_epoch=8, anneal_strategy="linear", three_phase=True
    ),
}


def optimizer(lib, kind="SGD"):
    p, q = (lib.nn.Parameter(lib.zeros(2)) for _ in range(2))
    options = {"momentum": 0.9} if kind == "SGD" else {}
    return getattr(lib.optim, kind)([{"params": [p]}, {"params": [q], "lr": 0.02}], lr=0.1, **options)


def rates(lib, make, kind="SGD", steps=30, reload=None):
    opt = optimizer(lib, kind)
    schedule = make(lib.optim.lr_scheduler, opt)
    seen = []
    for step in range(steps):
        opt.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            schedule.step()
        seen.append([g["lr"] for g in opt.param_groups] + list(schedule.get_last_lr()))
        seen[-1] += [x for g in opt.param_groups for x in g.get("betas", [g.get("momentum")])]
        if step == reload:
            state, kept = schedule.state_dict(), [g["lr"] for g in opt.param_groups]
            schedule = make(lib.optim.lr_scheduler, opt)
            schedule.load_state_dict(pickle.loads(pickle.dumps(state)))
            for group, lr in zip(opt.param_groups, kept):
                group["lr"] = lr
    return np.array(seen, dtype=float)


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_rate_is_torchs(name):
    np.testing.assert_allclose(rates(cltorch, SCHEDULES[name]), rates(torch, SCHEDULES[name]), rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", ["CyclicLR", "OneCycleLR"])
def test_momentum_cycles_in_adams_betas(name):
    np.testing.assert_allclose(
        rates(cltorch, SCHEDULES[name], "Adam"), rates(torch, SCHEDULES[name], "Adam"), rtol=1e-14
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_goes_on_from_its_state_dict(name):
    straight, broken = rates(cltorch, SCHEDULES[name]), rates(cltorch, SCHEDULES[name], reload=12)
    np.testing.assert_allclose(broken, straight, rtol=1e-14)


@pytest.mark.parametrize(
    "options",
    [
        {"patience": 2},
        {
            "mode": "max",
            "factor": 0.5,
            "patience": 1,
            "threshold": 0.1,
            "threshold_mode": "abs",
            "cooldown": 2,
            "min_lr": 1e-3,
        },
    ],
)
def test_plateau_is_torchs(options):
    metrics = [1, 0.9, 0.8, 0.8, 0.85, 0.81, 0.8, 0.8, 0.7, 0.7, 0.7, 0.7, 0.75, 0.7, 0.2, 0.2, 0.2, 0.2, 0.2, 0.3, 0.1]

    def run(lib):
        opt = optimizer(lib)
        schedule = lib.optim.lr_scheduler.ReduceLROnPlateau(opt, **options)
        seen = []
        for m in metrics:
            schedule.step(m)
            seen.append(schedule.get_last_lr())
        return np.array(seen)

    np.testing.assert_array_equal(run(cltorch), run(torch))


def test_stepping_before_the_optimizer_warns():
    schedule = optim.lr_scheduler.StepLR(optimizer(cltorch), 3)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        schedule.step()


def test_resuming_needs_initial_rates():
    with pytest.raises(KeyError, match="initial_lr"):
        optim.lr_scheduler.StepLR(optimizer(cltorch), 3, last_epoch=4)
    opt = optimizer(cltorch)
    for group in opt.param_groups:
        group["initial_lr"] = group["lr"]
    assert optim.lr_scheduler.StepLR(opt, 3, last_epoch=4).last_epoch == 5


s = optim.lr_scheduler


@pytest.mark.parametrize(
    "act, kind",
    [
        (lambda o: s.StepLR(3, 1), TypeError),
        (lambda o: s.LambdaLR(o, [lambda n: 1]), ValueError),
        (lambda o: s.ConstantLR(o, 2.0), ValueError),
        (lambda o: s.LinearLR(o, 0.0), ValueError),
        (lambda o: s.CosineAnnealingWarmRestarts(o, 0), ValueError),
        (lambda o: s.CyclicLR(o, 0.1, 0.2, mode="square"), ValueError),
        (lambda o: s.CyclicLR(optim.Adagrad([cltorch.nn.Parameter(cltorch.ones(1))]), 0.1, 0.2), ValueError),
        (lambda o: s.OneCycleLR(o, 0.1), ValueError),
        (lambda o: s.OneCycleLR(o, 0.1, 10, pct_start=2.0), ValueError),
        (lambda o: s.SequentialLR(o, [], []), ValueError),
        (lambda o: s.SequentialLR(o, [s.ExponentialLR(o, 0.9)], [3]), ValueError),
        (lambda o: s.ChainedScheduler([s.ReduceLROnPlateau(o)]), ValueError),
        (lambda o: s.ReduceLROnPlateau(o, factor=1.0), ValueError),
        (lambda o: s.ReduceLROnPlateau(o, "most"), ValueError),
    ],
)
def test_misuse_raises(act, kind):
    with pytest.raises(kind):
        act(optimizer(cltorch))
