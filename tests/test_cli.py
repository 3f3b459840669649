"""The `cltorch` command: devices, version, faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cltorch import cli, runtime
from cltorch.errors import DeviceError
from cltorch.version import __version__

ROOT = Path(__file__).resolve().parents[1]


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    given = [sys.executable, "-W", "ignore", "-m", "cltorch.cli", *arguments]
    return subprocess.run(
        given, env={**os.environ, "PYTHONPATH": path, **environment}, capture_output=True, text=True, timeout=120
    )


def test_version() -> None:
    assert command("--version").stdout == f"cltorch {__version__}\n"


def test_no_command_and_unknown_command(capsys: pytest.CaptureFixture) -> None:
    for given in ([], ["fly"], ["devices", "--slow"]):
        with pytest.raises(SystemExit) as error:
            cli.main(given)
        assert error.value.code == 2 and "usage: cltorch" in capsys.readouterr().err


def test_devices_as_a_table(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["devices", "--fast"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    for column in ("device", "driver", "memory", "GFLOPS", "GB/s", "features"):
        assert column in head.split()
    for device, row in zip(runtime.devices(), rows):
        assert row.startswith(device.spec) and device.name in row and device.target.driver in row
    assert rows[-1].startswith(f"default: {runtime.get_device(None).spec}")


def test_devices_as_json(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["devices", "--fast", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["device"] for row in found] == [device.spec for device in runtime.devices()]
    assert all(row["memory"] == d.target.global_memory and row["GFLOPS"] is None
               for row, d in zip(found, runtime.devices()))  # fmt: skip


def test_devices_are_measured(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    best = runtime.devices()[0]
    monkeypatch.setattr(runtime, "devices", lambda: [best])
    assert cli.main(["devices", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["GFLOPS"] > 1 and row["GB/s"] > 0.5


def test_a_device_that_cannot_be_measured(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: runtime.Device) -> None:
        raise DeviceError("it smokes")

    monkeypatch.setattr(runtime.Device, "peak", property(broken))
    assert cli.main(["devices"]) == 0
    out, err = capsys.readouterr()
    assert "it smokes" in err and runtime.devices()[0].name in out


def test_no_device_says_what_to_install(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_devices", [])
    for arguments in (["devices"], ["devices", "--json"]):
        assert cli.main(arguments) == 1
        out, err = capsys.readouterr()
        assert out == "" and "No OpenCL device was found" in err and "pip install intel-opencl-rt" in err
        assert "pocl" in err and "Traceback" not in err


def test_a_default_that_does_not_exist() -> None:
    for wrong, text in (("cl:77", "cl:77"), ("tpu", "wanted 'cl'")):
        done = command("devices", "--fast", CLTORCH_DEVICE=wrong)
        assert done.returncode == 1 and text in done.stderr and "Traceback" not in done.stderr
