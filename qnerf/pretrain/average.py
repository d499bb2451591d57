"""The exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """values: parameter name -> average. The decay is smaller at first: min(decay, (1 + n) / (10 + n)) at step n."""

    def __init__(self, modules: nn.ModuleDict, decay: float) -> None:
        self.modules, self.decay = modules, decay
        self.values = {name: parameter.detach().clone() for name, parameter in modules.named_parameters()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        parameters = [parameter.detach() for _, parameter in self.modules.named_parameters()]
        torch._foreach_lerp_(list(self.values.values()), parameters, 1 - decay)

    @torch.no_grad()
    def load(self, values: dict[str, Tensor]) -> None:
        for name, value in self.values.items():
            value.copy_(values[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside the block, in evaluation mode, the modules hold the averages; afterwards their own weights again."""
        own = {name: parameter.detach().clone() for name, parameter in self.modules.named_parameters()}
        self._put(self.values)
        self.modules.eval()
        try:
            yield
        finally:
            self._put(own)
            self.modules.train()

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self.modules.named_parameters():
            parameter.copy_(values[name])
