"""Cold and warm start, and peak memory: each in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time

CHILD = """
import json, sys, time
start = time.perf_counter()
import {module} as torch
imported = time.perf_counter() - start
sys.path.insert(0, {root!r})
from benchmarks.models import training_step
step = training_step(torch, {model!r}, {batch})
if {threads}: torch.set_num_threads({threads})
step()
first = time.perf_counter() - start
for _ in range({steps}): step()
pool = 0
if {module!r} == 'cltorch': pool = torch.accelerator.max_memory_allocated()
status = open('/proc/self/status').read()  # not getrusage: that counts the parent's peak before exec too
rss = int(status.split('VmHWM:')[1].split()[0]) * 1024
print(json.dumps(dict(imported=imported, first=first, rss=rss, pool=pool)))
"""


def run(module: str, model: str, batch: int, device: str = "", cache: str | None = None, steps: int = 3) -> dict:
    """Seconds of import and of everything up to the first finished step, and peak memory in bytes, of a fresh process.
    """
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    environment = dict(os.environ, PYTHONPATH=root, CLTORCH_DEVICE=device)
    if cache is not None:
        environment.update(CLTORCH_CACHE_DIR=cache, XDG_CACHE_HOME=cache, POCL_CACHE_DIR=os.path.join(cache, "pocl"))
        os.makedirs(os.path.join(cache, "pocl"), exist_ok=True)
    text = CHILD.format(
        module=module, root=root, model=model, batch=batch, steps=steps, threads=2 if module == "torch" else 0
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found = json.loads(done.stdout.splitlines()[-1])
    found["process"] = time.perf_counter() - start
    return found


def cold_and_warm(device: str, model: str = "cnn", batch: int = 4) -> tuple[dict, dict]:
    """The first process with empty caches, and the second with what the first left."""
    with tempfile.TemporaryDirectory() as cache:
        return run("cltorch", model, batch, device, cache), run("cltorch", model, batch, device, cache)
