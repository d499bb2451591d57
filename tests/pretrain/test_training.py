"""Whole training runs on a tiny model: exact resume, dropped control, export."""

import json
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from hydra import compose, initialize_config_dir
from pydantic import ValidationError
from torch import nn

from qnerf.backbones.architecture import TINY, build_puppet, clip_vocabulary
from qnerf.backbones.conditioning import Conditioning
from qnerf.backbones.puppet import PuppetSettings
from qnerf.backbones.revision import LOOSE_FOLDER
from qnerf.common.places import configs
from qnerf.errors import UserError
from qnerf.pretrain.__main__ import parse
from qnerf.pretrain.balance import balance_weights
from qnerf.pretrain.checkpoint import averaged_weights, read_checkpoint
from qnerf.pretrain.data import Batch, PuppetSamples, load_batch
from qnerf.pretrain.diffusion import DiffusionTrainee, train_diffusion
from qnerf.pretrain.export import export
from qnerf.pretrain.loop import train
from qnerf.pretrain.settings import DiffusionStage, ExportStage, VaeStage
from qnerf.pretrain.vae import latent_scale, load_vae, train_vae
from qnerf.scenes.procedural.phrases import WORDS
from qnerf.scenes.settings import Detail

COMMON = {"batch": 2, "warmup": 1, "workers": 0, "log_steps": 1, "device": "cpu", "precision": "float32"}


