"""tinygrad's training step of the CNN, in a process of its own that is told over a pipe when to run.

    python -m benchmarks.tinygrad_peer BATCH     # then a line on stdin per step; answers a line when done
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

START_LIMIT = 150.0  # seconds for import and three steps; kernels compiled by then stay in the caches of its driver


class Peer:
    """A running tinygrad process: calling it runs one step and waits for it.

    Raises:
        RuntimeError: tinygrad fails here, or is not ready after `limit` seconds.
    """

    def __init__(self, batch: int, limit: float = START_LIMIT):
        environment = dict(os.environ, DEV="CL", PYTHONPATH=str(Path(__file__).resolve().parent.parent))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.tinygrad_peer", str(batch)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        assert self.process.stdout is not None
        bound = threading.Timer(limit, self.process.kill)
        bound.start()
        self.first = self.process.stdout.readline()  # seconds to import and to run the first three steps
        late = not bound.is_alive()
        bound.cancel()
        if not self.first:
            _, errors = self.process.communicate()
            raise RuntimeError(f"not ready after {limit:.0f} s" if late else errors[-500:])

    def __call__(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def main(batch: int) -> None:
    import time

    start = time.perf_counter()
    from tinygrad import Tensor, TinyJit, nn
    from tinygrad.helpers import Context

    class CNN:
        def __init__(self):
            self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
            self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

        def __call__(self, x):
            x = self.conv1(x).relu().max_pool2d(2)
            x = self.conv2(x).relu().max_pool2d(2).reshape(-1, 400)
            return self.fc3(self.fc2(self.fc1(x).relu()).relu())

    model = CNN()
    optimizer = nn.optim.SGD(nn.state.get_parameters(model), lr=0.001, momentum=0.9)
    images, labels = Tensor.randn(batch, 3, 32, 32).realize(), Tensor.randint(batch, low=0, high=10).realize()

    @TinyJit
    def step(x, y):
        with Context(TRAINING=1):
            optimizer.zero_grad()
            loss = model(x).sparse_categorical_crossentropy(y).backward()
            optimizer.step()
            return loss.realize()

    for _ in range(3):
        step(images, labels).item()
    print(time.perf_counter() - start, flush=True)
    for _ in sys.stdin:
        step(images, labels).item()
        print(flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
