"""Attend-and-Excite, layout control and self-guidance: energies written out, gradients against finite differences, their steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.denoising.edit import EditBranch
from qnerf.denoising.energy import energy_gradient
from qnerf.editors.additions.attend_and_excite import AttendAndExciteSettings, Overlooked
from qnerf.editors.additions.layout_control import LayoutControlSettings, OutsideBoxes
from qnerf.editors.additions.self_guidance import ObjectMoved, SelfGuidance, SelfGuidanceSettings
from qnerf.editors.plain import PlainEditorSettings
from qnerf.errors import UserError
from tests.editors.helpers import SOURCE, STEPS, TARGET, VIEWS, double, job_of, latents, maps_of, text_of

EVERY, K, BLUE = slice(0, VIEWS), 1, 5
CROSS = double().cross_attention_layers
EXCITE = AttendAndExciteSettings(name="attend_and_excite", refinements=2)
LAYOUT = LayoutControlSettings(
    name="layout_control", boxes={"figure": (0.5, 0, 1, 1), "blue": (0, 0.5, 0.5, 1)}, until=0.5, iterations=2
)
GUIDANCE = SelfGuidanceSettings(
    name="self_guidance", words=("figure",), shape=0.7, appearance=0.3, shift=(0.1, -0.2), scale=1.5, until=0.5, weight=10.0
)
PLAIN = PlainEditorSettings(name="plain", keep_background=False)


def branch_of(*additions: Any, chunk: slice = EVERY) -> EditBranch:
    return job_of(PLAIN.model_copy(update={"additions": {part.name: part for part in additions}})).branch(chunk)


def weights(branch: EditBranch, *tokens: int) -> Tensor:
    found = torch.zeros(branch.conditioning.text.shape[:2])
    found[:, list(tokens)] = 1
    return found


ENERGIES: dict[str, Callable[[EditBranch], Any]] = {
    "excite": lambda branch: Overlooked(branch, weights(branch, 2, BLUE)),
    "layout": lambda branch: OutsideBoxes(branch, LAYOUT),
    "guidance": lambda branch: ObjectMoved(branch, K, GUIDANCE),
}


def value_at(branch: EditBranch, z: Tensor, energy: Any) -> Tensor:
    with torch.no_grad():
        branch.conditional_noise(z, K, energy.edits())
    return energy.value()


def excite(job: Any, z: Tensor) -> list[float]:
    maps, found = maps_of(job, z, K, job.target.text, False), []
    for view in range(VIEWS):
        mean = sum(maps[CROSS[index].path][view].mean(dim=0) for index in (4, 5, 7, 8, 9)) / 5
        assert isinstance(mean, Tensor)
        words = (100 * mean[:, 1:-1]).softmax(dim=-1)
        losses = []
        for token in (2, BLUE):
            image, best = words[:, token - 1].view(2, 2), 0.0
            for y in range(2):
                for x in range(2):
                    total = weights = 0.0
                    for dy in (-1, 0, 1):
                        for dx in (-1, 0, 1):
                            weight = math.exp(-(dy**2 + dx**2) / (2 * 0.5**2))
                            total += weight * float(image[1 - abs(1 - abs(y + dy)), 1 - abs(1 - abs(x + dx))])  # reflected
                            weights += weight
                    best = max(best, total / weights)
            losses.append(max(0.0, 1 - best))
        found.append(max(losses))
    return found


def layout(job: Any, z: Tensor) -> list[float]:
    maps, found = maps_of(job, z, K, job.target.text, False), []
    for view in range(VIEWS):
        total = 0.0
        for token, (left, top, right, bottom) in ((2, (0.5, 0, 1, 1)), (BLUE, (0, 0.5, 0.5, 1))):
            for index in (6, 7, 8, 9):
                side = 1 if index == 6 else 2
                image = maps[CROSS[index].path][view, :, :, token].view(-1, side, side)
                inside = image[:, int(top * side) : int(bottom * side), int(left * side) : int(right * side)].sum(dim=(1, 2))
                total += float((1 - inside / image.sum(dim=(1, 2))).square().mean())
        found.append(total / 8)
    return found


def guidance(job: Any, z: Tensor) -> list[float]:
    """The features of target and source by loops."""
    blocks, features = [], []
    hook = double().unet.up_blocks[3].register_forward_hook(lambda module, given, out: blocks.append(out))
    runs = (
        maps_of(job, z, K, job.target.text, False),
        maps_of(job, job.trajectory.states[K], K, text_of(job)),
    )
    hook.remove()

    def norm(x: Tensor) -> Tensor:
        return (x - x.min()) / (x.max() - x.min()) if x.max() > x.min() else 0 * x

    for maps, block in zip(runs, blocks, strict=True):
        views = []
        for view in range(VIEWS):
            centres, sizes, shapes = [], [], []
            for index in range(7, 16):
                side = round(maps[CROSS[index].path].shape[2] ** 0.5)
                seen = norm(torch.sigmoid(10 * (norm(maps[CROSS[index].path][view, :, :, 2].mean(dim=0)) - 0.5))).view(side, side)
                total = float(seen.sum())
                x, y = (
                    sum(float(seen[i, j]) * ((j if axis == 0 else i) + 0.5) / side for i in range(side) for j in range(side))
                    / total
                    for axis in (0, 1)
                )
                centres += [x, y]
                sizes.append(total / side**2)
                shapes += seen.flatten().tolist()
            look = [(float((channel * seen).sum()) / total) for channel in block[view]]  # pyright: ignore
            views.append((centres, sizes, shapes, look))
        features.append(views)
    found = []
    for target, source in zip(*features, strict=True):
        moved = [value + (0.1, -0.2)[place % 2] for place, value in enumerate(source[0])]
        wanted = (moved, [1.5 * size for size in source[1]], source[2], source[3])
        distances = [sum(abs(a - b) for a, b in zip(x, y, strict=True)) / len(x) for x, y in zip(target, wanted, strict=True)]
        found.append(sum(w * d for w, d in zip((1, 1, 0.7, 0.3), distances, strict=True)))
    return found


@pytest.mark.parametrize(("name", "written_out"), [("excite", excite), ("layout", layout), ("guidance", guidance)])
def test_energies_written_out_and_their_gradients_by_finite_differences(name: str, written_out: Any) -> None:
    job = job_of(PLAIN)
    branch, z = job.branch(EVERY), job.trajectory.states[K] + 0.1
    energy = ENERGIES[name](branch)
    found = value_at(branch, z, energy)
    torch.testing.assert_close(found, torch.tensor(written_out(job, z), dtype=torch.float64), rtol=0, atol=1e-6)
    gradient = energy_gradient(branch, z, K, energy)
    direction = torch.randn(z.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    above, below = (value_at(branch, z + step * direction, energy).sum() for step in (1e-5, -1e-5))
    assert float(above - below) / 2e-5 == pytest.approx(float((gradient * direction).sum()), rel=1e-4)
    part = job.branch(slice(1, 2))
    torch.testing.assert_close(energy_gradient(part, z[1:], K, ENERGIES[name](part)), gradient[1:], rtol=0, atol=1e-9)


def test_the_steps_that_energies_take() -> None:
    """One of α √s at a step without refinement; σ² λ of layout control until the energy is below; noise that is steered."""
    branch = branch_of(EXCITE, LAYOUT, GUIDANCE)
    excite, layout, guidance = (
        part.build() for part in (EXCITE.model_copy(update={"refine_at": (0.0, 0.5, 0.75)}), LAYOUT, GUIDANCE)
    )
    z = job_of(PLAIN).trajectory.states[K]
    with torch.no_grad():
        gradient = energy_gradient(branch, z, K, Overlooked(branch, weights(branch, BLUE)))
        torch.testing.assert_close(excite.pull(branch, z, K), z - 20 * (1 - 0.5 / 3) ** 0.5 * gradient, rtol=0, atol=1e-9)
        assert not torch.equal(excite.pull(branch, z, 3), z), "at 3 of 4 it is refined"
        expected = z
        for _ in range(2):
            energy = OutsideBoxes(branch, LAYOUT)
            gradient = energy_gradient(branch, expected, K, energy)
            assert (energy.value() > 0.2).all()
            expected = expected - 30 * branch.steps.sigma[K] ** 2 * gradient
        torch.testing.assert_close(layout.pull(branch, z, K), expected, rtol=0, atol=1e-9)
        assert isinstance(guidance, SelfGuidance)
        assert torch.equal(guidance.pull(branch, z, K), z)
        gradient = energy_gradient(branch, z, K, ObjectMoved(branch, K, GUIDANCE))
        steered = guidance.steer(branch.seen(z, K, branch.rows), torch.zeros_like(z))
        torch.testing.assert_close(steered, 10 * branch.steps.sigma[K] * gradient, rtol=0, atol=1e-9)
        assert torch.equal(guidance.steer(branch.seen(z, K, branch.rows), z), z)


def test_a_view_that_has_enough_is_left_alone() -> None:
    """Refined until its word is seen enough: of two views the one that begins below."""
    z, branch = job_of(PLAIN).trajectory.states[K], branch_of()
    values = value_at(branch, z, Overlooked(branch, weights(branch, BLUE)))
    between = {"until": 0.0, "refine_at": (0.25,), "reach": (1 - float(values.mean()),)}
    with torch.no_grad():
        found = EXCITE.model_copy(update=between).build().pull(branch, z, K)
    moved = (found - z).abs().amax(dim=(1, 2, 3)) > 0
    assert torch.equal(moved, values > values.mean())


def test_all_together_chunks_change_nothing() -> None:
    short = EXCITE.model_copy(update={"until": 0.25, "refine_at": (0.25,), "reach": (0.9,)})
    parts = (short, LAYOUT.model_copy(update={"until": 0.25}), GUIDANCE.model_copy(update={"until": 0.25}))
    both = PLAIN.model_copy(update={"additions": {part.name: part for part in parts}})
    found = latents(job_of(both))
    torch.testing.assert_close(latents(job_of(both, chunk_size=1)), found, rtol=0, atol=1e-5)
    assert (found - latents(job_of(PLAIN))).abs().max() > 1e-3


def test_words_are_named_and_found() -> None:
    nothing_new = EXCITE.problem(SOURCE, SOURCE) or ""
    assert nothing_new.startswith("editor.additions.attend_and_excite.words: none given, and the target's prompt")
    assert EXCITE.problem(SOURCE, TARGET) is None
    assert "nearest valid: figure" in (LAYOUT.model_copy(update={"boxes": {"figur": None}}).problem(SOURCE, TARGET) or "")
    assert "none given" in (SelfGuidanceSettings(name="self_guidance").problem(SOURCE, TARGET) or "")
    with pytest.raises(ValueError, match="the box of hat is"):
        LayoutControlSettings(name="layout_control", boxes={"hat": (0.5, 0, 0.2, 1)})
    with pytest.raises(ValueError, match="reach: got 1 values; expected 3"):
        AttendAndExciteSettings(name="attend_and_excite", reach=(0.5,))
    assert EXCITE.own_passes(STEPS) == 3 * (2 + 6)


def test_a_box_that_no_token_is_inside_is_refused() -> None:
    nowhere = LAYOUT.model_copy(update={"boxes": {"figure": (0.1, 0.1, 0.2, 0.2)}})
    with pytest.raises(
        UserError, match=r"boxes: the box of figure, \[0.1, 0.1, 0.2, 0.2\], has no token .* 1 x 1 and 2 x 2 tokens"
    ):
        OutsideBoxes(job_of(PLAIN).branch(EVERY), nowhere)