@pytest.fixture(autouse=True)
def short_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a training draws at its end is for people: two denoising steps of two samples show that it is drawn."""
    monkeypatch.setattr("qnerf.pretrain.diffusion.SHEET_STEPS", 2)
    few = lambda samples, indices: load_batch(samples, indices[:2])  # noqa: E731
    monkeypatch.setattr("qnerf.pretrain.diffusion.load_batch", few)


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = VaeStage.model_validate({**COMMON, "output": str(tmp_path_factory.mktemp("vae")), "samples": 8})
    return train_vae(settings, TINY, scale_samples=8)


def stage(output: Path, vae: Path, samples: int, **changes: object) -> DiffusionStage:
    return DiffusionStage.model_validate({**COMMON, "output": str(output), "vae": str(vae), "samples": samples, **changes})


def trained(trainee: DiffusionTrainee) -> dict[str, torch.Tensor]:
    """The weights of all that world 1 trains: it has no loose bounds."""
    return {name: value for name, value in trainee.modules.state_dict().items() if not name.startswith("loose_controlnet.")}


def losses(folder: Path) -> list[float]:
    lines = (json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if "loss" in line]


def test_resumed_equals_uninterrupted(tmp_path: Path, vae: Path) -> None:
    """Six steps at once, and three steps followed by a rerun: same losses, weights and averages, bit for bit.

    The schedule depends on the total number of samples, so the interrupted run has the same total and dies on the way.
    """
    train_diffusion(stage(tmp_path / "whole", vae, 12), TINY)

    class Dies(DiffusionTrainee):
        def loss(self, batch: Batch, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
            if len(losses(tmp_path / "parts")) == 3 if (tmp_path / "parts" / "metrics.jsonl").exists() else False:
                raise KeyboardInterrupt
            return super().loss(batch, generator)

    settings = stage(tmp_path / "parts", vae, 12, checkpoint_minutes=1e-9)
    with pytest.raises(KeyboardInterrupt):
        train(Dies(settings, TINY), settings)
    train_diffusion(settings, TINY)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) == 6
    whole, parts = (read_checkpoint(tmp_path / name)[0] for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_decoder_alone_leaves_the_latents_as_they_are(tmp_path: Path, vae: Path) -> None:
    own = {"output": str(tmp_path), "samples": 4, "initial": str(vae), "decoder_only": True}
    after = load_vae(str(train_vae(VaeStage.model_validate({**COMMON, **own}), TINY)), "stage.initial")
    before = load_vae(str(vae), "stage.initial")
    assert after.config["scaling_factor"] == before.config["scaling_factor"]
    moved = {name.split(".")[0] for name, value in after.state_dict().items() if not torch.equal(value, before.state_dict()[name])}
    assert moved == {"decoder", "post_quant_conv"}
    with pytest.raises(ValidationError, match=r"give its folder with stage\.initial"):
        VaeStage.model_validate({**COMMON, **own, "initial": None})


def test_a_finished_run_does_nothing_more(tmp_path: Path, vae: Path) -> None:
    settings = stage(tmp_path, vae, 2)
    train_diffusion(settings, TINY)
    train_diffusion(settings, TINY)
    assert len(losses(tmp_path)) == 1


def test_training_on_from_a_smaller_training(tmp_path: Path, vae: Path) -> None:
    """The first stretch on images of half the side, the second from its averages: fully convolutional, so the weights fit."""
    wide = replace(TINY, image=64)
    train_diffusion(stage(tmp_path / "small", vae, 4, image=32), wide)
    trainee = DiffusionTrainee(stage(tmp_path / "large", vae, 4, initial=str(tmp_path / "small")), wide)
    weights = averaged_weights(tmp_path / "small")
    assert all(torch.equal(weights[name], value) for name, value in trained(trainee).items())
    assert trainee.samples[0].image.shape[-1] == 64
    assert DiffusionTrainee(stage(tmp_path / "other", vae, 4, image=32), wide).samples[0].image.shape[-1] == 32


def test_training_on_in_a_world_of_more_words(tmp_path: Path, vae: Path) -> None:
    train_diffusion(stage(tmp_path / "first", vae, 4), TINY)
    trainee = DiffusionTrainee(stage(tmp_path / "second", vae, 4, initial=str(tmp_path / "first"), world=2), TINY)
    old, new = (clip_vocabulary(WORDS[world]) for world in (1, 2))
    key = "text_encoder.embeddings.token_embedding.weight"
    before, after = averaged_weights(tmp_path / "first")[key], trainee.modules.state_dict()[key]
    fresh = build_puppet(0, TINY, WORDS[2]).text_encoder.get_input_embeddings().weight
    assert len(new) > len(old)
    for token, place in new.items():
        assert torch.equal(after[place], before[old[token]] if token in old else fresh[place]), token  # pyright: ignore[reportArgumentType, reportIndexIssue]


def test_training_on_from_exported_weights(tmp_path: Path, vae: Path) -> None:
    train_diffusion(stage(tmp_path / "first", vae, 4), TINY)
    settings = ExportStage(diffusion=str(tmp_path / "first"), vae=str(vae), output=str(tmp_path / "model"))
    folder = export(settings, TINY)
    trainee = DiffusionTrainee(stage(tmp_path / "second", vae, 4, initial=str(folder)), TINY)
    weights = averaged_weights(tmp_path / "first")
    for name, value in trained(trainee).items():
        torch.testing.assert_close(value, weights[name], rtol=1e-3, atol=1e-5)  # exported as float16
    with pytest.raises(UserError, match="has another size"):
        DiffusionTrainee(stage(tmp_path / "third", vae, 4, initial=str(folder)), replace(TINY, unet=(8, 16, 16, 16)))
    with pytest.raises(UserError, match="has neither "):
        DiffusionTrainee(stage(tmp_path / "fourth", vae, 4, initial=str(tmp_path)), TINY)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("diffusion", {"unet", "controlnet", "loose_controlnet", "text_encoder"}),
        ("unet", {"unet", "text_encoder"}),
        ("control", {"controlnet", "loose_controlnet"}),
    ],
)
def test_every_trained_part_gets_a_gradient_and_no_other(tmp_path: Path, vae: Path, name: str, expected: set[str]) -> None:
    if name == "control":
        train_diffusion(stage(tmp_path / "unet", vae, 2, name="unet"), TINY)
    extra = {"initial": str(tmp_path / "unet")} if name == "control" else {}
    mixed = {"grounding": 0.1, "world": 2, "details": {"bones": 1.0, "box": 1.0}, "control_dropout": 0.0, "text_dropout": 0.0}
    trainee = DiffusionTrainee(stage(tmp_path, vae, 4, name=name, **mixed, **extra), TINY)
    optimiser = torch.optim.SGD(trainee.modules.parameters(), lr=1e-3)
    for _ in range(4):  # it starts as a copy of its input: layers that start at zero let nothing through to those behind them
        optimiser.step()
        optimiser.zero_grad()
        batch = load_batch(trainee.samples, range(6))
        assert {*batch.details} == {"bones", "box"}
        trainee.loss(batch, torch.Generator().manual_seed(0))[0].backward()
    moved = {
        name for name, part in trainee.modules.items() if any(p.grad is not None and bool(p.grad.any()) for p in part.parameters())
    }
    assert moved == expected
    assert all(p.grad is None for p in trainee.vae.parameters())


def test_each_sample_is_predicted_as_alone(tmp_path: Path, vae: Path) -> None:
    """One without control, one with a drawing of the pose, one with a box: as the backbone predicts each with its ControlNet."""
    trainee = DiffusionTrainee(stage(tmp_path, vae, 4), TINY)
    for net in trainee._controlnets():
        for layer in net.controlnet_down_blocks:
            nn.init.normal_(layer.get_parameter("weight"), std=0.3)
    trainee.modules.eval()
    z, controls, t = torch.randn(3, 4, 8, 8), torch.rand(3, 3, 32, 32), torch.tensor([100, 800, 500])
    captions, details = ["a red shirt", "", "a puppet"], ["bones", "ends", "box"]
    with torch.no_grad():
        batch = Batch(controls, controls, captions, details, [[]] * 3, torch.zeros(3, 8, 8))
        together = trainee._predict(z, t, captions, batch, torch.tensor([True, False, True]))
        model = trainee.backbone()
        text = model.embed(captions)
        posed = model.for_control("bones").predict(z[:1], 100, Conditioning.of(text[:1], controls[:1]))
        without = model.predict(z[1:2], 800, Conditioning.of(text[1:2]))
        bounded = model.for_control("box").predict(z[2:], 500, Conditioning.of(text[2:], controls[2:]))
    torch.testing.assert_close(together, torch.cat([posed, without, bounded]), atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        assert not torch.allclose(bounded, model.predict(z[2:], 500, Conditioning.of(text[2:], controls[2:])), atol=1e-3)


def test_grounding_changes_no_prediction_and_counts_no_dropped_caption(tmp_path: Path, vae: Path) -> None:
    plain, grounded = (DiffusionTrainee(stage(tmp_path, vae, 4, grounding=weight, world=2), TINY) for weight in (0.0, 0.5))
    batch = load_batch(plain.samples, range(4))
    (without, _), (with_it, parts) = (t.loss(batch, torch.Generator().manual_seed(1)) for t in (plain, grounded))
    assert with_it.item() == pytest.approx(without.item() + 0.5 * parts["stray"], rel=1e-4)
    silent = DiffusionTrainee(stage(tmp_path, vae, 4, grounding=0.5, world=2, text_dropout=1.0), TINY)
    assert silent.loss(batch, torch.Generator().manual_seed(1))[1]["stray"] == 0


def test_balance_weighs_the_error_of_each_cell_of_the_latents(tmp_path: Path, vae: Path) -> None:
    """Where all the object's parts weigh more, so does an error that is there alone."""
    trainee = DiffusionTrainee(stage(tmp_path, vae, 4, balance=0.5, world=2, snr_cap=1e9, snr_floor=0.0), TINY)
    batch = load_batch(trainee.samples, range(4))
    weights = balance_weights(batch.parts, 0.5)
    rare = (weights > weights.amin(dim=(1, 2), keepdim=True) + 0.1).float()[:, None]

    def missed_there(latents: torch.Tensor, *_: object) -> torch.Tensor:
        noise = torch.randn(latents.shape, generator=seeded()).to(latents)
        return noise + F.adaptive_avg_pool2d(rare, (8, 8))

    def seeded() -> torch.Generator:
        generator = torch.Generator().manual_seed(1)
        for _ in range(3):
            torch.rand(4, generator=generator)  # times, dropped texts, dropped controls
        return generator

    with mock.patch.object(trainee, "_predict", missed_there):
        loss, parts = trainee.loss(batch, torch.Generator().manual_seed(1))
    pooled = F.adaptive_avg_pool2d(rare, (8, 8))[:, 0]
    assert parts["error"] == pytest.approx(float(pooled.square().mean()), rel=1e-2)
    assert loss.item() == pytest.approx(float((F.adaptive_avg_pool2d(weights, 8) * pooled.square()).mean()), rel=1e-2)
    assert loss.item() > 1.3 * parts["error"]


