"""The study of what attention maps tell, on a random backbone."""

from pathlib import Path

import pytest
import torch

from experiments.probes import study as probes
from qnerf.backbones.puppet import PuppetSettings
from tests.schedules.helpers import BACKBONE


def test_probes_learn_what_maps_tell_and_nothing_from_shuffled_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps whose first places tell the class by a sign of their product, which no linear classifier
    would find."""
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, (300, 2), generator=generator) * 2 - 1
    maps = torch.cat([signs + 0.1 * torch.randn(300, 2, generator=generator), torch.randn(300, 6, generator=generator)], dim=1)
    train, heldout = (
        {"kind": (each[:, 0] * each[:, 1] > 0).long(), "colour": torch.zeros(len(each), dtype=torch.long), "self 0": x}
        for each, x in ((signs[:200], maps[:200]), (signs[200:], maps[200:]))
    )
    known: dict[tuple, torch.Tensor] = {}
    learnt = probes.right(train, heldout, probes.Row("self", 0), "kind", known).float().mean()
    by_chance = probes.right(train, heldout, probes.Row("self", 0, shuffled=True), "kind", known).float().mean()
    assert learnt > 0.9
    assert by_chance < 0.7
    assert len(known) == 2
    train["self 1"], heldout["self 1"] = torch.randn(200, 8, generator=generator), torch.randn(100, 8, generator=generator)
    with monkeypatch.context() as two_layers:
        two_layers.setattr(probes, "LAYERS", (1, 0))
        chosen = probes.right(train, heldout, probes.Row("self"), "kind", known)
    assert chosen.equal(probes.right(train, heldout, probes.Row("self", 0), "kind", known)), "the layer that tells it"


SIDES: tuple[tuple[probes.Side, int], ...] = (("train", 0), ("train", 1), ("heldout", 0))


def test_the_study_of_probes_keeps_maps_and_measures_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PuppetSettings, "build", lambda settings, device: BACKBONE)
    monkeypatch.setattr(probes, "sample", lambda side, number: small[side, number])
    monkeypatch.setattr(probes, "ITERATIONS", 1)
    small: dict[tuple[probes.Side, int], probes.LabelledView] = {
        (side, number): probes.label_sample(probes.SEEDS[side] * probes.SEED_STRIDE + number, 32, "seat", 2, side == "heldout")
        for side, number in SIDES
    }
    view = small["heldout", 0]
    assert list(probes.COLOURS)[probes.main_colour(view)] in view.caption.split()
    maps = probes.maps_of(BACKBONE, view, 0)
    assert maps["self 12"].shape == (16**2,)
    torch.testing.assert_close(maps["self 12"].float().view(16, 16).sum(dim=1), torch.ones(16), rtol=0, atol=1e-2)
    wanted = ("cross, layer 3", "self, layer 12")
    probes.measure_all(tmp_path, 1, lambda row: row in wanted)
    assert {(each["row"], each["image"]) for each in probes.read(tmp_path / probes.RESULTS)} == {(row, "0") for row in wanted}
    monkeypatch.setattr(probes, "maps_of", None)
    probes.measure_all(tmp_path, 1, lambda row: row == "self, layer 9")
    assert len(probes.table(tmp_path / probes.RESULTS).splitlines()) == 2 + 3 + 2
    assert probes.sheet(tmp_path, ["cross, layer 3"]).ndim == 3
