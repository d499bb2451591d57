"""QNeRF: a field of self-attention queries (docs/method.md §2.4; Patashnik et al. 2024, §4.2).

The density and its features know positions only; the background knows directions only. One density is shared by all layers.
Compositing is linear, so the layers' linear heads are applied once per ray to the composited hidden feature instead of once per
sample ("deferred heads"):
Σ_i w_i (W h_i + b) + (1 - Σ_i w_i) (W h_bg + b) = W (Σ_i w_i h_i + (1 - Σ_i w_i) h_bg) + b, since the weights then sum to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from qnerf.devices import arrive, empty_at
from qnerf.errors import UserError
from qnerf.fields.background import Background
from qnerf.fields.heads import composite_feature
from qnerf.fields.query_units import QueryUnits
from qnerf.fields.rendering import expected_depth
from qnerf.fields.settings import FieldSettings
from qnerf.fields.space import Space
from qnerf.fields.token_rays import TokenGrid, patch_points
from qnerf.fields.trunk import Trunk, derive_seed, linear
from qnerf.scenes.cameras import Cameras, Rays

RAY_CHUNK = 4096
VIEWS_AT_ONCE = 4
"""Views that `render_to` has on the device together."""


class ForeignFieldError(UserError):
    """A kept field has other parameters than the settings and this machine give it."""


@dataclass(frozen=True)
class LayerShape:
    """One layer's query map: its name, rows x columns tokens, and channels."""

    name: str
    rows: int
    columns: int
    channels: int


@dataclass(frozen=True)
class RenderedQueries:
    """Per layer: maps (V, rows, columns, C), opacity Σ w and expected depth (V, rows, columns), world units along the ray."""

    maps: dict[str, Tensor]
    opacity: dict[str, Tensor]
    depth: dict[str, Tensor]


@dataclass(frozen=True)
class LayerGroup:
    """The layers that share a resolution, hence their rays and one matrix of heads. channels: as the field learns them."""

    rows: int
    columns: int
    layers: tuple[int, ...]
    channels: tuple[int, ...]


def group_layers(layers: tuple[LayerShape, ...]) -> tuple[LayerGroup, ...]:
    """Groups by (rows, columns), in order of first appearance."""
    sizes = dict.fromkeys((layer.rows, layer.columns) for layer in layers)
    members = {size: tuple(i for i, layer in enumerate(layers) if (layer.rows, layer.columns) == size) for size in sizes}
    return tuple(LayerGroup(*size, index, tuple(layers[i].channels for i in index)) for size, index in members.items())


