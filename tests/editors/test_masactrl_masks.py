"""MasaCtrl's mask-guided modes against attention written out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.editors.masactrl import MasaCtrlSettings
from qnerf.scenes.region import EditedRegion
from tests.editors.helpers import SOURCE, TARGET, VIEWS, double, job_of, latents, maps_of, noise, text_of

EVERY, K = slice(0, VIEWS), 2
MASKED = {double().layers[index].path for index in range(10, 16)}
CROSS = [double().cross_attention_layers[index].path for index in (4, 5, 7, 8, 9)]
FIGURE = 2  # the place of "figure" among the states of "<start> a figure …"


def editor(keys: Any, mask: Any) -> MasaCtrlSettings:
    words = ("figure",) if mask == "words" else ()
    return MasaCtrlSettings(name="masactrl", keys=keys, mask=mask, mask_words=words, keep_background=False, mask_threshold=0.4)


def seen_at(maps: dict[str, Tensor]) -> Tensor:
    """(V, 2, 2) bool: the mean of the five maps and all heads, scaled, at least .4."""
    mean = sum(maps[path][..., FIGURE].mean(dim=1) for path in CROSS) / len(CROSS)
    assert isinstance(mean, Tensor)
    inside = [(row - row.min()) / (row.max() - row.min()) >= 0.4 for row in mean]
    return torch.stack(inside).view(VIEWS, 2, 2)


def resized(mask: Tensor, tokens: int) -> Tensor:
    side = round(tokens**0.5)
    assert side % mask.shape[-1] == 0 or mask.shape[-1] % side == 0
    factor = side // mask.shape[-1]
    return mask.repeat_interleave(factor, 1).repeat_interleave(factor, 2).flatten(1)


@pytest.mark.parametrize("mask", ["region", "words"])
@pytest.mark.parametrize("keys", ["replace", "union"])
def test_inside_attends_to_inside_and_the_rest_to_the_rest(keys: str, mask: str) -> None:
    region = torch.zeros(VIEWS, 8, 8)
    region[:, 1:5, 2:6] = 1
    job = job_of(editor(keys, mask), region=EditedRegion(region, region))
    z = job.trajectory.states[K]
    source: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(path: str, p: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        source[path] = (k, v)
        return p, v

    noise(job, z, K, text_of(job), True, keep)
    seen = {"source": seen_at(maps_of(job, z, K, text_of(job))), "target": torch.empty(0)}
    target: dict[str, Tensor] = {}

    def change(path: str, p: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if path in CROSS:
            target[path] = p
        if path not in MASKED:
            return p, v
        keys_of, values = source[path]
        n = q.shape[2]
        if mask == "region":
            side = round(n**0.5)
            cells = region.view(VIEWS, side, 8 // side, side, 8 // side).amax(dim=(2, 4)).flatten(1) > 0
            inside = {"queries": cells, "keys": cells}
        else:
            inside = {"queries": resized(seen_at(target), n), "keys": resized(seen["source"], n)}
        if keys == "union":
            keys_of, values = torch.cat([keys_of, k], dim=2), torch.cat([values, v], dim=2)
            inside["keys"] = torch.cat([inside["keys"], inside["queries"]], dim=1)
        scores = q @ keys_of.transpose(-1, -2) / q.shape[-1] ** 0.5
        for view in range(VIEWS):
            for token in range(n):
                same = inside["keys"][view] == inside["queries"][view, token]
                if bool(same.any()):
                    scores[view, :, token, ~same] = -torch.inf
        return scores.softmax(-1), values

    expected = noise(job, z, K, job.target.text, change=change)
    with torch.no_grad():
        found = job.branch(EVERY).noise(z, K)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-6)
    without = job_of(editor(keys, "none"))
    with torch.no_grad():
        assert (without.branch(EVERY).noise(z, K) - found).abs().max() > 1e-5, "else the test would see nothing"


def test_chunks_change_nothing_and_the_source_as_target_changes_nothing() -> None:
    """With the source's prompt and control inside and outside are the same places, and both together are all."""
    whole = editor("replace", "words")
    torch.testing.assert_close(latents(job_of(whole, chunk_size=1)), latents(job_of(whole)), rtol=0, atol=1e-6)
    everywhere = whole.model_copy(update={"mask_threshold": 0.0})
    job = job_of(everywhere, target=SOURCE)
    branch = replace(job.branch(EVERY), conditioning=job.source(EVERY).conditioning)
    z = job.trajectory.states[K]
    with torch.no_grad():
        found = branch.noise(z, K).double()
    torch.testing.assert_close(found, noise(job, z, K, text_of(job), True), rtol=0, atol=1e-6)


def test_words_are_needed_and_have_to_be_in_both_prompts() -> None:
    with pytest.raises(ValueError, match="mask_words: none given"):
        MasaCtrlSettings(name="masactrl", mask="words")
    assert editor("replace", "words").problem(SOURCE, TARGET) is None
    misspelt = editor("replace", "words").model_copy(update={"mask_words": ("figur",)})
    told = misspelt.problem(SOURCE, TARGET) or ""
    assert told.startswith(
        "editor.mask_words: 'figur' is not in the prompt 'a figure in a red shirt'; nearest valid: figure; expected"
    )
    assert editor("replace", "none").without_effect(4) == {"mask_words", "mask_threshold"}
