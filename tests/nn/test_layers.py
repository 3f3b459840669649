"""Every layer against PyTorch's: output, gradients of input and parameters, buffers after the call, in training and
evaluation.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import cltorch
from cltorch import nn
from cltorch.nn import functional as F

# layer, arguments, keyword arguments, shapes of float inputs
LAYERS = [
    ("Linear", (5, 3), {}, (2, 5)),
    ("Linear", (5, 3), {"bias": False}, (5,)),
    ("Linear", (5, 3), {}, (2, 3, 5)),
    ("Linear", (5, 3), {}, (0, 5)),
    ("Identity", (), {}, (2, 3)),
    ("Conv1d", (4, 6, 3), {"padding": 1, "groups": 2}, (2, 4, 9)),
    ("Conv1d", (4, 6, 4), {"padding": "same", "padding_mode": "circular"}, (4, 9)),
    ("Conv2d", (3, 5, 3), {"stride": (2, 1), "padding": (1, 2)}, (2, 3, 8, 7)),
    ("Conv2d", (3, 5, 4), {"padding": "same", "dilation": 2}, (2, 3, 9, 8)),
    ("Conv2d", (4, 4, 3), {"groups": 4, "bias": False}, (4, 6, 5)),
    ("Conv2d", (2, 3, 3), {"padding": 1, "padding_mode": "reflect"}, (1, 2, 5, 6)),
    ("ConvTranspose1d", (4, 2, 3), {"stride": 2, "output_padding": 1}, (2, 4, 5)),
    ("ConvTranspose2d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, (2, 4, 5, 4)),
    ("MaxPool1d", (3,), {"stride": 2, "padding": 1}, (2, 3, 9)),
    ("MaxPool2d", (2,), {}, (2, 3, 8, 6)),
    ("MaxPool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, (3, 7, 8)),
    ("AvgPool1d", (3,), {"stride": 2}, (2, 3, 9)),
    ("AvgPool2d", (3,), {"stride": 2, "padding": 1, "count_include_pad": False}, (2, 3, 7, 8)),
    ("AdaptiveAvgPool1d", (3,), {}, (2, 3, 8)),
    ("AdaptiveAvgPool2d", ((3, None),), {}, (2, 3, 7, 5)),
    ("AdaptiveAvgPool2d", (1,), {}, (2, 3, 7, 5)),
    ("AdaptiveMaxPool1d", (3,), {}, (2, 3, 8)),
    ("AdaptiveMaxPool2d", ((3, 2),), {}, (2, 3, 7, 5)),
    ("LPPool2d", (2, 2), {}, (2, 3, 6, 6)),
    ("BatchNorm1d", (5,), {}, (4, 5)),
    ("BatchNorm1d", (5,), {"momentum": None}, (4, 5, 3)),
    ("BatchNorm2d", (3,), {"eps": 1e-3, "momentum": 0.3}, (2, 3, 4, 5)),
    ("BatchNorm2d", (3,), {"affine": False}, (2, 3, 4, 5)),
    ("BatchNorm2d", (3,), {"track_running_stats": False}, (2, 3, 4, 5)),
    ("BatchNorm2d", (3,), {"bias": False}, (2, 3, 4, 5)),
    ("InstanceNorm1d", (3,), {"affine": True, "track_running_stats": True}, (2, 3, 6)),
    ("InstanceNorm2d", (3,), {}, (3, 4, 5)),
    ("LayerNorm", (6,), {}, (2, 3, 6)),
    ("LayerNorm", ((3, 6),), {"bias": False}, (2, 3, 6)),
    ("LayerNorm", (6,), {"elementwise_affine": False}, (2, 3, 6)),
    ("RMSNorm", (6,), {}, (2, 3, 6)),
    ("GroupNorm", (2, 6), {}, (3, 6, 4)),
    ("GroupNorm", (3, 6), {"affine": False}, (3, 6)),
    ("LocalResponseNorm", (3,), {}, (2, 6, 4)),
    ("ReLU", (), {"inplace": True}, (3, 4)),
    ("ReLU6", (), {}, (3, 4)),
    ("ELU", (1.5,), {}, (3, 4)),
    ("SELU", (), {}, (3, 4)),
    ("CELU", (2.0,), {}, (3, 4)),
    ("GELU", (), {}, (3, 4)),
    ("GELU", ("tanh",), {}, (3, 4)),
    ("SiLU", (), {}, (3, 4)),
    ("Mish", (), {}, (3, 4)),
    ("Hardtanh", (-0.5, 0.7), {}, (3, 4)),
    ("Hardswish", (), {}, (3, 4)),
    ("Hardsigmoid", (), {}, (3, 4)),
    ("Hardshrink", (), {}, (3, 4)),
    ("Softshrink", (), {}, (3, 4)),
    ("LeakyReLU", (0.2,), {}, (3, 4)),
    ("PReLU", (4,), {}, (3, 4)),
    ("Threshold", (0.1, 2.0), {}, (3, 4)),
    ("Sigmoid", (), {}, (3, 4)),
    ("Tanh", (), {}, (3, 4)),
    ("LogSigmoid", (), {}, (3, 4)),
    ("Softsign", (), {}, (3, 4)),
    ("Softplus", (2.0, 1.0), {}, (3, 4)),
    ("Tanhshrink", (), {}, (3, 4)),
    ("GLU", (), {}, (3, 4)),
    ("Softmax", (1,), {}, (3, 4, 2)),
    ("LogSoftmax", (-1,), {}, (3, 4)),
    ("Softmin", (0,), {}, (3, 4)),
    ("Softmax2d", (), {}, (2, 3, 4, 5)),
    ("Flatten", (), {}, (2, 3, 4)),
    ("Unflatten", (1, (2, 3)), {}, (2, 6)),
    ("ZeroPad2d", ((1, -1, 2, 0),), {}, (2, 3, 4, 5)),
    ("ConstantPad1d", (2, 3.5), {}, (2, 3, 4)),
    ("ReflectionPad2d", ((1, 2, 0, 3),), {}, (2, 4, 5)),
    ("ReplicationPad1d", ((2, 1),), {}, (2, 3, 4)),
    ("CircularPad2d", ((1, 2, 2, 1),), {}, (2, 3, 4, 5)),
    ("PixelShuffle", (2,), {}, (2, 8, 3, 4)),
    ("PixelUnshuffle", (2,), {}, (2, 2, 4, 6)),
    ("Upsample", (), {"scale_factor": 2}, (2, 3, 4, 5)),
    ("Upsample", (), {"size": (7, 3)}, (2, 3, 4, 5)),
    ("Upsample", (), {"size": (7, 3), "mode": "bilinear"}, (2, 3, 4, 5)),
    ("Upsample", (), {"scale_factor": 1.7, "mode": "linear", "align_corners": True}, (2, 3, 5)),
    ("Unfold", ((2, 3),), {"padding": 1, "stride": 2}, (2, 3, 5, 6)),
    ("Fold", ((5, 6), (2, 3)), {"padding": 1, "stride": 2}, (2, 18, 9)),
]


def carried(state):
    return {k: cltorch.tensor(v.numpy()) for k, v in state.items()}


def close(mine, theirs, what):
    mine, theirs = mine.detach().numpy(), theirs.detach().numpy()
    assert mine.shape == theirs.shape, what
    np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=2e-5, err_msg=what)


@pytest.mark.parametrize("name, args, kwargs, shape", LAYERS, ids=lambda v: v if isinstance(v, str) else "")
def test_layer_is_torchs(name, args, kwargs, shape):
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(*args, **kwargs)
    ours = getattr(nn, name)(*args, **kwargs)
    with torch.no_grad():
        for p in theirs.parameters():
            p.copy_(torch.randn_like(p))
    ours.load_state_dict(carried(theirs.state_dict()))
    rng = np.random.RandomState(1)
    for training in (True, False):
        data = rng.randn(*shape).astype("f")
        a = torch.tensor(data, requires_grad=True)
        b = cltorch.tensor(data, requires_grad=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # a factor in front lets in-place layers work on what is no leaf
            want, got = theirs.train(training)(a * 1), ours.train(training)(b * 1)
        close(got, want, "output")
        weight = rng.randn(*want.shape).astype("f")
        (want * torch.tensor(weight)).sum().backward()
        (got * cltorch.tensor(weight)).sum().backward()
        close(b.grad, a.grad, "gradient of the input")
        for (n, p), q in zip(theirs.named_parameters(), ours.parameters()):
            close(q.grad, p.grad, f"gradient of {n}")
        for (n, p), q in zip(theirs.named_buffers(), ours.buffers()):
            close(q, p, n)
        theirs.zero_grad()
        ours.zero_grad()


@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}, {"scale_grad_by_freq": True}, {"max_norm": 1.0}])
def test_embedding_is_torchs(options):
    theirs, ours = torch.nn.Embedding(6, 3, **options), nn.Embedding(6, 3, **options)
    ours.load_state_dict(carried(theirs.state_dict()))
    index = np.array([[0, 1, 5], [5, 2, 0]])
    want, got = theirs(torch.tensor(index)), ours(cltorch.tensor(index))
    close(got, want, "rows")
    weight = np.random.RandomState(0).randn(*want.shape).astype("f")
    (want * torch.tensor(weight)).sum().backward()
    (got * cltorch.tensor(weight)).sum().backward()
    close(ours.weight.grad, theirs.weight.grad, "gradient")
    close(ours.weight, theirs.weight, "table")


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag_is_torchs(mode):
    theirs, ours = torch.nn.EmbeddingBag(6, 3, mode=mode), nn.EmbeddingBag(6, 3, mode=mode)
    ours.load_state_dict(carried(theirs.state_dict()))
    index, offsets = np.array([0, 1, 5, 5, 2]), np.array([0, 2, 2])
    want = theirs(torch.tensor(index), torch.tensor(offsets))
    got = ours(cltorch.tensor(index), cltorch.tensor(offsets))
    close(got, want, "bags")


def test_layers_on_views_and_other_strides():
    rng = np.random.RandomState(0)
    data = rng.randn(7, 3, 8, 2).astype("f")
    conv, ours = torch.nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    ours.load_state_dict(carried(conv.state_dict()))
    a, b = torch.tensor(data).permute(3, 1, 0, 2), cltorch.tensor(data).permute(3, 1, 0, 2)
    close(ours(b), conv(a), "conv of a permuted input")
    lin, mine = torch.nn.Linear(7, 4), nn.Linear(7, 4)
    mine.load_state_dict(carried(lin.state_dict()))
    close(
        mine(cltorch.tensor(data)[:, 1, :, 0].t()),
        lin(torch.tensor(data)[:, 1, :, 0].t()),
        "linear of a transposed slice",
    )


def test_dropout_keeps_the_mean_and_is_the_identity_in_evaluation():
    x = cltorch.ones(64, 64, requires_grad=True)
    cltorch.manual_seed(0)
    layer = nn.Dropout(0.25)
    y = layer(x)
    values = y.detach().numpy()
    assert set(np.unique(values.round(5))) == {0.0, np.float32(1.33333)}
    assert abs((values == 0).mean() - 0.25) < 0.03
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), values)
    assert layer.eval()(x) is x
    whole = nn.Dropout2d(0.5)(cltorch.ones(16, 8, 3, 3)).numpy()
    assert all(len(np.unique(plane)) == 1 for plane in whole.reshape(-1, 9))
    assert (F.dropout(x, 1.0).detach().numpy() == 0).all()
    for bad in (-0.1, 1.5):
        with pytest.raises(ValueError, match="dropout probability"):
            nn.Dropout(bad)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.linear(x, x[:2] * 2),
        lambda x: F.layer_norm(x, (3,), x[0], x[1]),
        lambda x: F.rms_norm(x, (3,), x[0], 1e-3),
        lambda x: F.batch_norm(x, None, None, x[0], x[1], True),
        lambda x: F.conv1d(x.unsqueeze(0), x.repeat(2, 1).reshape(2, 4, 3)[:, :, :2]),
        lambda x: F.pad(x, (1, 2, -1, 0)),
        lambda x: F.max_pool1d(x.unsqueeze(0), 2, 1),
    ],
)
def test_second_derivatives_of_layers_with_their_own_backward(function):
    x = cltorch.tensor(np.random.RandomState(0).randn(4, 3), requires_grad=True)
    assert cltorch.autograd.gradcheck(function, (x,))
    assert cltorch.autograd.gradgradcheck(function, (x,))


@pytest.mark.parametrize(
    "name, args, shape", [("BatchNorm2d", (3,), (2, 3, 4, 4)), ("LayerNorm", (6,), (4, 6)), ("Linear", (6, 3), (4, 6))]
)
def test_half_precision_layers_compute_in_float(name, args, shape):
    theirs, ours = getattr(torch.nn, name)(*args), getattr(nn, name)(*args)
    ours.load_state_dict(carried(theirs.state_dict()))
    x = np.random.RandomState(0).randn(*shape).astype("f")
    got = ours.half()(cltorch.tensor(x).half())
    got.sum().backward()
    assert got.dtype is cltorch.float16 and all(p.grad.dtype is cltorch.float16 for p in ours.parameters())
    np.testing.assert_allclose(
        got.detach().float().numpy(), theirs(torch.tensor(x)).detach().numpy(), rtol=2e-2, atol=2e-2
    )


@pytest.mark.parametrize(
    "act, kind, words",
    [
        (lambda: nn.Linear(3, 2)(cltorch.ones(4, 5)), RuntimeError, "cannot be multiplied"),
        (lambda: nn.Conv2d(3, 2, 3)(cltorch.ones(1, 4, 5, 5)), RuntimeError, "channels"),
        (lambda: nn.Conv2d(3, 2, 3)(cltorch.ones(1, 3, 2, 2)), RuntimeError, "Kernel size"),
        (lambda: nn.Conv2d(3, 2, 3)(cltorch.ones(3)), RuntimeError, "Expected 3D"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ValueError, "divisible by groups"),
        (lambda: nn.Conv2d(3, 4, 3, padding="same", stride=2), ValueError, "strided"),
        (lambda: nn.BatchNorm1d(3)(cltorch.ones(1, 3)), ValueError, "more than 1 value per channel"),
        (lambda: nn.BatchNorm2d(3)(cltorch.ones(2, 3)), ValueError, "expected 4D input"),
        (lambda: nn.BatchNorm1d(3)(cltorch.ones(2, 4)), RuntimeError, "should contain 4 elements not 3"),
        (lambda: nn.LayerNorm(3)(cltorch.ones(2, 4)), RuntimeError, "normalized_shape"),
        (lambda: nn.GroupNorm(2, 3), ValueError, "divisible"),
        (lambda: nn.MaxPool2d(5)(cltorch.ones(1, 1, 3, 3)), RuntimeError, "too small"),
        (lambda: nn.Embedding(3, 2)(cltorch.ones(2)), RuntimeError, "indices"),
        (lambda: F.pad(cltorch.ones(2, 3), (4, 4), "reflect"), RuntimeError, "[Pp]adding size"),
        (lambda: F.interpolate(cltorch.ones(1, 1, 2, 2)), ValueError, "size or scale_factor"),
        (lambda: F.glu(cltorch.ones(3)), RuntimeError, "even"),
    ],
)
def test_misuse_raises(act, kind, words):
    with pytest.raises(kind, match=words):
        act()