def test_controlnets_for_a_trained_unet(tmp_path: Path, vae: Path) -> None:
    """stage=unet leaves ControlNets untrained; stage=control starts them as copies of that U-Net and changes nothing else."""
    train_diffusion(stage(tmp_path / "unet", vae, 4, name="unet"), TINY)
    before = averaged_weights(tmp_path / "unet")
    settings = stage(tmp_path / "control", vae, 16, name="control", initial=str(tmp_path / "unet"), control_dropout=0.0)
    start = DiffusionTrainee(settings, TINY).modules.state_dict()
    assert torch.equal(start["controlnet.conv_in.weight"], before["unet.conv_in.weight"])
    train_diffusion(settings, TINY)
    after = averaged_weights(tmp_path / "control")
    changed = {name.split(".")[0] for name, value in after.items() if not torch.equal(value, start[name])}
    assert changed == {"controlnet"}  # world 1 has no loose bounds
    folder = export(ExportStage(diffusion=str(tmp_path / "control"), vae=str(vae), output=str(tmp_path / "model")), TINY)
    assert not (folder / LOOSE_FOLDER).exists()


def test_a_nan_stops_the_training_and_keeps_the_checkpoint(tmp_path: Path, vae: Path) -> None:
    class Breaks(DiffusionTrainee):
        def loss(self, batch: Batch, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
            loss, parts = super().loss(batch, generator)
            return (loss * float("nan") if (tmp_path / "checkpoint.safetensors").exists() else loss), parts

    settings = stage(tmp_path, vae, 8, checkpoint_minutes=1e-9)
    with pytest.raises(UserError, match="became nan at step 1"):
        train(Breaks(settings, TINY), settings)
    tensors, counters = read_checkpoint(tmp_path)
    assert counters.step == 1
    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())


