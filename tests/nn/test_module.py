"""Module: registration, state_dict, hooks, walking, moving, copying. PyTorch's Module is the reference for texts and
orders.
"""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch

import cltorch
from cltorch import nn


def build(lib):
    """The same small tree in either library."""
    return lib.nn.Sequential(
        OrderedDict(
            first=lib.nn.Linear(3, 4),
            norm=lib.nn.BatchNorm1d(4),
            rest=lib.nn.Sequential(lib.nn.ReLU(), lib.nn.Linear(4, 2, bias=False)),
        )
    )


def carried(state):
    return OrderedDict((k, cltorch.tensor(v.numpy())) for k, v in state.items())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(cltorch.ones(2, 2))
        self.register_buffer("seen", cltorch.zeros(1))
        self.register_buffer("scratch", cltorch.zeros(1), persistent=False)
        self.inner = nn.Linear(2, 2)

    def forward(self, x, scale=1.0):
        return self.inner(x @ self.weight) * scale


def test_names_and_repr_are_those_of_torch():
    ours, theirs = build(cltorch), build(torch)
    assert repr(ours) == repr(theirs)
    for walk in ("named_parameters", "named_buffers", "named_modules", "named_children"):
        assert [n for n, _ in getattr(ours, walk)()] == [n for n, _ in getattr(theirs, walk)()]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert list(ours.state_dict(prefix="a.")) == list(theirs.state_dict(prefix="a."))


def test_state_dict_goes_both_ways():
    ours, theirs = build(cltorch), build(torch)
    theirs.norm.running_mean.fill_(0.5)
    result = ours.load_state_dict(carried(theirs.state_dict()))
    assert str(result) == "<All keys matched successfully>"
    back = {k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()}
    theirs.load_state_dict(back)
    x = np.random.RandomState(0).randn(5, 3).astype("f")
    np.testing.assert_allclose(
        ours.eval()(cltorch.tensor(x)).detach().numpy(),
        theirs.eval()(torch.tensor(x)).detach().numpy(),
        rtol=1e-5,
        atol=1e-6,
    )


def _refusal(lib, change):
    net = build(lib)
    state = net.state_dict()
    change(lib, state)
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    return str(caught.value)


def _lacking(lib, state):
    del state["first.bias"]
    del state["norm.weight"]


def _extra(lib, state):
    state["first.bogus"] = lib.zeros(1)
    state["other"] = lib.zeros(1)


def _misshapen(lib, state):
    state["first.weight"] = lib.zeros(4, 5)


def _no_tensor(lib, state):
    state["first.weight"] = 3.0


@pytest.mark.parametrize("change", [_lacking, _extra, _misshapen, _no_tensor], ids=lambda f: f.__name__)
def test_load_state_dict_refuses_in_torchs_words(change):
    assert _refusal(cltorch, change) == _refusal(torch, change)


def test_load_state_dict_not_strict_names_what_did_not_match():
    net = build(cltorch)
    state = net.state_dict()
    _lacking(cltorch, state)
    _extra(cltorch, state)
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert missing == ["first.bias", "norm.weight"]
    assert sorted(unexpected) == ["first.bogus", "other"]


def test_assign_takes_the_tensors_themselves():
    net = build(cltorch)
    state = {k: v.clone() for k, v in net.state_dict().items()}
    state["first.weight"] = state["first.weight"].double()
    net.load_state_dict(state, assign=True)
    assert net.first.weight.dtype is cltorch.float64 and isinstance(net.first.weight, nn.Parameter)
    assert net.norm.running_mean is state["norm.running_mean"]


def test_non_persistent_buffers_stay_out_of_the_state_dict():
    assert set(Net().state_dict()) == {"weight", "seen", "inner.weight", "inner.bias"}
    assert {n for n, _ in Net().named_buffers()} == {"seen", "scratch"}


def test_buffer_class_registers_on_assignment():
    net = Net()
    net.running = nn.Buffer(cltorch.zeros(2), persistent=False)
    net.seen = cltorch.ones(1)
    assert "running" in dict(net.named_buffers()) and "running" not in net.state_dict()
    assert net.get_buffer("seen").item() == 1.0


def _setattr(net, name, value):
    setattr(net, name, value)


