"""The required figures of the embedded backbone, and whether it meets them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Bar:
    """path: of the figure in figures.json's groups, by dots. A figure that is not there, or not a number, clears nothing."""

    what: str
    path: str
    relation: Literal[">=", "<=", ">"]
    bound: float


BARS = (
    Bar("classifiers: colours of true renders", "classifiers.colour_accuracy", ">=", 0.98),
    Bar("classifiers: kinds of true renders", "classifiers.kind_accuracy", ">=", 0.98),
    Bar("autoencoder's round trip, dB", "autoencoder.round_trip_psnr", ">=", 32),
    Bar("autoencoder's round trip on the object, dB", "autoencoder.round_trip_psnr_object", ">=", 28),
    Bar("autoencoder's round trip of photographs, dB", "autoencoder.photographs_psnr", ">=", 24),
    Bar("latents' standard deviation, distance from 1", "autoencoder.latent_std_spread", "<=", 0.15),
    Bar("text and skeleton: silhouette IoU, median", "generation.generated.silhouette_iou", ">=", 0.80),
    Bar("text and skeleton: colours", "generation.generated.colour_accuracy", ">=", 0.90),
    Bar("text and skeleton: kinds", "generation.generated.kind_accuracy", ">=", 0.98),
    Bar("text and skeleton: KID over the round trip's", "generation.generated.kid_over_round_trip", "<=", 3),
    Bar("loose depth: share of the silhouette inside", "loose.generated.inside", ">=", 0.95),
    Bar("loose depth: silhouette IoU, median", "loose.generated.silhouette_iou", ">=", 0.70),
    Bar("inversion at guidance 1, dB", "inversion.psnr", ">=", 26),
    Bar("inversion: dB lost by strong guidance", "inversion.loss_by_strong_guidance", ">", 1),
    Bar("guidance: colours gained", "guidance.colour_accuracy_gain", ">", 0),
    Bar("guidance: saturation gained beyond 15", "guidance.saturation_gain", ">", 0),
    Bar("cross-attention: pointing game", "pointing.accuracy", ">=", 0.6),
    Bar("weights, MB", "cost.weights_mb", "<=", 32),
    Bar("loading, s", "cost.load_seconds", "<=", 2),
    Bar("U-Net forward of 12 views, s", "cost.forward_seconds", "<=", 1),
)


def find(groups: Mapping[str, Any], path: str) -> float | None:
    """The figure at a path, or none where a step of it is missing."""
    node: Any = groups
    for step in path.split("."):
        if not isinstance(node, Mapping) or step not in node:
            return None
        node = node[step]
    return node if isinstance(node, int | float) and math.isfinite(node) else None


def clears(bar: Bar, value: float) -> bool:
    return {">=": value >= bar.bound, "<=": value <= bar.bound, ">": value > bar.bound}[bar.relation]


def held_against(groups: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every bar whose group was computed, its value and whether it holds: none where the figure does not exist."""
    rows = []
    for bar in BARS:
        if bar.path.split(".")[0] in groups:
            value = find(groups, bar.path)
            holds = None if value is None else clears(bar, value)
            rows.append({"what": bar.what, "value": value, "relation": bar.relation, "bound": bar.bound, "holds": holds})
    return rows


def describe(rows: list[dict[str, Any]]) -> str:
    """A line each."""
    words = {True: "holds", False: "FAILS", None: "no figure"}
    width = max((len(row["what"]) for row in rows), default=0)
    lines = []
    for row in rows:
        value = "-" if row["value"] is None else f"{row['value']:.4g}"
        lines.append(f"{row['what']:<{width}}  {value:>8}  {row['relation']:>2} {row['bound']:<5g} {words[row['holds']]}")
    return "\n".join(lines)