def test_the_latents_have_unit_scale(vae: Path) -> None:
    model = AutoencoderKL.from_pretrained(vae)
    scale = model.config["scaling_factor"]
    samples = PuppetSamples(900, 32, {"bones": 1.0}, heldout=True)
    assert latent_scale(model, samples, 8, torch.device("cpu")) == pytest.approx(scale, rel=1e-4)
    assert scale != pytest.approx(0.18215)


def test_export_writes_a_loadable_model_of_the_averages(tmp_path: Path, vae: Path) -> None:
    train_diffusion(stage(tmp_path / "run", vae, 4), TINY)
    settings = ExportStage(diffusion=str(tmp_path / "run"), vae=str(vae), output=str(tmp_path / "model"))
    folder = export(settings, TINY)
    model = PuppetSettings(path=str(folder)).build()
    expected = averaged_weights(tmp_path / "run")["unet.conv_in.weight"]
    torch.testing.assert_close(model.unet.conv_in.weight.float(), expected, atol=1e-3, rtol=1e-3)
    stored = AutoencoderKL.from_pretrained(vae).config["scaling_factor"]
    assert model.vae.config["scaling_factor"] == pytest.approx(stored)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("name", ["vae", "decoder", "diffusion_half", "diffusion", "unet", "control", "classifiers", "export"])
def test_shipped_configurations_are_valid_and_complete(name: str) -> None:
    with initialize_config_dir(str(configs() / "pretrain"), version_base="1.3"):
        config = compose("config", overrides=[f"stage={name}"])
    settings = parse(config).stage
    assert settings.name == name.removesuffix("_half")
    assert set(config.stage) == set(type(settings).model_fields)


