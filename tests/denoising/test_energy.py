"""Energies on a random backbone: gradients with respect to latents and text against finite differences."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from qnerf.attention.edits import RecordProbs
from qnerf.attention.hooks import Edits
from qnerf.denoising.edit import EditBranch
from qnerf.denoising.energy import energy_gradient
from tests.schedules.helpers import BACKBONE, make_job

LAYER = BACKBONE.cross_attention_layers[9]
K = 2


class WordSeen:
    """How much one layer's cross-attention looks at one token, a number a view."""

    def __init__(self) -> None:
        self.record = RecordProbs()

    def edits(self) -> Edits:
        return Edits.at([LAYER], self.record)

    def value(self) -> Tensor:
        return self.record.maps[LAYER][..., 2].square().sum(dim=1)


def value_at(branch: EditBranch, z: Tensor) -> float:
    energy = WordSeen()
    with torch.no_grad():
        branch.conditional_noise(z, K, energy.edits())
    return energy.value().sum().item()


@pytest.mark.parametrize("of", ["latents", "text"])
def test_gradients_against_finite_differences(of: str) -> None:
    job, _ = make_job()
    branch, z = job.branch(slice(0, 2)), job.trajectory.states[K, :2]
    gradient = energy_gradient(branch, z, K, WordSeen(), of=of)  # pyright: ignore[reportArgumentType]
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(3))

    def at(step: float) -> float:
        if of == "latents":
            return value_at(branch, z + step * direction)
        text = branch.conditioning.text + step * direction
        return value_at(replace(branch, conditioning=replace(branch.conditioning, text=text)), z)

    slope = (at(1e-2) - at(-1e-2)) / 2e-2
    assert slope == pytest.approx((gradient * direction).sum().item(), rel=3e-2)


def test_a_view_s_gradient_is_its_own() -> None:
    job, _ = make_job()
    z = job.trajectory.states[K]
    together = energy_gradient(job.branch(slice(0, 4)), z, K, WordSeen())
    alone = energy_gradient(job.branch(slice(1, 2)), z[1:2], K, WordSeen())
    torch.testing.assert_close(together[1:2], alone, rtol=1e-3, atol=1e-6)
