"""Training gives PyTorch's losses: the same weights, the same batches, step by step."""

import numpy as np
import pytest

import cltorch
from benchmarks.models import MODELS

peer = pytest.importorskip("torch")


def losses(torch, name, weights, batches, make_optimizer, dtype):
    model = MODELS[name](torch).to(getattr(torch, dtype))
    model.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})
    optimizer = make_optimizer(torch, model.parameters())
    criterion = torch.nn.CrossEntropyLoss()
    found = []
    for images, labels in batches:
        optimizer.zero_grad()
        loss = criterion(model(torch.tensor(images.astype(dtype))), torch.tensor(labels))
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return np.array(found)


def make_batches(steps, size):
    """Images of ten classes, each a noisy pattern: learnable, so that the losses fall."""
    random = np.random.default_rng(0)
    patterns = random.standard_normal((10, 3, 32, 32)).astype(np.float32)
    for _ in range(steps):
        labels = random.integers(0, 10, size)
        yield (patterns[labels] * 0.5 + random.standard_normal((size, 3, 32, 32)).astype(np.float32), labels)


# Adam divides by the size of tiny gradients, so that float32 rounding alone moves its losses by 2e-3 in 40 steps: it is
# compared in float64
@pytest.mark.parametrize(
    "name, steps, size, make_optimizer, dtype, tolerance",
    [
        ("cnn", 200, 4, lambda torch, p: torch.optim.SGD(p, lr=0.001, momentum=0.9), "float32", 1e-3),
        ("cnn", 40, 32, lambda torch, p: torch.optim.Adam(p, lr=0.001), "float64", 1e-7),
        (
            "resnet18",
            4,
            8,
            lambda torch, p: torch.optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=5e-4),
            "float32",
            1e-3,
        ),
    ],
    ids=["cnn-sgd", "cnn-adam", "resnet18-sgd"],
)
def test_losses(name, steps, size, make_optimizer, dtype, tolerance):
    peer.manual_seed(0)
    weights = {k: v.numpy() for k, v in MODELS[name](peer).state_dict().items()}
    batches = list(make_batches(steps, size))
    theirs = losses(peer, name, weights, batches, make_optimizer, dtype)
    ours = losses(cltorch, name, weights, batches, make_optimizer, dtype)
    np.testing.assert_allclose(ours, theirs, rtol=tolerance)
    if steps >= 40:
        assert theirs[-10:].mean() < theirs[:10].mean()
