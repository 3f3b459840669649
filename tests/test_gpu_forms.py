"""The GPU forms of all kernels, run on a CPU device: training gives the same losses as with the CPU forms."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
import dataclasses, json, sys
import cltorch as torch
from cltorch import runtime
from benchmarks.models import training_step
device = runtime.get_device("cl:0")
if sys.argv[1] == "gpu":
    device.target = dataclasses.replace(
        device.target, kind="gpu", vector_width=1, local_memory=49152, max_work_group=256, compute_units=4
    )
step = training_step(torch, sys.argv[2], int(sys.argv[3]))
print(json.dumps([step() for _ in range(int(sys.argv[4]))]))
"""


@pytest.mark.parametrize("model, batch, steps", [("cnn", 4, 8), ("resnet18", 2, 2)])
def test_losses_agree(model, batch, steps):
    def losses(kind):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, kind, model, str(batch), str(steps)],
            capture_output=True, text=True, timeout=170, env=dict(os.environ, PYTHONPATH=str(ROOT)),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return np.array(json.loads(done.stdout))

    np.testing.assert_allclose(losses("gpu"), losses("cpu"), rtol=2e-4)
