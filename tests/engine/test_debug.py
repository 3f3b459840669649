"""The ladder of CLTORCH_DEBUG, eager execution, and faults of the driver's compiler, each in a process of its own."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import cltorch as torch
x = torch.arange(12.0).reshape(3, 4)
print(torch.softmax(x * 2 + 1, -1).sum().item())
"""

BROKEN = """
import cltorch as torch
from cltorch import dispatch
from cltorch.errors import BuildError
from cltorch.ops.table import POINTWISE, Op
x = torch.ones(4)
y = x + 1
bad = dispatch.apply(Op("bad_op", POINTWISE, 1, "no_such_function({0})"), (x,))  # HERE
try:
    print(bad.tolist())
except BuildError as error:
    print(error)
del bad
print(y.tolist())
"""


def run(text, tmp_path, **settings):
    path = tmp_path / "program.py"
    path.write_text(text)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    environment = dict(os.environ, PYTHONPATH=root, **settings)
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    return done


def test_a_line_per_kernel(tmp_path):
    plain = run(PROGRAM, tmp_path)
    lines = run(PROGRAM, tmp_path, CLTORCH_DEBUG="2").stderr.splitlines()
    assert plain.stderr == "" and lines and all("GB/s" in line and "GFLOPS" in line and "us" in line for line in lines)
    assert any("softmax" in line or "_sum" in line for line in lines)


def test_sources(tmp_path):
    assert "__kernel" in run(PROGRAM, tmp_path, CLTORCH_DEBUG="4").stderr


def test_eager_gives_the_same(tmp_path):
    for eager in "01":
        assert float(run(PROGRAM, tmp_path, CLTORCH_EAGER=eager).stdout) == pytest.approx(3.0, rel=1e-6)


@pytest.mark.parametrize("level", ["0", "1"])
def test_a_kernel_that_does_not_build(tmp_path, level):
    out = run(BROKEN, tmp_path, CLTORCH_DEBUG=level).stdout
    assert "bad_op" in out and "no_such_function" in out
    assert out.splitlines()[-1] == "[2.0, 2.0, 2.0, 2.0]"  # the rest still runs
    assert ("# HERE" in out) == (level == "1")


def test_a_number_that_is_none(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "import cltorch"],
        capture_output=True,
        text=True,
        env=dict(os.environ, CLTORCH_DEBUG="loud"),
        timeout=60,
    )
    assert done.returncode and "CLTORCH_DEBUG: got 'loud', wanted an integer" in done.stderr
