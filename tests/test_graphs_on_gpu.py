"""CUDA graphs, copies and the deterministic mode on a GPU. Written on a machine without one: no GPU has run them yet.

Stated tolerances: replayed passes 1e-3 of the plain ones' size (the same kernels; convolutions may choose another algorithm); a
field trained from a graph .05 of R², as between devices.
"""

import logging
from typing import Any

import pytest
import torch
from torch import Tensor

from qnerf.backbones.acceleration import AcceleratedPasses
from qnerf.backbones.architecture import tiny_backbone
from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.determinism import WORKSPACE, set_deterministic
from qnerf.devices import arrive, empty_at, send
from qnerf.fields.explained import measure_field
from qnerf.fields.query_field import QueryField
from qnerf.fields.space import Space
from qnerf.fields.train_query_field import train_query_field
from qnerf.graphs import CudaRecorder, cuda_recorder, never_record
from tests.backbones.test_acceleration import LAYERS, Edits, Run, Waits, a_pass, blended, masactrl, plain_pass, uniform
from tests.fields.helpers import SPACE, field_settings, ring, sphere

pytestmark = pytest.mark.gpu
CAMERAS = ring(8)
QUERIES = {"a": sphere(CAMERAS, 8, 5)[0], "b": sphere(CAMERAS, 16, 4)[0]}


def trained(recorder_of: Any, iterations: int = 400, **changes: Any) -> QueryField:
    settings = field_settings(iterations).model_copy(update=changes)
    space = Space(SPACE.focus.to("cuda"), SPACE.radius)
    return train_query_field(QUERIES, CAMERAS.to("cuda"), space, settings, seed=0, recorder_of=recorder_of)


def explained(field: QueryField) -> dict[str, float]:
    return measure_field(field, QUERIES, CAMERAS.to("cuda"))


@pytest.mark.parametrize("device_gib", [4.0, 0.0])
@pytest.mark.parametrize("encoding", ["torch", "auto"])
def test_a_replayed_training_explains_as_much(encoding: str, device_gib: float, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = explained(trained(cuda_recorder, encoding=encoding, device_gib=device_gib))
    assert found == pytest.approx(explained(trained(never_record, encoding=encoding)), abs=0.05)
    assert not [record for record in caplog.records if "CUDA graph" in record.message]


def on_gpu(passes: bool, dtype: torch.dtype) -> Any:
    model = DiffusionBackbone(tiny_backbone().parts, (32, 32), "tiny", "cuda")
    for net in (model.unet, *model.controlnets):
        torch.nn.Module.to(net, dtype)
    model.passes = AcceleratedPasses(CudaRecorder(torch.device("cuda")), choose=False) if passes else None
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("run", [plain_pass, masactrl, blended, uniform])
def test_a_replayed_pass_is_the_plain_one(run: Run, dtype: torch.dtype) -> None:
    graphed, plain = on_gpu(True, dtype), on_gpu(False, dtype)
    for step in range(5):
        for found, wanted in zip(run(graphed, step), run(plain, step), strict=True):
            assert (found.float() - wanted.float()).norm() <= 1e-3 * wanted.float().norm()
    assert graphed.passes.kept
    assert graphed.passes._said == set()


def test_after_a_capture_that_fails_passes_go_on() -> None:
    graphed, plain = on_gpu(True, torch.float32), on_gpu(False, torch.float32)
    for step in range(3):
        found, wanted = (a_pass(model, step, Edits.at(LAYERS, Waits())) for model in (graphed, plain))
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    assert not graphed.passes.kept
    for step in range(3):
        torch.testing.assert_close(a_pass(graphed, step), a_pass(plain, step), rtol=1e-3, atol=1e-3)
    assert graphed.passes.kept


def test_copies_arrive_whole() -> None:
    there = torch.device("cuda")
    values = torch.rand(6, 1 << 20)
    home: Tensor = empty_at(torch.device("cpu"), values, 6, there)
    assert home.is_pinned()
    for views in (slice(0, 4), slice(4, 6)):
        home[views].copy_(2 * send(values[views], there), non_blocking=True)
    arrive(there)
    assert torch.equal(home, 2 * values)
    assert torch.equal(send(values[:, ::2], there).cpu(), values[:, ::2])


def test_the_deterministic_mode_gives_the_same_field_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKSPACE, ":4096:8")
    set_deterministic(True)
    try:
        first, second = (trained(cuda_recorder, 50).state() for _ in range(2))
    finally:
        set_deterministic(False)
    assert all(torch.equal(first[name], second[name]) for name in first)
