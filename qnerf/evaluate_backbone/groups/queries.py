"""Decoder queries: do parts keep their queries, and so their colours under one PCA, across views of a scene?"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.attention.edits import RecordQueries
from qnerf.attention.hooks import CONDITIONAL, Batch, Edits
from qnerf.attention.layers import AttentionLayer
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.classifiers.labels import UNSURE
from qnerf.evaluate_backbone.jobs import Job
from qnerf.evaluate_backbone.settings import EvaluateSettings
from qnerf.evaluate_backbone.subject import Findings, Subject
from qnerf.evaluate_backbone.views import Views, ring_views
from qnerf.reports.queries import principal_colours
from qnerf.scenes.procedural.world import WORLDS

TIME = 300  # of the noised latents: late enough for parts, early enough for queries to matter
VIEWS, SCENES = 4, 4  # views a scene; scenes a kind


def jobs(settings: EvaluateSettings) -> list[Job]:
    return []


def measure(subject: Subject) -> Findings:
    """part_recall by layer: of tokens as the sheet colours them (three components of one PCA over the scene's views), the share
    whose part is told by the nearest mean of the other views' parts, averaged over parts. Beside it chance, and the ceiling of
    the views' own colours at the tokens' places. The mean over scenes."""
    s, backbone = subject.settings, subject.painter.backbone
    layers = [layer for layer in backbone.layers if layer.path.startswith("up_blocks")]
    tokens: dict[str, list[float]] = {}
    pixels: dict[str, list[float]] = {}
    chances: list[float] = []
    sheets = {}
    for kind in s.kinds or WORLDS[s.world]:
        for scene in range(SCENES):
            views = ring_views(scene, backbone.image_size[0], s.world, (s.control,), kind, VIEWS)
            maps = decoder_queries(backbone, views, layers, s.control, s.control_scale)
            rows = [list(views.images)]
            for layer, queries in maps.items():
                name, size = f"layer {layer.index}", layer.token_grid(backbone.latent_size)
                colours, _ = principal_colours(queries, queries)
                parts = token_parts(views.parts, size[0])
                tokens.setdefault(name, []).append(part_recall(colours, parts))
                pixels.setdefault(name, []).append(part_recall(F.adaptive_avg_pool2d(views.images, size), parts))
                rows.append(list(F.interpolate(colours, size=views.images.shape[-2:], mode="nearest")))
            chances.append(1 / len(views.parts[views.parts != UNSURE].unique()))
            if scene == 0:
                sheets[f"queries_{kind}"] = rows
    figures = {"part_recall": _means(tokens), "part_recall_of_pixels": _means(pixels), "part_recall_chance": _mean(chances)}
    return Findings(figures, sheets)


def decoder_queries(
    backbone: DiffusionBackbone, views: Views, layers: list[AttentionLayer], detail: str, control_scale: float
) -> dict[AttentionLayer, Tensor]:
    """Queries (N, rows, columns, C) of the true views' noised latents, by layer."""
    clean = backbone.encode(views.images.to(backbone.device))
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0)).to(clean)
    record = RecordQueries()
    text, control = backbone.embed(list(views.captions)), views.controls[detail].to(backbone.device)
    with torch.no_grad(), backbone.bound(Edits.at(layers, record), Batch.of(0, [CONDITIONAL], len(views))):
        backbone.predict(backbone.process.noised(clean, noise, TIME), TIME, Conditioning.of(text, control, control_scale))
    return {
        layer: queries.float().cpu().unflatten(1, layer.token_grid(backbone.latent_size))
        for layer, queries in record.queries.items()
    }


def token_parts(parts: Tensor, side: int) -> Tensor:
    """(N, side, side): the part at each token's centre, of part maps (N, S, S)."""
    centres = ((torch.arange(side) + 0.5) * parts.shape[-1] / side).long()
    return parts[:, centres][:, :, centres]


def part_recall(features: Tensor, parts: Tensor) -> float:
    """Nearest mean over the other views, tried on each view in turn: recall averaged over the parts that it can try.

    features: (N, C, h, w). parts: (N, h, w) uint8. The same answer for all tokens has 1 / parts. NaN for fewer than two parts.
    """
    found: dict[int, list[float]] = {}
    for view in range(len(parts)):
        others = torch.arange(len(parts)) != view
        seen, labels = features[others].movedim(1, -1).flatten(0, 2), parts[others].flatten()
        known = [int(part) for part in labels.unique() if part != UNSURE]
        if len(known) < 2:
            continue
        means = torch.stack([seen[labels == part].mean(dim=0) for part in known])
        answers = torch.tensor(known)[torch.cdist(features[view].flatten(1).T, means).argmin(dim=1)]
        own = parts[view].flatten()
        for part in known:
            if bool((own == part).any()):
                found.setdefault(part, []).append((answers[own == part] == part).float().mean().item())
    return _mean([_mean(recalls) for recalls in found.values()])


def _means(values: dict[str, list[float]]) -> dict[str, float]:
    return {name: _mean(some) for name, some in values.items()}


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan
