"""Not-a-number in a model's weights stops the stage that makes the first one, and nothing is left that claims to be an edit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor

from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.puppet import PuppetSettings
from qnerf.common.finite import FiniteWatch
from qnerf.config import parse
from qnerf.consolidation import consolidate, phases
from qnerf.denoising.edit import EditBranch
from qnerf.errors import UserError
from qnerf.guidance.hard import HardSettings
from qnerf.guidance.soft import Soft, SoftSettings
from qnerf.run import CONFIGS
from qnerf.runs import pipeline
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.writer import write_scene
from qnerf.schedules.independent import IndependentSettings
from qnerf.schedules.progressive import ProgressiveSettings
from tests.schedules.helpers import edit, in_precision, make_job

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
SMALL = (
    "scene.size=32", "steps=4", "field.optimiser.iterations=3", "metrics=quick", "device=cpu",
)  # fmt: skip
NO_RESULTS = ("config.yaml", "run.log", ".owner", "metrics.jsonl", "source_views.png")
ALONE = ("schedule=independent", "guidance=off", "baselines=[]")
FULL = ("schedule=progressive", "schedule.interval=2")


def with_a_nan(model: torch.nn.Module, path: str) -> None:
    """One weight of a module is not a number."""
    with torch.no_grad():
        weight = model.get_submodule(path).weight
        weight[(0,) * weight.dim()] = torch.nan  # pyright: ignore


@pytest.fixture(scope="module")
def scene_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "puppet_0"
    write_scene(folder, build_scene(0, views=4, size=32))
    return folder


@pytest.fixture(autouse=True)
def _configs() -> Iterator[None]:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        yield


def run(scene: Path, output: Path, backbone: DiffusionBackbone, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> str:
    """The sentence with which the command would leave with exit code 2; nothing is there that claims to be a result."""
    monkeypatch.setattr(PuppetSettings, "build", lambda settings, device: backbone)
    settings = parse(compose("config", [f"scene.path={scene}", f"output_dir={output}", *SMALL, *overrides]))
    with pytest.raises(UserError) as error:
        pipeline.run(settings, "python -m qnerf.run test")
    files = [path for path in output.rglob("*") if path.is_file() and path.stat().st_size]
    claims = [path for path in files if path.name not in NO_RESULTS]
    assert not [path for path in files if path.name == "metrics.jsonl" and '"full/psnr' in path.read_text()]
    assert all(path.parts[-3] in ("inversion", "reconstruction", "round_trip") for path in claims), claims
    return str(error.value)


@pytest.mark.integration
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "kind", [FULL, ALONE, (*ALONE, "inversion=null_text"), (*ALONE, "inversion=uniform_attention"), (*ALONE, "editor=plain")]
)
def test_a_nan_in_the_unet_stops_the_inversion(
    dtype: torch.dtype, kind: tuple[str, ...], scene_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = in_precision(dtype)
    with_a_nan(backbone.unet, "conv_out")
    said = run(scene_folder, tmp_path, backbone, monkeypatch, *kind)
    assert said.startswith("inversion, step 3: latents are NaN or infinite in view 000 and 3 others"), said
    assert f"computes in {str(dtype).removeprefix('torch.')})" in said
    assert ("weights are whole" if dtype == torch.float32 else "backbone.dtype=float32") in said


@pytest.mark.integration
def test_a_nan_that_only_the_edit_or_only_the_autoencoder_meets(
    scene_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = in_precision(torch.float32)
    with_a_nan(backbone.vae, "encoder.conv_out")
    said = run(scene_folder, tmp_path / "encoder", backbone, monkeypatch, *ALONE)
    assert said.startswith("encoding the views: latents"), said
    assert "4 of 4 views (000, 001, 002, 003) (the model computes in float32), expected finite values: check that" in said

    backbone = in_precision(torch.float32)
    with_a_nan(backbone.vae, "decoder.conv_out")
    said = run(scene_folder, tmp_path / "decoder", backbone, monkeypatch, *ALONE)
    assert said.startswith("checking the inversion: the autoencoder's round trip"), "no PSNR of it passes a threshold"

    backbone = in_precision(torch.float32)
    embed = backbone.embed
    monkeypatch.setattr(backbone, "embed", lambda prompts: embed(prompts) * (torch.nan if "zebra" in prompts[0] else 1))
    said = run(scene_folder, tmp_path / "edit", backbone, monkeypatch, "scene.target_prompt='a zebra'", *FULL)
    assert said.startswith("unguided steps of the edit by method independent, step 0: latents"), said


class Nan:
    """A function that gives NaN at the n-th call and as it is else, in the second view alone."""

    def __init__(self, real: Callable[..., Tensor], at: int) -> None:
        self.real, self.left = real, at

    def __call__(self, *arguments: Any, **named: Any) -> Tensor:
        found = self.real(*arguments, **named)
        self.left -= 1
        if self.left == -1:
            found = found.clone()
            found[1] = torch.nan
        return found


def test_each_stage_of_an_edit_says_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("a", "b", "c", "d")
    schedule, soft = ProgressiveSettings(name="progressive", interval=2), SoftSettings(name="soft", weights="equal")

    def said(place: Any, name: str, at: int, guidance: Any = soft, schedule: Any = schedule) -> str:
        real = getattr(place, name)
        function = Nan(real, at)
        with monkeypatch.context() as patch:
            patch.setattr(place, name, lambda *a, **b: function(*a, **b))
            with pytest.raises(UserError) as error:
                edit(schedule, guidance, make_job(steps=4, method="mine", view_names=names)[0])
        return str(error.value)

    step, tail = EditBranch, "latents are NaN or infinite in view b (the model"
    assert f"unguided steps of the edit by method mine, step 1: {tail}" in said(step, "step", 1)
    assert f"unguided steps of the edit by method mine, step 3: {tail}" in said(step, "step", 3), "the look-ahead"
    assert f"guided steps of the edit by method mine, step 2: {tail}" in said(step, "step", 4)
    assert f"guided steps of the edit by method mine, step 3: {tail}" in said(Soft, "pulled", 1)
    assert f"unguided steps of the edit by method mine, step 3: {tail}" in said(
        step, "step", 3, schedule=IndependentSettings(name="independent")
    )


def test_queries_captured_and_rendered_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule, job = ProgressiveSettings(name="progressive", interval=2), make_job(steps=4, method="mine")[0]
    keep, target = phases._keep, consolidate.train_field

    def spoilt(kept: Any, found: Any, views: slice, z: Tensor) -> None:
        keep(kept, {layer: torch.full_like(queries, torch.nan) for layer, queries in found.items()}, views, z)

    with monkeypatch.context() as patch:
        patch.setattr(phases, "_keep", spoilt)
        with pytest.raises(UserError, match=r"step 3 of the edit: queries of up_blocks.* of method mine"):
            edit(schedule, HardSettings(name="hard"), job)

    def damaged(*arguments: Any, **named: Any) -> Any:
        field = target(*arguments, **named)
        render = field.render_to

        def rendered(*arguments: Any) -> Any:
            found = render(*arguments)
            next(iter(found.maps.values()))[0] = torch.nan
            return found

        field.render_to = rendered  # pyright: ignore[reportAttributeAccessIssue]
        return field

    monkeypatch.setattr(consolidate, "train_field", damaged)
    with pytest.raises(UserError, match=r"the field of step 3: rendered queries of .* \(0\)"):
        edit(schedule, HardSettings(name="hard"), job)


def test_a_reconstruction_says_at_which_step_it_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    job, _ = make_job(steps=4)
    source = job.source(slice(0, 4))
    function = Nan(job.backbone.predict, 2)
    monkeypatch.setattr(job.backbone, "predict", lambda *arguments: function(*arguments))
    with pytest.raises(UserError, match="reconstruction, step 2: latents are NaN or infinite in view 1 "):
        source.reconstruct(job.trajectory)


def test_the_first_step_of_each_view_is_kept_on_the_device_and_asked_for_once() -> None:
    watch = FiniteWatch("edit", torch.float16, 4, torch.device("cpu"))
    fine = torch.ones(2, 4, 3, 3)
    bad = fine.clone()
    bad[1, 2, 0, 0] = torch.inf
    watch.see(fine, 0, slice(0, 2))
    watch.check()
    for k in (3, 4):
        watch.see(bad, k, slice(2, 4))
    with pytest.raises(UserError, match=r"edit, step 3: .* in view 3 \(the model computes in float16\).*backbone.dtype=float32"):
        watch.check()
