"""The heads' start: it spans what queries span, and does not hang on rounding."""

import pytest
import torch

from qnerf.fields.head_init import principal_heads, signed


def low_rank_maps(seed: int) -> list[torch.Tensor]:
    """Two resolutions of one scene of three components, of clearly different size."""
    generator = torch.Generator().manual_seed(seed)
    fine = torch.randn(4, 8, 8, 3, generator=generator) * torch.tensor([4.0, 2.0, 1.0])
    coarse = fine[:, ::2, ::2]
    fine = coarse.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    return [values @ torch.randn(3, width, generator=generator) + 0.5 for values, width in ((coarse, 6), (fine, 5))]


def start(maps: list[torch.Tensor], seed: int = 1) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    return principal_heads(maps, 4, torch.Generator().manual_seed(seed))


def test_the_start_reproduces_queries_of_few_components() -> None:
    maps = low_rank_maps(0)
    for values, weight, bias in zip(maps, *start(maps), strict=True):
        assert weight.shape == (values.shape[-1], 4)
        flat = values.flatten(0, -2) - bias
        hidden = flat @ torch.linalg.pinv(weight[:, :3]).T
        torch.testing.assert_close(hidden @ weight[:, :3].T, flat, rtol=0, atol=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_rounding_and_the_draw_of_the_iteration_turn_no_component_round(seed: int) -> None:
    maps = low_rank_maps(seed)
    expected, _ = start(maps)
    for other in (start([m + 1e-6 * torch.randn_like(m) for m in maps])[0], start(maps, seed=2)[0]):
        for one, two in zip(expected, other, strict=True):
            torch.testing.assert_close(one[:, :3], two[:, :3], rtol=0, atol=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_the_largest_entry_of_a_component_over_all_heads_is_positive(seed: int) -> None:
    weights = torch.cat(start(low_rank_maps(seed), seed)[0])
    assert (weights.gather(0, weights.abs().argmax(dim=0, keepdim=True)) >= 0).all()


def test_signs_by_hand() -> None:
    axes = torch.tensor([[0.6, 0.8, 0.0], [-0.8, 0.6, 0.0]])
    assert torch.equal(signed(axes), torch.tensor([[-0.6, 0.8, 0.0], [0.8, 0.6, 0.0]]))
    assert torch.equal(signed(-axes), signed(axes))
