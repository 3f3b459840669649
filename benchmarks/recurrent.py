"""Recurrent networks: training steps and inference, written once for any module with PyTorch's API.

    python -m benchmarks.recurrent [--device cl:0] [--seconds 2]

`model`, `training_step` and `inference` take the module `torch` as an argument, so that the same code runs on both.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

INPUT, HIDDEN, LAYERS, STEPS = 256, 256, 2, 64
KINDS = ("LSTM", "GRU", "RNN")


def model(torch: Any, kind: str = "LSTM", **options: Any) -> Any:
    """LSTM, GRU or RNN of 2 x 256 with a linear head of 10 classes on the last step."""

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = getattr(torch.nn, kind)(INPUT, HIDDEN, LAYERS, **options)
            self.head = torch.nn.Linear(HIDDEN * (2 if options.get("bidirectional") else 1), 10)

        def forward(self, x: Any) -> Any:
            y, _ = self.body(x)  # (T, B, H)
            return self.head(y)

    return Network()


def training_step(
    torch: Any, kind: str = "LSTM", batch: int = 16, optimizer: str = "SGD", steps: int = STEPS, **options: Any
) -> Callable[[], float]:
    """A function that runs one step (forward, cross-entropy at every time step, backward, optimizer, `item()`)."""
    torch.manual_seed(0)
    network = model(torch, kind, **options)
    optim = getattr(torch.optim, optimizer)(network.parameters(), lr=0.001)
    criterion = torch.nn.CrossEntropyLoss()
    random = np.random.default_rng(0)
    x = torch.tensor(random.standard_normal((steps, batch, INPUT)).astype(np.float32))
    labels = torch.tensor(random.integers(0, 10, steps * batch))

    def step() -> float:
        optim.zero_grad()
        loss = criterion(network(x).reshape(-1, 10), labels)
        loss.backward()
        optim.step()
        return loss.item()

    return step


def inference(torch: Any, kind: str = "LSTM", batch: int = 1, steps: int = STEPS, **options: Any) -> Callable[[], None]:
    """A function that runs the network without gradients and waits for the result."""
    torch.manual_seed(0)
    network = model(torch, kind, **options).eval()
    random = np.random.default_rng(0)
    x = torch.tensor(random.standard_normal((steps, batch, INPUT)).astype(np.float32))

    def run() -> None:
        with torch.no_grad():
            network(x)[-1, 0, 0].item()

    return run


def cases() -> dict[str, Callable[[Any], Callable[[], Any]]]:
    """Name -> maker of the timed function from the module `torch`."""
    found: dict[str, Callable[[Any], Callable[[], Any]]] = {}
    for kind in KINDS:
        for batch in (1, 16, 64):
            found[f"train {kind} b{batch}"] = lambda t, k=kind, b=batch: training_step(t, k, b)  # type: ignore[misc]
            found[f"infer {kind} b{batch}"] = lambda t, k=kind, b=batch: inference(t, k, b)  # type: ignore[misc]
    found["train LSTM b16 Adam"] = lambda t: training_step(t, "LSTM", 16, "Adam")
    found["train LSTM b16 bidirectional"] = lambda t: training_step(t, "LSTM", 16, bidirectional=True)
    return found


def main() -> None:
    import torch

    import cltorch

    from .timing import interleave

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cl:0")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    torch.set_num_threads(2)

    for name, make in cases().items():
        if options.only not in name:
            continue
        both = interleave({"torch": make(torch), "ours": make(cltorch)}, options.seconds)
        theirs, ours = both["torch"].median, both["ours"].median
        times = f"{theirs * 1e3:8.2f} ms {ours * 1e3:8.2f} ms  {theirs / ours:5.2f}"
        print(f"{options.device} {name:30} {times}", flush=True)


if __name__ == "__main__":
    main()
