"""The benchmark suite: every case runs alike on both sides, goals are judged right, files compare."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest

import cltorch
from benchmarks import chart, compare, convolutions, products, report, results, scaling, tables, timing, tinygrad_peer
from benchmarks.cases import GROUPS, Case, Goal, runner


def test_names_and_groups() -> None:
    names = [case.name for case in tables.CASES]
    assert len(set(names)) == len(names)
    assert {case.group for case in tables.CASES} == set(GROUPS)
    free = [case.name for case in tables.CASES if case.goal is None]  # issue 3 names no goal for these
    assert len(free) == 8, free
    assert all(re.match("matmul (float|bfloat|int8)|conv 3d|layer_norm .* backward", name) for name in free), free
    assert tables.named("CNN step b4").whole
    assert [case.name for case in tables.select(["models"], "ResNet")] == ["ResNet-18 step b16", "ResNet-18 step b64"]


def numbers(result) -> list[np.ndarray]:
    if isinstance(result, (tuple, list)):
        return [array for each in result for array in numbers(each)]
    return [result.detach().numpy()]


SAME = [
    "matmul 512 TT", "matmul 16x1024x1024 NT", "matvec 1024 NT", "matmul 64x64x64x64 NT",
    "conv 3x3 512x4 data", "conv 5x5 6x14 n64 weights", "conv depthwise 576x8 forward", "batch_norm train 16x64x32",
    "cross_entropy 1024x8192", "attention 4x6x256x64 causal backward", "cumsum 1024x1024", "index_select 4096x256",
    "scatter_add 1M",
]  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_both_sides_compute_the_same(name: str) -> None:
    torch = pytest.importorskip("torch")
    case = tables.named(name)
    ours, theirs = case.prepare(cltorch)(), case.prepare(torch)()
    for got, wanted in zip(numbers(ours), numbers(theirs), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-4 * np.abs(wanted).max())


def test_calls_are_made_one_by_one() -> None:
    """Equal calls whose result nobody reads are neither merged nor left out."""
    case = Case("add", "memory", lambda torch: (lambda a: lambda: a + a)(torch.ones(64, 64)))
    run = runner(case, cltorch)
    run(1)
    device = cltorch.ones(1)._storage.device
    with cltorch.runtime.Profiler(device) as profiler:
        run(5)
    assert sum(timing.name.endswith("add") for timing in profiler.timings()) == 5


def test_interleave_calls() -> None:
    log: list[str] = []

    def side(name: str, seconds: float):
        def run(count: int) -> None:
            log.append(name)
            time.sleep(seconds * count)

        return run

    found = timing.interleave_calls({"a": side("a", 0.002), "b": side("b", 0.004)}, seconds=0.1, rounds=6)
    assert found["a"].low <= found["a"].median <= found["a"].high
    assert 1.2 < found["b"].median / found["a"].median < 2.5
    assert found["a"].calls == found["b"].calls == 1
    assert "ab" in "".join(log) and "ba" in "".join(log)
    quick = timing.interleave_calls({"a": lambda count: None}, seconds=0.01)
    assert quick["a"].calls == 64
    assert timing.interleave({"a": lambda: None}, seconds=0.01)["a"].median < 1e-3


def test_percentiles() -> None:
    timed = timing.percentiles([float(i) for i in range(21)][::-1])
    assert (timed.low, timed.median, timed.high) == (2, 10, 18)


def test_work_of_cases() -> None:
    case = products.product(products.SQUARE, 3, 5, 7, batch=(2,))
    assert case.flops == 2 * 2 * 3 * 5 * 7 and case.nbytes == 4 * 2 * (15 + 35 + 21)
    shape = convolutions.Shape(2, 8, 9, 16, 3, 2, 1, 4)
    assert shape.out == 5 and shape.flops == 2 * 2 * 16 * 2 * 9 * 25
    assert shape.nbytes == 4 * (2 * 8 * 81 + 2 * 16 * 25 + 16 * 2 * 9)


def test_goals() -> None:
    strict, mean = Goal("a", 1.5, 1.1), Goal("b", 1.0, 1.0, floor=0.85)
    assert (strict.ratio("intel"), strict.ratio("pocl"), strict.row("pocl")) == (1.5, 1.1, 1.1)
    assert (mean.ratio("intel"), mean.row("intel")) == (1.0, 0.85)


def data(commit: str, ratios: dict[str, float], spread: float = 0.02, date: str = "2026-01-01") -> dict:
    rows = {
        name: {"us": [10 * (1 - spread), 10, 10 * (1 + spread)], "torch_us": [10 * ratio] * 3, "ratio": ratio,
               "goal": "products", "target": 1.0, "least": 0.9, "gflops": 3.0, "gbs": 1.0, "of_peak": 0.25}
        for name, ratio in ratios.items()
    }  # fmt: skip
    return {"label": "intel", "commit": commit, "date": date, "rows": {"gemm": rows}}


def test_goals_are_met_by_the_mean_and_by_every_row() -> None:
    found = report.by_goal(data("a", {"x": 0.95, "y": 1.2}))["products"]
    assert found["met"] and found["lowest"] == 0.95 and found["mean"] == pytest.approx((0.95 * 1.2) ** 0.5)
    assert not report.by_goal(data("a", {"x": 0.8, "y": 2.0}))["products"]["met"]
    assert not report.by_goal(data("a", {"x": 0.91, "y": 0.95}))["products"]["met"]
    assert "**1.07 (0.95) / 1**" in report.goals([data("a", {"x": 0.95, "y": 1.2})])


def test_lines() -> None:
    rows = data("a", {"x": 0.95})["rows"]["gemm"]
    line = report.line("x", rows["x"])
    assert "0.95" in line and "met" in line and "25%" in line
    assert "---" in report.line("x", {**rows["x"], "ratio": 0.5})
    assert "times ours" in report.line("x", {**rows["x"], "tinygrad_us": [20, 20, 20]})
    measured = data("a", {"x": 0.95})
    assert "| x | 10 (10..10) | 0.95 | 25% |" in report.rows_table([measured], "gemm")
    assert "tinygrad" not in report.rows_table([measured], "gemm")
    measured["rows"]["gemm"]["x"]["tinygrad_us"] = [20, 25, 30]
    table = report.rows_table([measured, data("a", {"x": 0.95})], "gemm")
    assert "| x, tinygrad | 25.0 (20..30) | 2.5 times ours |  |  |  |  |" in table


def test_tinygrad_that_does_not_get_ready_is_left_out() -> None:
    with pytest.raises(RuntimeError, match="not ready after 0 s"):
        tinygrad_peer.Peer(4, limit=0.01)


def test_what_got_slower_beyond_the_spread() -> None:
    before, after = data("a", {"x": 1.0, "y": 1.0, "z": 1.0}), data("b", {"x": 0.9, "y": 0.98, "z": 1.5, "new": 1})
    found = {change.name: change for change in compare.changes(before, after)}
    assert found.keys() == {"x", "y", "z"}
    assert found["x"].beyond and not found["y"].beyond and found["z"].beyond
    noisy = {change.name: change for change in compare.changes(data("a", {"x": 1.0}, 0.2), data("b", {"x": 0.9}))}
    assert not noisy["x"].beyond and noisy["x"].spread == pytest.approx((0.2**2 + 0.02**2) ** 0.5)


def test_compare_picks_the_last_two_commits(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert compare.main(["--folder", str(tmp_path)]) == 2
    for i, (commit, ratio) in enumerate({"aaa": 2.0, "bbb": 1.0, "ccc": 0.5}.items()):
        (tmp_path / f"{commit}-intel.json").write_text(json.dumps(data(commit, {"x": ratio}, date=f"2026-01-0{i + 1}")))
    assert compare.main(["--folder", str(tmp_path)]) == 0
    assert "bbb" in (text := capsys.readouterr().out) and "1.00 ->  0.50 (-50%" in text
    assert compare.main(["aaa", "bbb", "--folder", str(tmp_path), "--strict"]) == 1
    assert "2.00 ->  1.00" in capsys.readouterr().out
    assert results.latest(tmp_path)["intel"]["rows"]["gemm"]["x"]["ratio"] == 0.5


def test_store_adds_rows_to_its_file(tmp_path: Path) -> None:
    path = tmp_path / "file-intel.json"
    store = results.Store("intel", {"device": "this"}, path)
    store.add("gemm", "x", {"ratio": 1.0})
    store.write()
    again = results.Store("intel", {}, path)
    again.add("gemm", "x", {"us": [1, 2, 3]})
    again.add("conv", "y", {"ratio": 2.0})
    again.write()
    found = json.loads(path.read_text())
    assert found["rows"] == {"gemm": {"x": {"ratio": 1.0, "us": [1, 2, 3]}}, "conv": {"y": {"ratio": 2.0}}}
    assert found["device"] == "this" and found["label"] == "intel" and "commit" in found
    assert results.microseconds(timing.Timed(1.23456e-3, 1e-3, 2e-3)) == [1000, 1235, 2000]


def test_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = {"intel": data("a", {"x": 0.95, "y": 3.0})}
    family = scaling.FAMILIES[0]
    row = {"sizes": [8, 64], "times": [5.0, 20.0], "torch_times": [2.0, 18.0]}
    found["intel"]["rows"]["scaling"] = {family.name: row}
    chart.draw(found, tmp_path / "chart.png")
    scaling.draw(found, tmp_path / "scaling.png")
    for name in ("chart.png", "scaling.png"):
        assert (tmp_path / name).read_bytes()[:4] == b"\x89PNG" and (tmp_path / name).stat().st_size > 5000


def test_cliffs() -> None:
    sizes, work = (10, 20, 40, 80), [10.0, 20.0, 40.0, 80.0]
    assert scaling.cliffs(sizes, [5.0, 6.0, 7.0, 14.0], work) == []  # a fixed cost that wears off
    ((small, large, factor),) = scaling.cliffs(sizes, [1.0, 2.0, 8.0, 16.0], work)
    assert (small, large, factor) == (20, 40, 2.0)


def test_sizes_cover_three_decades() -> None:
    for family in scaling.FAMILIES:
        assert max(map(family.work, family.sizes)) > 0 and list(family.sizes) == sorted(family.sizes)
    assert max(scaling.FAMILIES[4].sizes) / min(scaling.FAMILIES[4].sizes) >= 1000