@pytest.mark.parametrize(
    "act, kind, words",
    [
        (lambda n: _setattr(n, "weight", cltorch.ones(2)), TypeError, "cannot assign 'Tensor' as parameter 'weight'"),
        (lambda n: _setattr(n, "inner", 3), TypeError, "cannot assign 'int' as child module 'inner'"),
        (lambda n: _setattr(n, "seen", "no"), TypeError, "cannot assign 'str' as buffer 'seen'"),
        (lambda n: n.missing, AttributeError, "'Net' object has no attribute 'missing'"),
        (lambda n: n.register_buffer("a.b", None), KeyError, "contain"),
        (lambda n: n.register_buffer("", None), KeyError, "empty string"),
        (lambda n: n.register_buffer("inner", None), KeyError, "already exists"),
        (lambda n: n.register_parameter("p", cltorch.ones(1)), TypeError, "cannot assign 'Tensor' object to parameter"),
        (lambda n: n.add_module("m", cltorch.ones(1)), TypeError, "is not a Module subclass"),
        (lambda n: n.get_submodule("inner.nothing"), AttributeError, "has no attribute `nothing`"),
        (lambda n: n.get_parameter("inner"), AttributeError, "is not an nn.Parameter"),
        (lambda n: n.train("yes"), ValueError, "boolean"),
        (lambda n: n.to(cltorch.int32), TypeError, "floating point"),
        (lambda n: n.load_state_dict([1]), TypeError, "dict-like"),
        (lambda n: nn.Module()(1), NotImplementedError, "forward"),
        (lambda n: nn.Module(3), TypeError, "positional"),
    ],
)
def test_misuse_raises(act, kind, words):
    with pytest.raises(kind, match=words):
        act(Net())


def test_assignment_before_init_is_refused():
    class Hasty(nn.Module):
        def __init__(self, what):
            self.x = what

    for what in (nn.Parameter(cltorch.ones(1)), nn.ReLU()):
        with pytest.raises(AttributeError, match="before Module.__init__"):
            Hasty(what)


def test_parameter_moves_between_kinds_of_attribute():
    net = Net()
    net.inner = None
    assert net.inner is None and "inner" in net._modules
    net.plain = 3
    net.plain = nn.Parameter(cltorch.ones(1))
    assert "plain" in dict(net.named_parameters()) and "plain" not in net.__dict__
    del net.plain
    assert not hasattr(net, "plain")


def test_forward_hooks_run_in_order_and_may_replace():
    net, seen = nn.Linear(2, 2), []
    net.register_forward_pre_hook(lambda m, args: seen.append("pre") or (args[0] * 2,))
    net.register_forward_pre_hook(lambda m, args: seen.append("first"), prepend=True)
    after = net.register_forward_hook(lambda m, args, out: seen.append("post") or out + 1)
    x = cltorch.ones(1, 2)
    changed = net(x)
    assert seen == ["first", "pre", "post"]
    np.testing.assert_allclose(changed.detach().numpy(), net.forward(x * 2).detach().numpy() + 1, rtol=1e-6)
    after.remove()
    after.remove()
    np.testing.assert_allclose(net(x).detach().numpy(), net.forward(x * 2).detach().numpy(), rtol=1e-6)


def test_hooks_with_keyword_arguments_and_always_call():
    net, seen = Net(), []
    net.register_forward_pre_hook(lambda m, args, kwargs: (args, {"scale": kwargs["scale"] * 2}), with_kwargs=True)
    net.register_forward_hook(lambda m, args, kwargs, out: seen.append(kwargs["scale"]), with_kwargs=True)
    net(cltorch.ones(1, 2), scale=3.0)
    assert seen == [6.0]
    broken = nn.Linear(2, 2)
    broken.register_forward_hook(lambda m, args, out: seen.append("called"), always_call=True)
    with pytest.raises(RuntimeError):
        broken(cltorch.ones(1, 5))
    assert seen == [6.0, "called"]


def test_global_hooks_see_every_module():
    names = []
    handle = nn.modules.module.register_module_forward_hook(lambda m, args, out: names.append(type(m).__name__))
    with handle:
        nn.Sequential(nn.ReLU(), nn.Tanh())(cltorch.ones(1))
    nn.ReLU()(cltorch.ones(1))
    assert names == ["ReLU", "Tanh", "Sequential"]


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("needs", [True, False])
def test_full_backward_hooks_match_torch(needs):
    def run(lib):
        net = lib.nn.Linear(3, 2)
        with lib.no_grad():
            net.weight.fill_(0.5)
            net.bias.fill_(0.0)
        seen = []
        net.register_full_backward_pre_hook(lambda m, go: (go[0] * 2,))
        net.register_full_backward_hook(
            lambda m, gi, go: seen.append([None if g is None else g.detach().numpy().copy() for g in (*gi, *go)])
        )
        x = lib.ones(2, 3, requires_grad=needs)
        net(x).sum().backward()
        return seen[0] + [net.weight.grad.numpy(), x.grad.numpy() if needs else None]

    for mine, theirs in zip(run(cltorch), run(torch)):
        assert (mine is None) == (theirs is None)
        if mine is not None:
            np.testing.assert_allclose(mine, theirs, rtol=1e-6)


