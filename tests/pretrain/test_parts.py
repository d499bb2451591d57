"""The small parts of the training, each against a slow or hand-worked reference."""

import json
import math
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from qnerf.backbones.architecture import clip_vocabulary
from qnerf.errors import UserError
from qnerf.pretrain.average import Average
from qnerf.pretrain.checkpoint import CHECKPOINT, Counters, load_checkpoint, read_checkpoint, save_checkpoint
from qnerf.pretrain.data import PuppetSamples, load_batch, stream
from qnerf.pretrain.diffusion import snr_weight
from qnerf.pretrain.loop import done_fraction, learning_rate
from qnerf.pretrain.progress import Progress
from qnerf.pretrain.settings import DiffusionStage, VaeStage
from qnerf.pretrain.vae import gradient_error, psnr
from qnerf.pretrain.words import words_of
from qnerf.scenes.procedural.phrases import WORDS
from qnerf.trackers.files import FilesTrackerSettings
from qnerf.trackers.together import Together
from qnerf.trackers.tracker import TrackedRun


def files(folder: Path) -> Together:
    return Together(FilesTrackerSettings(name="files"), TrackedRun(folder, "training", {}))


def settings(**changes: object) -> VaeStage:
    return VaeStage.model_validate({"output": "unused", "samples": 1000, "batch": 10, "warmup": 10, **changes})


def test_a_batch_does_not_depend_on_where_the_stream_starts_or_who_renders() -> None:
    samples = PuppetSamples(7, 32, {"bones": 1.0, "ends": 1.0})
    from_start = list(islice(stream(samples, 2, 0, workers=0), 3))
    before = cv2.getNumThreads()
    cv2.setNumThreads(4)
    noise = np.random.default_rng(0).integers(0, 255, (300, 300)).astype(np.uint8)
    cv2.SIFT_create().detect(noise)  # pyright: ignore[reportAttributeAccessIssue]  # now OpenCV has threads
    resumed = next(iter(stream(samples, 2, 2, workers=1)))
    assert resumed.captions == from_start[2].captions
    assert torch.equal(resumed.images, from_start[2].images)
    assert torch.equal(resumed.controls, from_start[2].controls)
    cv2.setNumThreads(before)


def test_samples_differ_by_index_and_by_seed() -> None:
    first = load_batch(PuppetSamples(1, 32, {"bones": 1.0}), range(2)).images
    other = load_batch(PuppetSamples(2, 32, {"bones": 1.0}), range(2)).images
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])


def test_grades_are_drawn_by_their_shares() -> None:
    """Drawings grow sparser from bones to ends; a share of zero is never drawn."""
    filled = {
        name: float((load_batch(PuppetSamples(1, 64, {name: 1.0}), range(4)).controls > 0).float().mean())
        for name in ("bones", "joints", "ends")
    }
    assert filled["bones"] > filled["joints"] > filled["ends"] > 0
    never = load_batch(PuppetSamples(1, 64, {"bones": 1.0, "ends": 0.0}), range(4)).controls
    assert torch.equal(never, load_batch(PuppetSamples(1, 64, {"bones": 1.0}), range(4)).controls)


def test_kinds_are_drawn_by_their_shares_and_grades_grow_looser() -> None:
    seats = load_batch(PuppetSamples(1, 32, {"bones": 1.0}, world=2, kinds={"seat": 1.0, "toy": 0.0}), range(6)).captions
    assert all({"sofa", "couch", "chair", "armchair"} & set(caption.split()) for caption in seats)
    every = load_batch(PuppetSamples(1, 32, {"loose_depth": 1.0, "box": 1.0}, world=2), range(24))
    assert len({word for caption in every.captions for word in caption.split()} & {"lamp", "toy", "legs", "shirt"}) == 4
    assert (every.controls.amax(dim=(1, 2, 3)) > 0.2).all()


def test_a_world_adds_nothing_to_the_samples_of_another() -> None:
    """World 1 by name is world 1 as before there was another."""
    plain = load_batch(PuppetSamples(7, 32, {"bones": 1.0, "ends": 1.0}), range(3))
    named = load_batch(PuppetSamples(7, 32, {"bones": 1.0, "ends": 1.0}, world=1, kinds={"figure": 2.0}), range(3))
    assert plain.captions == named.captions
    assert torch.equal(plain.images, named.images)