class QueryField(nn.Module):
    """The field of all recorded layers. `qnerf.fields.explained` measures its R²."""

    def __init__(
        self, settings: FieldSettings, space: Space, layers: tuple[LayerShape, ...], device: torch.device, seed: int
    ) -> None:
        super().__init__()
        self.settings, self.space, self.shapes = settings, space, layers
        self.layer_units = [QueryUnits(layer.channels, settings.components).to(device) for layer in layers]
        self.units = nn.ModuleList(self.layer_units)
        self.groups = group_layers(
            tuple(replace(layer, channels=u.width) for layer, u in zip(layers, self.layer_units, strict=True))
        )
        self.trunk = Trunk(settings, space, device, seed)
        generator = torch.Generator().manual_seed(derive_seed(seed, 5))
        self.head_layers = [linear(settings.geometry_width, sum(group.channels), generator, device) for group in self.groups]
        self.heads = nn.ModuleList(self.head_layers)
        self.background = Background(settings.geometry_width, device, learnt=settings.background)

    def march(self, rays: Rays, count: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """Composited hidden feature (R, W), opacity (R,) and expected depth (R,) of rays (R, 3)."""
        samples, weights, hidden = self.trunk.march(rays, count, generator)
        feature = composite_feature(hidden, weights, self.background(rays.directions))
        return feature, weights.sum(-1), expected_depth(weights, samples)

    @torch.no_grad()
    def render(self, cameras: Cameras) -> RenderedQueries:
        """The maps of every layer seen by `cameras` (V of them), in the units of the queries that the field was trained on."""
        maps: dict[str, Tensor] = {}
        opacities: dict[str, Tensor] = {}
        depths: dict[str, Tensor] = {}
        for group, head in zip(self.groups, self.head_layers, strict=True):
            size = (len(cameras), group.rows, group.columns)
            feature, opacity, depth = self._render_tokens(cameras, TokenGrid(*size))
            for index, part in zip(group.layers, head(feature).split(group.channels, dim=-1), strict=True):
                name = self.shapes[index].name
                maps[name] = self.layer_units[index].back(part).view(*size, -1)
                opacities[name], depths[name] = opacity.view(size), depth.view(size)
        names = [shape.name for shape in self.shapes]
        return RenderedQueries(*({name: part[name] for name in names} for part in (maps, opacities, depths)))

    def render_to(self, cameras: Cameras, home: torch.device) -> RenderedQueries:
        """`render`, a few views at a time, each brought home at once: maps of many views are larger than the field itself."""
        there: list[dict[str, Tensor]] = [{}, {}, {}]
        for first in range(0, len(cameras), VIEWS_AT_ONCE):
            views = slice(first, first + VIEWS_AT_ONCE)
            found = self.render(cameras[views])
            for place, kind in zip(there, (found.maps, found.opacity, found.depth), strict=True):
                for name, x in kind.items():
                    if name not in place:
                        place[name] = empty_at(home, x, len(cameras), x.device)
                    place[name][views].copy_(x, non_blocking=True)
        arrive(self.background.coefficients.device)
        return RenderedQueries(*there)

    def _render_tokens(self, cameras: Cameras, grid: TokenGrid) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden feature, opacity and depth per token, each the mean over the sub-rays of the token's patch."""
        device = self.background.coefficients.device
        points = patch_points(self.settings.render_rays_per_side).to(device)
        parts = []
        for tokens in torch.arange(len(grid), device=device).split(max(RAY_CHUNK // len(points), 1)):
            inside = points.repeat(len(tokens), 1)
            rays = grid.rays(cameras, tokens.repeat_interleave(len(points)), inside)
            marched = self.march(rays, self.settings.sampling.render_samples, None)
            parts.append([value.view(len(tokens), len(points), -1).mean(dim=1) for value in marched])
        feature, opacity, depth = (torch.cat(column) for column in zip(*parts, strict=True))
        return feature, opacity[:, 0], depth[:, 0]

    def state(self) -> dict[str, Tensor]:
        """Everything that `from_state` needs beside the settings: named tensors, ready for safetensors."""
        state = {f"module.{name}": value.detach().cpu().clone() for name, value in self.state_dict().items()}
        focus = self.space.focus.detach().cpu().to(torch.float64)
        state["space"] = torch.cat([focus, focus.new_tensor([self.space.radius])])
        for index, shape in enumerate(self.shapes):
            state[f"layer.{index}.{shape.name}"] = torch.tensor([shape.rows, shape.columns, shape.channels])
        return state

    @classmethod
    def from_state(cls, state: dict[str, Tensor], settings: FieldSettings, device: torch.device | str = "cpu") -> QueryField:
        """The field that `state()` was taken from; `settings` must be those it was trained with.

        Raises ForeignFieldError for one of another encoding: with `field.encoding=auto` that depends on the machine.
        """
        named = sorted((int(key.split(".", 2)[1]), key) for key in state if key.startswith("layer."))
        shapes = tuple(LayerShape(key.split(".", 2)[2], *(int(n) for n in state[key])) for _, key in named)
        space = Space(state["space"][:3].float().to(device), float(state["space"][3]))
        field = cls(settings, space, shapes, torch.device(device), seed=0)
        prefix = "module."
        found = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
        if other := found.keys() ^ field.state_dict().keys():
            raise ForeignFieldError(
                f"the kept field was trained with another field.encoding (differing in {', '.join(sorted(other))})"
            )
        field.load_state_dict(found)
        return field
