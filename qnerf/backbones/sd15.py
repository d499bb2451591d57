"""Stable Diffusion 1.x or 2.x and ControlNets for it, from folders, single files, or the Hugging Face hub's cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from qnerf.backbones.backbone import PARTS, BackboneSettings, NetControl, PassCosts
from qnerf.backbones.kinds import Kind, drawing_for, drawing_problem, kind_of
from qnerf.backbones.sd_settings import EmbeddingSettings, FurtherNetSettings, LoraSettings, NetSettings
from qnerf.errors import UserError
from qnerf.scenes.settings import Drawing, size_of, width_height

if TYPE_CHECKING:
    import torch

    from qnerf.backbones.diffusion import DiffusionBackbone
    from qnerf.backbones.model_parts import ModelFiles, NetFiles

Side = Annotated[int, Field(ge=64, le=2048, multiple_of=64)]
ImageSize = Annotated[Side | tuple[Side, Side], size_of("a multiple of 64 from 64 to 2048")]


class Sd15Settings(BackboneSettings):
    """model, controlnet: hub id, folder in diffusers' layout, or `.safetensors` file; null is no ControlNet. revision,
    controlnet_revision: of hub ids. tokenizer: of a model in one file. prediction_type, timestep_spacing: in the place of what the
    model's scheduler says. vae: another autoencoder. clip_skip: how many of the text encoder's last layers are left out. download:
    fetch what is missing from the hub. image_size: side of the square images, or their width and height, pixels: multiples of the
    autoencoder's 8 pixels a latent times the U-Net's three halvings, so that every layer's tokens are a whole grid.
    """

    name: Literal["sd15"] = "sd15"
    model: str = Field(default="stable-diffusion-v1-5/stable-diffusion-v1-5", min_length=1)
    revision: str | None = None
    tokenizer: str | None = None
    prediction_type: Literal["auto", "epsilon", "v_prediction", "sample"] = "auto"
    timestep_spacing: Literal["auto", "leading", "trailing"] = "auto"
    vae: str | None = None
    loras: tuple[LoraSettings, ...] = ()
    embeddings: tuple[EmbeddingSettings, ...] = ()
    clip_skip: int = Field(default=0, ge=0, le=11)
    controlnet: Annotated[str, Field(min_length=1)] | None = "lllyasviel/control_v11p_sd15_openpose"
    controlnet_revision: str | None = None
    control: NetSettings = NetSettings()
    more_controlnets: tuple[FurtherNetSettings, ...] = ()
    download: bool = False
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # pyright: ignore[reportIncompatibleVariableOverride]
    image_size: ImageSize = 512

    def pixels(self) -> int | tuple[int, int]:
        return self.image_size

    def weights(self) -> list[Path] | None:
        try:
            places = self._places()
        except UserError:
            return None
        if any(place is None for place in places):
            return None
        model, *others = [place for place in places if place is not None]
        return [*([model] if model.is_file() else (model / part for part in PARTS)), *others]

    def _places(self) -> list[Path | None]:
        """Of the model, all ControlNets, the tokenizer of a single file, the autoencoder, LoRAs and embeddings."""
        from qnerf.backbones.places import find_place

        named = [(self.model, self.revision)]
        named += [(net, revision) for _, net, revision in self._nets()]
        named += [(name, None) for name in (self.vae, self.tokenizer) if name]
        named += [(one.path, None) for one in (*self.loras, *self.embeddings)]
        return [find_place(name, revision) for name, revision in named]

    def _nets(self) -> list[tuple[str, str, str | None]]:
        """Each ControlNet's key, name and revision."""
        further = [
            (f"backbone.more_controlnets.{i}.controlnet", n.controlnet, n.revision) for i, n in enumerate(self.more_controlnets)
        ]
        first = [("backbone.controlnet", self.controlnet, self.controlnet_revision)] if self.controlnet else []
        return [*first, *further]

    @property
    def reads_control(self) -> bool:
        return bool(self._nets())

    def without_control(self) -> Self:
        return self.model_copy(update={"controlnet": None, "more_controlnets": ()})

    def costs(self, width: int, height: int, device: str = "cpu") -> PassCosts:
        from qnerf.backbones.sd_costs import sd_costs

        model, nets, _ = self.model_copy(update={"download": False}).read()
        return sd_costs(model, nets, width, height, self.dtype_on(device))

    def controls(self, drawing: Drawing, scale: float, images: tuple[str | None, str | None]) -> tuple[NetControl, ...]:
        found = []
        if self.controlnet:
            first = self._kind_of(self.controlnet, self.control)
            found.append(NetControl(drawing_for(first, drawing), scale, self.control.start, self.control.stop, *images))
        for i, net in enumerate(self.more_controlnets):
            own = (net.source_images, net.target_images)
            kind = self._kind_of(net.controlnet, net)
            chosen: Drawing = "images" if any(own) else drawing_for(kind, "auto")
            found.append(NetControl(chosen, net.scale, net.start, net.stop, *own, f"backbone.more_controlnets.{i}"))
        return tuple(found)

    def control_problems(self, drawing: Drawing) -> list[str]:
        found = []
        if self.controlnet:
            kind = kind_of(self.controlnet, self.control.kind)
            found.append(drawing_problem(self.controlnet, "control.detail", "backbone.control.kind", kind, drawing))
        for i, net in enumerate(self.more_controlnets):
            where = f"backbone.more_controlnets.{i}"
            wanted: Drawing = "images" if net.source_images or net.target_images else "auto"
            found.append(drawing_problem(net.controlnet, where, f"{where}.kind", kind_of(net.controlnet, net.kind), wanted))
        return [problem for problem in found if problem]

    @staticmethod
    def _kind_of(name: str, net: NetSettings) -> Kind:
        kind = kind_of(name, net.kind)
        if kind is None:
            raise UserError(str(drawing_problem(name, "control.detail", "backbone.control.kind", None, "auto")))
        return kind

    def read(self) -> tuple[ModelFiles | None, list[NetFiles], list[str]]:
        """The files of model and ControlNets, and all that is wrong with them, a sentence each."""
        from qnerf.backbones.hub import fetch_tokenizer, find_or_fetch
        from qnerf.backbones.model_files import lost_parts, read_controlnet, read_model

        problems: list[str] = []
        place = find_or_fetch("backbone.model", "diffusion model", self.model, self.revision, self.download, problems)
        model = None
        if place is not None:
            if self.download and place.is_file() and not self.tokenizer:
                fetch_tokenizer(problems)
            model, found = read_model(place, self.tokenizer, self.vae, self.prediction_type, self.timestep_spacing)
            problems += found
        else:
            problems += lost_parts(self.vae, self.tokenizer)
        nets = []
        for key, name, revision in self._nets():
            place = find_or_fetch(key, "ControlNet", name, revision, self.download, problems)
            if place is not None:
                net, found = read_controlnet(place, key, model)
                problems += found
                nets += [net] if net else []
        return model, nets, problems

    def problems(self, prompts: Sequence[str], drawing: Drawing) -> list[str]:
        from qnerf.backbones.additions import addition_problems, embedding_words
        from qnerf.backbones.tokens import prompt_problems

        model, _, problems = self.read()
        problems += self._unread()
        problems += self.control_problems(drawing)
        problems += addition_problems(self.loras, self.embeddings, model)
        if model is not None:
            problems += prompt_problems(model, prompts, embedding_words(self.embeddings))
            layers = model.text.get("num_hidden_layers", 12)
            if self.clip_skip >= layers:
                problems.append(f"backbone.clip_skip: got {self.clip_skip}, but the text encoder has {layers} layers; set fewer")
        return problems

    def _unread(self) -> list[str]:
        """A sentence for each key that what is given for the model or a ControlNet does not read."""
        found = []
        for key, name, revision in [("backbone.model", self.model, self.revision), *self._nets()]:
            place = Path(name).expanduser()
            if revision and (place.is_file() or (place.is_dir() and not (place / "snapshots").is_dir())):
                found.append(f"{key}: {place} is on this disk and has no revisions; leave out the revision, {revision}")
        place = Path(self.model).expanduser()
        if self.tokenizer and place.is_dir():
            found.append(f"backbone.tokenizer: got {self.tokenizer}, but {place} has its own, which is read; leave it out")
        return found

    def build(self, device: torch.device | str = "cpu") -> DiffusionBackbone:
        from qnerf.backbones.additions import addition_problems
        from qnerf.backbones.diffusion import DiffusionBackbone
        from qnerf.backbones.load_model import load_model
        from qnerf.backbones.revision import weights_revision

        model, nets, problems = self.read()
        problems += addition_problems(self.loras, self.embeddings, model)
        if problems or model is None:
            raise UserError("\n".join(problems))
        parts = load_model(model, nets, self.dtype_on(str(device)))
        if self.loras or self.embeddings:
            from qnerf.backbones.lora import add_embeddings, add_loras

            add_loras(parts, self.loras)
            parts = add_embeddings(parts, self.embeddings)
        (width, height), revision = width_height(self.image_size), weights_revision(self) or "unknown"
        return DiffusionBackbone(parts, (height, width), revision, device, self.channels_last, self.acceleration, self.clip_skip)

    def dtype_on(self, device: str) -> str:
        """auto: half precision where a GPU is fast at it."""
        return self.dtype if self.dtype != "auto" else "float16" if device.startswith("cuda") else "float32"
