import importlib

import pytest
import torch

from qnerf.errors import UserError
from qnerf.fields.encodings import hash_grid
from qnerf.fields.encodings.hash_grid import HashGrid, build_encoding
from qnerf.fields.encodings.layout import GridLayout, grid_layout
from qnerf.fields.encodings.reference import corner_rows, encode_torch
from qnerf.fields.settings import EncodingSettings

SMALL = EncodingSettings(levels=3, features_per_level=2, log2_table_size=7, base_resolution=2, finest_resolution=20)


def inputs(layout: GridLayout, points: int = 200) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    positions = torch.rand(points, 3, generator=generator)
    positions[0], positions[1] = 0.0, 1.0
    table = torch.randn(layout.rows, layout.features, generator=generator)
    return positions, table, torch.randn(points, layout.width, generator=generator)


def test_layout_is_geometric_and_caps_the_table() -> None:
    layout = grid_layout(SMALL)
    assert layout.resolutions == (2, 6, 20)
    assert layout.offsets == (0, 27, 27 + 128, 27 + 256)
    assert [layout.is_dense(level) for level in range(3)] == [True, False, False]


def test_hash_of_the_paper_by_hand() -> None:
    layout = grid_layout(SMALL)
    row = corner_rows(torch.tensor([[3, 1, 2]]), layout, 2)
    assert row.item() == layout.offsets[2] + ((3 ^ 2654435761 ^ (2 * 805459861)) % 128)


def test_reference_interpolates_by_hand() -> None:
    layout = GridLayout((1,), (0, 8), 1, 8)
    table = torch.arange(8, dtype=torch.float64)[:, None]  # row = x + 2 y + 4 z: linear, so interpolation is exact
    positions = torch.tensor([[0.25, 0.5, 0.75], [1.0, 1.0, 1.0]], dtype=torch.float64)
    assert encode_torch(positions, table, layout)[:, 0].tolist() == pytest.approx([0.25 + 1.0 + 3.0, 7.0])


def test_reference_gradients_in_float64() -> None:
    layout = grid_layout(SMALL)
    positions, table, _ = inputs(layout, 5)
    positions[:2] = 0.31  # away from cell borders, where interpolation has a kink
    arguments = positions.double().requires_grad_(), table.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, t: encode_torch(x, t, layout), arguments)


@pytest.mark.parametrize("features", [1, 2, 4])
def test_warp_equals_the_reference_with_gradients(features: int) -> None:
    fast = pytest.importorskip("qnerf.fields.encodings.fast")
    layout = grid_layout(SMALL.model_copy(update={"features_per_level": features}))
    positions, table, gradient = inputs(layout)
    results = []
    for encode in (encode_torch, fast.encode_warp):
        x, t = positions.clone().requires_grad_(), table.clone().requires_grad_()
        encoded = encode(x, t, layout)
        encoded.backward(gradient)
        results.append((encoded.detach(), t.grad, x.grad))
    for reference, found in zip(*results, strict=True):
        torch.testing.assert_close(found, reference, rtol=1e-5, atol=1e-5)


def test_warp_gives_the_same_bits_on_any_number_of_threads() -> None:
    fast = pytest.importorskip("qnerf.fields.encodings.fast")
    layout = grid_layout(SMALL)
    positions, table, gradient = inputs(layout, 5000)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 2):
            torch.set_num_threads(count)
            t = table.clone().requires_grad_()
            fast.encode_warp(positions, t, layout).backward(gradient)
            found.append(t.grad)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[1], found[2])


def test_implementations_share_their_initial_table() -> None:
    device = torch.device("cpu")
    first = build_encoding(SMALL, "torch", device, seed=3)
    second = build_encoding(SMALL, "auto", device, seed=3)
    assert isinstance(first, HashGrid)
    assert isinstance(second, HashGrid)
    assert first.encode is encode_torch
    assert torch.equal(first.table, second.table)


def test_tinycudann_asked_for_without_a_gpu_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"tinycudann.*encoding=auto"):
        build_encoding(SMALL, "tinycudann", torch.device("cpu"), seed=0)


def test_missing_warp_is_an_error_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hash_grid, "load_warp", lambda: None)
    with pytest.raises(UserError, match="warp-lang is not installed"):
        build_encoding(SMALL, "warp", torch.device("cpu"), seed=0)
    grid = build_encoding(SMALL, "auto", torch.device("cpu"), seed=0)
    assert isinstance(grid, HashGrid)
    assert grid.encode is encode_torch


def test_tinycudann_that_finds_no_gpu_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_gpu(name: str) -> None:
        raise OSError("no CUDA device")

    monkeypatch.setattr(importlib, "import_module", no_gpu)
    assert hash_grid.load_tinycudann() is None
