"""Settings of the editors (METHOD §2.2, §4)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from qnerf.settings import Settings


class PlainEditorSettings(Settings):
    """ControlNet with the target control alone.

    guidance_scale: γ of the edit; 1 leaves out the unconditional pass. control_guidance: how far the noise is pushed away
    from what the source's control would predict, s in ε + (s - 1)(ε - ε(source control)) (ours); 1 leaves that pass out.
    keep_background: what lies outside the object's region, before and after the edit, stays the source's (ours).
    """

    name: Literal["plain"]
    control_guidance: float = Field(default=1.0, ge=1)
    guidance_scale: float = Field(default=1.0, ge=1)
    keep_background: bool = True


class MasaCtrlSettings(Settings):
    """MasaCtrl (Cao et al. 2023): the source branch's keys and values in the target's self-attention.

    guidance_scale, control_guidance, keep_background: as for the plain editor.
    start: share of the denoising steps before it begins (4 of 50 = 0.08). start_layer: first self-attention layer.
    keys: "replace" the target's keys and values, or attend to the "union" of both.
    source_cache_gib: keep the source branch's keys and values in so much memory rather than compute them at each visit. One
    interval's of all views should fit (embedded model: 1.4 MiB a view and step), and all steps' where methods share them.
    """

    name: Literal["masactrl"]
    control_guidance: float = Field(default=1.0, ge=1)
    guidance_scale: float = Field(default=1.0, ge=1)
    keep_background: bool = True
    start: float = Field(default=0.08, ge=0, le=1)
    start_layer: int = Field(default=10, ge=0)
    keys: Literal["replace", "union"] = "replace"
    source_cache_gib: float = Field(default=0.5, ge=0)


EditorSettings = Annotated[PlainEditorSettings | MasaCtrlSettings, Field(discriminator="name")]
