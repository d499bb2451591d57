"""Part maps and what is counted in them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qnerf.classifiers.accuracy import accuracy, accuracy_by_part, confusions, counted_parts
from qnerf.classifiers.labels import (
    BACKGROUND,
    FLOOR,
    NAMES,
    OTHER,
    OWN_PARTS,
    PARTS,
    UNSURE,
    UNTOLD,
    allowed_names,
    label_sample,
    silhouettes,
    visible_pixels,
)
from qnerf.errors import UserError
from qnerf.scenes.procedural.samples import draw_sample, render_sample
from qnerf.scenes.procedural.world import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_labelled_view_is_the_sample_with_its_truth(kind: str) -> None:
    labelled, sample = label_sample(7, 64, kind, 2, heldout=False), render_sample(7, 64, kind, 2, ())
    assert np.array_equal(labelled.image, sample.image)
    assert labelled.caption == sample.caption
    told = {PARTS[i]: NAMES[name] for i, name in enumerate(labelled.names) if name != UNTOLD}
    assert told == sample.names
    shown = set(np.unique(labelled.parts).tolist())
    assert shown <= {*(PARTS.index(part) for part in OWN_PARTS[kind]), FLOOR, BACKGROUND, OTHER, UNSURE}
    assert PARTS.index(OWN_PARTS[kind][0]) in shown


def test_floor_and_background_lie_where_they_are_seen() -> None:
    """A pixel of the floor is darker or lighter than the background as the scene's colours are; the top row is no floor."""
    scene, _ = draw_sample(3, 64, "lamp", 2)
    parts = label_sample(3, 64, "lamp", 2, heldout=False).parts
    assert (parts[-1] == FLOOR).mean() > 0.5
    assert not (parts[0] == FLOOR).any()
    assert scene.kind == "lamp"


@pytest.mark.parametrize(("seed", "heldout"), [(950_000_000_000, False), (5, True)])
def test_training_and_measuring_never_share_a_view(seed: int, heldout: bool) -> None:
    with pytest.raises(UserError, match="cannot be used for"):
        label_sample(seed, 32, "figure", 2, heldout)


def test_silhouettes_and_visible_pixels_worked_by_hand() -> None:
    parts = torch.tensor([[[0, 0, OTHER], [FLOOR, BACKGROUND, UNSURE]]], dtype=torch.uint8)
    assert silhouettes(parts).tolist() == [[[True, True, True], [False, False, False]]]
    assert visible_pixels(parts)[0].tolist() == [2, *[0] * (len(PARTS) - 3), 1, 1]


def test_skin_has_names_of_its_own() -> None:
    allowed = allowed_names()
    assert [NAMES[i] for i in allowed[PARTS.index("skin")].nonzero()[:, 0]] == ["light", "tan", "dark"]
    assert not allowed[PARTS.index("shirt"), NAMES.index("tan")]
    assert allowed[PARTS.index("shirt")].sum() == 12


def test_what_is_hidden_or_untold_does_not_count() -> None:
    parts = torch.full((1, 8, 8), FLOOR, dtype=torch.uint8)
    parts[0, :3, :4] = 1  # 12 pixels of the second part, 52 of the floor
    names = torch.full((1, len(PARTS)), UNTOLD)
    names[0, [0, 1]] = 5
    assert counted_parts(names, parts)[0].nonzero().flatten().tolist() == [1]
    assert not counted_parts(names, parts, least=13).any()


def test_accuracies_worked_by_hand() -> None:
    red, white, grey = (NAMES.index(name) for name in ("red", "white", "grey"))
    truth = torch.full((3, len(PARTS)), UNTOLD)
    truth[:, 0], truth[:2, 1] = torch.tensor([red, white, white]), torch.tensor([red, red])
    answers = torch.full_like(truth, grey)
    answers[:, 1] = red
    answers[0, 0] = red
    counted = truth != UNTOLD
    assert accuracy(answers, truth, counted) == pytest.approx(3 / 5)
    assert accuracy_by_part(answers, truth, counted) == {PARTS[0]: pytest.approx(1 / 3), PARTS[1]: 1.0}
    assert confusions(answers, truth, counted) == {"white > grey": 2}
    assert np.isnan(accuracy(answers, truth, counted & False))
