"""Which implementation reads a hash grid: by name, and `auto` on a CPU and on a GPU that is pretended."""

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from qnerf.errors import UserError
from qnerf.fields.encodings import choice
from qnerf.fields.encodings.choice import build_encoding, load_triton
from qnerf.fields.encodings.hash_grid import HashGrid, TinyCudaGrid
from qnerf.fields.encodings.reference import encode_torch
from qnerf.fields.settings import EncodingSettings

SMALL = EncodingSettings(levels=3, features_per_level=2, log2_table_size=7, base_resolution=2, finest_resolution=20)
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


class TinyCuda(torch.nn.Module):
    """Stands in for tiny-cuda-nn: the module that is its package and that is its encoding."""

    def __init__(self, *_: Any, **options: Any) -> None:
        super().__init__()
        self.options = options

    Encoding = property(lambda self: TinyCuda)


def by_triton(*_: Any) -> Any:
    raise AssertionError("nothing is encoded here")


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Modules stay where they are; Triton works, tiny-cuda-nn is installed."""
    monkeypatch.setattr(torch.nn.Module, "to", lambda module, device: module)
    monkeypatch.setattr(choice, "load_triton", lambda device: by_triton)
    monkeypatch.setattr(choice, "load_tinycudann", lambda: TinyCuda())
    forget()
    yield monkeypatch
    forget()


def forget() -> None:
    for function in (choice.prefers_tinycudann, choice._say_once, load_triton):
        function.cache_clear()


def test_implementations_share_their_initial_table() -> None:
    first = build_encoding(SMALL, "torch", CPU, seed=3)
    second = build_encoding(SMALL, "auto", CPU, seed=3)
    assert isinstance(first, HashGrid)
    assert isinstance(second, HashGrid)
    assert first.encode is encode_torch
    assert torch.equal(first.table, second.table)


def test_tinycudann_asked_for_without_a_gpu_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"tinycudann.*encoding=auto"):
        build_encoding(SMALL, "tinycudann", CPU, seed=0)


def test_triton_asked_for_without_a_gpu_is_one_sentence() -> None:
    pytest.importorskip("triton")
    forget()
    with pytest.raises(UserError, match=r"field.encoding is 'triton', but the device is cpu, .*encoding=auto"):
        build_encoding(SMALL, "triton", CPU, seed=0)


def test_missing_triton_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qnerf.fields.encodings.triton_grid", None)
    forget()
    with pytest.raises(UserError, match="Triton is not installed"):
        build_encoding(SMALL, "triton", CPU, seed=0)
    forget()


def test_triton_whose_kernels_do_not_run_is_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """As without a C compiler, or on a GPU that is too old: `auto` goes on without it."""
    module = pytest.importorskip("qnerf.fields.encodings.triton_grid")

    def fails(*_: Any) -> None:
        raise RuntimeError("Failed to find C compiler\nmore")

    monkeypatch.setattr(module, "INTERPRETED", True)
    monkeypatch.setattr(module, "encode_triton", fails)
    forget()
    assert load_triton(CPU) == "its kernels do not run on this machine (RuntimeError: Failed to find C compiler)"
    forget()


def test_missing_warp_is_an_error_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "load_warp", lambda: None)
    with pytest.raises(UserError, match="warp-lang is not installed"):
        build_encoding(SMALL, "warp", CPU, seed=0)
    grid = build_encoding(SMALL, "auto", CPU, seed=0)
    assert isinstance(grid, HashGrid)
    assert grid.encode is encode_torch


def test_tinycudann_that_finds_no_gpu_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_gpu(name: str) -> None:
        raise OSError("no CUDA device")

    monkeypatch.setattr(importlib, "import_module", no_gpu)
    assert choice.load_tinycudann() is None


@pytest.mark.parametrize(("tinycuda", "taken"), [(0.5, TinyCudaGrid), (0.95, HashGrid), (2.0, HashGrid)])
def test_auto_on_a_gpu_takes_tinycudann_where_it_is_clearly_faster(
    tinycuda: float, taken: type, on_gpu: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    timed: list[type] = []

    def seconds(grid: torch.nn.Module, device: torch.device) -> float:
        timed.append(type(grid))
        return tinycuda if isinstance(grid, TinyCudaGrid) else 1.0

    on_gpu.setattr(choice, "seconds_of", seconds)
    with caplog.at_level("INFO"):
        grids = [build_encoding(SMALL, "auto", GPU, seed) for seed in range(3)]
    assert [type(grid) for grid in grids] == [taken] * 3
    assert timed == [TinyCudaGrid, HashGrid], "measured once"
    assert caplog.text.count("field.encoding=auto uses") == 1


def test_auto_on_a_gpu_without_tinycudann_is_triton_and_without_both_goes_on(
    on_gpu: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    on_gpu.setattr(choice, "load_tinycudann", lambda: None)
    grid = build_encoding(SMALL, "auto", GPU, seed=0)
    assert isinstance(grid, HashGrid)
    assert grid.encode is by_triton
    on_gpu.setattr(choice, "load_triton", lambda device: "Triton is not installed")
    on_gpu.setattr(choice, "load_warp", lambda: None)
    grids = [build_encoding(SMALL, "auto", GPU, seed=0) for _ in range(2)]
    assert all(isinstance(grid, HashGrid) and grid.encode is encode_torch for grid in grids)
    assert caplog.text.count("does not use Triton: Triton is not installed") == 1


def test_without_triton_an_installed_tinycudann_is_taken_unmeasured(on_gpu: pytest.MonkeyPatch) -> None:
    on_gpu.setattr(choice, "load_triton", lambda device: "Triton is not installed")
    half = SMALL.model_copy(update={"table_dtype": "float16"})
    grid = build_encoding(half, "auto", GPU, seed=0)
    assert isinstance(grid, TinyCudaGrid)
    assert grid.grid.options["dtype"] == torch.float16
