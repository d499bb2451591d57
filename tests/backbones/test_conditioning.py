"""Conditionings: several controls, their share of the steps, and rows joined."""

import torch

from qnerf.backbones.architecture import tiny_backbone
from qnerf.backbones.conditioning import Conditioning, Control

BACKBONE = tiny_backbone()
Z = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
TEXT = BACKBONE.embed(["a figure", "a red shirt"])
FIRST, SECOND = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def noise(*controls: Control) -> torch.Tensor:
    return BACKBONE.predict(Z, 400, Conditioning(TEXT, controls))


def test_residuals_of_several_controls_add_up() -> None:
    """A ControlNet's residuals are linear in its scale, so one drawing at twice a half is that drawing."""
    half = Control(FIRST, 0.5)
    torch.testing.assert_close(noise(half, half), noise(Control(FIRST)), rtol=1e-4, atol=1e-4)
    both = noise(Control(FIRST), Control(SECOND))
    torch.testing.assert_close(both, noise(Control(SECOND), Control(FIRST)), rtol=1e-4, atol=1e-4)
    assert (both - noise(Control(FIRST))).abs().max() > 1e-3


def test_a_control_acts_in_its_share_of_the_steps() -> None:
    early, late = Control(FIRST, stop=0.4), Control(SECOND, start=0.4)
    conditioning = Conditioning(TEXT, (early, late))
    assert [conditioning.at(k, 5).controls for k in range(5)] == [(early,), (early,), (late,), (late,), (late,)]
    assert conditioning.at(1, 3).controls == (), "of three steps, the second begins before .4 and ends after it"


def test_joined_rows_are_those_of_separate_passes() -> None:
    one, other = Conditioning.of(TEXT[:1], FIRST[:1], 0.7), Conditioning.of(TEXT[1:], SECOND[1:], 0.7)
    together = BACKBONE.predict(Z, 400, Conditioning.joined([one, other]))
    for row, part in enumerate((one, other)):
        alone = BACKBONE.predict(Z[row : row + 1], 400, part)
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-5)
    views = Conditioning.joined([one, other]).views(slice(1, 2))
    assert torch.equal(views.text, TEXT[1:])
    assert torch.equal(views.controls[0].drawing, SECOND[1:])
