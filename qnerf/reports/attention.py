"""attention.html and its pictures: what the model attends to in some views, layer by layer and step by step."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.attention.layers import AttentionLayer
from qnerf.common.files import Pixels, write_text
from qnerf.reports.charts import line_chart
from qnerf.reports.html import png, render
from qnerf.reports.images import to_pixels
from qnerf.reports.sheet import Column, contact_sheet
from qnerf.scenes.images import write_image

FEATURES = ("queries", "keys", "residuals")
At = tuple[int, int]  # a step and a layer's index
HEAT = (1.0, 0.35, 0.0)


@dataclass(frozen=True)
class ViewLook:
    """One view. image: (3, H, W) in [0, 1]. own: self-attention by step and layer, (places, places), rows sum to 1. by_word:
    weights of each word, (words, rows, columns). shares, energies: (T, words), of every step, as the page explains them."""

    name: str
    image: Tensor
    prompt: str
    words: tuple[str, ...]
    own: Mapping[At, Tensor]
    by_word: Mapping[At, Tensor]
    shares: Tensor
    energies: Tensor


@dataclass(frozen=True)
class AttentionLook:
    """steps: those that are shown, of `total`. side: of the grid that maps of self-attention are averaged to. colours: by step,
    layer and feature (V, 3, rows, columns) in [0, 1]."""

    views: Sequence[ViewLook]
    steps: Sequence[int]
    layers: Sequence[AttentionLayer]
    total: int
    side: int
    colours: Mapping[tuple[int, int, str], Tensor]


def write_attention(folder: Path, look: AttentionLook) -> None:
    """attention.html and, in attention/, pictures of the words' maps by view, and of the features by step."""
    write_text(folder / "attention.html", render_attention(look))
    pictures = folder / "attention"
    pictures.mkdir(exist_ok=True)
    for view in look.views:
        write_image(pictures / f"words_{view.name}.png", _channels(words_sheet(view, look)))
    for step in look.steps:
        write_image(pictures / f"features_step_{step:03d}.png", _channels(features_sheet(step, look)))


def render_attention(look: AttentionLook) -> str:
    """The page as text: it needs nothing but itself."""
    charts = [
        (view.name, *(_chart(values, view.words, look.total, label) for values, label in _energies(view))) for view in look.views
    ]
    sheets = [(step, features_sheet(step, look)) for step in look.steps]
    return render("attention.html", title="What the model attends to", data=document(look), charts=charts, sheets=sheets)


def document(look: AttentionLook) -> dict[str, Any]:
    """What the page's script reads. Maps are bytes: of self-attention shares of each row's maximum, of words of the map's."""
    views = []
    for view in look.views:
        maps = []
        for step in look.steps:
            row = []
            for layer in look.layers:
                own, words = view.own[step, layer.index], view.by_word[step, layer.index]
                top = float(words.max()) if words.numel() else 0.0
                row.append({
                    "own": _bytes(own / own.amax(dim=1, keepdim=True).clamp_min(1e-12)),
                    "side": [min(look.side, count) for count in words.shape[1:]],
                    "words": _bytes(words / max(top, 1e-12)),
                    "grid": list(words.shape[1:]),
                    "top": top,
                })  # fmt: skip
            maps.append(row)
        picture = png(to_pixels(view.image))
        views.append({"name": view.name, "image": picture, "prompt": view.prompt, "words": list(view.words), "maps": maps})
    return {"views": views, "steps": list(look.steps), "total": look.total, "layers": [layer.index for layer in look.layers]}


def words_sheet(view: ViewLook, look: AttentionLook) -> Pixels:
    """The view under each word's map, a row for each step and layer; each map is scaled to its own maximum."""
    places = [(step, layer) for step in look.steps for layer in look.layers]
    rows = [f"step {step}, layer {layer.index}" for step, layer in places]
    columns = [Column("view", [to_pixels(view.image)] * len(rows))]
    for number, word in enumerate(view.words):
        maps = [view.by_word[step, layer.index][number] for step, layer in places]
        lines = [f"largest weight {max(float(each.max()) for each in maps):.2g}"]
        columns.append(Column(word, [to_pixels(heated(view.image, each)) for each in maps], lines))
    return contact_sheet(columns, rows, f"{view.name}: “{view.prompt}”", "Bright: where the word is attended to.", len(rows))


def features_sheet(step: int, look: AttentionLook) -> Pixels:
    """Principal components of features as colours: a row for each view, a column for each layer and feature."""
    columns = [Column("view", [to_pixels(view.image) for view in look.views])]
    for layer in look.layers:
        for name in FEATURES:
            pictures = look.colours[step, layer.index, name]
            size = look.views[0].image.shape[-2:]
            columns.append(Column(f"{name} {layer.index}", [to_pixels(x) for x in F.interpolate(pictures, size)]))
    title = f"Step {step} of {look.total}: the first three principal components of all views together"
    return contact_sheet(columns, [view.name for view in look.views], title, "Equal colours are equal features.", len(look.views))


def heated(image: Tensor, weights: Tensor) -> Tensor:
    """A picture (3, H, W), grey, with weights (rows, columns) as heat, scaled to their maximum."""
    large = F.interpolate(weights[None, None], image.shape[-2:], mode="bilinear")[0, 0]
    share = 0.85 * (large / large.max().clamp_min(1e-12)).clamp(0, 1)
    grey = 0.6 * image.mean(dim=0)
    return torch.stack([(1 - share) * grey + share * level for level in HEAT])


def _energies(view: ViewLook) -> list[tuple[Tensor, str]]:
    return [(view.shares, "share of the attention"), (view.energies, "energy")]


def _chart(values: Tensor, words: Sequence[str], total: int, label: str) -> Any:
    series = {word: [float(x) for x in values[:, number]] for number, word in enumerate(words)}
    return line_chart(series, list(range(total)), "denoising step", label)


def _bytes(x: Tensor) -> str:
    return base64.b64encode((x.clamp(0, 1) * 255).round().to(torch.uint8).numpy().tobytes()).decode()


def _channels(pixels: Pixels) -> np.ndarray:
    return pixels.transpose(2, 0, 1).astype(np.float32) / 255
