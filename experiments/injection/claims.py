"""What the studies of injection claim: J24, J25, J28 and J29 of Jambon's report (2023, §6.3 and app. B)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.injection import maps, study
from experiments.injection.study import ETAS, EXTRACTIONS, STARTS, TRANSFORMS, Latent, Row

OBJECT, SILHOUETTE = "object", "silhouette"
MARGIN = 1.0  # dB: as good as, or worse than, another


def _survives(transform: str, latent: Latent) -> tuple[Any, ...]:
    """It comes within the margin of what re-inversion gives."""
    own, other = Row(transform, latent).name, Row(transform, "re-inverted").name
    return f"{transform}: the {latent} latents are as good as re-inverted ones, by 1 dB", "by pictures", OBJECT, own, other, -MARGIN


def _fails(transform: str, latent: Latent) -> tuple[Any, ...]:
    own, other = Row(transform, latent).name, Row(transform, "re-inverted").name
    return f"{transform}: the {latent} latents are worse than re-inverted ones by 1 dB", "by pictures", OBJECT, other, own, MARGIN


BY_LATENT = (
    _survives("moved", "transformed"),
    _fails("moved", "original"),
    _fails("moved", "random"),
    _fails("turned", "transformed"),
    _fails("doubled", "transformed"),
    *(
        (f"{name}: injection helps the transformed latents", "-", OBJECT, Row(name, "transformed").name,
         Row(name, "transformed", "none").name)
        for name in TRANSFORMS
    ),
    *(
        (f"{name}: it helps those of the re-inverted blurred picture", "-", SILHOUETTE, Row(name, "re-inverted blurred").name,
         Row(name, "re-inverted blurred", "none").name)
        for name in TRANSFORMS
    ),
)  # fmt: skip
BY_NOISE = (
    *(
        (f"{transform}, {latent}: η {eta:g} is better than 0", "by pictures", OBJECT, Row(transform, latent, eta=eta).name,
         Row(transform, latent).name)
        for transform, latent in STARTS
        for eta in ETAS[1:]
    ),
    *(
        (f"{transform}, {latent}: η 1 has more right labels than 0", "-", "labels", Row(transform, latent, eta=1.0).name,
         Row(transform, latent).name)
        for transform, latent in STARTS
    ),
)  # fmt: skip
GRID = (
    *(
        (f"{way}, {how}: better than no injection", "by pictures", OBJECT, Row("moved", "random", way, how).name,
         Row("moved", "random", "none").name)
        for way in study.WAYS
        for how in EXTRACTIONS
    ),
    *(
        (f"guidance is better than direct injection, {how}: {figure}", "-", figure, Row("moved", "random", "guidance", how).name,
         Row("moved", "random", "direct", how).name)
        for figure in (OBJECT, SILHOUETTE)
        for how in EXTRACTIONS
    ),
    *(
        (f"an inversion's features are better than noised ones, {way}", "-", OBJECT, Row("moved", "random", way).name,
         Row("moved", "random", way, "noise").name)
        for way in study.WAYS
    ),
)  # fmt: skip
OF_MAPS = (
    ("own maps of each step bring the layout: than none", "by pictures", SILHOUETTE, maps.OWN, maps.NONE),
    ("and their mean over t, smoothed", "by pictures", SILHOUETTE, maps.SMOOTHED, maps.NONE),
    ("and the neighbours', by geometry", "by pictures", SILHOUETTE, maps.CARRIED, maps.NONE),
    ("the object too: own maps of each step", "-", OBJECT, maps.OWN, maps.NONE),
    ("the neighbours', by geometry", "-", OBJECT, maps.CARRIED, maps.NONE),
    ("by geometry is better than in place", "-", OBJECT, maps.CARRIED, maps.IN_PLACE),
    ("they cost labels: none is better than own maps of each step", "-", "labels", maps.NONE, maps.OWN),
    ("smoothing costs at most 1 dB", "-", OBJECT, maps.SMOOTHED, maps.MEAN, -MARGIN),
)
STUDIES: Mapping[str, tuple[str, Any, tuple[str, ...], tuple[tuple[Any, ...], ...]]] = {
    "J24": ("J24: injected cross-attention maps", maps, maps.ROWS, OF_MAPS),
    "J25": ("J25: noise of η in the steps, under injection", study, study.rows_of("J25"), BY_NOISE),
    "J28": ("J28: features of transformed images, by latent", study, study.rows_of("J28"), BY_LATENT),
    "J29": ("J29: extraction by injection", study, study.rows_of("J29"), GRID),
}
"""Title, script, rows and claims (the fields of `Claim`) by name."""
