"""Figures of an evaluation on cases worked by hand; a constant must not win any."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from qnerf.backbones.architecture import tiny_backbone
from qnerf.backbones.conditioning import Conditioning
from qnerf.classifiers.accuracy import counted_parts
from qnerf.classifiers.classifiers import Classifiers, Verdict
from qnerf.classifiers.labels import FLOOR, PARTS, UNSURE
from qnerf.common.places import configs
from qnerf.errors import UserError
from qnerf.evaluate_backbone.__main__ import parse
from qnerf.evaluate_backbone.answers import failures
from qnerf.evaluate_backbone.bars import BARS, describe, find, held_against
from qnerf.evaluate_backbone.groups.autoencoder import latent_spread, read_photographs
from qnerf.evaluate_backbone.groups.generation import ratio
from qnerf.evaluate_backbone.groups.guidance import chroma, saturation
from qnerf.evaluate_backbone.groups.pointing import positions, score, separation, word_pairs
from qnerf.evaluate_backbone.groups.queries import part_recall, token_parts
from qnerf.evaluate_backbone.jobs import Job, guided_predictor
from qnerf.evaluate_backbone.settings import EvaluateSettings
from qnerf.evaluate_backbone.views import heldout_views, ring_views


def composed(*overrides: str) -> EvaluateSettings:
    with initialize_config_dir(str(configs()), version_base="1.3"):
        return parse(compose("evaluate_backbone/config", overrides=list(overrides)))


def test_the_shipped_configuration_is_valid_and_complete() -> None:
    with initialize_config_dir(str(configs()), version_base="1.3"):
        config = compose("evaluate_backbone/config")
    assert set(config) == set(EvaluateSettings.model_fields)
    assert "loose" in parse(config).chosen()
    assert "loose" not in composed("world=1").chosen()
    assert composed("groups=[generation,cost]").chosen() == ("cost", "generation")


def test_every_error_is_a_line_of_its_own() -> None:
    with pytest.raises(UserError) as found:
        composed("seed=7", "steps=0", "groups=[pointng]")
    text = str(found.value)
    assert len(text.splitlines()) == 3
    assert "nearest valid: pointing" in text
    with pytest.raises(UserError, match="set world=2 or leave out the group loose"):
        composed("world=1", "groups=[loose]")
    with pytest.raises(UserError, match="sweep_views is 64, expected at most views, 8"):
        composed("views=8")


def test_views_are_held_out_and_follow_from_their_index() -> None:
    all_of_them, later = (heldout_views(950, first, count, 32, 2, ("box",)) for first, count in ((0, 6), (4, 2)))
    assert torch.equal(all_of_them.images[4:], later.images)
    assert all_of_them.captions[4:] == later.captions
    assert all_of_them.kinds.tolist() == [0, 1, 2, 3, 0, 1]
    assert torch.equal(all_of_them[4:6].controls["box"], later.controls["box"])
    with pytest.raises(UserError, match="cannot be used for measuring"):
        heldout_views(3, 0, 1, 32, 2, ("box",))


def test_a_ring_is_one_scene() -> None:
    views = ring_views(1, 32, 2, ("bones",), "toy")
    assert len(set(views.captions)) == 1
    assert len(views) == 4
    assert not torch.equal(views.images[0], views.images[1])


def test_passes_of_jobs() -> None:
    assert Job("generate", "bones", 1.0, 9).passes(50) == 50
    assert Job("generate", "bones", 5.0, 9).passes(50) == 100
    assert Job("reconstruct", "bones", 7.5, 9).passes(50) == 200


def test_saturation_and_chroma_worked_by_hand() -> None:
    """Half of the pixels pure but dark red, half grey."""
    image = torch.zeros(1, 3, 2, 2)
    image[0, 0, 0] = 0.5
    image[0, :, 1] = 0.7
    assert saturation(image) == pytest.approx(0.5)
    assert chroma(image) == pytest.approx(0.25)
    assert saturation(torch.zeros(1, 3, 2, 2)) == 0


def test_latent_spread_and_ratio() -> None:
    latents = torch.randn(200, 4, 8, 8) * torch.tensor([1.0, 1.0, 2.0, 0.5])[:, None, None]
    found = latent_spread(latents)
    assert found["latent_std_by_channel"] == pytest.approx([1, 1, 2, 0.5], rel=0.05)
    assert found["latent_std_spread"] == pytest.approx(math.sqrt(6.25 / 4) - 1, rel=0.05)
    assert ratio(0.06, 0.02) == pytest.approx(3)
    assert math.isnan(ratio(0.06, -0.001))


def test_photographs_are_read_from_all_folders_below(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no PNG or JPEG"):
        read_photographs(tmp_path, (8, 8))
    (tmp_path / "deep").mkdir()
    Image.new("RGB", (20, 10), (255, 0, 0)).save(tmp_path / "deep" / "a.png")
    assert read_photographs(tmp_path, (8, 8)).shape == (1, 3, 8, 8)
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"b\.jpg cannot be read as a picture"):
        read_photographs(tmp_path, (8, 8))


def test_separation_worked_by_hand_and_a_constant_map_has_a_half() -> None:
    mask = torch.tensor([True, True, False, False])
    assert separation(torch.tensor([3.0, 1.0, 2.0, 1.0]), mask) == pytest.approx((2 + 0.5) / 4)
    assert separation(torch.ones(4), mask) == 0.5


def test_pointing_is_quoted_beside_what_no_map_could_lose() -> None:
    """Two views, the part in the left half of one and the right half of the other: any constant cell hits half."""
    cells = torch.zeros(2, 4, 4, dtype=torch.bool)
    cells[0, :, :2], cells[1, :, 2:] = True, True
    found = score(cells.float() + 0.1 * torch.rand(2, 4, 4), cells)
    assert found == {"accuracy": 1.0, "accuracy_random": 0.5, "accuracy_constant": 0.5, "separation": 1.0}
    assert score(1 - cells.float(), cells)["accuracy"] == 0.0


def test_words_are_found_in_captions_and_their_parts_in_views() -> None:
    model = tiny_backbone()
    places = positions(model, "a figure with tan skin in a red shirt")
    assert places["skin"] == 5
    assert places["shirt"] == 9
    parts = torch.full((32, 32), FLOOR, dtype=torch.uint8)
    parts[:8, :8] = PARTS.index("skin")
    parts[0, 20:24] = PARTS.index("shirt")  # too few pixels to be pointed at
    maps = torch.rand(10, 8, 8)
    pairs = word_pairs("", maps, parts, places)
    assert list(pairs) == ["skin"]  # no word for the floor
    assert torch.equal(pairs["skin"][0], maps[5])
    assert pairs["skin"][1].nonzero().amax(dim=0).tolist() == [1, 1]


def test_part_recall_of_perfect_constant_and_unsure_tokens() -> None:
    parts = torch.randint(0, 3, (4, 6, 6), dtype=torch.uint8)
    perfect = torch.eye(3)[parts.long()].permute(0, 3, 1, 2)
    assert part_recall(perfect, parts) == pytest.approx(1.0)
    assert part_recall(torch.ones(4, 3, 6, 6), parts) == pytest.approx(1 / 3)
    assert math.isnan(part_recall(perfect, torch.full_like(parts, UNSURE)))


def test_tokens_take_the_part_at_their_centre() -> None:
    parts = torch.arange(16, dtype=torch.uint8).view(1, 4, 4)
    assert token_parts(parts, 2).tolist() == [[[5, 7], [13, 15]]]


def test_failures_are_the_worst_by_place_colour_and_kind() -> None:
    views = heldout_views(950, 0, 4, 32, 2, ())
    truth = Verdict(views.kinds.clone(), views.names.clone(), views.silhouettes.clone(), torch.zeros(4, 1))
    counted = counted_parts(views.names, views.parts)
    truth.kinds[2] = (truth.kinds[2] + 1) % 4  # costs 1
    truth.silhouettes[1] = False  # costs 1, and the colours something more
    truth.names[1][counted[1].nonzero()[0, 0]] = 0 if views.names[1][counted[1].nonzero()[0, 0]] else 1
    half = truth.silhouettes[3].nonzero()
    truth.silhouettes[3][tuple(half[: len(half) // 2].T)] = False  # costs a half

    class Saying(Classifiers):
        def __init__(self) -> None: ...

        def look(self, images: torch.Tensor, chunk: int = 64) -> Verdict:
            return truth

    assert failures(Saying(), views.images, views) == [1, 2, 3, 0]
    assert failures(Saying(), views.images, views, count=2) == [1, 2]


def test_bars_are_held_against_what_was_measured() -> None:
    found = {"inversion": {"psnr": 27.0, "loss_by_strong_guidance": None}, "cost": {"weights_mb": 40.0}}
    rows = {row["what"]: row["holds"] for row in held_against(found)}
    assert rows["inversion at guidance 1, dB"] is True
    assert rows["inversion: dB lost by strong guidance"] is None
    assert rows["weights, MB"] is False
    assert not any("classifiers" in what for what in rows)
    assert find(found, "inversion.psnr.deeper") is None
    assert "FAILS" in describe(held_against(found))
    assert len({bar.path for bar in BARS}) == len(BARS)


@pytest.mark.parametrize("null_control", [False, True])
def test_guidance_leaves_the_control_out_of_the_null_half_unless_asked(null_control: bool) -> None:
    model, views = tiny_backbone(), heldout_views(950, 0, 2, 32, 2, ("bones",))
    z = torch.randn(2, 4, *model.latent_size, generator=torch.Generator().manual_seed(3))
    found = guided_predictor(model, views, Job("generate", "bones", 3.0, 2, null_control), composed("steps=4"))(z, 1)
    t, control = model.process.timesteps(4)[1], views.controls["bones"]
    with torch.no_grad():
        full = model.predict(z, t, Conditioning.of(model.embed(list(views.captions)), control, 1.0))
        with_it, without_it = (model.predict(z, t, Conditioning.of(model.embed(["", ""]), c, 1.0)) for c in (control, None))
    assert not torch.allclose(with_it, without_it, atol=1e-3)
    null = with_it if null_control else without_it
    torch.testing.assert_close(found, null + 3 * (full - null), atol=1e-5, rtol=1e-4)