@pytest.mark.parametrize(("seed", "heldout"), [(900, False), (999, False), (899, True), (0, True)])
def test_training_and_measuring_have_seeds_of_their_own(seed: int, heldout: bool) -> None:
    with pytest.raises(UserError, match=f"Seed {seed} cannot be used for .*seeds 900 to 999 are held out"):
        PuppetSamples(seed, 32, {"bones": 1.0}, heldout=heldout)


def test_kinds_that_a_world_lacks_are_refused() -> None:
    with pytest.raises(UserError, match="kind is 'lamp', but world 1 has figure only"):
        PuppetSamples(1, 32, {"bones": 1.0}, kinds={"lamp": 1.0})
    with pytest.raises(ValueError, match=r"world 1 has no lamp; set stage\.world=2"):
        settings(kinds={"lamp": 1.0, "figure": 1.0})


def test_grades_that_a_training_draws_by_default() -> None:
    stage = {"output": "unused", "vae": "unused", "samples": 1}
    assert list(DiffusionStage.model_validate(stage).shares()) == ["bones", "joints", "ends"]
    assert list(DiffusionStage.model_validate({**stage, "world": 2}).shares())[3:] == ["loose_depth", "box"]
    assert DiffusionStage.model_validate({**stage, "details": {"box": 2.0}}).shares() == {"box": 2.0}


def test_the_words_of_trained_weights_are_found_by_their_number() -> None:
    for world in (1, 2):
        embedding = torch.zeros(len(clip_vocabulary(WORDS[world])), 4)
        assert words_of({"text_encoder.embeddings.token_embedding.weight": embedding}) == WORDS[world]
    with pytest.raises(UserError, match="knows 7 tokens, expected one of"):
        words_of({"text_encoder.embeddings.token_embedding.weight": torch.zeros(7, 4)})


def test_the_average_is_the_recurrence() -> None:
    modules = nn.ModuleDict({"a": nn.Linear(2, 1)})
    average = Average(modules, decay=0.9)
    weight = nn.Parameter(modules["a"].get_parameter("weight"))
    expected = weight.detach().clone()
    for step in range(300):
        with torch.no_grad():
            weight.add_(1.0)
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight.detach()
    torch.testing.assert_close(average.values["a.weight"], expected)


def test_the_average_is_applied_only_inside_the_block() -> None:
    modules = nn.ModuleDict({"a": nn.Linear(2, 1)}).train()
    average = Average(modules, decay=0.5)
    own = modules["a"].get_parameter("weight").detach().clone()
    average.values["a.weight"] += 1
    with average.applied():
        assert torch.equal(modules["a"].get_parameter("weight"), own + 1)
        assert not modules.training
    assert torch.equal(modules["a"].get_parameter("weight"), own)
    assert modules.training


def test_learning_rate_warms_up_and_falls() -> None:
    s = settings(learning_rate=1.0)
    assert learning_rate(s, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate(s, 50, 0.0) == pytest.approx(1.0)
    assert learning_rate(s, 50, 0.5) == pytest.approx(0.51)
    assert learning_rate(s, 99, 1.0) == pytest.approx(0.02)


def test_the_sooner_limit_ends_the_run() -> None:
    both = settings(samples=1000, budget_minutes=1)
    assert done_fraction(both, Counters(step=25, seconds=6)) == pytest.approx(0.25)
    assert done_fraction(both, Counters(step=25, seconds=30)) == pytest.approx(0.5)
    assert done_fraction(both, Counters(step=500, seconds=0)) == 1.0


def test_a_run_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="never end"):
        settings(samples=None)


def test_time_left_is_the_sooner_of_the_limits(tmp_path: Path) -> None:
    s = settings(output=str(tmp_path), samples=1000, budget_minutes=1)
    progress = Progress(files(tmp_path), s, Counters(step=50, seconds=40))
    assert progress.seconds_left(rate=50.0) == pytest.approx(10.0)
    assert progress.seconds_left(rate=10.0) == pytest.approx(20.0)


