"""Settings of the guidance: how rendered queries act on a denoising step (METHOD §2.5)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from qnerf.settings import Settings


class OffSettings(Settings):
    """Rendered queries are ignored."""

    name: Literal["off"]


Region = Literal["moved", "object", "all"]
Predictions = Literal["conditional", "all"]
"""Whose queries are replaced, of the predictions that a step combines (null text, the source's control): the conditional one's, on
whose queries fields are trained, or every one's."""


class SoftSettings(Settings):
    """Gradient steps on the latents towards the rendered queries.

    strength: α. step: "relative" scales the gradient so that the step's RMS is strength times the latent's RMS; "raw" is the
    paper's z - α∇. inner_steps: steps of α / inner_steps, each with a gradient of its own.
    decay: "sigma" multiplies α by sqrt(1 - ᾱ_t), "constant" does not.
    weights: what the pull is weighted by, since a field cannot know the part of the queries that mirrors each view's own noise.
    "equal": nothing. "layer": the share of the layer's variance that the field explains. "component": the same for each
    principal component of the layer's queries, on all views, those that trained the field among them.
    region: where the latents are pulled and moved. "moved": where a part that the edit moves may be before or after it;
    "object": where any of the object may be; "all": everywhere.
    until: share of the denoising steps after which guidance ends.
    checkpointing: the gradient's backward pass computes the blocks' activations again instead of keeping them (Chen et al. 2016).
    """

    name: Literal["soft"]
    strength: float = Field(default=0.03, gt=0)
    step: Literal["relative", "raw"] = "relative"
    inner_steps: int = Field(default=1, ge=1)
    decay: Literal["sigma", "constant"] = "sigma"
    weights: Literal["equal", "layer", "component"] = "component"
    region: Region = "all"
    until: float = Field(default=1.0, gt=0, le=1)
    checkpointing: bool = False


class HardSettings(Settings):
    """The rendered queries replace the model's own. region, of whose tokens, and until: as for soft."""

    name: Literal["hard"]
    region: Region = "all"
    predictions: Predictions = "all"
    until: float = Field(default=1.0, gt=0, le=1)


class MixedSettings(Settings):
    """The model's own queries q and the rendered ones Q̂ are interpolated, `q + strength (Q̂ - q)`.

    strength: share of the rendered ones. weights: "equal" is the paper's; "component" replaces of each principal component of a
    layer's queries as large a share as the field explains of it, times `strength` (ours). region, of whose tokens, and until:
    as for soft.
    """

    name: Literal["mixed"]
    strength: float = Field(default=0.5, gt=0, le=1)
    weights: Literal["equal", "component"] = "equal"
    region: Region = "all"
    predictions: Predictions = "all"
    until: float = Field(default=1.0, gt=0, le=1)


GuidanceSettings = Annotated[OffSettings | SoftSettings | HardSettings | MixedSettings, Field(discriminator="name")]
