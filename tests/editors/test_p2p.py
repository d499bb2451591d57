"""Prompt-to-Prompt: its mappers by hand, its steps against maps written out, and its local blend."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from qnerf.backbones.words import Prompts, tokens_of, word_tokens, words_of
from qnerf.editors.local_blend import BlendSettings
from qnerf.editors.p2p import P2pSettings
from qnerf.editors.p2p_words import aligned, refinement_mapper, replacement_mapper
from qnerf.editors.plain import PlainEditorSettings
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
)

SCALE, RED = 2.0, 5  # the place of the fifth word, after the start token
SELF = {double().layers[index].path for index in range(2, 13)}
CROSS = {layer.path for layer in double().cross_attention_layers}
BLENDED = [double().cross_attention_layers[index].path for index in (4, 5, 7, 8, 9)]
BLEND = BlendSettings(source=("figure", "red"), target=("figure", "blue"), subtract_source=("shirt",), threshold=0.6, start=0.5)


def editor(**changes: Any) -> P2pSettings:
    given = {"name": "p2p", "guidance_scale": SCALE, "keep_background": False, "cross_steps": 0.5, "self_steps": 0.25, **changes}
    return P2pSettings.model_validate(given)


class Syllables:
    """A tokenizer whose tokens are the parts of a word between hyphens, or single ones."""

    ids: dict[str, int] = {}  # noqa: RUF012

    def __call__(self, prompt: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        parts = [part for word in words_of(prompt) for part in (("ti", "ger") if word == "tiger" else (word,))]
        found = [self.ids.setdefault(part, len(self.ids) + 2) for part in parts]
        return {"input_ids": [0, *found, 1] if add_special_tokens else found}


def test_tokens_of_words() -> None:
    tokenizer = Syllables()
    assert words_of("The Tiger's tail, a tiger.") == ["the", "tiger's", "tail", ",", "a", "tiger", "."]
    assert word_tokens(tokenizer, "a tiger runs", 8) == [(1,), (2, 3), (4,)]
    assert tokens_of(tokenizer, "a tiger a cat", ["a", "tiger"], 8) == (1, 2, 3, 4)
    assert tokens_of(tokenizer, "a tiger runs", ["runs"], 5) == (), "the last state is the end token's"
    prompt = "a figure in a red shirt"
    assert len(word_tokens(double().tokenizer, prompt, 32)) == len(double().tokenizer(prompt)["input_ids"]) - 2  # pyright: ignore


def test_the_replacement_mapper_by_hand() -> None:
    """ "a cat runs" to "a tiger runs": the cat's column is halved on the two tokens of the tiger, and the rest moves by one."""
    mapper = replacement_mapper(Syllables(), "a cat runs", "a tiger runs", 7)
    wanted = torch.zeros(7, 7)
    for source, target, share in ((0, 0, 1), (1, 1, 1), (2, 2, 0.5), (2, 3, 0.5)):
        wanted[source, target] = share
    wanted[range(4, 7), range(4, 7)] = 1  # as in the authors' code: the rest by its place in the target
    assert torch.equal(mapper, wanted)
    assert torch.equal(replacement_mapper(Syllables(), "a cat runs", "a cat runs", 7), torch.eye(7))