def test_metrics_are_means_since_the_last_line(tmp_path: Path) -> None:
    counters = Counters()
    progress = Progress(files(tmp_path), settings(output=str(tmp_path), log_steps=2), counters)
    for loss in (1.0, 3.0, 5.0, 5.0):
        counters.step, counters.seconds = counters.step + 1, counters.seconds + 2.0
        progress.step(loss, {"psnr": 10 * loss}, 1e-3)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == [2.0, 5.0]
    assert lines[0]["psnr"] == 20.0
    assert lines[0]["samples_per_second"] == pytest.approx(5.0)


def test_snr_weight_worked_by_hand() -> None:
    """ā = 0.5: SNR 1, between the bounds, weight 1. ā = 0.9: SNR 9, weight 5/9. ā = 1/101: SNR 0.01, weight 0.1/0.01."""
    weights = snr_weight(torch.tensor([0.5, 0.9, 1 / 101]), 0.1, 5.0)
    torch.testing.assert_close(weights, torch.tensor([1.0, 5 / 9, 10.0]))


def test_gradient_error_worked_by_hand() -> None:
    """A constant error has none; a ramp of slope 1 along x has slopes 1, 2 and 4 at the three scales, and 0 along y."""
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    assert float(gradient_error(torch.full((1, 1, 16, 16), 3.0))) == 0
    assert float(gradient_error(ramp)) == pytest.approx((1 + 2 + 4) / 3)


def test_psnr_worked_by_hand() -> None:
    """Errors of 0.1 and of 0.01 everywhere: 20 and 40 dB, mean 30."""
    error = torch.stack([torch.full((3, 4, 4), 0.1), torch.full((3, 4, 4), 0.01)])
    assert psnr(error) == pytest.approx(30.0, abs=1e-4)
    assert math.isclose(psnr(error[:1]), -10 * np.log10(0.01), rel_tol=1e-5)


def trained(folder: Path) -> tuple[nn.ModuleDict, Average, torch.optim.Optimizer]:
    modules = nn.ModuleDict({"a": nn.Linear(3, 2)})
    average, optimiser = Average(modules, 0.9), torch.optim.AdamW(modules.parameters(), lr=0.1)
    modules["a"](torch.ones(1, 3)).sum().backward()
    optimiser.step()
    average.update(3)
    save_checkpoint(folder, modules, average, optimiser, Counters(4, 2.5))
    return modules, average, optimiser


def test_a_checkpoint_restores_everything(tmp_path: Path) -> None:
    modules, average, optimiser = trained(tmp_path)
    fresh = nn.ModuleDict({"a": nn.Linear(3, 2)})
    fresh_average, fresh_optimiser = Average(fresh, 0.9), torch.optim.AdamW(fresh.parameters(), lr=0.1)
    assert load_checkpoint(tmp_path, fresh, fresh_average, fresh_optimiser) == Counters(4, 2.5)
    torch.testing.assert_close(fresh.state_dict(), modules.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(fresh_average.values, average.values, rtol=0, atol=0)
    torch.testing.assert_close(fresh_optimiser.state_dict()["state"], optimiser.state_dict()["state"], rtol=0, atol=0)
    assert not list(tmp_path.glob("*.partial"))


def test_a_half_written_checkpoint_is_never_read(tmp_path: Path) -> None:
    trained(tmp_path)
    (tmp_path / (CHECKPOINT + ".partial")).write_bytes(b"half")
    assert read_checkpoint(tmp_path)[1].step == 4
    (tmp_path / CHECKPOINT).write_bytes(b"half")
    with pytest.raises(UserError, match="not a readable training checkpoint"):
        read_checkpoint(tmp_path)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    other = nn.ModuleDict({"a": nn.Linear(4, 2)})
    with pytest.raises(UserError, match="a model of another size"):
        load_checkpoint(tmp_path, other, Average(other, 0.9), torch.optim.AdamW(other.parameters()))


def test_exporting_before_training_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is missing: first run the training stage"):
        read_checkpoint(tmp_path)
