"""Convolution kernels against PyTorch: ratio torch_time / our_time, interleaved in one process, minima over batches.

    python benchmarks/kernels_conv.py [--devices intel,pocl31] [--only NAME,GROUP] [--directions f,i,w] [--rounds 6]

One row per shape and direction, then per direction the geometric mean and the least ratio of each device.

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
from math import exp, log
from pathlib import Path

sys.path[:0] = [
    str(Path(__file__).resolve().parent.parent),
    str(Path(__file__).resolve().parent.parent / "tests" / "codegen"),
]

# group: name: N, C, H, K, R, stride, padding[, dilation[, groups]]
GROUPS: dict[str, dict[str, tuple[int, ...]]] = {
    "small": {
        "lenet1-n4": (4, 3, 32, 6, 5, 1, 0),
        "lenet2-n4": (4, 6, 14, 16, 5, 1, 0),
        "lenet1-n64": (64, 3, 32, 6, 5, 1, 0),
        "lenet2-n64": (64, 6, 14, 16, 5, 1, 0),
        "lenet1-n256": (256, 3, 32, 6, 5, 1, 0),
        "lenet2-n256": (256, 6, 14, 16, 5, 1, 0),
    },
    "first": {
        "first": (16, 3, 32, 64, 3, 1, 1),
        "first-n64": (64, 3, 32, 64, 3, 1, 1),
        "first-32": (16, 3, 32, 32, 3, 1, 1),
        "first-24": (16, 3, 32, 24, 3, 1, 1),
        "7x7": (1, 3, 224, 64, 7, 2, 3),
        "3x3s2": (1, 3, 224, 32, 3, 2, 1),
    },
    "square": {
        "64x32": (16, 64, 32, 64, 3, 1, 1),
        "128x16": (16, 128, 16, 128, 3, 1, 1),
        "256x8": (16, 256, 8, 256, 3, 1, 1),
        "512x4": (16, 512, 4, 512, 3, 1, 1),
        "64x56": (1, 64, 56, 64, 3, 1, 1),
        "128x28": (1, 128, 28, 128, 3, 1, 1),
        "256x14": (1, 256, 14, 256, 3, 1, 1),
        "512x7": (1, 512, 7, 512, 3, 1, 1),
        "512x2": (16, 512, 2, 512, 3, 1, 1),
    },
    "growth": {  # DenseNet-BC's 3x3 convolutions
        "48x32": (16, 48, 32, 12, 3, 1, 1),
        "128-32x32": (16, 128, 32, 32, 3, 1, 1),
        "128-32x16": (16, 128, 16, 32, 3, 1, 1),
        "128-32x8": (16, 128, 8, 32, 3, 1, 1),
    },
    "stride2": {
        "64s2": (16, 64, 32, 128, 3, 2, 1),
        "128s2": (16, 128, 16, 256, 3, 2, 1),
        "256s2": (16, 256, 8, 512, 3, 2, 1),
        "64s2-56": (1, 64, 56, 128, 3, 2, 1),
        "256s2-14": (1, 256, 14, 512, 3, 2, 1),
    },
    "down": {  # 1x1, stride 2
        "64d": (16, 64, 32, 128, 1, 2, 0),
        "128d": (16, 128, 16, 256, 1, 2, 0),
        "256d": (16, 256, 8, 512, 1, 2, 0),
        "64d-56": (1, 64, 56, 128, 1, 2, 0),
        "256d-14": (1, 256, 14, 512, 1, 2, 0),
        "512d-28": (1, 512, 28, 1024, 1, 2, 0),
    },
    "1x1": {
        "64-256x32": (16, 64, 32, 256, 1, 1, 0),
        "256-64x32": (16, 256, 32, 64, 1, 1, 0),
        "256-128x8": (16, 256, 8, 128, 1, 1, 0),
        "24-144x32": (16, 24, 32, 144, 1, 1, 0),
        "144-32x16": (16, 144, 16, 32, 1, 1, 0),
        "96-576x8": (16, 96, 8, 576, 1, 1, 0),
        "576-160x4": (16, 576, 4, 160, 1, 1, 0),
        "320-1280x4": (16, 320, 4, 1280, 1, 1, 0),
        "32-16x112": (1, 32, 112, 16, 1, 1, 0),
        "24-144x56": (1, 24, 56, 144, 1, 1, 0),
        "192-64x14": (1, 192, 14, 64, 1, 1, 0),
        "960-160x7": (1, 960, 7, 160, 1, 1, 0),
    },
    "depthwise": {
        "dw32x112": (1, 32, 112, 32, 3, 1, 1, 1, 32),
        "dw96x112s2": (1, 96, 112, 96, 3, 2, 1, 1, 96),
        "dw144x56": (1, 144, 56, 144, 3, 1, 1, 1, 144),
        "dw144x56s2": (1, 144, 56, 144, 3, 2, 1, 1, 144),
        "dw384x14": (1, 384, 14, 384, 3, 1, 1, 1, 384),
        "dw576x14s2": (1, 576, 14, 576, 3, 2, 1, 1, 576),
        "dw960x7": (1, 960, 7, 960, 3, 1, 1, 1, 960),
        "dw32x32": (16, 32, 32, 32, 3, 1, 1, 1, 32),
        "dw144x32s2": (16, 144, 32, 144, 3, 2, 1, 1, 144),
        "dw192x16": (16, 192, 16, 192, 3, 1, 1, 1, 192),
        "dw384x8": (16, 384, 8, 384, 3, 1, 1, 1, 384),
        "dw576x8s2": (16, 576, 8, 576, 3, 2, 1, 1, 576),
        "dw960x4": (16, 960, 4, 960, 3, 1, 1, 1, 960),
        "dw64x28k5": (4, 64, 28, 64, 5, 1, 2, 1, 64),
        "dw96x56k7": (1, 96, 56, 96, 7, 1, 3, 1, 96),
    },
    "grouped": {
        "g32-128x32": (16, 128, 32, 128, 3, 1, 1, 1, 32),
        "g32-256x16": (16, 256, 16, 256, 3, 1, 1, 1, 32),
        "g32-256x56s2": (1, 256, 56, 256, 3, 2, 1, 1, 32),
        "g2-192x16": (16, 192, 16, 192, 3, 1, 1, 1, 2),
        "g8-240x16": (16, 240, 16, 240, 1, 1, 0, 1, 8),
    },
    "dilated": {
        "d2-64x32": (16, 64, 32, 64, 3, 1, 2, 2),
        "d2-256x28": (1, 256, 28, 256, 3, 1, 2, 2),
        "d4-128x28": (1, 128, 28, 128, 3, 1, 4, 4),
    },
}


def batch_seconds(work: Callable[[], None], wait: Callable[[], None], count: int, clock: Callable[[], float]) -> float:
    """Seconds per call of `count` calls of `work` and one `wait`, after a pause in which the threads of whoever was
    measured before stop spinning, and a first call that is not counted."""
    time.sleep(0.01)
    work()
    wait()
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

    from cltorch.codegen import conv, conv_images, conv_weight
    from cltorch.codegen.source import Input, Local, Output, Scratch
    from cltorch.dtypes import float32
    from cltorch.shapes import layout

    def gradient(dy, x, w, stride, padding, dilation, groups, mask):  # type: ignore[no-untyped-def]
        pair = ([stride] * 2, [padding] * 2, [dilation] * 2)
        return torch.ops.aten.convolution_backward(dy, x, w, None, *pair, False, [0, 0], groups, mask)

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
    wanted = options.only.split(",") if options.only else list(GROUPS)
    ratios: dict[tuple[str, str], list[float]] = {}
    for name, sizes in [
        (name, sizes)
        for group, shapes in GROUPS.items()
        for name, sizes in shapes.items()
        if group in wanted or name in wanted
    ]:
        n, c, h, k, r, s, p = sizes[:7]
        d, groups = (*sizes[7:], 1, 1)[:2]
        x, w = torch.randn(n, c, h, h), torch.randn(k, c // groups, r, r)
        y = torch.nn.functional.conv2d(x, w, None, s, p, d, groups)
        dy = torch.randn_like(y)
        lx, lw, ly = (layout(float32, tuple(t.shape)) for t in (x, w, y))
        attrs = ((s, s), (p, p), (d, d), groups)
        flops = 2 * y.numel() * c // groups * r * r

        directions = {
            "f": (
                conv.lower_conv,
                "choose",
                (lx, lw),
                ly,
                (*attrs, None),
                [x, w],
                partial(torch.nn.functional.conv2d, x, w, None, s, p, d, groups),
            ),
            "i": (
                conv.lower_conv_input,
                "choose",
                (ly, lw),
                lx,
                (*attrs, (h, h)),
                [dy, w],
                partial(gradient, dy, x, w, s, p, d, groups, [True, False, False]),
            ),
            "w": (
                conv.lower_conv_weight,
                "choose_weight",
                (ly, lx),
                lw,
                (*attrs, (r, r)),
                [dy, x],
                partial(gradient, dy, x, w, s, p, d, groups, [False, True, False]),
            ),
        }
        for direction in options.directions.split(","):
            lower, chooser, ins, out, full, arrays, call = directions[direction]
            result = call()
            reference = (result if direction == "f" else result["iw".index(direction)]).numpy()
            made = []
            for device in runner.devices():
                target = runner.target(device)
                room = conv_weight if direction == "w" else conv_images
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
                ratios.setdefault((direction, label), []).append(best[0] / seconds)
            print(row, flush=True)
    for (direction, label), some in ratios.items():
        print(f"{direction} {label}: geometric mean {exp(sum(map(log, some)) / len(some)):.2f}, least {min(some):.2f}")


if __name__ == "__main__":
    main()
