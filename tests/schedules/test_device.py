"""Whole edits on a device that is not the host: everything is where it should be, and memory there is bound by the chunk."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from qnerf.consolidation.job import EditJob, layer_grid
from qnerf.consolidation.phases import guided_steps, plain_steps
from qnerf.consolidation.targets import TargetQueries
from qnerf.fields.settings import FieldSettings
from qnerf.guidance.hard import HardSettings
from qnerf.guidance.mixed import MixedSettings
from qnerf.guidance.soft import SoftSettings
from qnerf.schedules.independent import IndependentSettings
from qnerf.schedules.look_ahead import FeedbackSettings
from qnerf.schedules.one_shot import OneShotSettings
from qnerf.schedules.oracle import OracleSettings
from qnerf.schedules.progressive import ProgressiveSettings
from tests.pretend_device import PRETENDED, moved, pretend_device
from tests.schedules.helpers import edit, layers, make_job, tiny_field

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore:for .* is a no-op")]  # a load_state_dict
SOFT = SoftSettings(name="soft", step_size=0.05)
PROGRESSIVE = ProgressiveSettings(name="progressive", interval=1)
FEEDBACK = PROGRESSIVE.model_copy(update={"feedback": FeedbackSettings(at=0.7, weight=0.5)})


def pretended_job(views: int = 3, device_gib: float = 4.0) -> EditJob:
    """The job as a run on a GPU makes it: trajectories on the host, all else on the device."""
    job, _ = make_job(steps=3, views=views, chunk_size=2, field=torch_field(device_gib))
    backbone = copy.copy(job.backbone)
    for name, value in vars(backbone).items():
        if isinstance(value, Tensor | nn.Module) or name == "controlnets":
            setattr(backbone, name, moved(value))
    backbone.device = PRETENDED

    def source(some: slice) -> Any:
        here = job.source(some)
        return replace(here, backbone=backbone, **{name: moved(getattr(here, name)) for name in ("conditioning", "null_text")})

    parts = ("target", "region", "cameras", "space")
    return replace(
        job,
        backbone=backbone,
        source=source,
        rgb_field=job.rgb_field.model_copy(
            update={"encoding": "torch", "sampling": job.field.sampling, "optimiser": job.field.optimiser}
        ),
        oracle=job.trajectory,
        target_depth=torch.ones(views, 32, 32, device=PRETENDED),
        **{name: moved(getattr(job, name)) for name in parts},
    )


def torch_field(device_gib: float) -> FieldSettings:
    """Small, so that what belongs to the views is not hidden behind it."""
    field = tiny_field()
    parts = {
        "sampling": field.sampling.model_copy(update={"proposal_resolution": 8}),
        "optimiser": field.optimiser.model_copy(update={"iterations": 2}),
    }
    return field.model_copy(update={"encoding": "torch", "device_gib": device_gib, "depth_weight": 0.1, **parts})


@pytest.mark.parametrize(
    ("schedule", "guidance", "device_gib"),
    [
        (IndependentSettings(name="independent"), SOFT, 4.0),
        (OneShotSettings(name="one_shot", interval=1), SOFT, 4.0),
        (OracleSettings(name="oracle"), SOFT, 4.0),
        (PROGRESSIVE, HardSettings(name="hard"), 0.0),
        (PROGRESSIVE, MixedSettings(name="mixed", weights="component", region="moved"), 4.0),
        (FEEDBACK.model_copy(update={"warm_start": 0.5}), SOFT, 0.0),
    ],
)
def test_an_edit_runs_where_the_model_is_and_comes_home(schedule: Any, guidance: Any, device_gib: float) -> None:
    with pretend_device() as device:
        found = edit(schedule, guidance, pretended_job(device_gib=device_gib))
    assert found.latents.device.type == "cpu"
    assert all(part.device.type == "cpu" for record in found.intervals for part in (record.recorded, record.rendered, record.depth))
    assert device.peak > 0


def test_what_is_on_the_wrong_device_is_noticed() -> None:
    job, _ = make_job(views=3)
    with pretend_device(), pytest.raises(RuntimeError, match="device"):
        edit(IndependentSettings(name="independent"), SOFT, replace(pretended_job(), region=job.region))


def test_memory_on_the_device_is_bound_by_the_chunk() -> None:
    """Two views more cost less than the trajectory of one: latents, trajectories and queries wait in the host's memory."""
    peaks = {}
    for views in (2, 4):
        job = pretended_job(views, device_gib=0.0)
        with pretend_device() as device:
            edit(FEEDBACK, SOFT, job)
        peaks[views] = device.peak
    assert peaks[4] - peaks[2] < job.trajectory.states[:, 0].nbytes


@pytest.mark.parametrize("guidance", [None, HardSettings(name="hard"), MixedSettings(name="mixed", weights="component"), SOFT])
def test_a_step_copies_nothing_between_host_and_device(guidance: Any) -> None:
    """What a chunk of views needs goes there before its steps, and what they leave comes home after them: three steps copy what one
    does, no number is sent or asked for, and no mask is counted."""
    job, found = pretended_job(), {}
    recorded = layers(10, 13)
    grids = {layer: layer_grid(job.backbone, layer) for layer in recorded}
    unet: Any = job.backbone.unet
    width = {layer: unet.get_submodule(layer.path).to_q.out_features for layer in recorded}
    maps = {layer: torch.rand(job.views, rows * columns, width[layer]) for layer, (rows, columns) in grids.items()}
    target = TargetQueries(
        maps, dict.fromkeys(maps, 1.0), dict.fromkeys(maps, 1.0), {layer: torch.eye(w) for layer, w in width.items()}
    )
    for stop in (1, 3):
        with pretend_device() as device:
            if guidance is None:
                plain_steps(job, job.trajectory.states[0], 0, stop, (0,), recorded)
            else:
                guided_steps(job, guidance.build(), job.trajectory.states[0], 0, stop, target)
        found[stop] = device.copies
    assert found[1] == found[3]
    chunks = len(list(job.chunks()))
    home = sum(copy.way == "home" for copy in found[1])  # of each chunk its latents, whether they are finite, and what is recorded
    assert home == chunks * (2 + (len(recorded) if guidance is None else 0))
    ours = [copy for copy in found[1] if copy.way == "away" and "job.py" not in copy.place]  # the test's own source is sent there
    assert len(ours) == chunks * (2 + (0 if guidance is None else 2 * len(recorded)))
    assert {copy.way for copy in found[1]} == {"away", "home"}
