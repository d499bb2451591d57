"""Passes replayed from recordings, on the CPU with a CUDA graph's double: equal to plain ones whatever the edits, at every step."""

import itertools
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import Tensor

from qnerf.attention.edits import BlendQueries, InjectKeysValues, RecordKeysValues, RecordQueries, UniformAttention
from qnerf.attention.hooks import CONDITIONAL, NULL, AttentionCall, AttentionEdit, Batch, Edits
from qnerf.backbones.acceleration import TRIAL, AcceleratedPasses, accelerate
from qnerf.backbones.architecture import tiny_backbone
from qnerf.backbones.conditioning import Conditioning
from qnerf.errors import UserError
from qnerf.graphs import Compiler
from tests.tape import TapeRecorder

VIEWS = 2
PLAIN = tiny_backbone()
LAYERS = PLAIN.layers[10:12]
Run = Callable[[Any, int], list[Tensor]]


def backbone(passes: AcceleratedPasses | None) -> Any:
    """The tiny model, whose passes are run so."""
    found = PLAIN.for_control("joints")
    found.passes = passes
    return found


def taped(choose: bool = False) -> tuple[Any, TapeRecorder]:
    recorder = TapeRecorder()
    return backbone(AcceleratedPasses(recorder, choose)), recorder


def random(model: Any, step: int, *shape: int) -> Tensor:
    """The same numbers on every device."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(step)).to(model.device)


def a_pass(model: Any, step: int, edits: Edits = Edits(), rows: tuple[str, ...] = (CONDITIONAL,), control: bool = True) -> Tensor:  # noqa: B008
    size = VIEWS * len(rows)
    drawn = random(model, step + 100, size, 3, 32, 32).sigmoid() if control else None
    text = random(model, step + 200, size, *PLAIN.embed([""]).shape[1:])
    with model.bound(edits, Batch.of(step, rows, VIEWS)), torch.no_grad():
        return model.predict(random(model, step, size, 4, 8, 8), 900 - 50 * step, Conditioning.of(text, drawn))


def plain_pass(model: Any, step: int) -> list[Tensor]:
    return [a_pass(model, step)]


def without_control(model: Any, step: int) -> list[Tensor]:
    return [a_pass(model, step, control=False)]


def masactrl(model: Any, step: int) -> list[Tensor]:
    """The source's keys and values, recorded and then injected in another pass of two named parts, with its queries recorded."""
    record, queries, rows = RecordKeysValues(), RecordQueries(), (NULL, CONDITIONAL)
    source = a_pass(model, step + 50, Edits.at(LAYERS, record), rows)
    injection = InjectKeysValues(record.kept, Batch.of(step, rows, VIEWS), union=True)
    noise = a_pass(model, step, Edits.at(LAYERS, injection) | Edits.at(LAYERS[:1], queries), rows)
    return [source, noise, *queries.queries.values(), *(x for pair in record.kept.values() for x in pair)]


def blended(model: Any, step: int) -> list[Tensor]:
    record = RecordQueries()
    a_pass(model, step + 50, Edits.at(LAYERS, record))
    target = {layer: q + random(model, step, *q.shape) for layer, q in record.queries.items()}
    share = {layer: random(model, step, VIEWS, q.shape[1], 1).sigmoid() for layer, q in target.items()}
    components = {layer: random(model, step, q.shape[2], q.shape[2]) for layer, q in target.items()}
    return [a_pass(model, step, Edits.at(LAYERS, BlendQueries((CONDITIONAL,), target, share, components)))]


def uniform(model: Any, step: int) -> list[Tensor]:
    return [a_pass(model, step, Edits.at(model.cross_attention_layers, UniformAttention()))]


@pytest.mark.parametrize("run", [plain_pass, without_control, masactrl, blended, uniform])
def test_a_replay_is_the_plain_pass_at_every_step(run: Run) -> None:
    model, recorder = taped()
    for step in range(4):
        for found, wanted in zip(run(model, step), run(PLAIN, step), strict=True):
            torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    assert recorder.recorded > 0
    assert recorder.replayed == 3 * recorder.recorded  # the second time, held against the plain pass, and then every time
    assert model.passes._said == set()


def test_passes_of_other_kinds_are_recordings_of_their_own() -> None:
    model, recorder = taped()
    for step in range(3):
        kinds = [plain_pass(model, step), uniform(model, step), without_control(model, step)]
        assert [torch.equal(x[0], y[0]) for x, y in itertools.pairwise(kinds)] == [False, False]
    assert recorder.recorded == 3


