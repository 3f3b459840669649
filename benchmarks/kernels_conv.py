"""Convolution kernels against PyTorch: ratio torch_time / our_time, interleaved in one process, minima over batches.

    python benchmarks/kernels_conv.py [--devices intel,pocl31] [--only NAME] [--directions f,i,w] [--rounds 6]

Kernels are launched with plain pyopencl in batches of about 5 ms with one wait at the end, so the time of a launch
counts and that of a wait hardly does. PyTorch allocates its result, as it does in a training loop. `--cpu` compares
seconds of processor time, PyTorch on one thread: the figures to look at on a machine that others use too.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path[:0] = [
    str(Path(__file__).resolve().parent.parent),
    str(Path(__file__).resolve().parent.parent / "tests" / "codegen"),
]

# name: N, C, H, K, R, stride, padding
SHAPES = {
    "lenet1-n4": (4, 3, 32, 6, 5, 1, 0),
    "lenet2-n4": (4, 6, 14, 16, 5, 1, 0),
    "lenet1-n64": (64, 3, 32, 6, 5, 1, 0),
    "lenet2-n64": (64, 6, 14, 16, 5, 1, 0),
    "lenet1-n256": (256, 3, 32, 6, 5, 1, 0),
    "lenet2-n256": (256, 6, 14, 16, 5, 1, 0),
    "first": (16, 3, 32, 64, 3, 1, 1),
    "64x32": (16, 64, 32, 64, 3, 1, 1),
    "128x16": (16, 128, 16, 128, 3, 1, 1),
    "256x8": (16, 256, 8, 256, 3, 1, 1),
    "512x4": (16, 512, 4, 512, 3, 1, 1),
    "64s2": (16, 64, 32, 128, 3, 2, 1),
    "128s2": (16, 128, 16, 256, 3, 2, 1),
    "256s2": (16, 256, 8, 512, 3, 2, 1),
    "64d": (16, 64, 32, 128, 1, 2, 0),
    "128d": (16, 128, 16, 256, 1, 2, 0),
    "256d": (16, 256, 8, 512, 1, 2, 0),
    "56": (1, 64, 56, 64, 3, 1, 1),
    "7x7": (1, 3, 224, 64, 7, 2, 3),
}


def batch_seconds(work: Callable[[], None], wait: Callable[[], None], count: int, clock: Callable[[], float]) -> float:
    """Seconds per call of `count` calls of `work` and one `wait`."""
    start = clock()
    for _ in range(count):
        work()
    wait()
    return (clock() - start) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", default="intel,pocl31,pocl30")
    parser.add_argument("--only", default="")
    parser.add_argument("--directions", default="f,i,w")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--config", default="", help="replaces fields of the chosen ConvConfig: chunk=32,parts=8")
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    clock = time.process_time if options.cpu else time.perf_counter
    os.environ["CLTORCH_TEST_DEVICES"] = options.devices
    import numpy as np
    import pyopencl as cl
    import runner
    import torch

    if options.cpu:
        torch.set_num_threads(1)

    from cltorch.codegen import conv
    from cltorch.codegen.source import Input, Local, Output, Scratch
    from cltorch.dtypes import float32
    from cltorch.shapes import layout

    def gradient(dy, x, w, stride, padding, mask):  # type: ignore[no-untyped-def]
        pair = ([stride] * 2, [padding] * 2, [1, 1])
        return torch.ops.aten.convolution_backward(dy, x, w, None, *pair, False, [0, 0], 1, mask)

    def prepare(
        device: runner.RawDevice, lowered: object, arrays: list[np.ndarray], nbytes: int
    ) -> tuple[Callable, cl.Buffer]:
        device.build(lowered)
        flags = cl.mem_flags
        ins = [cl.Buffer(device.context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=a) for a in arrays]
        out = cl.Buffer(device.context, flags.READ_WRITE, nbytes)
        scratch = [cl.Buffer(device.context, flags.READ_WRITE, n) for n in lowered.scratch]
        queue = cl.CommandQueue(device.context)
        bound = []
        for launch in lowered.launches:
            kernel = device.kernels[launch.source.name]
            values = []
            for a in launch.args:
                if isinstance(a, Input):
                    values.append(ins[a.index])
                elif isinstance(a, Output):
                    values.append(out)
                elif isinstance(a, Scratch):
                    values.append(scratch[a.index])
                elif isinstance(a, Local):
                    values.append(cl.LocalMemory(a.nbytes))
                else:
                    values.append(runner._NUMPY[a.ctype](a.value))
            kernel.set_args(*values)
            bound.append((kernel, launch.global_size, launch.source.local_size))
        keep = (ins, out, scratch)

        def work() -> None:
            for kernel, size, local in bound:
                cl.enqueue_nd_range_kernel(queue, kernel, size, local)

        work.keep = keep  # type: ignore[attr-defined]
        work.queue = queue  # type: ignore[attr-defined]
        return work, out

    changes = dict(item.split("=") for item in options.config.split(",") if item)
    for name, (n, c, h, k, r, s, p) in SHAPES.items():
        if options.only and name not in options.only.split(","):
            continue
        x, w = torch.randn(n, c, h, h), torch.randn(k, c, r, r)
        y = torch.nn.functional.conv2d(x, w, None, s, p)
        dy = torch.randn_like(y)
        lx, lw, ly = (layout(float32, tuple(t.shape)) for t in (x, w, y))
        attrs = ((s, s), (p, p), (1, 1), 1)
        flops = 2 * y.numel() * c * r * r

        directions = {
            "f": (
                conv.lower_conv,
                "choose",
                (lx, lw),
                ly,
                (*attrs, None),
                [x, w],
                partial(torch.nn.functional.conv2d, x, w, None, s, p),
            ),
            "i": (
                conv.lower_conv_input,
                "choose",
                (ly, lw),
                lx,
                (*attrs, (h, h)),
                [dy, w],
                partial(gradient, dy, x, w, s, p, [True, False, False]),
            ),
            "w": (
                conv.lower_conv_weight,
                "choose_weight",
                (ly, lx),
                lw,
                (*attrs, (r, r)),
                [dy, x],
                partial(gradient, dy, x, w, s, p, [False, True, False]),
            ),
        }
        for direction in options.directions.split(","):
            lower, chooser, ins, out, full, arrays, call = directions[direction]
            result = call()
            reference = (result if direction == "f" else result["iw".index(direction)]).numpy()
            made = []
            for device in runner.devices():
                target = runner.target(device)
                room = sys.modules[lower.__module__]
                original = getattr(room, chooser)
                if changes:
                    setattr(
                        room,
                        chooser,
                        lambda *a, o=original: (
                            lambda found: replace(
                                found, **{f: type(getattr(found, f))(int(v)) for f, v in changes.items()}
                            )
                        )(o(*a)),
                    )
                lowered = lower(ins, (out,), full, target)
                setattr(room, chooser, original)
                work, buffer = prepare(device, lowered, [a.numpy() for a in arrays], out.nbytes)
                work()
                got = np.empty(out.shape, np.float32)
                cl.enqueue_copy(work.queue, got, buffer)
                error = abs(got - reference).max() / abs(reference).max()
                assert error < 1e-3, (name, direction, device, error)
                made.append((device.name, work))
            with torch.no_grad():
                count = max(1, int(5e-3 / max(batch_seconds(call, lambda: None, 2, clock), 1e-5)))
                best = [1e9] * (len(made) + 1)
                for _ in range(options.rounds):
                    best[0] = min(best[0], batch_seconds(call, lambda: None, count, clock))
                    for i, (_, work) in enumerate(made):
                        best[i + 1] = min(best[i + 1], batch_seconds(work, work.queue.finish, count, clock))
            row = f"{name:12} {direction} torch {best[0] * 1e6:8.0f} us {flops / best[0] * 1e-9:4.0f} GF"
            for (label, _), seconds in zip(made, best[1:]):
                row += f" | {label} {seconds * 1e6:7.0f} us {flops / seconds * 1e-9:4.0f} GF {best[0] / seconds:5.2f}"
            print(row, flush=True)


if __name__ == "__main__":
    main()
