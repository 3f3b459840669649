"""Runs one program on PyTorch and on cltorch and compares what comes out. PyTorch is the oracle.

A program is a function of the module (`t.tensor`, `t.autograd`, …) that returns tensors, numbers, strings, None or
nested lists of them.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import cltorch


def _plain(value):
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if hasattr(value, "detach"):
        return (
            "tensor",
            str(value.dtype).rpartition(".")[2],
            tuple(value.shape),
            value.detach().numpy(),
            bool(value.requires_grad),
        )
    return value


def _compare(got, wanted, where):
    if isinstance(wanted, list):
        assert isinstance(got, list) and len(got) == len(wanted), f"{where}: got {got}, wanted {wanted}"
        for i, (g, w) in enumerate(zip(got, wanted)):
            _compare(g, w, f"{where}[{i}]")
    elif isinstance(wanted, tuple) and wanted and isinstance(wanted[0], str) and wanted[0] == "tensor":
        assert isinstance(got, tuple), f"{where}: got {got}, wanted a tensor"
        assert got[1:3] == wanted[1:3], f"{where}: dtype and shape: got {got[1:3]}, wanted {wanted[1:3]}"
        assert got[4] == wanted[4], f"{where}: requires_grad: got {got[4]}, wanted {wanted[4]}"
        np.testing.assert_allclose(got[3], wanted[3], rtol=2e-5, atol=1e-6, err_msg=where)
    else:
        assert got == wanted, f"{where}: got {got!r}, wanted {wanted!r}"


def same(program):
    """Assert that `program` gives on cltorch what it gives on PyTorch."""
    torch.manual_seed(0)
    _compare(_plain(program(cltorch)), _plain(program(torch)), "result")


def same_error(program, match=None):
    """Assert that `program` raises on both the same type of exception; cltorch's text contains `match`."""
    with pytest.raises(Exception) as wanted:
        program(torch)
    with pytest.raises(wanted.type, match=match):
        program(cltorch)
