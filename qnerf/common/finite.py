"""NaN is an error where it first appears: no comparison with it is true, so it would pass every threshold."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from qnerf.errors import UserError


def require_finite(
    values: Tensor, what: str, view_names: Sequence[str], method: str = "", dtype: torch.dtype | None = None
) -> None:
    """Raises UserError, naming the first views, where values (N, ...), one for each view, are not all finite.

    what: the stage and what it made, such as "decoding the edit: pictures". method: whose they are, if a method's. dtype:
    what the model computes in that made them, if one did.
    """
    finite = torch.isfinite(values).flatten(1).all(dim=1).tolist()
    bad = [name for name, good in zip(view_names, finite, strict=True) if not good]
    if bad:
        whose = f" of method {method}" if method else ""
        advice = (
            "half precision overflows (backbone.dtype=float32), and so do guidance scales and strengths that are too large"
            if dtype is None
            else what_to_try(dtype)
        )
        computed = "" if dtype is None else f" (the model computes in {dtype_name(dtype)})"
        raise UserError(
            f"{what}{whose}: NaN or infinite in {len(bad)} of {len(finite)} views ({', '.join(bad[:4])}"
            f"{' …' if len(bad) > 4 else ''}){computed}, expected finite values: {advice}"
        )


class FiniteWatch:
    """Notes the first step at which each view was not finite, where the views lie: a reduction a step, and no waiting for the
    device until `check`.

    stage: what takes the steps, such as "inversion". dtype: what the model computes in. view_names: of all views; none: their
    numbers.
    """

    def __init__(self, stage: str, dtype: torch.dtype, views: int, device: torch.device, view_names: Sequence[str] = ()) -> None:
        self.stage, self.dtype = stage, dtype
        self.names = view_names or [str(view) for view in range(views)]
        self._first = torch.zeros(views, dtype=torch.long, device=device)  # 0 while a view is finite, then -1 - step

    def see(self, values: Tensor, step: int, views: slice = slice(None)) -> None:
        """Look at what step `step` has made of some views, (V, ...)."""
        first = self._first[views]
        bad = ~torch.isfinite(values).flatten(1).all(dim=1)
        first += (bad & (first == 0)) * (-1 - step)  # a view of `_first`; a number multiplies without a copy to the device

    def check(self) -> None:
        """Raises UserError where a view was not finite at a step that was seen, naming the earliest of those that came first."""
        first = self._first.tolist()
        bad = [view for view, mark in enumerate(first) if mark < 0]
        if not bad:
            return
        view = bad[0]
        raise UserError(
            f"{self.stage}, step {-1 - first[view]}: latents are NaN or infinite in view {self.names[view]}"
            + (f" and {len(bad) - 1} others" if len(bad) > 1 else "")
            + f" (the model computes in {dtype_name(self.dtype)}), expected finite values: {what_to_try(self.dtype)}"
        )


def dtype_name(dtype: torch.dtype) -> str:
    """As settings write it: float16."""
    return str(dtype).removeprefix("torch.")


def what_to_try(dtype: torch.dtype) -> str:
    """Advice where a model that computes in this dtype has made NaN or infinities."""
    strengths = "guidance scales and strengths that are too large overflow"
    if dtype == torch.float32:
        whole = "check that the model's weights are whole (another copy of backbone.path or backbone.model)"
        return f"{whole}, or lower what is large: {strengths}"
    return f"half precision overflows (set backbone.dtype=float32), and so do weights that are damaged; {strengths} too"
