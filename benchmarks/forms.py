"""Forms of convolutions against each other: is what the rules choose the fastest, and what belongs into the database?

    python -m benchmarks.forms [--devices intel,pocl31] [--only 256x8] [--rounds 9] [--margin 1.08] [--write FOLDER]

Every configuration of `conv.candidates` runs on the same random operands, in turn, and is timed by the device's clock;
each result is compared with that of the choice which lowering would make. `--write` puts the problems where another
form is faster than that choice by `--margin`, and wins again when both are measured anew, into FOLDER/<vendor>.json:
the files that `kernels/tuned` ships (codegen/tuned.py).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "codegen")]

LAUNCH = 4e-6  # seconds that a launch costs beside its kernel, which the device's clock does not see


def label(config: Any) -> str:
    if hasattr(config, "outputs"):
        return f"F({config.outputs},3){' chunked' if config.chunk else ''}"
    return config.form


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", default="intel,pocl31,pocl30")
    parser.add_argument("--only", default="")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--margin", type=float, default=1.08)
    parser.add_argument("--write", default="", metavar="FOLDER")
    options = parser.parse_args()
    os.environ["CLTORCH_TEST_DEVICES"] = options.devices
    import numpy as np
    import runner

    from cltorch.codegen import conv, tuned
    from cltorch.codegen.conv_shapes import key
    from cltorch.dtypes import float32
    from cltorch.shapes import layout

    from .convolutions import OTHERS, SQUARES

    random = np.random.default_rng(0)

    def median(device: Any, lowered: Any, arrays: list[Any], out: Any, times: int) -> tuple[float, Any]:
        seconds: list[float] = []
        (result,) = runner.run(lowered, arrays, [out], device=device, times=seconds, repeat=times)
        return statistics.median(seconds) + LAUNCH * len(lowered.launches), result

    for device in runner.devices():
        target = runner.target(device)
        kept: dict[str, dict[str, Any]] = {}
        for name, s in {**SQUARES, **OTHERS}.items():
            if options.only and options.only not in name:
                continue
            x = layout(float32, (s.n, s.c, s.h, s.h))
            w = layout(float32, (s.k, s.c // s.groups, s.r, s.r))
            y = layout(float32, (s.n, s.k, s.out, s.out))
            attrs = ((s.stride,) * 2, (s.padding,) * 2, (1, 1), s.groups)
            problems = {
                "conv": (conv.lower_conv, (x, w), y, (*attrs, None)),
                "conv_input": (conv.lower_conv_input, (y, w), x, (*attrs, (s.h, s.h))),
                "conv_weight": (conv.lower_conv_weight, (y, x), w, (*attrs, (s.r, s.r))),
            }
            for op, (lower, given, out, full) in problems.items():
                arrays = [random.standard_normal(each.shape).astype(np.float32) for each in given]
                sides: dict[str, tuple[Any, Any]] = {"chosen": (lower(given, (out,), full, target), None)}
                for config in conv.candidates(op, given, out, full, target):
                    sides[label(config)] = lower(given, (out,), full, target, None, config), config
                best = dict.fromkeys(sides, float("inf"))
                wanted = median(device, sides["chosen"][0], arrays, out, 1)[1]
                for _ in range(3):
                    for side, (lowered, _) in sides.items():
                        took, got = median(device, lowered, arrays, out, max(1, options.rounds // 3))
                        best[side] = min(best[side], took)
                        error = abs(got - wanted).max() / abs(wanted).max()
                        assert error < 1e-4, (device, name, op, side, error)
                fastest = min(best, key=best.__getitem__)
                row = "  ".join(f"{side} {1e6 * took:.0f}" for side, took in best.items())
                won = best["chosen"] / best[fastest]
                if won > options.margin:
                    ours, theirs = (sides[side][0] for side in ("chosen", fastest))
                    again = [median(device, each, arrays, out, options.rounds)[0] for each in (ours, theirs)]
                    won = min(won, again[0] / again[1])
                mark = f"  <- {won:.2f}" if won > options.margin else ""
                print(f"{device} {name:24} {op:12} us: {row}{mark}", flush=True)
                if mark:
                    config = sides[fastest][1]
                    kind = "winograd" if hasattr(config, "outputs") else "direct"
                    kept.setdefault(op, {})[key(given[0], given[1].shape, full)] = {kind: asdict(config)}
        if options.write and kept:
            folder = Path(options.write)
            folder.mkdir(parents=True, exist_ok=True)
            about = {"kind": target.kind, "vendor": target.vendor, "vector_width": target.vector_width}
            path = folder / f"{target.vendor}-{target.vector_width}.json"
            before = json.loads(path.read_text())["families"] if path.exists() else {}
            families = {family: {**before.get(family, {}), **kept.get(family, {})} for family in {**before, **kept}}
            content = {"format": tuned.FORMAT, "device": about, "families": families}
            path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
