"""Matrix-product kernels against torch.matmul: ratio torch_time / our_time, interleaved in one process, minima.

    python benchmarks/kernels_gemm.py [--devices intel,pocl31] [--only square] [--rounds 12] [--one-thread]

Kernels are launched with plain pyopencl in batches of about 2 ms with one wait at the end. PyTorch writes into a given
result and is given time to put its threads to sleep before ours are timed: they spin for milliseconds, against
whoever comes next. `--one-thread` gives every side one thread: the figures to look at on a machine in use.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from math import prod
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "codegen")]

# family: (batch, M, N, K, A transposed, B transposed)
CASES = {
    "square": [((), s, s, s, a, b) for s in (128, 256, 512, 768, 1000, 1024, 2048) for a in (0, 1) for b in (0, 1)],
    "linear": [
        ((), 1024, 1152, 384, 0, 1), ((), 1024, 384, 384, 0, 1), ((), 1024, 1536, 384, 0, 1),
        ((), 1024, 384, 1536, 0, 1), ((), 1024, 384, 1152, 0, 0), ((), 1024, 1536, 384, 0, 0),
        ((), 1024, 384, 1536, 0, 0), ((), 1152, 384, 1024, 1, 0), ((), 384, 384, 1024, 1, 0),
        ((), 1536, 384, 1024, 1, 0), ((), 384, 1536, 1024, 1, 0), ((), 1024, 1024, 256, 0, 1),
        ((), 16, 1024, 256, 0, 1), ((), 16, 256, 1024, 0, 0), ((), 1024, 256, 1024, 1, 0),
    ],
    "skinny": [
        ((), 4096, 64, 64, 0, 0), ((), 64, 1024, 4096, 0, 0), ((), 64, 1024, 4096, 0, 1), ((), 64, 4096, 1024, 0, 0),
        ((), 16, 1024, 1024, 0, 0), ((), 16, 1024, 1024, 0, 1), ((), 64, 64, 65536, 1, 0), ((), 64, 64, 65536, 0, 1),
    ],
    "batch": [
        ((64,), 64, 64, 64, 0, 0), ((64,), 64, 64, 64, 0, 1), ((24,), 256, 256, 64, 0, 1), ((24,), 256, 64, 256, 0, 0),
    ],
    "vector": [((), 1, s, s, 0, b) for s in (1024, 4096) for b in (0, 1)],
    "tiny": [
        ((), 4, 120, 400, 0, 1), ((), 4, 84, 120, 0, 1), ((), 4, 10, 84, 0, 1), ((), 4, 400, 120, 0, 0),
        ((), 4, 120, 84, 0, 0), ((), 4, 84, 10, 0, 0), ((), 120, 400, 4, 1, 0), ((), 84, 120, 4, 1, 0),
        ((), 10, 84, 4, 1, 0),
    ],
}


def seconds(call: Callable[[int], None], count: int) -> float:
    start = time.perf_counter()
    call(count)
    return (time.perf_counter() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", default="intel,pocl31,pocl30")
    parser.add_argument("--only", default=",".join(CASES), help=f"families: {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--one-thread", action="store_true")
    options = parser.parse_args()
    os.environ["CLTORCH_TEST_DEVICES"] = options.devices
    if options.one_thread:
        os.environ.update(
            POCL_MAX_PTHREAD_COUNT="1", CL_CONFIG_CPU_TBB_NUM_WORKERS="1", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1"
        )
    import numpy as np
    import pyopencl as cl
    import runner
    import torch

    from cltorch.codegen.gemm import lower_matmul
    from cltorch.codegen.source import Input, Local, Output, Scratch
    from cltorch.dtypes import float32
    from cltorch.shapes import Layout, layout

    def view(x: torch.Tensor) -> Layout:
        return layout(float32, tuple(x.shape), tuple(x.stride()))

    def prepare(raw: runner.RawDevice, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> Callable[[int], None]:
        """A function that runs the product `count` times and waits."""
        lowered = lower_matmul((view(a), view(b)), (view(c),), (), runner.target(raw), None)
        raw.build(lowered)
        flags, queue = cl.mem_flags, cl.CommandQueue(raw.context)

        def host(x: torch.Tensor) -> cl.Buffer:
            memory = np.lib.stride_tricks.as_strided(x.numpy(), (x.numel(),), (4,))
            return cl.Buffer(raw.context, flags.USE_HOST_PTR | flags.READ_WRITE, hostbuf=memory)

        inputs, output = [host(a), host(b)], host(c)
        scratch = [cl.Buffer(raw.context, flags.READ_WRITE, n) for n in lowered.scratch]
        launches = []
        for launch in lowered.launches:
            shared = raw.kernels[launch.source.name]
            kernel = cl.Kernel(shared.program, launch.source.name)
            bound: list[object] = []
            for argument in launch.args:
                if isinstance(argument, Input):
                    bound.append(inputs[argument.index])
                elif isinstance(argument, Output):
                    bound.append(output)
                elif isinstance(argument, Scratch):
                    bound.append(scratch[argument.index])
                elif isinstance(argument, Local):
                    bound.append(cl.LocalMemory(argument.nbytes))
                else:
                    bound.append(runner._NUMPY[argument.ctype](argument.value))
            kernel.set_args(*bound)
            launches.append((kernel, launch.global_size, launch.source.local_size))

        def run(count: int) -> None:
            for _ in range(count):
                for kernel, size, local in launches:
                    cl.enqueue_nd_range_kernel(queue, kernel, size, local)
            queue.finish()

        run.keep = (inputs, output, scratch, a, b, c)  # type: ignore[attr-defined]
        return run

    torch.manual_seed(0)
    for family in options.only.split(","):
        for batch, m, n, k, ta, tb in CASES[family]:
            a = torch.randn(*batch, k, m).transpose(-1, -2) if ta else torch.randn(*batch, m, k)
            b = torch.randn(*batch, n, k).transpose(-1, -2) if tb else torch.randn(*batch, k, n)
            wanted = torch.empty(*batch, m, n)

            def theirs(count: int, a=a, b=b, wanted=wanted) -> None:
                for _ in range(count):
                    torch.matmul(a, b, out=wanted)

            theirs(2)
            sides = {}
            for raw in runner.devices():
                got = torch.full((*batch, m, n), torch.nan)
                sides[raw.name] = prepare(raw, a, b, got)
                sides[raw.name](1)
                error = ((got - wanted).abs().max() / wanted.abs().max()).item()
                assert error < 1e-4, f"{raw.name}: {error}"
            count = max(1, int(2e-3 / seconds(theirs, 2)))
            best = dict.fromkeys(["torch", *sides], float("inf"))
            for _ in range(options.rounds):
                theirs(1)
                best["torch"] = min(best["torch"], seconds(theirs, count))
                time.sleep(0.01)
                for name, run in sides.items():
                    run(1)
                    best[name] = min(best[name], seconds(run, count))
            flops = 2e-9 * prod(batch) * m * n * k
            label = f"{family:7}{'x'.join(map(str, batch)):>4} {m}x{n}x{k} {'NT'[ta]}{'NT'[tb]}"
            ours = " ".join(
                f"| {name} {flops / t:6.1f} ({best['torch'] / t:.2f}) {t * 1e6:8.1f} us" for name, t in best.items()
            )
            print(f"{label:34}{ours}", flush=True)


if __name__ == "__main__":
    main()
