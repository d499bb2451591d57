import pytest
import torch

from qnerf.backbones.architecture import (
    TINY,
    PuppetWidths,
    build_puppet,
    build_tokenizer,
    build_unet,
    clip_merges,
    clip_vocabulary,
    tiny_backbone,
)
from qnerf.backbones.conditioning import Conditioning
from qnerf.scenes.procedural.captions import TEMPLATE, VOCABULARY
from qnerf.scenes.procedural.phrases import WORDS
from qnerf.scenes.procedural.world import KINDS, draw_scene


def test_every_word_is_one_token() -> None:
    tokenizer = build_tokenizer(VOCABULARY, 32)
    assert {word: tokenizer.tokenize(word) for word in VOCABULARY} == {word: [word + "</w>"] for word in VOCABULARY}


def test_captions_fit() -> None:
    tokenizer = build_tokenizer(VOCABULARY, 32)
    caption = TEMPLATE.format(skin="light", shirt="orange", trousers="purple", floor="yellow", background="white")
    ids = tokenizer(caption, padding="max_length", truncation=True).input_ids
    assert len(ids) == 32
    assert str(tokenizer.decode(ids, skip_special_tokens=True)).split() == caption.split()


def test_words_of_the_second_world_are_one_token_each_and_its_captions_fit() -> None:
    tokenizer = build_tokenizer(WORDS[2], 32)
    assert all(len(tokenizer.tokenize(word)) == 1 for word in WORDS[2])
    for kind in KINDS:
        captions = [draw_scene(seed, "train", kind, 2).caption for seed in range(40)]
        assert max(len(tokens) for tokens in tokenizer(captions).input_ids) <= 32


def test_unknown_words_fall_back_to_letters_not_to_nothing() -> None:
    assert build_tokenizer(VOCABULARY, 32).tokenize("fox") == ["f", "o", "x</w>"]


def test_merges_worked_by_hand() -> None:
    assert clip_merges(("tan",)) == ["t a", "ta n</w>"]
    # the pieces that earlier words' merges leave of a word are joined: "ran" is "r an", not "ra n"
    assert clip_merges(("an", "ran")) == ["a n</w>", "r an</w>"]
    vocabulary = clip_vocabulary(("tan",))
    assert vocabulary["tan</w>"] == 53
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))


def test_topology_is_that_of_sd15() -> None:
    """16 self-attention layers: 6 down, 1 mid, 9 up, the latter in up_blocks 1, 2 and 3."""
    names = [name for name, _ in build_unet(TINY).named_modules() if name.endswith("attn1")]
    assert len(names) == 16
    assert sum(name.startswith("down_blocks") for name in names) == 6
    ups = [name for name in names if name.startswith("up_blocks")]
    assert ups == [f"up_blocks.{b}.attentions.{a}.transformer_blocks.0.attn1" for b in (1, 2, 3) for a in (0, 1, 2)]


def test_the_model_fits_into_its_share_of_the_package() -> None:
    parts = build_puppet(0)
    assert parts.controlnet is not None
    models = (parts.unet, parts.controlnet, parts.vae, parts.text_encoder)
    assert 2 * sum(p.numel() for m in models for p in m.parameters()) < 23.5e6
    assert PuppetWidths().latent == 32


def test_same_seed_same_weights_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = build_puppet(1, TINY).unet.state_dict()
    assert torch.equal(torch.rand(1), expected)
    second = build_puppet(1, TINY).unet.state_dict()
    other = build_puppet(2, TINY).unet.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_control_of_the_tiny_backbone_matters() -> None:
    model = tiny_backbone()
    z, control = torch.randn(2, 4, 8, 8), torch.rand(2, 3, 32, 32)
    text = model.embed(["a red shirt", ""])
    with_control = model.predict(z, 500, Conditioning.of(text, control))
    without = model.predict(z, 500, Conditioning.of(text))
    assert (with_control - without).abs().max() > 1e-3


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_control_scale_zero_is_no_control(scale: float) -> None:
    model = tiny_backbone()
    z, text = torch.randn(1, 4, 8, 8), model.embed([""])
    same = torch.allclose(
        model.predict(z, 500, Conditioning.of(text, torch.rand(1, 3, 32, 32), scale)),
        model.predict(z, 500, Conditioning.of(text)),
        atol=1e-6,
    )
    assert same == (scale == 0.0)
