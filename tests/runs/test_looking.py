"""What a run shows of attention: maps against explicit ones, by hand and by a click in a browser."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir

from qnerf.attention.maps import pooled_map
from qnerf.attention.settings import AttentionSettings
from qnerf.backbones.architecture import tiny_backbone
from qnerf.config import RunSettings, parse
from qnerf.errors import UserError
from qnerf.planning.cost import run_memory
from qnerf.planning.light_checks import check_files
from qnerf.reports.attention import AttentionLook, ViewLook, document, render_attention, write_attention
from qnerf.run import CONFIGS
from qnerf.runs.identity import Inputs
from qnerf.runs.inverting import Inverted, invert
from qnerf.runs.loading import check_backbone, load_scene
from qnerf.runs.looking import look
from qnerf.runs.stages import Stages
from qnerf.scenes.images import write_image
from tests.browser import open_browser

SIZE, STEPS = 32, 4
CHOSEN = AttentionSettings(layers=(9, 12, 15), at=(0, 0.5), side=4)


def settings_of(*overrides: str) -> RunSettings:
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return parse(compose("config", ["+exp=attention", f"scene.size={SIZE}", f"steps={STEPS}", "device=cpu", *overrides]))


@pytest.fixture(scope="module")
def inverted(tmp_path_factory: pytest.TempPathFactory) -> Inverted:
    image = tmp_path_factory.mktemp("look") / "photo.png"
    write_image(image, torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).numpy())
    alone = [
        "scene=image",
        f"scene.path={image}",
        "scene.source_prompt='a red figure, in a red shirt'",
        "editor.control_guidance=1",
    ]
    settings = settings_of(*alone, f"scene.size={SIZE}")
    return invert(settings, load_scene(settings), tiny_backbone())


@pytest.fixture(scope="module")
def seen(inverted: Inverted) -> AttentionLook:
    return look(inverted, CHOSEN)


def test_a_pooled_map_is_the_mean_over_places_and_its_rows_sum_to_1() -> None:
    generator = torch.Generator().manual_seed(1)
    q, k = (torch.randn(2, 3, 24, 5, generator=generator, dtype=torch.float64).float() for _ in range(2))
    p = (q @ k.transpose(-1, -2) / 5**0.5).softmax(-1).mean(dim=1)
    torch.testing.assert_close(pooled_map(q, k, (4, 6), 9, block=7), p)
    pooled = pooled_map(q, k, (4, 6), 2, block=7)
    torch.testing.assert_close(pooled.sum(dim=-1), torch.ones(2, 4))
    upper_left, lower_right = [0, 1, 2, 6, 7, 8], [15, 16, 17, 21, 22, 23]
    torch.testing.assert_close(pooled[:, 0, 3], p[:, upper_left][:, :, lower_right].sum(dim=2).mean(dim=1))


def test_maps_are_those_of_explicit_passes(inverted: Inverted, seen: AttentionLook) -> None:
    """Of one view, in layer 12: self-attention and the sum over the two places of “red”."""
    backbone, view = inverted.backbone, seen.views[0]
    assert view.words == ("a", "red", "figure", "in", "shirt")
    assert (seen.steps, seen.total) == ((0, 2), STEPS)
    found: dict[str, tuple[torch.Tensor, torch.Tensor, int]] = {}
    handles = []
    for layers in (backbone.layers, backbone.cross_attention_layers):
        module: Any = backbone.unet.get_submodule(layers[12].path)
        context = lambda m, args, kwargs, path=layers[12].path: found.update(  # noqa: E731
            {path: (args[0], kwargs.get("encoder_hidden_states"), m.heads)}
        )
        handles.append(module.register_forward_pre_hook(context, with_kwargs=True))
    branch = inverted.branch(slice(0, 1))
    with torch.no_grad():
        branch.noise(inverted.trajectory.states[2], 2)
    for handle in handles:
        handle.remove()
    maps = []
    for path, (x, text, heads) in found.items():
        module = backbone.unet.get_submodule(path)
        q, k = (y.unflatten(-1, (heads, -1)).transpose(1, 2) for y in (module.to_q(x), module.to_k(x if text is None else text)))
        maps.append((q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1).mean(dim=1)[0].detach())
    torch.testing.assert_close(view.own[2, 12], maps[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(view.by_word[2, 12][1].flatten(), maps[1][:, [2, 7]].sum(dim=1), rtol=0, atol=1e-6)


def test_energies_and_shares_are_of_every_step(seen: AttentionLook) -> None:
    view = seen.views[0]
    assert view.shares.shape == view.energies.shape == (STEPS, 5)
    assert view.shares.min() > 0
    assert view.shares.sum(dim=1).max() < 1, "start, end and signs have the rest"
    assert ((view.energies > 0) & (view.energies < 1)).all()


def test_features_are_coloured_together(inverted: Inverted, seen: AttentionLook) -> None:
    """The same view twice has the same colours."""
    assert set(seen.colours) == {
        (k, layer, name) for k in (0, 2) for layer in (9, 12, 15) for name in ("queries", "keys", "residuals")
    }
    assert seen.colours[0, 15, "residuals"].shape == (1, 3, 8, 8)


def test_settings_of_attention_enter_the_identity_only_where_there_are_some() -> None:
    inputs = Inputs("scene", "weights")
    names = {Stages(settings_of(*words), inputs).identity() for words in ([], ["attention.side=8"], ["~attention"])}
    assert len(names) == 3
    without = settings_of("~attention")
    assert without.attention is None
    assert run_memory(settings_of()) > run_memory(without), "what it takes is said before"


def test_a_wrong_word_or_layer_is_said_before_anything_is_run() -> None:
    errors = check_files([settings_of("attention.words=[shrit]", "attention.layers=[3,99]")])
    assert any(error.startswith("attention.words: 'shrit' is not in the prompt") for error in errors), errors
    assert "attention.layers: got [99]; expected indices from 0 to 15" in errors
    with pytest.raises(UserError, match=r"attention\.layers"):
        check_backbone(settings_of("attention.layers=[99]"), tiny_backbone())
    with pytest.raises(UserError, match=r"editor\.map_layers"):
        check_backbone(settings_of("editor=fpe", "editor.map_layers=[16]"), tiny_backbone())


def test_the_page_and_the_pictures(seen: AttentionLook, tmp_path: Path) -> None:
    write_attention(tmp_path, seen)
    names = {path.name for path in (tmp_path / "attention").iterdir()}
    assert names == {"words_photo.png", "features_step_000.png", "features_step_002.png"}
    page = (tmp_path / "attention.html").read_text()
    assert '"http' not in page.replace('"http://www.w3.org/2000/svg"', ""), "it loads nothing"
    silent = replace(seen, views=[without_words(seen.views[0])])
    assert "Nothing to draw" in render_attention(silent), "an empty prompt has no words"


def without_words(view: ViewLook) -> ViewLook:
    none = torch.zeros(STEPS, 0)
    by_word = {key: value[:0] for key, value in view.by_word.items()}
    return replace(view, words=(), by_word=by_word, shares=none, energies=none)


def test_the_places_of_a_pooled_map_are_a_grid_of_the_views_proportions() -> None:
    for side, grid, places in ((16, (8, 8), 8 * 8), (16, (8, 16), 8 * 16), (6, (8, 16), 6 * 6), (12, (8, 16), 8 * 12)):
        q = torch.zeros(1, 1, grid[0] * grid[1], 4)
        assert pooled_map(q, q, grid, side).shape[1] == places


@cache
def one_hot() -> AttentionLook:
    """A place attends to the place that is as far from the other end; “b” is seen in the upper left corner alone."""
    from qnerf.attention.layers import AttentionLayer

    own, words = torch.eye(16).flip(0), torch.full((2, 4, 4), 0.1)
    words[1, 0, 0] = 0.8
    view = ViewLook(
        "v", torch.rand(3, 32, 32), "a b", ("a", "b"), {(0, 9): own}, {(0, 9): words}, torch.rand(1, 2), torch.rand(1, 2)
    )
    colours = {(0, 9, name): torch.rand(1, 3, 4, 4) for name in ("queries", "keys", "residuals")}
    return AttentionLook([view], (0,), (AttentionLayer(9, "up_blocks.1", 1),), 1, 16, colours)


@pytest.mark.integration
def test_a_click_shows_what_a_place_attends_to(tmp_path: Path) -> None:
    assert len(document(one_hot())["views"][0]["maps"][0]) == 1
    write_attention(tmp_path, one_hot())
    with open_browser() as driver:
        from selenium.webdriver import ActionChains

        driver.get(f"file://{tmp_path}/attention.html")
        brightest = """
            const {values, grid} = heat(0, 0); return values.indexOf(Math.max(...values));"""
        driver.execute_script("go(0.1, 0.1)")
        assert driver.execute_script(brightest) == 15
        bars = driver.find_elements("css selector", "#bars span")
        assert [bar.text for bar in bars] == ["10.0 %", "80.0 %"]
        large = driver.find_element("id", "large")
        ActionChains(driver).move_to_element_with_offset(large, 40, 40).click().perform()  # the third column of the third row
        assert driver.execute_script(brightest) == 15 - 10
        assert [bar.text for bar in driver.find_elements("css selector", "#bars span")] == ["10.0 %", "10.0 %"]
        driver.find_elements("css selector", "#bars button")[1].click()
        assert driver.execute_script(brightest) == 0
        assert "“b” is attended to" in driver.find_element("id", "said").text
        assert not [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
