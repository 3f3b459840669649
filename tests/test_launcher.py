"""`cltorch run`: unmodified PyTorch scripts, their worker processes, exit codes and faults.

A fake `torch` that refuses to be imported stands on the path of every script here: cltorch must be found before an
installed PyTorch.
"""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cltorch

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = ROOT / "tests" / "programs" / "cifar_cnn.py"


@pytest.fixture
def launch(tmp_path: Path):
    """Runs a text as a script under `cltorch run`, in `tmp_path`, where a real torch would be found first."""
    site = tmp_path / "site"
    for name in ("torch", "torchvision"):
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text("raise SystemExit('the real torch was imported')\n")

    def run(text: str, *arguments: str, limit: int = 120, **environment: str) -> subprocess.CompletedProcess:
        script = tmp_path / "script.py"
        script.write_text(text)
        path = os.pathsep.join([str(site), str(ROOT), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "cltorch.cli", "run", str(script), *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, **environment},
            capture_output=True,
            text=True,
            timeout=limit,
        )

    return run


def fine(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
    return done.stdout


def test_imports(launch) -> None:
    out = fine(
        launch("""
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch import Tensor, nn as again
from torch.nn.modules.linear import Linear
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, Dataset, TensorDataset
import torchvision
import torchvision.transforms as transforms
from torchvision import datasets, models
from torchvision.transforms import functional
import cltorch, cltorch.nn.functional
assert torch is cltorch and F is cltorch.nn.functional and nn is again is cltorch.nn and Linear is nn.Linear
assert torchvision is cltorch.vision and transforms is cltorch.vision.transforms
assert nn.functional is F and torch.utils.data.DataLoader is DataLoader
assert torch.__name__ == cltorch.__spec__.name == "cltorch" and F.__spec__.name == "cltorch.nn.functional"
print(torch.__version__, torch.ones(2).sum().item(), __name__, __file__.endswith("script.py"))
""")
    )
    assert out == f"{cltorch.__version__} 2.0 __main__ True\n"


def test_arguments_and_neighbours(launch, tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("VALUE = 5\n")
    out = fine(
        launch("import sys, neighbour\nprint(sys.argv[1:], neighbour.VALUE)", "--help", "-x", "a b", "--", "run")
    )
    assert out == "['--help', '-x', 'a b', '--', 'run'] 5\n"


@pytest.mark.parametrize(
    "text, status",
    [
        ("import sys; sys.exit(7)", 7),
        ("raise SystemExit", 0),
        ("import sys; sys.exit('gone')", 1),
        ("1 / 0", 1),
        ("", 0),
    ],
)
def test_exit_status(launch, text: str, status: int) -> None:
    assert launch(text).returncode == status


def test_traceback_begins_in_the_script(launch) -> None:
    done = launch("import torch\n\ndef work():\n    return torch.ones(2) + torch.ones(3)\n\nwork()\n")
    assert done.returncode == 1
    head, first, *_ = done.stderr.splitlines()
    assert head.startswith("Traceback") and re.match(r'  File ".*script\.py", line 6, in <module>', first), done.stderr
    assert "return torch.ones(2) + torch.ones(3)" in done.stderr and "launcher.py" not in done.stderr
    assert "RuntimeError" in done.stderr.splitlines()[-1]


def test_the_script_s_own_faults_keep_their_traceback(launch) -> None:
    done = launch("open('/no/such/file')")
    assert done.returncode == 1 and 'script.py", line 1' in done.stderr and "FileNotFoundError" in done.stderr
    done = launch("import torch\ntorch.ones(1, device='cl:77').sum().item()")
    assert done.returncode == 1 and 'script.py", line 2' in done.stderr and "cl:77" in done.stderr
    done = launch("def f(:\n")
    assert done.returncode == 1 and "SyntaxError" in done.stderr and "script.py" in done.stderr


def test_missing_script(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cltorch.cli", "run", "nothing.py"], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2 and "nothing.py" in done.stderr and "Traceback" not in done.stderr


def test_missing_module(launch) -> None:
    out = fine(
        launch("""
for name in ("torch.no_such_room", "torch.no_such_room.deep", "torchvision.no_such_room"):
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        print(error.name, "|", error)
try:
    from torch import no_such_name
except ImportError as error:
    print(type(error).__name__)
""")
    )
    first, second, third, fourth = out.splitlines()
    assert first.startswith("torch.no_such_room |") and "has no cltorch.no_such_room yet" in first
    assert second.startswith("torch.no_such_room") and third.startswith("torchvision.no_such_room |")
    assert fourth == "ImportError"


WORKERS = """
import torch
from torch.utils.data import DataLoader, Dataset

class Squares(Dataset):
    def __len__(self):
        return 20
    def __getitem__(self, i):
        return torch.tensor([float(i)]) ** 2, i

if __name__ == "__main__":
    loader = DataLoader(Squares(), batch_size=4, num_workers=2, multiprocessing_context={context!r})
    total = sum(x.sum().item() for x, _ in loader)
    assert total == sum(i * i for i in range(20)), total
    print("right")
"""


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_loader_workers(launch, context: str) -> None:
    assert fine(launch(WORKERS.format(context=context))) == "right\n"


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_processes_of_the_script(launch, context: str) -> None:
    out = fine(
        launch(f"""
import multiprocessing, subprocess, sys
import torch

class Thing:
    pass

def work(queue, thing):
    import torchvision, torch.nn.functional
    assert type(thing) is Thing
    queue.put(torch.__name__ + " " + torchvision.__name__)

if __name__ == "__main__":
    context = multiprocessing.get_context({context!r})
    queue = context.Queue()
    child = context.Process(target=work, args=(queue, Thing()))
    child.start()
    print(queue.get(timeout=60))
    child.join()
    print(subprocess.run([sys.executable, "-c", "import torchvision; import torch; print(torch.__name__)"],
                         capture_output=True, text=True).stdout.strip())
""")
    )
    assert out == "cltorch cltorch.vision\ncltorch\n"


def test_threads_and_exit_functions_outlive_the_script(launch) -> None:
    out = fine(
        launch("""
import atexit, pickle, threading, time
class Thing:
    pass
def late():
    time.sleep(0.3)
    pickle.dumps(Thing())
    print("thread")
atexit.register(lambda: (pickle.dumps(Thing()), print("exit")))
threading.Thread(target=late).start()
""")
    )
    assert out == "thread\nexit\n"


def test_pytorch_is_not_the_one_that_is_installed(launch) -> None:
    """The fixture's fake torch ends the process; without `run` it would."""
    done = launch("import torch, sys; print([n for n in sys.modules if n.startswith('torch')][0], torch.__file__)")
    assert fine(done).startswith("torch ") and "cltorch" in done.stdout


# -- the program
# --------------------------------------------------------------------------------------------------------


def write_cifar10(root: Path, per_batch: int) -> None:
    """CIFAR-10 in torchvision's on-disk format: ten classes, each a colour with noise."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (10, 3, 1))
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        labels = rng.integers(0, 10, per_batch)
        images = colours[labels] + rng.integers(-20, 20, (per_batch, 3, 1024))
        data = images.clip(0, 255).astype(np.uint8).reshape(per_batch, 3072)
        content = {"batch_label": name, "labels": labels.tolist(), "data": data, "filenames": ["x.png"] * per_batch}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    names = [f"class{i}" for i in range(10)]
    (folder / "batches.meta").write_bytes(
        pickle.dumps({"label_names": names, "num_cases_per_batch": per_batch}, protocol=2)
    )


def unmodified() -> str:
    """The program with PyTorch's import lines."""
    ours = PROGRAM.read_text()
    text = re.sub(r"^import cltorch\.vision\.transforms as", "import torchvision.transforms as", ours, flags=re.M)
    text = text.replace("import cltorch.vision as torchvision", "import torchvision")
    text = text.replace("import cltorch as torch", "import torch")
    text = re.sub(r"^import cltorch\.", "import torch.", text, flags=re.M)
    assert "import cltorch" not in text and text.count("\nimport torch") == 6
    return text


@pytest.mark.timeout(300)
def test_cifar_program_unmodified(launch, tmp_path: Path) -> None:
    write_cifar10(tmp_path / "data", 40)
    out = fine(launch(unmodified(), limit=280))
    assert "Finished Training" in out
    assert 0 <= float(re.search(r"Accuracy: ([\d.]+) %", out).group(1)) <= 100


@pytest.mark.timeout(300)
def test_cifar_program_with_our_imports(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "data", 40)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(PROGRAM)], cwd=tmp_path, capture_output=True, text=True, timeout=280,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert "Finished Training" in fine(done) and "Accuracy: " in done.stdout
