"""First step and peak memory of a training step: each in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_CHILD = """
import json, sys, time
start = time.perf_counter()
import {module} as torch
imported = time.perf_counter() - start
from benchmarks.cases import runner
from benchmarks.tables import named
if {threads}: torch.set_num_threads({threads})
def resident(which):  # not getrusage: that counts the parent's peak before exec too
    return int(open('/proc/self/status').read().split(which)[1].split()[0]) * 1024
torch.ones(1).sum().item()  # loads what an import leaves for later: drivers, threads
ready = time.perf_counter() - start
base = resident('VmRSS:')
run = runner(named({name!r}), torch)
begin = time.perf_counter()
run(1)
first = time.perf_counter() - begin
for _ in range({steps}): run(1)
pool = torch.accelerator.max_memory_allocated() if {module!r} == 'cltorch' else 0
print(json.dumps(dict(
    imported=imported, ready=ready, first=first, process=resident('VmHWM:'), peak=resident('VmHWM:') - base, pool=pool
)))
"""


def run(module: str, name: str, device: str = "", cache: str | None = None, steps: int = 2) -> dict[str, float]:
    """Of a fresh process that runs the case `name`: seconds of its import, until it is ready (driver loaded) and of the
    first step; bytes of the process's peak, of that above ready, and of cltorch's pool.
    """
    environment = dict(os.environ, PYTHONPATH=str(ROOT), CLTORCH_DEVICE=device)
    if cache is not None:
        environment.update(CLTORCH_CACHE_DIR=cache, XDG_CACHE_HOME=cache, POCL_CACHE_DIR=os.path.join(cache, "pocl"))
        os.makedirs(os.path.join(cache, "pocl"), exist_ok=True)
    text = _CHILD.format(module=module, name=name, steps=steps, threads=2 if module == "torch" else 0)
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found = json.loads(done.stdout.splitlines()[-1])
    found["took"] = time.perf_counter() - start
    return found
