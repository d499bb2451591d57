"""The field of the source views: its losses against sums written out, and what it learns of a sphere."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from qnerf.errors import UserError
from qnerf.fields.bounded import distance_to
from qnerf.fields.ground_height import ground_height
from qnerf.fields.rendering import Samples, composite, composite_weights
from qnerf.fields.settings import OptimiserSettings, SourceFieldSettings
from qnerf.fields.source_field import SourceField, restored, train_source_field
from qnerf.fields.source_loss import SourceLoss, depth_loss, distortion, without_object
from qnerf.fields.token_rays import TokenGrid
from qnerf.scenes.bounds import bounding_box
from qnerf.scenes.cameras import Cameras
from qnerf.scenes.scene import Bounds, Proxy
from qnerf.scenes.solids import Box, Capsule
from tests.fields.helpers import DENSITY, GRID, SAMPLING, SPACE, ring, sphere
from tests.pretend_device import PRETENDED, moved, pretend_device


def settings(iterations: int, **changes: object) -> SourceFieldSettings:
    optimiser = OptimiserSettings(iterations=iterations, rays_per_batch=256, learning_rate=0.03, final_learning_rate=0.003)
    small = {
        "grid": GRID,
        "initial_density": DENSITY,
        "sampling": SAMPLING,
        "optimiser": optimiser,
        "hidden_width": 32,
        "surroundings": GRID,
    }
    return SourceFieldSettings.model_validate({**small, "geometry_width": 8, **changes})


def images(cameras: Cameras) -> torch.Tensor:
    return (sphere(cameras, cameras.height, 3)[0].permute(0, 3, 1, 2) + 1) / 2


def test_what_it_renders_is_the_radiance_at_its_edges_composited() -> None:
    cameras = ring(3)
    field = train_source_field(images(cameras), cameras, SPACE, settings(8), seed=1)
    rays = TokenGrid(3, 32, 32).rays(cameras, torch.arange(0, 3072, 97), torch.full((32, 2), 0.5))
    edges = field.edges(rays, SAMPLING.render_samples)
    middle = (edges[:, 1:] + edges[:, :-1]) / 2
    points = rays.origins[:, None] + middle[..., None] * rays.directions[:, None]
    density, colour = field.radiance(points.view(-1, 3))
    weights = composite_weights(density.view(middle.shape), Samples(edges[:, :-1], edges[:, 1:], points, SPACE.radius))
    by_hand = composite(weights, colour.view(*middle.shape, 3)) + (1 - weights.sum(-1))[:, None] * field.surroundings(
        rays.directions
    )
    found = field.render(cameras)[0].permute(0, 2, 3, 1).reshape(-1, 3)[torch.arange(0, 3072, 97)]
    torch.testing.assert_close(found, by_hand.clamp(0, 1))


def test_distortion_is_the_double_sum() -> None:
    generator = torch.Generator().manual_seed(2)
    edges = torch.rand(3, 6, generator=generator, dtype=torch.float64).sort(dim=1).values * 4
    samples = Samples(edges[:, :-1], edges[:, 1:], torch.empty(0), 2.0)
    weights = torch.rand(3, 5, generator=generator, dtype=torch.float64).requires_grad_()
    middle, width = (samples.starts + samples.ends) / 4, (samples.ends - samples.starts) / 2
    pairs = weights[:, :, None] * weights[:, None] * (middle[:, :, None] - middle[:, None]).abs()
    by_hand = pairs.sum(dim=(1, 2)) + (weights.square() * width).sum(-1) / 3
    torch.testing.assert_close(distortion(weights, samples), by_hand)
    assert torch.autograd.gradcheck(lambda w: distortion(w, samples), weights)
    assert distortion(torch.eye(5, dtype=torch.float64)[:1] * 0.5, samples)[0] < distortion(torch.full((1, 5), 0.1), samples)[0]


def test_depth_counts_only_where_it_is_known() -> None:
    samples = Samples(torch.tensor([[0.0, 1.0]] * 3), torch.tensor([[1.0, 2.0]] * 3), torch.empty(0), 2.0)
    weights = torch.tensor([[0.5, 0.5], [0.0, 0.8], [1.0, 0.0]])
    found = depth_loss(weights, samples, torch.tensor([2.0, 1.5, torch.inf]))
    assert found.item() == pytest.approx((abs(1.0 - 2.0) + 0) / 2 / 2)
    assert depth_loss(weights, samples, torch.full((3,), torch.inf)) == 0


def test_what_hides_is_filled_from_its_rim() -> None:
    images = torch.full((2, 3, 16, 16), 0.4)
    hidden = torch.zeros(2, 16, 16, dtype=torch.bool)
    hidden[0, 5:9, 6:12] = True
    images[0, :, hidden[0]] = 1.0
    filled = without_object(images, hidden)
    torch.testing.assert_close(filled, torch.full_like(filled, 0.4), atol=0.01, rtol=0)


def ball_proxy() -> Proxy:
    """A bone through the sphere, and a capsule round it that leaves a little room."""
    ends = torch.tensor([[0.0, 0.0, -0.1], [0.0, 0.0, 0.1]])
    bounds = Bounds((Capsule(ends[0].double().numpy(), ends[1].double().numpy(), 1.0, "bound"),), bounding_box(ends))
    return Proxy("skeleton", ("a", "b"), ((0, 1),), ends, ends, bounds, bounds)


def on_a_floor(cameras: Cameras, height: float) -> torch.Tensor:
    """The sphere's images with a chequered floor at this height instead of the plain surroundings."""
    rays = cameras.token_rays(cameras.height, cameras.width)
    reach = (height - rays.origins[..., 2]) / rays.directions[..., 2].clamp_max(-1e-3)
    floor = (rays.origins + reach[..., None] * rays.directions)[..., :2]
    light = 0.3 + 0.5 * (floor.div(0.7).floor().sum(-1) % 2)
    light = torch.where((rays.directions[..., 2] < -1e-3) & (floor.norm(dim=-1) < 6), light, 0.9)
    depth = sphere(cameras, cameras.height, 3)[1]
    return torch.where(torch.isfinite(depth)[:, None], images(cameras), light[:, None])