def test_full_backward_hook_replaces_the_gradient():
    net = nn.Linear(2, 2)
    net.register_full_backward_hook(lambda m, gi, go: (gi[0] * 0,))
    x = cltorch.ones(1, 2, requires_grad=True)
    net(x).sum().backward()
    assert x.grad.numpy().tolist() == [[0.0, 0.0]]


def test_state_dict_hooks():
    net = Net()
    net.register_state_dict_pre_hook(lambda m, prefix, keep: m.seen.fill_(7))
    net.register_state_dict_post_hook(lambda m, state, prefix, meta: state.update(note=1))
    state = net.state_dict()
    assert state["seen"].item() == 7 and state.pop("note") == 1
    other, seen = Net(), []
    other.register_load_state_dict_pre_hook(lambda m, *rest: seen.append(type(m).__name__))
    other.register_load_state_dict_post_hook(lambda m, keys: keys.missing_keys.clear())
    del state["weight"]
    other.load_state_dict(state)
    assert seen == ["Net"]


def test_extra_state_is_kept():
    class Counting(nn.Linear):
        count = 0

        def get_extra_state(self):
            return self.count

        def set_extra_state(self, state):
            self.count = state

    first, second = Counting(1, 1), Counting(1, 1)
    first.count = 5
    assert second.load_state_dict(first.state_dict()).missing_keys == [] and second.count == 5


def test_train_eval_apply_requires_grad_zero_grad():
    net, names = build(cltorch), []
    net.eval()
    assert not any(m.training for m in net.modules())
    net.train()
    net.apply(lambda m: names.append(type(m).__name__))
    assert names == ["Linear", "BatchNorm1d", "ReLU", "Linear", "Sequential", "Sequential"]
    net(cltorch.randn(3, 3)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert all((p.grad.numpy() == 0).all() for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    assert not any(p.requires_grad for p in net.requires_grad_(False).parameters())


def test_conversion_changes_floats_only_and_keeps_parameter_objects():
    net = build(cltorch)
    before = [id(p) for p in net.parameters()]
    net.double()
    assert [id(p) for p in net.parameters()] == before
    assert {b.dtype for b in net.buffers()} == {cltorch.float64, cltorch.int64}
    assert net.first.weight.dtype is cltorch.float64
    assert net.half().first.weight.dtype is cltorch.float16
    assert net.to(cltorch.zeros(1)).first.weight.dtype is cltorch.float32
    assert net.to("cpu", cltorch.float64).first.weight.dtype is cltorch.float64


def test_deepcopy_and_pickle_are_independent_and_equal():
    net = build(cltorch)
    for made in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert repr(made) == repr(net) and isinstance(made.first.weight, nn.Parameter)
        for (n, a), (m, b) in zip(net.state_dict().items(), made.state_dict().items()):
            assert n == m and a is not b
            np.testing.assert_array_equal(a.numpy(), b.numpy())
        with cltorch.no_grad():
            made.first.weight.fill_(9)
        assert net.first.weight.detach().numpy().max() < 9


def test_shared_modules_and_parameters_are_listed_once():
    layer = nn.Linear(2, 2)
    net = nn.Sequential(layer, nn.ReLU(), layer)
    assert len(list(net.parameters())) == 2
    assert len(list(net.named_parameters(remove_duplicate=False))) == 4
    assert [n for n, _ in net.named_modules()] == ["", "0", "1"]
    assert list(net.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_set_submodule():
    net = build(cltorch)
    net.set_submodule("rest.0", nn.Tanh())
    assert isinstance(net.rest[0], nn.Tanh)
    with pytest.raises(AttributeError):
        net.set_submodule("rest.9", nn.Tanh(), strict=True)


def test_parameter_shares_memory_and_is_a_leaf():
    data = cltorch.zeros(3)
    p = nn.Parameter(data)
    data.fill_(2)
    assert p.requires_grad and p.is_leaf and p.detach().numpy().tolist() == [2, 2, 2]
    assert repr(p).startswith("Parameter containing:\ntensor([2., 2., 2.]")
    with pytest.raises(TypeError):
        nn.Parameter([1.0])


def test_lazy_tensor_takes_its_shape_later():
    p = nn.UninitializedParameter()
    with pytest.raises(RuntimeError, match="uninitialized"):
        _ = p.shape
    p.materialize((2, 3))
    assert isinstance(p, nn.Parameter) and not isinstance(p, nn.UninitializedParameter) and tuple(p.shape) == (2, 3)
