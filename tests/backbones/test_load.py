import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from safetensors.torch import load_file, save_file

from qnerf.backbones.architecture import TINY, build_puppet
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.backbones.load import load_text_encoder
from qnerf.backbones.puppet import LOOSE_FOLDER, PUPPET_FOLDER, PuppetSettings
from qnerf.backbones.revision import seal, weights_revision
from qnerf.backbones.sd15 import Sd15Settings
from qnerf.errors import UserError
from qnerf.pretrain.export import save_parts


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a network connection was attempted")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "puppet"
    save_parts(build_puppet(3, TINY), path)
    return path


def predict(model: DiffusionBackbone) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    z, control = torch.randn(1, 4, 8, 8, generator=generator), torch.rand(1, 3, 32, 32, generator=generator)
    return model.predict(z, 500, Conditioning.of(model.embed(["a red shirt"]), control))


def test_saved_and_loaded_is_the_same_model(folder: Path) -> None:
    model = PuppetSettings(path=str(folder)).build()
    parts = build_puppet(3, TINY)
    assert parts.controlnet is not None
    for network in (parts.unet, parts.controlnet, parts.vae, parts.text_encoder):
        network.to(torch.float16).to(torch.float32)  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert model.image_size == (32, 32)
    assert model.revision == weights_revision(PuppetSettings(path=str(folder)))
    expected = predict(DiffusionBackbone(parts, (32, 32), "x"))
    torch.testing.assert_close(predict(model), expected)


def test_a_sealed_folder_refuses_other_weights(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    seal(copy, world=1)
    assert PuppetSettings(path=str(copy)).build().revision == json.loads((copy / "seal.json").read_text())["revision"]
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    spoilt = bytearray(weights.read_bytes())
    spoilt[-1] ^= 1  # one bit of one weight: safetensors itself would not notice
    weights.write_bytes(spoilt)
    with pytest.raises(UserError, match=r"have revision \w{16}, but seal.json says \w{16}: they have changed"):
        PuppetSettings(path=str(copy)).build()
    (copy / "seal.json").write_text("{")
    with pytest.raises(UserError, match=r"seal.json says unreadable"):
        PuppetSettings(path=str(copy)).build()
    (copy / "seal.json").unlink()
    PuppetSettings(path=str(copy)).build()


def test_the_shipped_weights_are_sealed_and_in_the_card() -> None:
    sealed = json.loads((PUPPET_FOLDER / "seal.json").read_text())
    assert sealed["revision"] == weights_revision(PuppetSettings())
    card = (Path(__file__).parents[2] / "docs" / "embedded-backbone.md").read_text()
    assert f"revision `{sealed['revision']}`, world {sealed['world']}" in card


def test_the_revision_follows_the_files_and_not_their_place(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    settings = PuppetSettings(path=str(copy))
    assert weights_revision(settings) == weights_revision(PuppetSettings(path=str(folder)))
    (copy / "notes.md").write_text("not read by anyone")
    before = weights_revision(settings)
    for name in ("unet/diffusion_pytorch_model.safetensors", "controlnet/config.json", "tokenizer/tokenizer.json"):
        with (copy / name).open("ab") as file:
            file.write(b" ")
        assert weights_revision(settings) != before, name
        before = weights_revision(settings)


def test_the_revision_of_two_folders_and_of_weights_that_are_not_here(folder: Path, tmp_path: Path) -> None:
    both = Sd15Settings(model=str(folder), controlnet=str(folder / "controlnet"))
    whole = weights_revision(PuppetSettings(path=str(folder)))
    assert weights_revision(both) != whole  # which has a second ControlNet
    alone = Path(shutil.copytree(folder, tmp_path / "alone", ignore=shutil.ignore_patterns(LOOSE_FOLDER)))
    assert weights_revision(both) == weights_revision(PuppetSettings(path=str(alone)))
    assert weights_revision(Sd15Settings(model="no/where", controlnet=str(folder))) is None
    assert weights_revision(PuppetSettings(path=str(folder / "vae"))) is None


def test_the_folder_is_one_that_diffusers_loads(folder: Path) -> None:
    pipeline: Any = StableDiffusionControlNetPipeline.from_pretrained(
        folder, local_files_only=True, torch_dtype=torch.float32, low_cpu_mem_usage=False
    )
    pipeline.set_progress_bar_config(disable=True)
    assert isinstance(pipeline.controlnet, ControlNetModel)
    image = pipeline("a red shirt", torch.rand(1, 3, 32, 32), height=32, width=32, num_inference_steps=2, output_type="pt").images
    assert image.shape == (1, 3, 32, 32)
    assert torch.isfinite(torch.as_tensor(image)).all()


def test_the_sd15_variant_reads_folders_of_the_same_layout(folder: Path) -> None:
    settings = Sd15Settings(model=str(folder), controlnet=str(folder / "controlnet"), dtype="float32", image_size=64)
    model = settings.build()
    assert model.image_size == (64, 64)
    assert model.latent_size == (16, 16)


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_a_text_encoder_is_read_by_the_names_of_any_version_of_transformers(tmp_path: Path, prefix: str) -> None:
    """transformers 5.0 made up the weights of the shipped model's, which a newer one had written."""
    shipped = PUPPET_FOLDER / "text_encoder"
    shutil.copytree(shipped, tmp_path / "text_encoder")
    tensors = load_file(shipped / "model.safetensors")
    renamed = {prefix + name.removeprefix("text_model."): x for name, x in tensors.items()}
    save_file(renamed, tmp_path / "text_encoder" / "model.safetensors", {"format": "pt"})
    loaded = load_text_encoder(tmp_path / "text_encoder", "float32")
    assert not loaded.training
    found = {name.removeprefix("text_model."): x for name, x in loaded.state_dict().items()}
    expected = {name.removeprefix("text_model."): x.float() for name, x in tensors.items() if "position_ids" not in name}
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], x) for name, x in expected.items())


def test_missing_puppet_weights_say_where(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere does not hold the embedded backbone's weights"):
        PuppetSettings(path=str(tmp_path / "nowhere")).build()


def test_missing_sd15_weights_say_what_to_do() -> None:
    with pytest.raises(UserError, match=r"backbone\.controlnet.*was not found \(.*\): set backbone\.download=true"):
        Sd15Settings(model="no/such-model", controlnet="no/such-controlnet").build()


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    save_parts(build_puppet(3, TINY), tmp_path / "puppet")
    (tmp_path / "puppet" / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"half")
    with pytest.raises(UserError, match=r"unet/diffusion_pytorch_model.safetensors is not a safetensors file, or a damaged one"):
        PuppetSettings(path=str(tmp_path / "puppet")).build()


@pytest.mark.skipif(not (PUPPET_FOLDER / "unet").is_dir(), reason="the weights are not trained yet")
def test_the_shipped_weights_load_and_are_small() -> None:
    model = PuppetSettings().build()
    assert model.image_size == (128, 128)
    assert sum(file.stat().st_size for file in PUPPET_FOLDER.rglob("*") if file.is_file()) <= 32e6
