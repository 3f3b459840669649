"""The main job: it learns, writes its picture and checkpoint, and goes on from one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
for needed in ("sklearn", "matplotlib", "tqdm", "PIL"):
    pytest.importorskip(needed)


def run(*arguments):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "train_images.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=170,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def test_digits_are_learnt_and_training_goes_on(tmp_path):
    first = run("--epochs", "5", "--out", str(tmp_path), "--workers", "1")
    assert "epoch 5/5" in first.stderr  # the progress bar
    accuracy = [float(a) for a in re.findall(r"test accuracy ([\d.]+) %", first.stdout)]
    assert len(accuracy) == 5 and accuracy[-1] > 80
    assert (tmp_path / "result.png").stat().st_size > 10_000
    again = run("--epochs", "6", "--out", str(tmp_path), "--resume", str(tmp_path / "checkpoint.pt"))
    assert "resumed after epoch 5" in again.stdout and "epoch 6:" in again.stdout and "epoch 5:" not in again.stdout


def test_resnet_runs(tmp_path):
    given = "--model resnet18 --epochs 1 --batch-size 8 --limit 16 --out".split()
    out = run(*given, str(tmp_path)).stdout
    assert "Test accuracy" in out
