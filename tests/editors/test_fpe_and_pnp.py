"""Free-Prompt-Editing and Plug-and-Play against passes in which maps and features are written out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from qnerf.attention.edits import RecordQueries
from qnerf.attention.hooks import Edits
from qnerf.consolidation.job import EditJob
from qnerf.editors.editor import EditorSettings
from qnerf.editors.fpe import FpeSettings
from qnerf.editors.plain import PlainEditorSettings
from qnerf.editors.pnp import PnpSettings
from tests.editors.helpers import (
    SOURCE,
    STEPS,
    VIEWS,
    clean_of,
    double,
    job_of,
    latents,
    maps_of,
    noise,
    null_of,
    stepped,
    text_of,
)

EVERY, SCALE = slice(0, VIEWS), 2.0
FPE = FpeSettings(name="fpe", guidance_scale=SCALE, keep_background=False, map_steps=0.6)
PNP = PnpSettings(name="pnp", guidance_scale=SCALE, keep_background=False, feature_steps=0.8, attention_steps=0.5)
PLAIN = PlainEditorSettings(name="plain", guidance_scale=SCALE, keep_background=False)
FPE_LAYERS = {double().layers[index].path for index in range(2, 13)}
PNP_LAYERS = {double().layers[index].path for index in range(8, 16)}


def walked(job: EditJob, predicted: object) -> Tensor:
    z = job.trajectory.states[0]
    for k in range(STEPS):
        eps = predicted(z, k)  # pyright: ignore[reportCallIssue]
        z = stepped(job, clean_of(job, z, eps, k), eps, k)
    return z


def test_fpe_replaces_the_maps_of_the_conditional_half() -> None:
    """Of layers 2 to 12, in the first int(.6 * 4) = 2 steps, by those of the source under the null prompt."""
    job = job_of(FPE)

    def predicted(z: Tensor, k: int) -> Tensor:
        maps = maps_of(job, job.trajectory.states[k], k, null_of(job))

        def change(path: str, p: Tensor, q: Tensor, key: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            return (maps[path] if path in FPE_LAYERS and k < 2 else p), v

        null = noise(job, z, k, null_of(job))
        return null + SCALE * (noise(job, z, k, job.target.text, change=change) - null)

    found = latents(job)
    torch.testing.assert_close(found, walked(job, predicted), rtol=0, atol=1e-6)
    assert (found - latents(job_of(PLAIN))).abs().max() > 1e-3
    torch.testing.assert_close(latents(job_of(FPE, chunk_size=1)), found, rtol=0, atol=1e-6)


def test_fpe_replaces_the_maps_of_named_layers_alone() -> None:
    """Those that it replaces by default, named, are the default; others are not."""
    plain = latents(job_of(FPE))
    assert latents(job_of(FPE.model_copy(update={"map_layers": tuple(range(2, 13))}))).equal(plain)
    assert (latents(job_of(FPE.model_copy(update={"map_layers": (15,)}))) - plain).abs().max() > 1e-4
    assert "map_layers" not in FPE.counted(4), "of no effect, it is no part of a run"
    assert FPE.model_copy(update={"map_layers": (3,)}).counted(4)["map_layers"] == [3]


def test_pnp_replaces_a_feature_and_the_maps_of_all_predictions() -> None:
    """The feature in int(.8 * 4) = 3 steps, the maps of layers 8 to 15 in 2."""
    job = job_of(PNP)
    convolution = double().unet.get_submodule("up_blocks.1.resnets.1.conv2")

    def predicted(z: Tensor, k: int) -> Tensor:
        kept = []
        hook = convolution.register_forward_hook(lambda module, given, out: kept.append(out))
        maps = maps_of(job, job.trajectory.states[k], k, null_of(job))
        hook.remove()

        def change(path: str, p: Tensor, q: Tensor, key: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            return (maps[path] if path in PNP_LAYERS and k < 2 else p), v

        hook = convolution.register_forward_hook(lambda module, given, out: kept[0] if k < 3 else out)
        null, conditional = (noise(job, z, k, text, change=change) for text in (null_of(job), job.target.text))
        hook.remove()
        return null + SCALE * (conditional - null)

    found = latents(job)
    torch.testing.assert_close(found, walked(job, predicted), rtol=0, atol=1e-6)
    torch.testing.assert_close(latents(job_of(PNP, chunk_size=1)), found, rtol=0, atol=1e-6)


def test_pnp_is_guided_away_from_its_negative_prompt() -> None:
    job = job_of(PNP.model_copy(update={"negative_prompt": "a lamp", "feature_steps": 0.0, "attention_steps": 0.0}))
    z, text = job.trajectory.states[1], double().embed(["a lamp"] * VIEWS)
    away = noise(job, z, 1, text)
    with torch.no_grad():
        found = job.branch(EVERY).noise(z, 1).double()
    torch.testing.assert_close(found, away + SCALE * (noise(job, z, 1, job.target.text) - away), rtol=0, atol=1e-6)


def test_fpe_leaves_the_queries_the_target_s_own() -> None:
    """Those of the first replaced layer are what the plain model asks there: replacing maps by q and k would give the source's."""
    queries = []
    for editor in (FPE, PLAIN):
        job, record = job_of(editor), RecordQueries()
        branch, layer = job.branch(EVERY), double().layers[2]
        with torch.no_grad():
            branch.noise(job.trajectory.states[0] + 1, 0, Edits.at([layer], record))
        queries.append(record.queries[layer])
    torch.testing.assert_close(queries[0], queries[1], rtol=0, atol=1e-6)


NONE = (
    FPE.model_copy(update={"map_steps": 0.2}),
    PNP.model_copy(update={"feature_steps": 0.0, "attention_steps": 0.2}),
)


@pytest.mark.parametrize("none", NONE)
def test_at_no_steps_they_are_plain_sampling(none: EditorSettings) -> None:
    assert torch.equal(latents(job_of(none)), latents(job_of(PLAIN)))
    assert none.source_passes(STEPS) == 0


@pytest.mark.parametrize(
    "editor", [FPE.model_copy(update={"map_text": "source"}), PNP.model_copy(update={"feature_text": "source"})]
)
def test_source_as_target_changes_nothing(editor: EditorSettings) -> None:
    """At the source's own state under its own prompt and control, maps and features are replaced by themselves."""
    editor = editor.model_copy(update={"guidance_scale": 1.0})
    job = job_of(editor, target=SOURCE)
    source = job.source(EVERY)
    branch = replace(job.branch(EVERY), conditioning=source.conditioning)
    z = job.trajectory.states[1]
    with torch.no_grad():
        torch.testing.assert_close(branch.noise(z, 1).double(), noise(job, z, 1, text_of(job), True), rtol=0, atol=1e-6)
