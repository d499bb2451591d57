"""The step back from pictures, against its definition, on a random backbone."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from qnerf.consolidation import feedback
from qnerf.consolidation.feedback import feed_back, implied_clean
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.region import EditedRegion
from tests.schedules.helpers import make_job

STATE = 3


def test_the_implied_clean_latents_lead_back_to_the_state() -> None:
    """z = √ᾱ ẑ0 + σ ε, and chunks change nothing."""
    job, work = make_job()
    z = job.trajectory.states[STATE]
    noise = job.branch(slice(0, 4)).noise(z, STATE)
    found = implied_clean(job, z, STATE)
    torch.testing.assert_close(job.steps.signal[STATE] * found + job.steps.sigma[STATE] * noise, z)
    torch.testing.assert_close(implied_clean(replace(job, chunk_size=1), z, STATE), found, atol=1e-5, rtol=1e-5)
    assert work["unet"] == 4 + 4


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_the_clean_latents_go_a_share_of_the_way_where_a_part_moves(weight: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a field that renders one known picture from everywhere, of which only what is near those parts counts."""
    moved = torch.zeros(4, 8, 8)
    moved[:, 3:5, 4:6] = 1
    near = torch.zeros(4, 32, 32, dtype=torch.bool)
    near[:, 4:28, 8:32] = True  # 4 pixels a latent: two latents more on every side
    job, _ = make_job(region=EditedRegion(torch.ones(4, 8, 8), moved))
    shown, seen = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(5)), []

    class Known:
        def render(self, cameras: Cameras, where: Tensor) -> tuple[Tensor, Tensor]:
            assert torch.equal(where, near)
            return torch.where(near[:, None], shown, torch.nan), shown[:, 0]

    def train(images: Tensor, *_: object, **__: object) -> Known:
        seen.append(images)
        return Known()

    monkeypatch.setattr(feedback, "train_rgb_field", train)
    z = job.trajectory.states[STATE]
    found, before = feed_back(job, weight, z, STATE), implied_clean(job, z, STATE)
    torch.testing.assert_close(seen[0], job.backbone.decode(before))
    picture = torch.where(near[:, None], shown, seen[0])
    wanted = before + weight * moved[:, None] * (job.backbone.encode(picture) - job.backbone.encode(seen[0]))
    torch.testing.assert_close((found - z) / job.steps.signal[STATE], wanted - before, atol=1e-4, rtol=1e-4)
    assert torch.equal((found != z).any(dim=1), moved > 0)


def test_with_a_real_field_views_change_alike_each_time_and_only_through_the_field() -> None:
    job, work = make_job()
    z = job.trajectory.states[STATE]
    found = feed_back(job, 1.0, z, STATE)
    assert work["feedback"] == pytest.approx(1)
    assert torch.isfinite(found).all()
    assert torch.equal(feed_back(job, 1.0, z, STATE), found)
    longer = job.rgb_field.model_copy(update={"optimiser": job.rgb_field.optimiser.model_copy(update={"iterations": 8})})
    assert not torch.equal(feed_back(replace(job, rgb_field=longer), 1.0, z, STATE), found)