def test_the_second_world_is_one_override() -> None:
    overrides = ["stage=diffusion", "stage.world=2", "stage.kinds={seat: 1, toy: 2}", "stage.details={box: 1, loose_depth: 3}"]
    with initialize_config_dir(str(configs() / "pretrain"), version_base="1.3"):
        settings = parse(compose("config", overrides=overrides)).stage
    assert isinstance(settings, DiffusionStage)
    assert (settings.world, settings.kinds, settings.shares()) == (2, {"seat": 1, "toy": 2}, {"box": 1, "loose_depth": 3})
    with pytest.raises(UserError, match="all shares are 0"), initialize_config_dir(str(configs() / "pretrain"), version_base="1.3"):
        parse(compose("config", overrides=["stage=vae", "stage.world=2", "stage.kinds={seat: 0}"]))


def test_a_training_on_the_second_world_is_exported_with_its_words(tmp_path: Path, vae: Path) -> None:
    train_diffusion(stage(tmp_path / "run", vae, 4, world=2), TINY)
    folder = export(ExportStage(diffusion=str(tmp_path / "run"), vae=str(vae), output=str(tmp_path / "model")), TINY)
    tokenizer = PuppetSettings(path=str(folder)).build().tokenizer
    assert len(tokenizer) == len(clip_vocabulary(WORDS[2]))
    assert tokenizer.tokenize("armchair") == ["armchair</w>"]


def test_exported_weights_have_a_controlnet_for_loose_bounds(tmp_path: Path, vae: Path) -> None:
    settings = stage(tmp_path / "run", vae, 8, world=2, details={"box": 1.0}, control_dropout=0.0)
    train_diffusion(settings, TINY)
    folder = export(ExportStage(diffusion=str(tmp_path / "run"), vae=str(vae), output=str(tmp_path / "model")), TINY)
    model, weights = PuppetSettings(path=str(folder)).build(), averaged_weights(tmp_path / "run")
    nets: dict[Detail, str] = {"bones": "controlnet", "loose_depth": "loose_controlnet", "box": "loose_controlnet"}
    for detail, name in nets.items():
        held = model.for_control(detail).controlnets[0].controlnet_mid_block.get_parameter("weight").float()
        torch.testing.assert_close(held, weights[f"{name}.controlnet_mid_block.weight"], rtol=1e-3, atol=1e-6)
    (folder / LOOSE_FOLDER / "config.json").write_text("{}")
    with pytest.raises(UserError, match="have changed since they were exported"):
        PuppetSettings(path=str(folder)).build()


@pytest.mark.parametrize("name", ["vae", "decoder", "diffusion", "unet", "control", "classifiers"])
@pytest.mark.parametrize("experiment", ["smoke", "shipped", "gpu"])
def test_named_trainings_fit_every_stage(name: str, experiment: str) -> None:
    with initialize_config_dir(str(configs() / "pretrain"), version_base="1.3"):
        config = compose("config", overrides=[f"stage={name}", f"+exp=pretrain/{experiment}", "stage.budget_minutes=1"])
    settings = parse(config).stage
    assert settings.name == name
    assert set(config.stage) == set(type(settings).model_fields)


def test_controlnets_need_a_unet() -> None:
    with (
        pytest.raises(UserError, match=r"give its folder with stage\.initial"),
        initialize_config_dir(str(configs() / "pretrain"), version_base="1.3"),
    ):
        parse(compose("config", overrides=["stage=control", "stage.initial=null"]))


def test_a_bad_setting_is_one_clear_sentence() -> None:
    with initialize_config_dir(str(configs() / "pretrain"), version_base="1.3"):
        config = compose("config", overrides=["stage=vae", "stage.batch=0", "+stage.lr=1"])
    with pytest.raises(UserError) as found:
        parse(config)
    batch, rate = str(found.value).splitlines()
    assert batch == "stage.batch: got 0; expected greater than 0"
    assert rate.startswith("stage.lr: unknown key")
