"""What runs on a GPU, held against the same on the CPU. The `cpu` variants run everywhere: they test these tests.

Stated tolerances: encodings and compositing 1e-4; an independent edit 1e-2 of its latents' size; fields, whose random draws and
sums differ between devices, .05 of R². docs/gpu.md says which GPUs have run them.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.backbones.architecture import tiny_backbone
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.consolidation.job import EditJob
from qnerf.fields.encodings.choice import load_tinycudann, load_triton
from qnerf.fields.encodings.hash_grid import Encode
from qnerf.fields.encodings.layout import grid_layout
from qnerf.fields.encodings.reference import encode_torch
from qnerf.fields.explained import measure_field
from qnerf.fields.rendering import Samples, composite_weights
from qnerf.fields.settings import EncodingName, EncodingSettings
from qnerf.fields.space import Space
from qnerf.fields.train_query_field import train_query_field
from qnerf.guidance.mixed import MixedSettings
from qnerf.guidance.soft import SoftSettings
from qnerf.schedules.independent import IndependentSettings
from qnerf.schedules.look_ahead import FeedbackSettings
from qnerf.schedules.one_shot import OneShotSettings
from qnerf.schedules.progressive import ProgressiveSettings
from tests.fields.helpers import SPACE, field_settings, ring, sphere
from tests.schedules.helpers import edit, make_job

GPU = pytest.param("cuda", marks=pytest.mark.gpu)
EXPLAINED = MixedSettings(name="mixed", weights="component", region="moved")
FEEDBACK = FeedbackSettings(at=0.7, weight=0.5)


def queries(cameras: Any) -> dict[str, Tensor]:
    return {"a": sphere(cameras, 8, 5)[0], "b": sphere(cameras, 16, 4)[0]}


def encoder(name: str, device: str) -> Encode:
    """The implementation of this name; the test is skipped where its package is missing."""
    if name == "torch":
        return encode_torch
    if name == "warp":
        return pytest.importorskip("qnerf.fields.encodings.warp_grid").encode_warp
    found = load_triton(torch.device(device, 0))
    if not isinstance(found, str):
        return found
    assert found == "Triton is not installed", found
    pytest.skip(found)


@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("cpu", "warp"),
        pytest.param("cuda", "torch", marks=pytest.mark.gpu),
        pytest.param("cuda", "warp", marks=pytest.mark.gpu),
        pytest.param("cuda", "triton", marks=pytest.mark.gpu),
    ],
)
def test_encodings_and_their_gradients(device: str, name: str, stored: torch.dtype) -> None:
    """Of the table and of positions, on dense levels and on hashed ones; half tables are read as such on both."""
    settings = EncodingSettings(levels=6, log2_table_size=12, finest_resolution=2048)
    layout, generator = grid_layout(settings), torch.Generator().manual_seed(0)
    points, wanted = torch.rand(500, 3, generator=generator), torch.randn(500, layout.width, generator=generator)
    values = torch.randn(layout.rows, layout.features, generator=generator)
    found = []
    for encode, where in ((encode_torch, "cpu"), (encoder(name, device), device)):
        positions, table = points.to(where).clone().requires_grad_(), values.to(where).clone().requires_grad_()
        encoded = encode(positions, table, layout, stored)
        encoded.backward(wanted.to(where))
        assert table.grad is not None
        assert positions.grad is not None
        found.append((encoded.detach().cpu(), table.grad.cpu(), positions.grad.cpu()))
    for here, plain in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(here, plain, rtol=1e-4, atol=1e-4 * plain.abs().max().item())


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_compositing(device: str) -> None:
    generator = torch.Generator().manual_seed(0)
    edges = torch.rand(30, 9, generator=generator).cumsum(dim=1)
    density = torch.rand(30, 8, generator=generator) * 3

    def weights(where: str) -> Tensor:
        samples = Samples(edges[:, :-1].to(where), edges[:, 1:].to(where), torch.zeros(30, 8, 3, device=where), 1.3)
        return composite_weights(density.to(where), samples).cpu()

    torch.testing.assert_close(weights(device), weights("cpu"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("device", "encoding", "table"),
    [
        ("cpu", "torch", "float32"),
        pytest.param("cuda", "torch", "float32", marks=pytest.mark.gpu),
        pytest.param("cuda", "triton", "float32", marks=pytest.mark.gpu),
        pytest.param("cuda", "triton", "float16", marks=pytest.mark.gpu),
        pytest.param("cuda", "warp", "float32", marks=pytest.mark.gpu),
        pytest.param("cuda", "tinycudann", "float32", marks=pytest.mark.gpu),
    ],
)
def test_a_field_explains_as_much(device: str, encoding: EncodingName, table: str) -> None:
    if encoding == "tinycudann" and load_tinycudann() is None:
        pytest.skip("tiny-cuda-nn is not installed")
    if encoding in ("triton", "warp"):
        encoder(encoding, device)
    cameras, trained = ring(8), field_settings(400)  # six seeds lie within .01 of R²; after 150 steps they lie .33 apart
    plain = measure_field(train_query_field(queries(cameras), cameras, SPACE, trained, seed=1), queries(cameras), cameras)
    grid, there = trained.grid.model_copy(update={"table_dtype": table}), cameras.to(torch.device(device))
    settings = trained.model_copy(update={"encoding": encoding, "grid": grid})
    space = Space(SPACE.focus.to(device), SPACE.radius)
    field = train_query_field(queries(cameras), there, space, settings, seed=0)
    found = measure_field(field, queries(cameras), there)
    assert found == pytest.approx(plain, abs=0.05)


def job_on(device: str) -> EditJob:
    """The tiny job with its model and all but the trajectories on the device."""
    job, _ = make_job()
    place = torch.device(device)
    parts = {name: getattr(job, name).to(place) for name in ("target", "region", "cameras")}
    backbone = DiffusionBackbone(tiny_backbone().parts, job.backbone.image_size, "tiny", place)

    def source(views: slice) -> Any:
        here = job.source(views)
        moved = {name: getattr(here, name).to(place) for name in ("conditioning", "null_text")}
        return replace(here, backbone=backbone, **moved)

    return replace(job, backbone=backbone, source=source, space=Space(job.space.focus.to(place), job.space.radius), **parts)


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_an_independent_edit_is_the_same(device: str) -> None:
    schedule, guidance = IndependentSettings(name="independent"), EXPLAINED
    found, plain = edit(schedule, guidance, job_on(device)).latents, edit(schedule, guidance, make_job()[0]).latents
    assert found.device.type == "cpu"
    assert (found - plain).norm() < 1e-2 * plain.norm()


@pytest.mark.parametrize("device", ["cpu", GPU])
@pytest.mark.parametrize("guidance", [EXPLAINED, SoftSettings(name="soft", step_size=0.05)])
@pytest.mark.parametrize(
    "schedule",
    [
        ProgressiveSettings(name="progressive", interval=2, warm_start=0.5, feedback=FEEDBACK),
        OneShotSettings(name="one_shot", interval=2),
    ],
)
def test_a_guided_edit_is_guided_and_comes_home(schedule: Any, guidance: Any, device: str) -> None:
    found = edit(schedule, guidance, job_on(device))
    assert found.latents.device.type == found.intervals[0].rendered.device.type == "cpu"
    assert torch.isfinite(found.latents).all()
    plain = edit(IndependentSettings(name="independent"), guidance, job_on(device)).latents
    assert (found.latents - plain).abs().max() > 1e-5