def test_the_ground_is_found_where_the_views_agree() -> None:
    cameras = ring(6, pixels=64, distance=5.0)
    hidden = torch.isfinite(sphere(cameras, 64, 3)[1])
    assert ground_height(on_a_floor(cameras, -1.05), cameras, SPACE, hidden) == pytest.approx(-1.05, abs=0.02)


def test_no_ground_where_nothing_is_compared() -> None:
    cameras = ring(3)
    assert ground_height(images(cameras), cameras, SPACE, torch.ones(3, 32, 32, dtype=torch.bool)) is None


def test_the_object_is_opaque_and_the_ground_and_sky_are_not_of_it() -> None:
    cameras, others = ring(8, distance=5.0), ring(8, start=0.5, distance=5.0)
    field = train_source_field(on_a_floor(cameras, -1.05), cameras, SPACE, settings(120), seed=0, proxy=ball_proxy())
    assert field.ground is not None
    found, depth = field.render(others)
    psnr = -10 * torch.log10((found - on_a_floor(others, -1.05)).square().mean())
    assert psnr > 15
    truth = sphere(others, 32, 3)[1]
    seen = torch.isfinite(truth)
    assert (depth - truth)[seen].abs().median() < 0.2
    rays = TokenGrid(8, 32, 32).rays(others, seen.flatten().nonzero()[:, 0], torch.full((int(seen.sum()), 2), 0.5))
    march = field.march(rays, 48, None)
    assert march.volume.sum(-1).mean() > 0.9
    below = torch.tensor([[0.9, 0.9, float(field.ground.plane[3]) - 0.005]])
    assert field.radiance(below)[0] > 10 * field.radiance(below, ground=False)[0]


def test_known_depth_is_learnt() -> None:
    cameras = ring(4)
    depth = sphere(cameras, 32, 3)[1]
    plain = torch.full((4, 3, 32, 32), 0.5)  # colours that say nothing of where the surface is
    errors = []
    for given in (None, depth):
        _, found = train_source_field(plain, cameras, SPACE, settings(60), seed=0, proxy=ball_proxy(), depth=given).render(cameras)
        errors.append((found - depth)[torch.isfinite(depth)].abs().median())
    assert errors[1] < 0.5 * errors[0]


