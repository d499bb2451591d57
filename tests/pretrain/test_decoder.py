"""stage=decoder: widening keeps the function, the loss is worked by hand, a training leaves the encoder alone and is exported."""

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionControlNetPipeline

from qnerf.backbones.architecture import TINY, build_puppet, build_vae
from qnerf.backbones.decoder import LatentDecoder, widened_decoder
from qnerf.backbones.puppet import DECODER_FOLDER, PuppetSettings
from qnerf.backbones.revision import seal
from qnerf.classifiers.labels import BACKGROUND, FLOOR, OTHER, PARTS
from qnerf.errors import UserError
from qnerf.pretrain.checkpoint import averaged_weights
from qnerf.pretrain.data import PuppetSamples, Repeated, load_batch
from qnerf.pretrain.decoder import FLOOR as LEAST_ERROR
from qnerf.pretrain.decoder import DecoderTrainee, cut, object_weights, train_decoder, weighted_log_error, windows_round
from qnerf.pretrain.export import export, save_parts
from qnerf.pretrain.settings import DecoderStage, ExportStage

SHIRT = PARTS.index("shirt")


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    """Of the tiny widths, with biases and scales that are not 0 and 1."""
    torch.manual_seed(4)
    model = build_vae(TINY)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "puppet"
    save_parts(build_puppet(3, TINY), folder)
    seal(folder, world=1)
    return folder


def settings_of(output: Path, vae: Path, **changes: object) -> DecoderStage:
    common = {"batch": 2, "warmup": 1, "workers": 0, "device": "cpu", "precision": "float32", "samples": 4}
    return DecoderStage.model_validate({**common, "output": str(output), "vae": str(vae), **changes})


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_a_wider_decoder_starts_as_the_same_function(vae: AutoencoderKL, factor: int) -> None:
    z = torch.randn(2, 4, 8, 8)
    wide = widened_decoder(vae, factor, spread=0.0).eval()
    assert list(wide.config["block_out_channels"]) == [factor * width for width in vae.config["block_out_channels"]]
    with torch.no_grad():
        torch.testing.assert_close(wide(z), vae.decoder(z), atol=2e-5, rtol=2e-5)


def test_copies_of_a_channel_differ_but_hardly_change_what_is_decoded(vae: AutoencoderKL) -> None:
    z = torch.randn(2, 4, 8, 8)
    wide = widened_decoder(vae, 2, spread=0.1).eval()
    weight = wide.net.conv_in.weight
    assert not torch.allclose(weight[0::2], weight[1::2])
    torch.testing.assert_close((weight[0::2] + weight[1::2]) / 2, vae.decoder.conv_in.weight)
    with torch.no_grad():
        expected = vae.decoder(z)
        assert float((wide(z) - expected).square().mean() / expected.var()) < 1e-2


def test_the_loss_worked_by_hand() -> None:
    """Two pictures of two pixels, the first pixel three times as heavy: (3 * .4 + .0) / 4 and (3 * .0 + .8) / 4."""
    error = torch.tensor([[[0.4, 0.0]], [[0.0, 0.8]]])
    weights = torch.tensor([[[3.0, 1.0]], [[3.0, 1.0]]])
    expected = torch.tensor([0.3 + LEAST_ERROR, 0.2 + LEAST_ERROR]).log().mean()
    torch.testing.assert_close(weighted_log_error(error, weights), expected)


def test_objects_and_their_outlines_weigh_more() -> None:
    parts = torch.full((1, 5, 6), FLOOR, dtype=torch.uint8)
    parts[0, :, 3:] = BACKGROUND
    parts[0, 2, 1] = SHIRT
    weights = object_weights(parts, 4.0)
    assert torch.equal(weights[0] == 4, torch.nn.functional.pad(torch.ones(3, 3), (0, 3, 1, 1)) == 1)
    assert (weights[weights != 4] == 1).all()
    assert (object_weights(torch.full((1, 5, 6), OTHER, dtype=torch.uint8), 4.0) == 4).all()


def test_windows_follow_the_object_and_stay_inside() -> None:
    parts = torch.full((40, 16, 16), FLOOR, dtype=torch.uint8)
    parts[:20, 0:3, 13:16] = SHIRT  # in a corner of the first twenty; the others have none
    windows = windows_round(parts, 8, torch.Generator().manual_seed(0))
    assert {(height, width) for _, _, height, width in windows} == {(8, 8)}
    assert all(top <= 3 and left >= 5 for top, left, _, _ in windows[:20])
    assert len({top for top, *_ in windows[20:]}) > 4
    assert all(0 <= top <= 8 and 0 <= left <= 8 for top, left, _, _ in windows)
    assert windows_round(parts, None, torch.Generator()) == [(0, 0, 16, 16)] * 40
    maps = torch.arange(256.0).reshape(1, 1, 16, 16)
    assert torch.equal(cut(maps, [(1, 2, 3, 4)], 2)[0, 0], maps[0, 0, 2:8, 4:12])


