"""What every field shares: hash grid -> base network -> density and a hidden feature, and its sampling along rays."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from qnerf.determinism import deterministic
from qnerf.errors import UserError
from qnerf.fields.encodings.choice import build_encoding
from qnerf.fields.proposal import DensityGrid
from qnerf.fields.rendering import Samples, composite_weights, sample_rays
from qnerf.fields.settings import EncodingName, FieldSettings, RgbFieldSettings
from qnerf.fields.space import Space
from qnerf.scenes.cameras import Rays

MAX_LOG_DENSITY = 11.0
"""exp(11) per radius is opaque over a ten-thousandth of the radius; beyond it float32 gradients only overflow."""
PROPOSAL_KEEP = 0.8


class Trunk(nn.Module):
    """density: per radius of length. hidden: `geometry_width` features."""

    def __init__(self, settings: FieldSettings | RgbFieldSettings, space: Space, device: torch.device, seed: int) -> None:
        super().__init__()
        self.settings, self.space = settings, space
        self.encoding = build_encoding(settings.grid, encoding_for(settings.encoding, device), device, derive_seed(seed, 1))
        generator = torch.Generator().manual_seed(derive_seed(seed, 2))
        widths = [self.encoding.width] + [settings.hidden_width] * settings.hidden_layers
        self.layers = nn.ModuleList(linear(a, b, generator, device) for a, b in itertools.pairwise(widths))
        self.out = linear(widths[-1], 1 + settings.geometry_width, generator, device)
        self.proposal = DensityGrid(settings.sampling.proposal_resolution).to(device)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """positions (..., 3) in [0, 1] to density (...) and hidden (..., geometry_width)."""
        x = self._base(positions.reshape(-1, 3))
        out = self.out(x).view(*positions.shape[:-1], -1)
        return self._activate(out[..., 0], positions), out[..., 1:]

    def density(self, positions: Tensor) -> Tensor:
        """positions (P, 3) to density (P,) alone."""
        return self._activate(nn.functional.linear(self._base(positions), self.out.weight[:1], self.out.bias[:1])[:, 0], positions)

    def _activate(self, learnt: Tensor, positions: Tensor) -> Tensor:
        """exp of what is learnt (...) plus the logarithm of the initial density at positions (..., 3)."""
        start = self.settings.initial_density
        inside = (-self._squared_distance(positions) / (2 * start.spread**2)).exp()
        initial = math.log(start.surroundings) + math.log(start.centre / start.surroundings) * inside
        return self._limited(learnt + initial).exp()

    def _limited(self, log_density: Tensor) -> Tensor:
        return log_density.clamp_max(MAX_LOG_DENSITY)

    def _squared_distance(self, positions: Tensor) -> Tensor:
        """Of positions (..., 3) from where the initial density is highest, (...), in radii."""
        return Space.from_cube(positions).square().sum(-1)

    def _base(self, x: Tensor) -> Tensor:
        x = self.encoding(x)
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x

    def march(self, rays: Rays, count: int, generator: torch.Generator | None) -> tuple[Samples, Tensor, Tensor]:
        """Sample rays (R, 3) and evaluate: the samples, weights (R, S) and hidden (R, S, W)."""
        samples = sample_rays(rays, self.space, self.proposal, self.settings.sampling, count, generator)
        density, hidden = self(samples.positions)
        if self.settings.sampling.scale_near_gradients and density.requires_grad:
            self.scale_near_gradients(density, hidden, samples, rays)
        return samples, composite_weights(density, samples), hidden

    def scale_near_gradients(self, density: Tensor, hidden: Tensor, samples: Samples, rays: Rays) -> None:
        """Gradients of (R, S) and (R, S, W) times min(1, (t / distance of the focus)²), values untouched (Philip & Deschaintre
        2023).

        Space near a camera is crossed by many of its rays and by few of another camera's: without this it
        fills with fog that only one view sees.
        """
        to_focus = (self.space.focus.to(rays.origins) - rays.origins).norm(dim=-1, keepdim=True)
        scale = ((samples.starts + samples.ends) / (2 * to_focus)).clamp_max(1).square()
        density.register_hook(lambda gradient: gradient * scale)
        hidden.register_hook(lambda gradient: gradient * scale[..., None])

    def refresh_proposal(self, generator: torch.Generator) -> None:
        self.proposal.refresh(self.density, generator, PROPOSAL_KEEP)


def encoding_for(name: EncodingName, device: torch.device) -> EncodingName:
    """The hash grid's implementation: of those on a GPU, plain torch's alone adds its gradients in one order.

    Raises UserError where another one is asked for by name.
    """
    if not deterministic(device) or name == "torch":
        return name
    if name != "auto":
        raise UserError(
            f"field.encoding is {name!r}, which is not deterministic on a GPU, but deterministic is true; "
            "set field.encoding=auto or deterministic=false"
        )
    return "torch"


def linear(inputs: int, outputs: int, generator: torch.Generator, device: torch.device) -> nn.Linear:
    """A linear layer, weights and biases uniform in ± 1/√inputs, drawn from `generator` alone."""
    layer = nn.Linear(inputs, outputs, device="cpu")
    bound = 1 / math.sqrt(inputs)
    with torch.no_grad():
        for parameter in (layer.weight, layer.bias):
            parameter.copy_((torch.rand(parameter.shape, generator=generator) * 2 - 1) * bound)
    return layer.to(device)


def derive_seed(seed: int, *path: int) -> int:
    """A seed for one purpose: the same path always gives the same seed, whatever was drawn before (splitmix64)."""
    value = seed
    for step in path:
        value = (value * 6364136223846793005 + step + 1442695040888963407) % 2**64
        value ^= value >> 31
        value = value * 0x9E3779B97F4A7C15 % 2**64
    return value % 2**63
