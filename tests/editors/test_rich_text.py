"""Rich text against its definition written out: segments, regions, and the noise of several prompts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.attention.segments import region_maps, spectral_segments
from qnerf.editors.additions.rich_text import RichTextSettings
from qnerf.editors.plain import PlainEditorSettings
from qnerf.errors import UserError
from tests.editors.helpers import (
    SOURCE,
    STEPS,
    TARGET,
    VIEWS,
    clean_of,
    double,
    job_of,
    latents,
    maps_of,
    noise,
    null_of,
    resumed,
    stepped,
    text_of,
)  # fmt: skip

SCALE, REGION, FIGURE, BLUE = 2.0, "a blue shirt", 2, 5
SIZES = {"blue": 3.0, "in": -0.5}
RICH = RichTextSettings(
    name="rich_text", regions={"figure": REGION}, sizes=SIZES, segments=3, threshold=0.55, since=0.5, seed=5
)  # fmt: skip
PLAIN = PlainEditorSettings(name="plain", keep_background=False, guidance_scale=SCALE)


def editor(settings: RichTextSettings) -> PlainEditorSettings:
    return PLAIN.model_copy(update={"additions": {"rich_text": settings}})


def test_segments_of_a_picture_of_blocks_are_the_blocks() -> None:
    """Of three groups of places that attend to themselves; an affinity of one side alone is enough."""
    groups = torch.tensor([0, 1, 1, 0, 2, 2, 1, 0, 2])
    affinity = 0.01 + (groups[:, None] == groups).double()
    for lopsided in (affinity, affinity.triu()):
        found = spectral_segments(lopsided, 3, torch.Generator().manual_seed(0))
        assert torch.equal(found[:, None] == found, groups[:, None] == groups)


def test_regions_by_hand() -> None:
    """The left half is the first word's, whose second token is seen there; the right half is nobody's."""
    segments = torch.tensor([[0, 0, 1, 1]] * 4)
    seen, weak = torch.zeros(4, 4), torch.zeros(4, 4)
    seen[:, :2] = 0.002
    weak[0, 3] = 1.0  # an eighth of its segment
    maps = region_maps(segments, [torch.stack([weak, seen], dim=2), weak[..., None]], 0.3, (4, 4))
    assert torch.equal(maps.round(decimals=4), torch.stack([seen / 0.002, 0 * seen, 1 - seen / 0.002]))
    both = region_maps(segments, [seen[..., None], seen[..., None]], 0.3, (4, 4))
    torch.testing.assert_close(both[:2, 0, 0], torch.full((2,), 0.5), msg="a segment of two words is shared")


def regions(job: Any) -> Tensor:
    """(V, 2, 8, 8): maps of “figure” and of the rest, from explicit maps of the source at the last two steps."""
    selves, words = [], []
    for k in (2, 3):
        maps = maps_of(job, job.trajectory.states[k], k, text_of(job))
        halves = [layer.path for layer in double().layers if layer.downsampling == 2]
        selves.append(torch.stack([maps[path].mean(dim=1) for path in halves]).mean(dim=0))
        large = []
        for layer in double().cross_attention_layers:
            if layer.downsampling >= 2:
                side = 8 // layer.downsampling
                image = maps[layer.path].mean(dim=1).permute(0, 2, 1).reshape(VIEWS, -1, side, side)
                large.append(F.interpolate(image, (4, 4), mode="bicubic", antialias=True))
        words.append(torch.stack(large).mean(dim=0))
    found = []
    for view in range(VIEWS):
        segments = spectral_segments(torch.stack(selves).mean(dim=0)[view], 3, torch.Generator().manual_seed(5)).reshape(4, 4)
        of_word = torch.stack(words).mean(dim=0)[view, FIGURE]
        scaled = (of_word - of_word.min()) / (of_word.max() - of_word.min())
        maps = torch.zeros(2, 4, 4, dtype=torch.float64)
        for each in range(3):
            inside = segments == each
            if inside.any():
                maps[0 if scaled[inside].mean() > 0.55 else 1] += inside
        large = F.interpolate(maps[:, None], (8, 8), mode="bicubic", antialias=True)[:, 0].clamp(0, 1)
        found.append(large / (large.sum(dim=0) + 1e-8))
    return torch.stack(found)


def test_an_edit_is_what_the_definition_says() -> None:
    job = job_of(editor(RICH))
    maps = regions(job)
    assert 0.05 < maps[:, 0].mean() < 0.95, "the region is some of the picture"
    cross = {layer.path for layer in double().cross_attention_layers}

    def resized(path: str, p: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if path not in cross:
            return p, v
        p = p.clone()
        for token, size in ((BLUE, 3.0), (3, 0.5)):
            p[..., token] *= size
        p = p / p.sum(dim=-1, keepdim=True)
        p[..., 3] *= -1
        return p, v

    z, region = job.trajectory.states[0], double().embed([REGION] * VIEWS)
    for k in range(STEPS):
        null, plain = noise(job, z, k, null_of(job)), noise(job, z, k, job.target.text, change=resized)
        own = noise(job, z, k, region)
        text = maps[:, :1] * own + maps[:, 1:] * plain
        text = text + (1 - maps.sum(dim=1, keepdim=True)) * plain  # what rounding leaves
        eps = null + SCALE * (text - null)
        z = stepped(job, clean_of(job, z, eps, k), eps, k)
    torch.testing.assert_close(latents(job), z, rtol=0, atol=1e-6)


def test_a_region_of_the_same_prompt_and_sizes_of_one_change_nothing() -> None:
    plain = latents(job_of(PLAIN))
    same = RICH.model_copy(update={"regions": {"figure": TARGET}, "sizes": {"blue": 1.0}})
    torch.testing.assert_close(latents(job_of(editor(same))), plain, rtol=0, atol=1e-9)


def test_chunks_and_a_kill_change_nothing() -> None:
    whole = latents(job_of(editor(RICH)))
    torch.testing.assert_close(latents(job_of(editor(RICH), chunk_size=1)), whole, rtol=0, atol=1e-9)
    torch.testing.assert_close(resumed(editor(RICH)), whole, rtol=0, atol=1e-12)


def test_words_are_looked_for_and_latents_that_move_afterwards_are_told() -> None:
    assert "no regions and no sizes" in (RichTextSettings(name="rich_text").problem(SOURCE, TARGET) or "")
    assert "'blue' is not in the prompt" in (RICH.model_copy(update={"regions": {"blue": "x"}}).problem(SOURCE, TARGET) or "")
    assert RICH.problem(SOURCE, TARGET) is None
    job = job_of(editor(RICH))
    branch, z = job.branch(slice(0, VIEWS)), job.trajectory.states[0]
    branch.editor.pull(branch, z, 0)
    seen = replace(branch.seen(z, 0, branch.rows), z=z + 1)
    with pytest.raises(UserError, match="put rich_text behind the other additions"):
        branch.editor.steer(seen, z)
