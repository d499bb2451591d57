"""The initial weights that copy the input, and what they leave free."""

import pytest
import torch

from qnerf.backbones.architecture import TINY, PuppetWidths, build_unet
from qnerf.pretrain.initialise import start_from_copy


@pytest.mark.parametrize("widths", [TINY, PuppetWidths()], ids=["tiny", "full"])
@pytest.mark.parametrize("time", [0, 500, 999])
def test_unit_noise_comes_out_as_it_went_in(widths: PuppetWidths, time: int) -> None:
    generator = torch.Generator().manual_seed(time)
    torch.manual_seed(1)
    unet = build_unet(widths)
    z = torch.randn(3, 4, 16, 16, generator=generator)
    states = torch.randn(3, 5, widths.text, generator=generator)
    with torch.no_grad():
        before = unet(z, torch.full((3,), time), states, return_dict=False)[0]
        start_from_copy(unet)
        after = unet(z, torch.full((3,), time), states, return_dict=False)[0]
    assert (before - z).square().mean() > 0.5  # random weights do not copy
    assert (after - z).square().mean() < 0.02


def test_every_weight_can_still_learn() -> None:
    """No part is cut off: the gradient reaches every parameter, those of the copying paths too."""
    torch.manual_seed(2)
    unet = build_unet(TINY)
    start_from_copy(unet)
    z, states = torch.randn(2, 4, 16, 16), torch.randn(2, 5, TINY.text)
    for _ in range(2):  # layers before one that starts at zero get their gradient from the second step on
        unet.zero_grad()
        (unet(z, torch.tensor([10, 700]), states, return_dict=False)[0] - states.mean()).square().sum().backward()
        with torch.no_grad():
            for parameter in unet.parameters():
                assert parameter.grad is not None
                parameter -= 1e-3 * parameter.grad
    silent = [name for name, parameter in unet.named_parameters() if not bool(parameter.grad.abs().sum() > 0)]  # pyright: ignore[reportOptionalMemberAccess]
    assert not silent
