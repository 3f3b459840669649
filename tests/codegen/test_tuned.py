"""The tuning database: which file speaks for a device, what is refused, and that nothing refused does harm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cltorch.codegen import conv, gemm, tuned
from cltorch.codegen.conv_shapes import key
from cltorch.codegen.gemm_problem import normalise
from cltorch.codegen.program import Epilogue
from cltorch.config import settings
from cltorch.dtypes import float32
from cltorch.resources import kernels_directory
from cltorch.shapes import layout
from cltorch.target import Target

TARGET = Target(kind="cpu", vendor="intel", name="A CPU", driver="1.2", vector_width=8)


@dataclass(frozen=True)
class Tile:
    rows: int
    direct: bool = False


@dataclass(frozen=True)
class Other:
    form: str


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty database that goes first; the user's own is empty too."""
    monkeypatch.setattr(settings, "tuned", str(tmp_path / "first"))
    monkeypatch.setenv("CLTORCH_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "first").mkdir()
    tuned.forget()
    yield tmp_path / "first"
    tuned.forget()


def write(path: Path, device: dict[str, Any], config: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    given = {"format": tuned.FORMAT, "device": device, "families": {"tiles": {"p": config}}}
    path.write_text(json.dumps(given))


def found(target: Target = TARGET, problem: str = "p") -> Any:
    return tuned.find("tiles", problem, target, ("", Tile))


def test_nothing_is_known_of_an_unknown_problem(folder: Path) -> None:
    write(folder / "a.json", {}, {"rows": 3})
    assert found(problem="q") is None
    assert tuned.find("others", "p", TARGET, ("", Tile)) is None
    assert found() == Tile(3)


def test_the_file_that_knows_the_device_best_goes_first(folder: Path) -> None:
    write(folder / "a.json", {"kind": "cpu"}, {"rows": 1})
    write(folder / "b.json", {"kind": "cpu", "vendor": "intel"}, {"rows": 2})
    write(folder / "c.json", {"kind": "cpu", "vendor": "intel", "driver": "1.2"}, {"rows": 3})
    assert found() == Tile(3)
    assert found(replace(TARGET, driver="1.3")) == Tile(2)
    assert found(replace(TARGET, vendor="pocl")) == Tile(1)
    assert found(replace(TARGET, kind="gpu")) is None


def test_of_equals_the_named_folder_goes_before_the_users_own(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "cache" / "tuned" / "mine.json", {"kind": "cpu"}, {"rows": 5})
    assert found() == Tile(5)
    write(folder / "a.json", {"kind": "cpu"}, {"rows": 6})
    assert found() == Tile(5), "files are read once"
    tuned.forget()
    assert found() == Tile(6)


def test_a_single_file_may_be_named(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "one.json", {}, {"rows": 7, "direct": True})
    monkeypatch.setattr(settings, "tuned", str(tmp_path / "one.json"))
    assert found() == Tile(7, True)


def test_zero_leaves_all_to_the_rules(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "a.json", {}, {"rows": 3})
    monkeypatch.setattr(settings, "tuned", "0")
    assert tuned.folders() == []
    assert found() is None


def test_kinds_are_told_apart_by_name(folder: Path) -> None:
    write(folder / "a.json", {}, {"other": {"form": "x"}})
    assert tuned.find("tiles", "p", TARGET, ("tile", Tile), ("other", Other)) == Other("x")
    write(folder / "a.json", {}, {"strange": {"form": "x"}})
    tuned.forget()
    with pytest.warns(RuntimeWarning, match="tile, other"):
        assert tuned.find("tiles", "p", TARGET, ("tile", Tile), ("other", Other)) is None


@pytest.mark.parametrize(
    "text, reason",
    [
        ("{", "cannot be read"),
        ("[]", "format"),
        ('{"format": 99, "device": {}, "families": {}}', "format: got 99"),
        ('{"format": 1, "families": {}}', "device and families"),
        ('{"format": 1, "device": {"colour": "red"}, "families": {}}', "colour"),
        ('{"format": 1, "device": {}, "families": {"tiles": 3}}', "tiles"),
        ('{"format": 1, "device": {}, "families": {"tiles": {"p": 3}}}', "got 3"),
    ],
)
def test_a_damaged_file_is_left_out_and_the_others_count(folder: Path, text: str, reason: str) -> None:
    (folder / "a.json").write_text(text)
    write(folder / "b.json", {}, {"rows": 4})
    with pytest.warns(RuntimeWarning, match=reason):
        assert found() == Tile(4)


@pytest.mark.parametrize(
    "config, reason",
    [
        ({}, "rows: missing"),
        ({"rows": "3"}, "rows: got '3', wanted int"),
        ({"rows": True}, "rows: got True"),
        ({"rows": -1}, "rows: got -1"),
        ({"rows": 3, "colour": 1}, "colour"),
    ],
)
def test_a_wrong_configuration_is_left_out(folder: Path, config: dict[str, Any], reason: str) -> None:
    write(folder / "a.json", {"kind": "cpu", "vendor": "intel"}, config)
    write(folder / "b.json", {"kind": "cpu"}, {"rows": 2})
    with pytest.warns(RuntimeWarning, match=reason):
        assert found() == Tile(2), "a file that knows less speaks in its place"


def test_shipped_files_can_be_read() -> None:
    for path in sorted((kernels_directory() / "tuned").glob("*.json")):
        assert tuned._read(path).entries, path


X, W = layout(float32, (2, 64, 16, 16)), layout(float32, (64, 64, 3, 3))
ATTRS = ((1, 1), (1, 1), (1, 1), 1)
PROBLEMS = {  # op: lowering, operands, result, attrs, a configuration that no rule would choose here
    "conv": (conv.lower_conv, (X, W), X, (*ATTRS, None), conv.ConvConfig("plain")),
    "conv_input": (conv.lower_conv_input, (X, W), X, (*ATTRS, (16, 16)), conv.ConvConfig("plain")),
    "conv_weight": (conv.lower_conv_weight, (X, X), W, (*ATTRS, (3, 3)), conv.WeightConfig("plain")),
}


@pytest.mark.parametrize("op", PROBLEMS)
def test_a_convolution_takes_the_form_that_the_database_names(
    op: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lower, given, out, attrs, plain = PROBLEMS[op]

    def names() -> list[str]:
        return [launch.source.name for launch in lower(given, (out,), attrs, TARGET).launches]

    by_rule = names()
    by_hand = [launch.source.name for launch in lower(given, (out,), attrs, TARGET, None, plain).launches]
    assert by_rule != by_hand
    problem = key(given[0], given[1].shape, attrs)
    content = {"format": tuned.FORMAT, "device": {}, "families": {op: {problem: {"direct": asdict(plain)}}}}
    (folder / "a.json").write_text(json.dumps(content))
    tuned.forget()
    assert names() == by_hand
    if op != "conv_weight":
        monkeypatch.setattr(settings, "winograd", "4")
        assert names() not in (by_hand, []), "CLTORCH_WINOGRAD goes before the database"


@pytest.mark.parametrize("op", PROBLEMS)
def test_candidates_of_a_convolution_are_different_forms(op: str) -> None:
    lower, given, out, attrs, _ = PROBLEMS[op]
    found = conv.candidates(op, given, out, attrs, TARGET)
    forms = [getattr(config, "form", "winograd") for config in found]
    assert len(set(found)) == len(found) >= (1 if op == "conv_weight" else 4) and "channels" in forms
    assert ("winograd" in forms) == (op != "conv_weight")
    for config in found:
        assert lower(given, (out,), attrs, TARGET, None, config).launches


def test_a_product_takes_the_configuration_that_the_database_names(folder: Path) -> None:
    a, b, c = layout(float32, (96, 80)), layout(float32, (80, 64)), layout(float32, (96, 64))

    def launches() -> list[Any]:
        return [(each.source.name, each.args) for each in gemm.lower_matmul((a, b), (c,), (), TARGET, None).launches]

    by_rule = launches()
    (problem,) = normalise(a, b, Epilogue.identity(c))
    assert problem.key == "float32 m96 n64 k80 b1 nn"
    other = gemm.GemmConfig("tile", 2, 1, "direct", "group", 8, 16, 80)
    content = {"format": tuned.FORMAT, "device": {}, "families": {"gemm": {problem.key: asdict(other)}}}
    (folder / "a.json").write_text(json.dumps(content))
    tuned.forget()
    found = launches()
    assert found != by_rule
    by_hand = gemm.lower_matmul((a, b), (c,), (), TARGET, None, other).launches
    assert found == [(each.source.name, each.args) for each in by_hand]


def test_a_configuration_goes_to_json_and_back(folder: Path) -> None:
    write(folder / "a.json", {}, asdict(Tile(9, True)))
    assert found() == Tile(9, True)
