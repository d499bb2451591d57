"""What an edit begins with: the scene and the diffusion model, on the device that the settings name, and whether they fit."""

from __future__ import annotations

from dataclasses import fields, replace

import torch

from qnerf.attention.layers import select_layers
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.config import RunSettings
from qnerf.determinism import set_deterministic
from qnerf.devices import pick_device
from qnerf.errors import UserError
from qnerf.runs.memory import limits_of
from qnerf.runs.methods import recorded_layers
from qnerf.runs.plan import prompt_problems, uses_oracle
from qnerf.runs.unposed import unposed_problems
from qnerf.scenes.reader import read_scene
from qnerf.scenes.scene import Scene, Truth
from qnerf.scenes.settings import width_height, written


def load_scene(settings: RunSettings) -> Scene:
    """The scene at `settings.scene.path`: N posed images (N, 3, H, W) float32 in [0, 1] of `settings.scene.size`, their
    cameras, the 3-D proxy of the edit and, where it is known, the truth. Tensors lie on the device of `settings.device`.

    Raises one UserError that names everything that is wrong with the folder, or that a method of the settings asks for and the
    scene does not have.
    """
    device = prepare_device(settings)
    scene = on_device(read_scene(settings.scene), device)
    check_scene(settings, scene)
    return scene


def load_backbone(settings: RunSettings) -> DiffusionBackbone:
    """The diffusion model of `settings.backbone` on the device of `settings.device`, with the ControlNet for
    `settings.control.detail`.

    Raises UserError where its weights are not there, where its ControlNets cannot read the control, or where it does not fit the
    settings: images of another size, a layer to record that it does not have.
    """
    if problems := settings.backbone.control_problems(settings.control.detail):
        raise UserError("\n".join(problems))
    backbone = settings.backbone.build(prepare_device(settings)).for_control(settings.control.detail)
    if limits := limits_of(settings):
        backbone.spare(limits.sliced, limits.tiled, limits.offloaded)
    check_backbone(settings, backbone)
    return backbone


def prepare_device(settings: RunSettings) -> torch.device:
    """The device of the settings, and PyTorch in this process as deterministic as they ask for. UserError: it is not there."""
    device = pick_device(settings.device)
    set_deterministic(settings.deterministic)
    return device


def on_device(scene: Scene, device: torch.device) -> Scene:
    """The scene with its images, cameras and truth on the device; the proxy is drawn on the CPU and stays."""
    known = {f.name: value for f in fields(Truth) if (value := getattr(scene.truth, f.name, None)) is not None}
    truth = scene.truth and replace(scene.truth, **{name: value.to(device) for name, value in known.items()})
    moved = {"images": scene.images.to(device), "cameras": scene.cameras.to(device), "focus": scene.focus.to(device)}
    return replace(scene, truth=truth, **moved)


def check_scene(settings: RunSettings, scene: Scene) -> None:
    """Raises UserError where a method asks for what the scene does not have."""
    problems = prompt_problems(settings, scene.prompts)
    if problems := [*problems, *(() if scene.posed else unposed_problems(settings, len(scene.cameras), scene.masked))]:
        raise UserError("\n".join(problems))
    if scene.posed and scene.truth is None and uses_oracle(settings):
        raise UserError(
            f"{settings.scene.path} has no true edited views (truth/), which the oracle needs; leave it out: "
            "baselines=[independent]"
        )


def check_backbone(settings: RunSettings, backbone: DiffusionBackbone) -> None:
    """Raises UserError where the model does not fit the images or lacks a layer to record."""
    height, width = backbone.image_size
    if width_height(settings.scene.size) != (width, height):
        raise UserError(
            f"scene.size is {written(settings.scene.size)}, but backbone={settings.backbone.name} works at {width} x {height} "
            f"pixels; set scene.size={width if width == height else written((width, height))}"
        )
    if settings.attention is not None:
        select_layers(backbone.layers, settings.attention.layers, "attention.layers")
    for method in settings.methods().values():
        recorded_layers(backbone, method.recorder or settings.recorder)
        for part in (method.editor or settings.editor).parts:
            for key, indices in part.named_layers.items():
                select_layers(backbone.layers, indices, key)