def test_a_window_of_the_latents_is_compared_with_the_same_window_of_the_pictures(tmp_path: Path, exported: Path) -> None:
    """A decoder that is right has no error, wherever the window is: one that looks the pictures up by their latents."""
    trainee = DecoderTrainee(settings_of(tmp_path, exported / "vae", crop=16, world=2), TINY)
    with torch.no_grad():  # latents without noise: these are to be recognised
        trainee.vae.quant_conv.weight[4:], trainee.vae.quant_conv.bias[4:] = 0.0, -30.0  # pyright: ignore[reportOptionalMemberAccess, reportOptionalSubscript]
    batch = load_batch(trainee.samples, range(3))
    images = 2 * batch.images - 1
    with torch.no_grad():
        z = trainee.vae.post_quant_conv(trainee.vae.quant_conv(trainee.vae.encoder(images)).chunk(2, dim=1)[0])  # pyright: ignore[reportOptionalCall]

    class LooksUp(torch.nn.Module):
        def forward(self, cropped: torch.Tensor) -> torch.Tensor:
            found = []
            for one, whole, image in zip(cropped, z, images, strict=True):
                places = [(top, left) for top in range(5) for left in range(5)]
                differences = [float((whole[:, top : top + 4, left : left + 4] - one).abs().max()) for top, left in places]
                top, left = places[differences.index(min(differences))]
                found.append(image[:, 4 * top : 4 * top + 16, 4 * left : 4 * left + 16])
            return torch.stack(found)

    trainee.decoder = LooksUp()  # pyright: ignore[reportAttributeAccessIssue]
    loss, _ = trainee.loss(batch, torch.Generator().manual_seed(1))
    assert loss.item() == pytest.approx(torch.tensor(LEAST_ERROR).log().item(), abs=1e-3)


def test_repeated_samples_are_those_that_they_repeat() -> None:
    samples = PuppetSamples(5, 32, {"bones": 1.0})
    repeated = Repeated(samples, 2)
    first, again = repeated[1], repeated[3]
    assert abs(samples[1].image - first.image).max() < 1e-3
    assert (first.image == again.image).all()
    assert Repeated(samples, None)[3].caption == samples[3].caption != samples[1].caption


def test_a_training_leaves_the_autoencoder_as_it_is_and_is_exported_beside_it(tmp_path: Path, exported: Path) -> None:
    """Every other file of the exported model stays the same, byte for byte; only decoding changes, and pipelines still read it."""
    trained = train_decoder(settings_of(tmp_path / "run", exported / "vae", distinct=4, crop=16), TINY)
    own = averaged_weights(tmp_path / "run")
    assert {name.split(".")[0] for name in own} == {"decoder"}
    settings = ExportStage(diffusion=str(exported), decoder=str(trained), output=str(tmp_path / "model"))
    folder = export(settings, TINY)
    files = {path.relative_to(exported) for path in exported.rglob("*") if path.is_file() and path.name != "seal.json"}
    assert all((exported / file).read_bytes() == (folder / file).read_bytes() for file in files)
    before, after = (PuppetSettings(path=str(place)).build() for place in (exported, folder))
    assert before.revision != after.revision
    images = torch.rand(2, 3, 32, 32)
    latents = before.encode(images)
    assert torch.equal(latents, after.encode(images))
    decoder = LatentDecoder(4, tuple(2 * width for width in TINY.vae), norm_num_groups=TINY.groups)
    decoder.load_state_dict({name.removeprefix("decoder."): value.half().float() for name, value in own.items()})
    with torch.no_grad():
        moments = after.vae.post_quant_conv(latents / after.vae.config["scaling_factor"])  # pyright: ignore[reportOptionalCall]
        torch.testing.assert_close(after.decode(latents), (decoder(moments) / 2 + 0.5).clamp(0, 1), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(before.decode(latents), after.decode(latents), atol=1e-4)
    StableDiffusionControlNetPipeline.from_pretrained(folder, local_files_only=True, low_cpu_mem_usage=False)
    (folder / DECODER_FOLDER / "config.json").write_text("{}")
    with pytest.raises(UserError, match="have changed since they were exported"):
        PuppetSettings(path=str(folder)).build()


def test_what_is_missing_is_named(tmp_path: Path, exported: Path) -> None:
    with pytest.raises(UserError, match=r"stage\.initial: there is no trained decoder in .*nowhere"):
        DecoderTrainee(settings_of(tmp_path, exported / "vae", initial=str(tmp_path / "nowhere")), TINY)
    with pytest.raises(UserError, match=r"stage\.decoder: there is no trained decoder"):
        export(ExportStage(diffusion=str(exported), decoder=str(tmp_path), output=str(tmp_path / "model")), TINY)
