"""What becomes of torchvision's `weights=`: nothing is downloaded here, and asking for it says what to do instead."""

from __future__ import annotations

from typing import Any


def refuse_weights(name: str, weights: Any) -> None:
    """Let only None (and False, the older `pretrained=False`) through.

    **Raises** ValueError for anything else.
    """
    if weights is not None and weights is not False:
        raise ValueError(
            f"{name}: weights: got {weights!r}, wanted None: cltorch downloads no weights; the state_dict of a file "
            f"that torchvision offers fits: {name}().load_state_dict(torch.load(path))"
        )
