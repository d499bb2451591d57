"""The study of the editors, on a random backbone."""

from pathlib import Path

import pytest
import torch

from experiments.editors import study as editors
from experiments.editors.cases import make_case
from qnerf.classifiers.classifiers import load_classifiers
from qnerf.classifiers.labels import NAMES
from qnerf.config import RunSettings
from qnerf.scenes.procedural.world import KINDS
from tests.schedules.helpers import BACKBONE


@pytest.mark.parametrize("number", [0, 3])
def test_the_true_edit_differs_where_it_says_and_the_prompts_say_it(number: int) -> None:
    """A change of colour is one word and one part; a change of kind leaves the surroundings as they were."""
    case = make_case(number, 64)
    assert case.change == ("colour" if number == 0 else "kind")
    assert 0.01 < case.region.float().mean() < 0.7
    torch.testing.assert_close(case.image[:, ~case.region], case.truth[:, ~case.region], rtol=0, atol=0.021)
    words = [set(prompt.split()) for prompt in (case.source, case.target)]
    if case.change == "colour":
        assert case.part is not None
        assert case.name is not None
        assert len(words[1] - words[0] - {"a", "an"}) == 1
        assert NAMES[case.name] in words[1] - words[0]
    else:
        assert KINDS[case.kind] == "seat"
        assert not words[0] & {"floor", "background", "wall"}


def test_every_row_of_the_study_of_editors_is_a_setting() -> None:
    # of each a scale
    for row in {(row.editor, row.inversion): row for row in editors.ROWS.values()}.values():
        settings = RunSettings.compose("+exp=edit_image", "image=a.png", "prompt=a", "target=b", *row.overrides)
        assert settings.editor.guidance_scale == row.scale


def test_the_study_of_editors_edits_and_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a random model: the figures of the truth itself are perfect."""
    monkeypatch.setattr(editors, "STEPS", 2)
    measured = editors.Measured(make_case(0, 32), tmp_path, load_classifiers())
    image, seconds = measured.edit(editors.ROWS["fpe, γ 3.5"], 32, BACKBONE)
    assert image.shape == (3, 32, 32)
    assert seconds > 0
    figures = measured.figures(measured.case.truth, 1.0)
    assert figures["psnr_edit"] == figures["psnr_background"] == 100
    assert measured.figures(image, 1.0)["psnr_background"] < 100
