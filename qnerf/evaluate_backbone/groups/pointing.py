"""Cross-attention: does the map of a part's word light up where the part is?

The pointing game (Zhang et al., "Top-down neural attention by excitation backprop", 2016): a word scores a hit where the
highest cell of its map shows the part. Maps are means over cross-attention layers of at least half of the latents'
rows, heads and noise levels, of the true view's noised latents under its caption and control.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.attention.edits import RecordProbs
from qnerf.attention.hooks import CONDITIONAL, Batch, Edits
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.classifiers.labels import NOUNS, PARTS
from qnerf.evaluate_backbone.jobs import Job
from qnerf.evaluate_backbone.settings import EvaluateSettings
from qnerf.evaluate_backbone.subject import Findings, Subject
from qnerf.evaluate_backbone.views import Views

TIMES = (200, 400, 600, 800)
LEAST_PIXELS = 64  # of 128 x 128: a part of fewer has no cell to be pointed at


def jobs(settings: EvaluateSettings) -> list[Job]:
    return []


def measure(subject: Subject) -> Findings:
    """accuracy: hits over all words of captions whose part is visible. Floors: a random cell, and each part's one best cell
    for all views, which knows the truth and where floors usually are. separation: AUC of a part's cells against all others."""
    s, backbone = subject.settings, subject.painter.backbone
    views = subject.views[: s.sweep_views]
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}
    shown: list[list[Tensor]] = []
    for first in range(0, len(views), s.chunk_size):
        some = views[first : first + s.chunk_size]
        maps = token_maps(backbone, some, s.control, s.control_scale, s.seed + first)
        for index, caption in enumerate(some.captions):
            pairs = word_pairs(caption, maps[index], some.parts[index], positions(backbone, caption))
            for part, pair in pairs.items():
                found.setdefault(part, []).append(pair)
            if len(shown) < 5 and len(pairs) >= 4:
                shown.append(_row(some.images[index], [heat for heat, _ in list(pairs.values())[:4]]))
    scored = {part: score(torch.stack([m for m, _ in pairs]), torch.stack([c for _, c in pairs])) for part, pairs in found.items()}
    total = sum(len(pairs) for pairs in found.values())
    mean = {key: sum(scored[part][key] * len(found[part]) for part in found) / total for key in next(iter(scored.values()))}
    return Findings({**mean, "words": total, "by_part": scored}, {"pointing": shown} if shown else {})


def positions(backbone: DiffusionBackbone, caption: str) -> dict[str, int]:
    """The token's place in the padded text of each word that is one token."""
    words = list(dict.fromkeys(caption.split()))
    tokens = backbone.tokenizer(caption).input_ids
    single = {word: ids[1] for word in words if len(ids := backbone.tokenizer(word).input_ids) == 3}
    return {word: tokens.index(token) for word, token in single.items() if token in tokens}


def token_maps(backbone: DiffusionBackbone, views: Views, detail: str, control_scale: float, seed: int) -> Tensor:
    """(N, tokens, h, w) mean maps at the latents' size. seed: of the noise."""
    layers = [layer for layer in backbone.cross_attention_layers if layer.downsampling <= 2]
    clean = backbone.encode(views.images.to(backbone.device))
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed)).to(clean)
    text, control = backbone.embed(list(views.captions)), views.controls[detail].to(backbone.device)
    total = torch.zeros((len(views), text.shape[1], *backbone.latent_size), device=backbone.device)
    for t in TIMES:
        record = RecordProbs()
        with torch.no_grad(), backbone.bound(Edits.at(layers, record), Batch.of(0, [CONDITIONAL], len(views))):
            backbone.predict(backbone.process.noised(clean, noise, t), t, Conditioning.of(text, control, control_scale))
        for layer, maps in record.maps.items():
            grid = maps.transpose(1, 2).unflatten(2, layer.token_grid(backbone.latent_size))
            total += F.interpolate(grid, size=backbone.latent_size, mode="bilinear", align_corners=False)
    return (total / (len(TIMES) * len(layers))).cpu()


def word_pairs(caption: str, maps: Tensor, parts: Tensor, places: dict[str, int]) -> dict[str, tuple[Tensor, Tensor]]:
    """By part that the caption has a word for and the view shows: the word's map (h, w), and the cells (h, w) that show it.

    maps: (tokens, h, w). parts: (S, S) part map. places: `positions`.
    """
    pairs = {}
    for index, part in enumerate(PARTS):
        mask = parts == index
        word = next((word for word in NOUNS[part] if word in places), None)
        if word is not None and int(mask.sum()) >= LEAST_PIXELS:
            side = mask.shape[0] // maps.shape[1]
            pairs[part] = maps[places[word]], F.max_pool2d(mask[None].float(), side)[0] > 0
    return pairs


def score(maps: Tensor, cells: Tensor) -> dict[str, float]:
    """Of one part in N views, maps (N, h, w) and true cells (N, h, w) bool: the share of hits, a random cell's, the best
    constant cell's, and the mean over views of the probability that a cell of the part is above one of the rest."""
    flat, true = maps.flatten(1), cells.flatten(1)
    hits = true.gather(1, flat.argmax(dim=1, keepdim=True)).float().mean().item()
    aucs = [separation(values, mask) for values, mask in zip(flat, true, strict=True) if mask.any() and not mask.all()]
    return {
        "accuracy": hits,
        "accuracy_random": true.float().mean().item(),
        "accuracy_constant": true.float().mean(dim=0).max().item(),
        "separation": sum(aucs) / len(aucs) if aucs else float("nan"),
    }


def separation(values: Tensor, mask: Tensor) -> float:
    """P(a value inside the mask > one outside it), equal values counting half; values (P,), mask (P,) bool."""
    inside, outside = values[mask, None], values[~mask]
    return ((inside > outside).float() + 0.5 * (inside == outside).float()).mean().item()


def _row(image: Tensor, maps: list[Tensor]) -> list[Tensor]:
    heats = [(m - m.min()) / (m.max() - m.min()).clamp_min(1e-12) for m in maps]
    return [image, *(F.interpolate(m.expand(1, 3, -1, -1), size=image.shape[-2:], mode="nearest")[0] for m in heats)]
