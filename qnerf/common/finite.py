"""Not-a-number is an error where it arises: no comparison with it is true, so that it would pass every threshold."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qnerf.errors import UserError


def require_finite(values: Tensor, what: str, view_names: Sequence[str], method: str = "") -> None:
    """Raises UserError, naming the first views, where values (N, ...), one for each view, are not all finite.

    what: the stage and what it made, such as "decoding the edit: pictures". method: whose they are, if a method's.
    """
    finite = torch.isfinite(values).flatten(1).all(dim=1).tolist()
    bad = [name for name, good in zip(view_names, finite, strict=True) if not good]
    if bad:
        whose = f" of method {method}" if method else ""
        raise UserError(
            f"{what}{whose}: not a number or infinite in {len(bad)} of {len(finite)} views ({', '.join(bad[:4])}"
            f"{' …' if len(bad) > 4 else ''}), expected finite values: half precision overflows (backbone.dtype=float32), as do "
            "guidance scales and strengths that are too large"
        )
