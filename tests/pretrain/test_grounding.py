"""The grounding of words: which word speaks of which part, and the loss on cases worked by hand."""

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor

from qnerf.attention.edits import RecordProbs
from qnerf.attention.hooks import CONDITIONAL, Batch, Edits, bound
from qnerf.attention.layers import cross_attention_layers
from qnerf.backbones.architecture import tiny_backbone
from qnerf.backbones.conditioning import Conditioning
from qnerf.classifiers.labels import PARTS
from qnerf.pretrain.data import PuppetSamples, load_batch
from qnerf.pretrain.grounding import NO_PART, GroundedAttention, as_tokens, token_loss, words_of_parts


def parts_of(caption: str, names: dict[str, str]) -> dict[str, str]:
    """Word -> part, of the words that speak of one."""
    found = zip(caption.split(), words_of_parts(caption, names), strict=True)
    return {word: PARTS[part] for word, part in found if part != NO_PART}


def test_nouns_and_colours_speak_of_their_part() -> None:
    caption = "a blue toy cat with white ears before a cloudy green wall"
    assert parts_of(caption, {"coat": "blue", "ears": "white", "background": "green"}) == {
        "blue": "coat", "white": "ears", "ears": "ears", "green": "background", "wall": "background",
    }  # fmt: skip


def test_a_colour_that_stands_twice_speaks_of_none() -> None:
    names = {"shade": "red", "arms": "red", "base": "blue"}
    assert parts_of("a lamp with a red shade red arms and a blue base", names) == {
        "shade": "shade", "arms": "arms", "blue": "base", "base": "base",
    }  # fmt: skip


def test_every_sample_says_where_its_words_are() -> None:
    batch = load_batch(PuppetSamples(3, 64, {"bones": 1.0}, world=2), range(12))
    assert batch.parts.shape == (12, 16, 16)
    for caption, words, parts in zip(batch.captions, batch.words, batch.parts, strict=True):
        assert len(words) == len(caption.split())
        named = {word for word in words if word != NO_PART}
        assert len(named) >= 3
        assert named & {*parts.unique().tolist()}, caption


def test_tokens_stand_behind_the_start() -> None:
    assert as_tokens([[NO_PART, 4], [2]], 5).tolist() == [[-1, -1, 4, -1, -1], [-1, 2, -1, -1, -1]]
    assert as_tokens([[7, 8, 9]], 3).tolist() == [[-1, 7, 8]]


def test_the_loss_by_hand() -> None:
    """All inside: 0. A quarter inside: (3/4)². Where no cell is more than half covered, half the attention is all there can be."""
    inside = torch.tensor([[1.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 0]])
    maps = torch.tensor([[0.2, 0.3, 0, 0], [0.1, 0.1, 0.1, 0.1], [0, 0, 0.7, 0], [1, 1, 1, 1]])
    assert token_loss(maps[:1], inside[:1]).item() == pytest.approx(0)
    assert token_loss(maps[1:2], inside[1:2]).item() == pytest.approx(0.75**2)
    assert token_loss(maps[2:3], inside[2:3]).item() == pytest.approx(0)
    assert token_loss(maps, inside).item() == pytest.approx(0.75**2 / 3)  # the last row has nothing inside and does not count
    assert token_loss(maps[3:], inside[3:]).item() == 0


def test_a_map_that_does_not_look_anywhere_has_the_loss_of_the_part_s_area() -> None:
    inside = (torch.arange(64) < 8).float()[None]
    assert token_loss(torch.ones(1, 64), inside).item() == pytest.approx((7 / 8) ** 2)


def test_the_kept_maps_are_the_attention_s_and_change_nothing() -> None:
    model = tiny_backbone()
    layers = [layer for layer in cross_attention_layers(model.unet) if layer.downsampling <= 2]
    z, text = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), model.embed(["a figure", "a red shirt"])
    model.unet.set_attn_processor(AttnProcessor())
    record = RecordProbs()
    with bound(model.unet, Edits.at(layers, record), Batch.of(0, [CONDITIONAL], 2)):
        expected = model.predict(z, 300, Conditioning.of(text))
    grounded = GroundedAttention(model.unet)
    torch.testing.assert_close(model.predict(z, 300, Conditioning.of(text)), expected, atol=1e-5, rtol=1e-4)
    assert set(grounded.kept) == set(layers)
    for layer, processor in grounded.kept.items():
        torch.testing.assert_close(processor.maps, record.maps[layer], atol=1e-5, rtol=1e-4)


def test_a_step_down_the_gradient_draws_attention_to_the_part() -> None:
    model = tiny_backbone()
    grounded = GroundedAttention(model.unet)
    z, text = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), model.embed(["a red shirt"])
    tokens, parts = as_tokens([[-1, -1, 0]], 32), torch.full((1, 8, 8), 5)
    parts[:, :4, :4] = 0
    model.unet.requires_grad_(True)

    def stray() -> torch.Tensor:
        model.predict(z, 300, Conditioning.of(text))
        return grounded.loss(tokens, parts, model.latent_size)

    before = stray()
    before.backward()
    with torch.no_grad():
        for parameter in model.unet.parameters():
            if parameter.grad is not None:
                parameter -= 0.5 * parameter.grad
    assert stray().item() < before.item() - 1e-4
