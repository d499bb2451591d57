"""How several predictions of one step become one: guidance scales, and the background that is kept."""

from __future__ import annotations

from torch import Tensor

from qnerf.scenes.region import EditedRegion


def guided_noise(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance (Ho & Salimans 2022): ε̂ = ε(∅) + γ (ε(c) - ε(∅))."""
    return unconditional + scale * (conditional - unconditional)


def pushed_from(noise: Tensor, conditional: Tensor, other: Tensor, scale: float) -> Tensor:
    """ε̂ + (s - 1)(ε(c) - ε(other)): away from what another condition, the source's control, would
    predict (ours)."""
    return noise + (scale - 1) * (conditional - other)


def keep_background(z: Tensor, source: Tensor, region: EditedRegion) -> Tensor:
    """Latents z (V, 4, h, w) inside the object's region, and that of its shadow if it is released; the source's at the same
    state outside.

    Blended latent diffusion (Avrahami et al., SIGGRAPH 2023), with the inverted source for the noised
    one.
    """
    return z.where(region.released[:, None] > 0, source)