def test_the_alignment_by_hand() -> None:
    assert aligned([0, 5, 6, 1], [0, 5, 7, 6, 1]) == [0, 1, -1, 2, 3]
    assert aligned([0, 5, 7, 6, 1], [0, 5, 6, 1]) == [0, 1, 3, 4]
    assert aligned([0, 5, 1], [0, 6, 1]) == [0, -1, 2]
    places, alpha = refinement_mapper(Syllables(), "a cat", "a big cat", 7)
    assert places.tolist() == [0, 1, 0, 2, 3, 5, 6]
    assert alpha.tolist() == [1, 1, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("words", ["replace", "refine"])
def test_against_maps_written_out_with_weights_and_a_local_blend(words: str) -> None:
    """Two steps with the source's cross maps, one with its self maps; red against blue; two steps that are blended."""
    given = editor(words=words, weights={"shirt": 1.5}, local_blend=BLEND)
    job = job_of(given)
    z, sums = job.trajectory.states[0], torch.zeros(2, 2, VIEWS, 4, dtype=torch.float64)
    for k in range(STEPS):
        source, used = maps_of(job, job.trajectory.states[k], k, text_of(job)), {}

        def change(
            path: str, p: Tensor, q: Tensor, key: Tensor, v: Tensor, k: int = k, source: Any = source, used: Any = used
        ) -> tuple[Tensor, Tensor]:
            if path in CROSS and k < 2:
                p = (
                    torch.cat([source[path][..., :RED], p[..., RED : RED + 1], source[path][..., RED + 1 :]], -1).clone()
                    if words == "refine"
                    else source[path].clone()
                )
                p[..., 6] *= 1.5
            used[path] = p
            return (source[path] if path in SELF and k < 1 else p), v

        null = noise(job, z, k, null_of(job))
        eps = null + SCALE * (noise(job, z, k, job.target.text, change=change) - null)
        z = stepped(job, clean_of(job, z, eps, k), eps, k)
        for place, maps in enumerate((source, used)):
            mean = sum(maps[path].mean(dim=1) for path in BLENDED) / 5
            sums[place, 0] += mean[..., [2, RED]].sum(-1)  # pyright: ignore[reportIndexIssue]
            sums[place, 1] += mean[..., 6] if place == 0 else 0  # pyright: ignore[reportIndexIssue]
        if k >= 2:
            pooled = F.interpolate(F.max_pool2d(sums[:, 0].reshape(-1, 1, 2, 2), 3, 1, 1), (8, 8))
            subtracted = F.interpolate(sums[:1, 1].reshape(-1, 1, 2, 2), (8, 8))
            inside, without = (x / x.amax(dim=(1, 2, 3), keepdim=True) > 0.6 for x in (pooled, subtracted))
            mask = (inside[:VIEWS] | inside[VIEWS:]) & ~without
            z = job.trajectory.states[k + 1] + mask * (z - job.trajectory.states[k + 1])
    found = latents(job)
    torch.testing.assert_close(found, z, rtol=0, atol=1e-6)
    if words == "refine":
        assert torch.equal(resumed(given), found)
        torch.testing.assert_close(latents(job_of(given, chunk_size=1)), found, rtol=0, atol=1e-6)


def test_an_empty_mask_returns_the_source() -> None:
    blend = BLEND.model_copy(update={"threshold": 1.0, "start": 0.0})
    job = job_of(editor(local_blend=blend))
    assert torch.equal(latents(job), job.trajectory.states[-1])


def test_equal_prompts_are_plain_sampling() -> None:
    """At the source's own state and under its control, its maps are the target's; in no steps, they are not even read."""
    for words in ("replace", "refine"):
        job = job_of(editor(words=words, guidance_scale=1.0), target=SOURCE)
        branch = replace(job.branch(slice(0, VIEWS)), conditioning=job.source(slice(0, VIEWS)).conditioning)
        z = job.trajectory.states[0]
        with torch.no_grad():
            found = branch.noise(z, 0).double()
        torch.testing.assert_close(found, noise(job, z, 0, text_of(job), True), rtol=0, atol=1e-6)
    none, plain = (
        editor(cross_steps=0.0, self_steps=0.0),
        PlainEditorSettings(name="plain", guidance_scale=SCALE, keep_background=False),
    )
    assert torch.equal(latents(job_of(none)), latents(job_of(plain)))


def test_views_may_have_prompts_of_their_own() -> None:
    """Of which each view's words, maps and masks are found: together as one by one."""
    given = editor(weights={"shirt": 1.5}, local_blend=BLEND.model_copy(update={"subtract_source": (), "start": 0.0}))
    own = (Prompts(SOURCE, TARGET), Prompts(TARGET, "a blue figure in a red shirt"))
    text = double().embed([prompts.target for prompts in own])
    jobs = [job_of(given, chunk_size=size, prompts=own) for size in (1, 2)]
    one, both = (latents(replace(job, target=replace(job.target, text=text))) for job in jobs)
    torch.testing.assert_close(one, both, rtol=0, atol=1e-6)


def test_words_are_looked_for_before_anything_is_computed() -> None:
    assert editor(weights={"blue": 2.0}, local_blend=BLEND).problem(SOURCE, TARGET) is None
    told = editor(weights={"bleu": 2.0}).problem(SOURCE, TARGET) or ""
    assert told.startswith(
        "editor.weights: 'bleu' is not in the prompt 'a figure in a blue shirt'; nearest valid: blue; expected one of"
    )
    told = editor(words="replace").problem("a cat", "a big cat") or ""
    assert told.startswith("editor.words: replace needs prompts of equally many words, but 'a cat' has 2 and 'a big cat' 3")
    assert "local_blend.target" in (editor(local_blend=BlendSettings(target=("red",))).problem(SOURCE, TARGET) or "")
