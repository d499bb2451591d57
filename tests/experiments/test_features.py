"""The studies of features and of maps of words, on a random backbone."""

from pathlib import Path

import pytest
import torch

from experiments.features import study as components
from experiments.features import words
from qnerf.backbones.puppet import PuppetSettings
from tests.schedules.helpers import BACKBONE


def test_principal_axes_of_views_and_how_alike_they_are() -> None:
    x = torch.zeros(2, 2, 4, 6)
    x[..., :3] = torch.randn(2, 2, 4, 3, generator=torch.Generator().manual_seed(0))
    x[1, ..., 3] = 1e-3 * torch.randn(2, 4, generator=torch.Generator().manual_seed(1))
    found = components.figures_of(x, None)
    assert found == pytest.approx({"variance": 1, "joint": 1, "others": 1}, abs=1e-4)
    assert components.figures_of(x, x.flip(-1))["joint"] == pytest.approx(0, abs=1e-2), "the others of six axes"


def test_features_of_views_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {number: components.ring_views(number, 32, 2, ("joints",), "lamp", 2) for number in range(2)}
    monkeypatch.setattr(PuppetSettings, "build", lambda settings, device: BACKBONE)
    monkeypatch.setattr(components, "VIEWS", 2)
    monkeypatch.setattr(components, "ring_views", lambda seed, *others: small[seed - components.FIRST_SEED])
    components.measure_all(tmp_path, 1, lambda row: "layer 12, step 0.5" in row)
    found = components.read(tmp_path / components.RESULTS)
    assert len(found) == 6
    assert all(0 < float(each["others"]) <= 1.0001 for each in found)
    assert components.sheet(tmp_path, [], 1).ndim == 3


def test_how_well_a_map_tells_where_a_word_is() -> None:
    inside = torch.zeros(4, 8, dtype=torch.bool)
    inside[1:3, 4:6] = True
    assert words.auc(inside.double(), inside) == 1
    assert words.auc(torch.ones(4, 8), inside) == 0.5
    assert words.auc(-inside.double(), inside) == 0
    torch.testing.assert_close(words.centroid(inside.double()), torch.tensor([5 / 8, 2 / 8]).double())
    right, wrong = inside.double(), inside.double().roll(-4, dims=1)
    maps, places = {"red": right, "blue": wrong}, {"red": inside, "blue": inside.roll(-4, dims=1)}
    assert words.figures_of(maps, places, other=False) == pytest.approx({"auc": 1, "centroid": 0, "size": 0}, abs=0.01)
    other = words.figures_of(maps, places, other=True)
    assert other["centroid"] == pytest.approx(0.5, abs=0.01)
    assert other["auc"] < 0.5


def test_maps_of_words_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = words.heldout_views(930, 1, 1, 32, 2, ("joints",))
    monkeypatch.setattr(PuppetSettings, "build", lambda settings, device: BACKBONE)
    monkeypatch.setattr(words, "heldout_views", lambda *others: view)
    words.measure_all(tmp_path, 1, lambda row: True)
    assert {each["row"] for each in words.read(tmp_path / words.RESULTS)} == set(words.ROWS)
    assert words.sheet(tmp_path, [], 1).ndim == 3