class Silent(AttentionEdit):
    """Does not say what it reads."""

    def before(self, call: AttentionCall) -> AttentionCall:
        return replace(call, q=call.q / 2)


class Undeclared(AttentionEdit):
    reads = ()

    def __init__(self, factor: Tensor) -> None:
        self.factor = factor


class CountsSteps(AttentionEdit):
    reads = ()

    def before(self, call: AttentionCall) -> AttentionCall:
        return replace(call, q=call.q / (1 + call.batch.step))


class Waits(AttentionEdit):
    reads = ()

    def before(self, call: AttentionCall) -> AttentionCall:
        return replace(call, q=call.q if call.q.sum().item() > 0 else call.q / 2)


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (Silent(), "Silent does not say which tensors it reads"),
        (Undeclared(torch.ones(1)), "keeps a Tensor that it does not say it reads"),
        (CountsSteps(), "reads the number of the step"),
        (Waits(), "waits for the device"),
    ],
)
def test_edits_that_cannot_be_recorded_run_plainly(edit: AttentionEdit, why: str, caplog: pytest.LogCaptureFixture) -> None:
    model, recorder = taped()
    with caplog.at_level(logging.INFO):
        for step in range(4):
            found, wanted = (a_pass(m, step, Edits.at(LAYERS, edit)) for m in (model, PLAIN))
            assert torch.equal(found, wanted)
    assert recorder.replayed == 0
    assert [why in record.message for record in caplog.records] == [True]


def test_a_pass_whose_gradient_is_asked_for_runs_plainly() -> None:
    model, recorder = taped()
    text = PLAIN.embed(["a figure"])
    for _ in range(3):
        z = random(PLAIN, 0, 1, 4, 8, 8).requires_grad_()
        model.predict(z, 500, Conditioning.of(text)).square().sum().backward()
        assert z.grad is not None
    assert recorder.recorded == 0


def test_a_recording_that_gives_something_else_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    model, recorder = taped()
    recorder.forget = torch.ops.aten.convolution.default
    with caplog.at_level(logging.INFO):
        assert all(torch.equal(a_pass(model, step), a_pass(PLAIN, step)) for step in range(4))
    assert recorder.replayed == 1
    assert "a replayed pass and a plain one give different results" in caplog.text


def test_recordings_are_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qnerf.backbones.acceleration.KEPT", 2)
    model, recorder = taped()
    passes = model.passes
    for scale in range(4):
        for _ in range(2):
            model.predict(
                random(PLAIN, 0, 1, 4, 4, 4), 500, Conditioning.of(PLAIN.embed([""]), random(PLAIN, 1, 1, 3, 16, 16), scale)
            )
    assert len(passes.kept) == 2
    assert recorder.recorded == 4


@pytest.mark.parametrize(("slow", "kept"), [("replayed", 0), ("plain", 1)])
def test_the_faster_way_is_chosen(slow: str, kept: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The clock is the test's: either way takes a second, and the slow one two."""
    model, recorder = taped(choose=True)
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 2.0 if (recorder.recorded > 0) == (slow == "replayed") else 1.0
        return now

    monkeypatch.setattr("qnerf.backbones.acceleration.time.perf_counter", clock)
    with caplog.at_level(logging.INFO):
        for step in range(2 * TRIAL + 4):
            assert torch.equal(a_pass(model, step), a_pass(PLAIN, step))
    assert recorder.replayed == (1 + TRIAL if slow == "replayed" else TRIAL + 4)
    assert len(model.passes.kept) == kept
    assert "ms without and" in caplog.text


@pytest.mark.slow  # PyTorch traces a U-Net and a ControlNet in Python, a minute each
def test_compiled_passes_are_the_plain_ones_and_compiled_once() -> None:
    """PyTorch's tracing alone, without a compiler."""
    torch._dynamo.reset()
    model = backbone(AcceleratedPasses(Compiler(torch.device("cpu"), backend="eager"), choose=False))
    for step in range(4):
        if step == 3:
            torch._dynamo.utils.counters.clear()
        for found, wanted in zip(masactrl(model, step), masactrl(PLAIN, step), strict=True):
            torch.testing.assert_close(found, wanted)
    assert len(model.passes.kept) == 2
    assert model.passes._said == set()
    assert not torch._dynamo.utils.counters["frames"]


def test_a_cpu_has_no_graphs() -> None:
    assert accelerate("auto", torch.device("cpu")) is None
    assert accelerate("none", torch.device("cpu")) is None
    with pytest.raises(UserError, match=r"backbone.acceleration is graph.*acceleration=auto"):
        accelerate("graph", torch.device("cpu"))