def test_nothing_is_learnt_from_pixels_that_the_capture_leaves_out() -> None:
    cameras = ring(3)
    valid = torch.isfinite(sphere(cameras, 32, 3)[1])
    valid[1] = False  # a view of which nothing counts
    states = []
    for colour in (0.0, 0.9):
        colours = torch.where(valid[:, None], images(cameras), colour)
        field = train_source_field(colours, cameras, SPACE, settings(3), seed=0, proxy=ball_proxy(), valid=valid)
        states.append(field.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_two_trainings_are_bit_equal_and_come_back_from_their_state() -> None:
    cameras, proxy = ring(3), ball_proxy()
    first, second = (train_source_field(images(cameras), cameras, SPACE, settings(6), seed=1, proxy=proxy) for _ in range(2))
    state = first.state_dict()
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in state.items())
    again = restored(state, settings(6), SPACE, torch.device("cpu"), proxy)
    assert torch.equal(again.render(cameras)[0], first.render(cameras)[0])
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_images_and_depth_of_another_size_are_one_sentence() -> None:
    with pytest.raises(UserError, match=r"\(3, 3, 16, 16\).*\(3, 8, 8\)"):
        train_source_field(torch.zeros(3, 3, 16, 16), ring(3), SPACE, settings(1), seed=0, depth=torch.zeros(3, 8, 8))


def test_samples_that_the_ground_would_take_are_refused() -> None:
    with pytest.raises(ValidationError, match="fine_samples"):
        settings(1, sampling=SAMPLING.model_copy(update={"fine_samples": 3}))


def test_distances_to_solids() -> None:
    points = torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.5, 0.0]])
    capsule = Capsule(np.zeros(3), np.array([0.0, 0.0, 1.0]), 0.25, "bound")
    box = Box(np.array([0.0, 2.0, 0.0]), np.array([1.0, 0.5, 1.0]), np.eye(3), 0.1, "bound")
    torch.testing.assert_close(distance_to(points, [capsule]), torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(distance_to(points, [capsule, box]), torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(distance_to(points, [box]), torch.tensor([3.25**0.5, 1.0]))


def test_rays_begin_before_the_bounds_though_the_focus_is_far_behind_them() -> None:
    cameras = ring(3)
    near_camera = cameras.positions[0].numpy() * 0.7
    ball = Bounds((Capsule(near_camera, near_camera + 1e-3, 0.2, "bound"),), bounding_box(torch.eye(3)))
    proxy = Proxy("skeleton", ("a",), (), torch.zeros(1, 3), torch.zeros(1, 3), ball, ball)
    rays = cameras[[0]].rays(torch.zeros(1, dtype=torch.long), torch.tensor([[16.0, 16.0]]))
    fields = [SourceField(settings(1), SPACE, torch.device("cpu"), 0, which, None) for which in (None, proxy)]
    without, with_bounds = (float(field.edges(rays, 8)[0, 0]) for field in fields)
    front = float(cameras.positions[0].norm()) * 0.3 - 0.2
    assert without > front
    assert with_bounds <= front


@pytest.mark.filterwarnings("ignore:for .* is a no-op")  # a load_state_dict
def test_a_step_of_its_training_copies_nothing_to_the_device_or_home() -> None:
    """Else it could not be recorded as a CUDA graph: an H200 refused a copy of the bounds' centre."""
    small, cameras = settings(10, encoding="torch"), ring(3)
    plane, size = torch.tensor([0.0, 0.0, 1.0, -1.0]), (3, 32, 32)
    field = SourceField(small, SPACE, torch.device("cpu"), 1, ball_proxy(), plane)
    everywhere = torch.ones(size, dtype=torch.bool)
    loss = SourceLoss(field, images(cameras), cameras, everywhere, torch.ones(size), ~everywhere)
    for name in ("field", "cameras", "colours", "depth", "filled", "near", "anywhere", "object"):
        setattr(loss, name, moved(getattr(loss, name)))
    assert loss.field.ground is not None
    for part in (loss.field, loss.field.trunk, loss.field.ground):
        part.space = moved(SPACE)  # as a run makes it: a scene's focus is on the device
    step = torch.zeros((), dtype=torch.long, device=PRETENDED)
    with pretend_device() as device:
        loss(step, torch.Generator()).backward()  # some constants are sent in a first step, which is run plainly
        device.copies.clear()
        loss(step, torch.Generator()).backward()
    assert not device.copies
