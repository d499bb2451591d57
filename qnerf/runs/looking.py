"""What the model attends to in the source views, read along the inversion's trajectory: for the page of `+exp=attention`."""

from __future__ import annotations

import logging
from collections import defaultdict

import torch
from torch import Tensor

from qnerf.attention.edits import RecordOutput
from qnerf.attention.hooks import CONDITIONAL, Edits
from qnerf.attention.layers import AttentionLayer, select_layers
from qnerf.attention.maps import RecordMaps, RecordQueriesKeys, pooled_map, sixteenth, smoothed_words
from qnerf.attention.settings import AttentionSettings
from qnerf.backbones.words import tokens_of, words_of
from qnerf.denoising.source import SourceReader
from qnerf.reports.attention import FEATURES, AttentionLook, ViewLook
from qnerf.reports.images import spread
from qnerf.reports.queries import principal_colours
from qnerf.runs.inverting import Inverted
from qnerf.runs.work import ALONE, Workshop
from qnerf.scenes.settings import width_height

log = logging.getLogger(__name__)

MIB = 2**20


def look(inverted: Inverted, chosen: AttentionSettings, work: Workshop = ALONE) -> AttentionLook:
    """Maps, features and energies of some of the views. Raises UserError for a layer that the model does not have.

    Features are coloured together, so that equal colours mean equal features in all views. A pass is run for every denoising step,
    since energies are of all steps.
    """
    settings, scene, backbone = inverted.settings, inverted.scene, inverted.backbone
    layers, count = select_layers(backbone.layers, chosen.layers, "attention.layers"), len(scene.view_names)
    memory = chosen.memory(count, settings.backbone.costs(*width_height(settings.scene.size)).keys)
    log.info("Attention: at most %.0f MiB of memory, and a page of %.1f MiB.", memory / MIB, chosen.page(count) / MIB)
    work.progress.enter("looking at attention")
    views, features = [], defaultdict[tuple[int, int, str], list[Tensor]](list)
    for number in spread(count, chosen.views):
        one = slice(number, number + 1)
        reader = SourceReader(
            inverted.branch(one), inverted.trajectory.views(one).to(backbone.device), inverted.source_cache, ("attention", number)
        )
        prompt = scene.source_prompts[number]
        found = _View(chosen, reader, layers, prompt)
        for k in range(settings.steps):
            found.see(k)
            work.progress.advance("invert")
        for key, value in found.features.items():
            features[key].append(value)
        views.append(ViewLook(scene.view_names[number], scene.images[number].cpu(), prompt, tuple(found.tokens), *found.seen()))
    colours = {key: principal_colours(torch.cat(values), torch.cat(values))[0] for key, values in features.items()}
    return AttentionLook(views, chosen.steps(settings.steps), layers, settings.steps, chosen.side, colours)


class _View:
    """What is seen of one view, step by step. tokens: of each word that the model reads of the prompt."""

    def __init__(self, chosen: AttentionSettings, reader: SourceReader, layers: tuple[AttentionLayer, ...], prompt: str) -> None:
        self.chosen, self.reader, self.backbone, self.layers = chosen, reader, reader.branch.backbone, layers
        self.steps = chosen.steps(len(reader.branch.steps))
        self.cross = tuple(self.backbone.cross_attention_layers[layer.index] for layer in layers)
        length, words = reader.branch.conditioning.text.shape[1], chosen.words or words_of(prompt)
        found = {word: list(tokens_of(self.backbone.tokenizer, prompt, [word], length)) for word in words if word[0].isalnum()}
        self.tokens = {word: tokens for word, tokens in found.items() if tokens}
        self.own: dict[tuple[int, int], Tensor] = {}
        self.by_word: dict[tuple[int, int], Tensor] = {}
        self.features: dict[tuple[int, int, str], Tensor] = {}
        self.shares: list[Tensor] = []
        self.energies: list[Tensor] = []

    def seen(self) -> tuple[dict[tuple[int, int], Tensor], dict[tuple[int, int], Tensor], Tensor, Tensor]:
        """Self maps and word maps by (step, layer), shares and energies (T, words)."""
        return self.own, self.by_word, torch.stack(self.shares), torch.stack(self.energies)

    def see(self, k: int) -> None:
        """One pass at step k."""
        middle, words, own, output = (
            sixteenth(self.backbone.cross_attention_layers),
            RecordMaps(),
            RecordQueriesKeys(),
            RecordOutput(),
        )
        shown = k in self.steps
        edits = Edits.at(middle, words)
        if shown:
            paths = dict.fromkeys(map(residual_path, self.layers))
            edits |= Edits.at(tuple(dict.fromkeys((*self.layers, *self.cross))), own)
            edits |= Edits(features=dict.fromkeys(paths, (output,)))
        self.reader.read(k, [CONDITIONAL], edits)
        mean = torch.stack([words.maps[layer].mean(dim=1) for layer in middle]).mean(dim=0).float()
        largest = smoothed_words(mean, middle[0].token_grid(self.backbone.latent_size))[0].amax(dim=(1, 2))
        each = self.tokens.values()
        self.shares.append(torch.tensor([float(mean[0, :, tokens].sum(dim=1).mean()) for tokens in each]))
        self.energies.append(torch.tensor([float(1 - largest[[t - 1 for t in tokens]].amin()) for tokens in each]))
        if shown:
            for layer, cross in zip(self.layers, self.cross, strict=True):
                self._show(k, layer, cross, own, output)

    def _show(self, k: int, layer: AttentionLayer, cross: AttentionLayer, own: RecordQueriesKeys, output: RecordOutput) -> None:
        grid, at = layer.token_grid(self.backbone.latent_size), (k, layer.index)
        q, keys = own.kept[layer]
        self.own[at] = pooled_map(q, keys, grid, self.chosen.side)[0].cpu()
        q_cross, k_cross = (x.float() for x in own.kept[cross])
        p = (q_cross @ k_cross.transpose(-1, -2) * q_cross.shape[-1] ** -0.5).softmax(dim=-1).mean(dim=1)[0]
        weights = torch.zeros(p.shape[1], len(self.tokens)).to(p)  # 1 where a token is a word's
        for number, tokens in enumerate(self.tokens.values()):
            weights[tokens, number] = 1
        self.by_word[at] = (p @ weights).T.unflatten(1, grid).cpu()
        residual = output.kept[residual_path(layer)].movedim(1, -1)
        maps = (*(x.transpose(1, 2).flatten(2).unflatten(1, grid) for x in (q, keys)), residual)
        for name, x in zip(FEATURES, maps, strict=True):
            self.features[*at, name] = x.float().cpu()


def residual_path(layer: AttentionLayer) -> str:
    """The residual block whose output the layer's transformer block takes."""
    block, _, after = layer.path.partition(".attentions.")
    return f"{block}.resnets.{after.split('.')[0]}"
