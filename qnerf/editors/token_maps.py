"""Where words are in the source, by its self- and cross-attention over the steps (Ge et al., ICCV 2023; docs/method.md §4)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.attention.hooks import CONDITIONAL, Edits
from qnerf.attention.maps import RecordMaps, not_full
from qnerf.attention.segments import region_maps, spectral_segments
from qnerf.backbones.words import tokens_of
from qnerf.denoising.edit import EditBranch

log = logging.getLogger(__name__)


def token_maps(branch: EditBranch, words: Sequence[str], first: int, segments: int, threshold: float, seed: int) -> Tensor:
    """(V, words + 1, h, w), in the host's memory: the share of each word, and of the rest; see `region_maps`.

    Maps of the steps from `first` on count. A word that no segment is of has nothing, and a warning."""
    found = []
    own, cross, grid = source_maps(branch, first)
    for view, (affinity, weights) in enumerate(zip(own, cross, strict=True)):
        prompt, length = branch.prompts[view].source, weights.shape[-1]
        tokens = [list(tokens_of(branch.backbone.tokenizer, prompt, [word], length)) for word in words]
        cut = spectral_segments(affinity, segments, torch.Generator().manual_seed(seed)).unflatten(0, grid)
        maps = region_maps(cut, [weights[..., each] for each in tokens], threshold, branch.backbone.latent_size)
        for word, seen in zip(words, maps, strict=False):
            if not bool(seen.any()):
                log.warning("rich_text: no segment is of %r in view %d; lower its threshold.", word, branch.views.start + view)
        found.append(maps)
    return torch.stack(found)


def source_maps(branch: EditBranch, first: int) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Means over heads, layers and steps from `first` on, in the host's memory: self-attention (V, n, n) of half the latents' side,
    cross-attention (V, rows, columns, L) of at most that side, brought to it; and this grid of n tokens."""
    source, model, size = branch.reads or branch.source, branch.backbone, branch.backbone.latent_size
    layers, cross = (tuple(layer for layer in model.layers if layer.downsampling == 2), not_full(model.cross_attention_layers))
    grid, own, words = layers[0].token_grid(size), [], []
    for k in range(first, len(branch.steps)):
        record = RecordMaps()
        source.read(k, [CONDITIONAL], Edits.at((*layers, *cross), record))
        mean = {layer: p.mean(dim=1).cpu() for layer, p in record.maps.items()}
        own.append(torch.stack([mean[layer] for layer in layers]).mean(dim=0))
        images = [mean[layer].transpose(1, 2).unflatten(-1, layer.token_grid(size)) for layer in cross]
        large = [F.interpolate(image, grid, mode="bicubic", antialias=True) for image in images]
        words.append(torch.stack(large).mean(dim=0).permute(0, 2, 3, 1))
    return torch.stack(own).mean(dim=0), torch.stack(words).mean(dim=0), grid
