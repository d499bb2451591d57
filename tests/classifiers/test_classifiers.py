"""The network, its file, its training, and the shipped weights on true renders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from qnerf.classifiers.accuracy import accuracy, counted_parts
from qnerf.classifiers.classifiers import ASSET, Classifiers, load_classifiers, save_classifiers
from qnerf.classifiers.labels import NAMES, PARTS, UNSURE, silhouettes
from qnerf.classifiers.net import ClassifierNet
from qnerf.errors import UserError
from qnerf.metrics.overlap import mask_iou
from qnerf.pretrain.checkpoint import read_checkpoint
from qnerf.pretrain.classifiers import ClassifiersTrainee, LabelledBatch, LabelledSamples, disturb, mirror, train_classifiers
from qnerf.pretrain.data import load_batch
from qnerf.pretrain.loop import train
from qnerf.pretrain.settings import ClassifiersStage

TINY = (4, 8, 8, 8, 8)
STAGE = {"batch": 2, "warmup": 1, "workers": 0, "log_steps": 1, "device": "cpu", "precision": "float32", "world": 2, "samples": 8}


def test_opinions_have_a_shape_and_only_allowed_names() -> None:
    seen = ClassifierNet(TINY).eval()(torch.rand(3, 3, 32, 32))
    assert seen.kinds.shape == (3, 4)
    assert seen.parts.shape == (3, len(PARTS) + 1, 16, 16)
    assert seen.silhouettes.shape == (3, 32, 32)
    assert seen.names.shape == (3, len(PARTS), len(NAMES))
    skin = PARTS.index("skin")
    assert {NAMES[i] for i in seen.names.argmax(2)[:, skin]} <= {"light", "tan", "dark"}
    assert not {NAMES[i] for i in seen.names.argmax(2)[:, skin + 1]} & {"light", "tan", "dark"}


def test_colours_are_read_where_the_hints_say() -> None:
    """The hints of the first row change the names of its parts, and of no other row; without any they change nothing."""
    net, images = ClassifierNet(TINY).eval(), torch.rand(2, 3, 32, 32)
    hints = torch.full((2, 32, 32), UNSURE, dtype=torch.uint8)
    plain, none = net(images), net(images, hints)
    assert torch.equal(plain.names, none.names)
    hints[0, :16] = 1
    hinted = net(images, hints)
    assert not torch.allclose(hinted.names[0, 1].exp(), plain.names[0, 1].exp())
    assert torch.equal(hinted.names[1], plain.names[1])
    assert torch.equal(hinted.parts, plain.parts)


def test_a_verdict_does_not_depend_on_the_chunk() -> None:
    classifiers, images = Classifiers(ClassifierNet(TINY), "r"), torch.rand(5, 3, 32, 32)
    whole, parts = classifiers.look(images), classifiers.look(images, chunk=2)
    assert torch.equal(whole.names, parts.names)
    torch.testing.assert_close(whole.features, parts.features)


def test_classifiers_are_kept_as_float16_and_known_by_their_weights(tmp_path: Path) -> None:
    net = ClassifierNet(TINY)
    save_classifiers(net, tmp_path / "a.safetensors")
    loaded = load_classifiers(tmp_path / "a.safetensors")
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(loaded.net.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)
    save_classifiers(ClassifierNet(TINY), tmp_path / "b.safetensors")
    assert load_classifiers(tmp_path / "b.safetensors").revision != loaded.revision
    assert not list(tmp_path.glob("*.partial"))


def test_missing_and_foreign_weights_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="stage=classifiers"):
        load_classifiers(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"bad")
    with pytest.raises(UserError, match="does not hold the classifiers' weights"):
        load_classifiers(tmp_path / "bad.safetensors")


def test_disturbances_are_bounded_and_none_is_the_identity() -> None:
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(disturb(images, torch.Generator(), 0, 0, 0), images)
    changed = disturb(images, torch.Generator().manual_seed(0), 1, 0.06, 0.04)
    assert not torch.equal(changed, images)
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_a_mirror_turns_pictures_and_maps_together() -> None:
    parts = torch.randint(0, 15, (16, 8, 8), dtype=torch.uint8)
    images = parts[:, None].expand(-1, 3, -1, -1).float()
    turned, maps = mirror(images, parts, torch.Generator().manual_seed(0))
    assert torch.equal(turned[:, 0], maps.float())
    changed = (maps != parts).flatten(1).any(1)
    assert 0 < changed.sum() < 16


def test_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    """Four steps at once, and two followed by a rerun: the same weights, averages and buffers, bit for bit."""

    class Dies(ClassifiersTrainee):
        steps = 0

        def loss(self, batch: LabelledBatch, generator: torch.Generator) -> tuple[torch.Tensor, dict[str, float]]:
            Dies.steps += 1
            if Dies.steps == 3:
                raise KeyboardInterrupt
            return super().loss(batch, generator)

    whole, parts = (
        ClassifiersStage.model_validate(
            {**STAGE, "output": str(tmp_path / name), "weights": str(tmp_path / f"{name}.safetensors"), "checkpoint_minutes": 1e-9}
        )
        for name in ("whole", "parts")
    )
    train_classifiers(whole, TINY, 32, tests=2)
    with pytest.raises(KeyboardInterrupt):
        train(Dies(parts, TINY, 32, tests=2), parts)
    train_classifiers(parts, TINY, 32, tests=2)
    first, second = (read_checkpoint(tmp_path / name)[0] for name in ("whole", "parts"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (tmp_path / "whole.safetensors").read_bytes() == (tmp_path / "parts.safetensors").read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert sum("silhouette" in line for line in lines) == 4


def test_training_refuses_held_out_scenes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Seed 950 cannot be used for training"):
        ClassifiersTrainee(ClassifiersStage.model_validate({**STAGE, "seed": 950, "output": str(tmp_path)}), TINY, 32, tests=2)


@pytest.mark.integration
def test_the_shipped_classifiers_know_true_renders() -> None:
    """Of 64 held-out views; the model card has the figures on more. Colours: two wrong of about 250 are one per cent."""
    batch = load_batch(LabelledSamples(977, 128, 2, heldout=True), range(64))
    verdict = load_classifiers().look(batch.images)
    assert accuracy(verdict.kinds, batch.kinds) >= 0.98
    assert accuracy(verdict.names, batch.names, counted_parts(batch.names, batch.parts)) >= 0.96
    true = silhouettes(batch.parts)
    assert (verdict.silhouettes == true).float().mean() >= 0.98  # of the pixels; an empty silhouette has 0.86
    assert true.float().mean() >= 0.1
    assert mask_iou(verdict.silhouettes, true).median() >= 0.9  # thin lamps have the least
    assert ASSET.stat().st_size <= 1e6


def test_pictures_with_nan_are_refused() -> None:
    pictures = torch.rand(3, 3, 32, 32)
    pictures[1, 0, 0, 0] = float("nan")
    with pytest.raises(UserError, match=r"classifying: pictures: NaN or infinite in 1 of 3 views \(picture 1\)"):
        Classifiers(ClassifierNet((4, 8, 8, 8, 8)), "abc").look(pictures)
