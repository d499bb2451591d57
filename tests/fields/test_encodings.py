import math

import numpy as np
import pytest
import torch

from qnerf.fields.encodings.hash_grid import HashGrid
from qnerf.fields.encodings.layout import GridLayout, grid_layout
from qnerf.fields.encodings.reference import corner_rows, encode_torch
from qnerf.fields.settings import EncodingSettings
from tests.fields.fuzzed_grids import by, errors, fuzzed, literal

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


def test_torch_and_warp_equal_a_literal_loop_on_fuzzed_grids() -> None:
    warp = pytest.importorskip("qnerf.fields.encodings.warp_grid")
    for case in fuzzed(500):
        expected = literal(case)
        for encode in (encode_torch, warp.encode_warp):
            assert max(errors(by(encode, case), expected)) < 1e-5, case.layout


@pytest.mark.parametrize("cells", [1289, 1290, 1450, 1624, 1625, 2**20])
def test_cells_are_counted_in_64_bits(cells: int) -> None:
    """1,291³ corners and more overflow 32 bits, up to 1,625³ to what looks like few enough for a dense level."""
    warp = pytest.importorskip("qnerf.fields.encodings.warp_grid")
    layout = grid_layout(EncodingSettings(levels=1, base_resolution=cells, finest_resolution=cells, log2_table_size=12))
    positions, table, _ = inputs(layout)
    torch.testing.assert_close(warp.encode_warp(positions, table, layout), encode_torch(positions, table, layout))


def test_rows_of_the_largest_table_fit_into_32_bits() -> None:
    """As warp's kernels count rows, and a hash by 64-bit products equals one that wraps around at 32, as kernels compute it."""
    largest = EncodingSettings(levels=32, log2_table_size=24, base_resolution=2**20, finest_resolution=2**20)
    layout = grid_layout(largest)
    assert layout.rows == 32 * 2**24 < 2**31
    corners = torch.randint(2**20 + 1, (1000, 3))
    x, y, z = corners.numpy().astype(np.uint32).T
    narrow = (x ^ (y * np.uint32(2654435761)) ^ (z * np.uint32(805459861))) & np.uint32(layout.table_size - 1)
    assert torch.equal(corner_rows(corners, layout, 31), layout.offsets[31] + torch.from_numpy(narrow.astype(np.int64)))


def test_warp_gives_the_same_bits_on_any_number_of_threads() -> None:
    warp = pytest.importorskip("qnerf.fields.encodings.warp_grid")
    layout = grid_layout(SMALL)
    positions, table, gradient = inputs(layout, 5000)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 2):
            torch.set_num_threads(count)
            t = table.clone().requires_grad_()
            warp.encode_warp(positions, t, layout).backward(gradient)
            found.append(t.grad)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[1], found[2])


def test_half_tables_round_values_and_not_gradients() -> None:
    layout = grid_layout(SMALL)
    positions, table, gradient = inputs(layout)
    table = (table * 1e-4).requires_grad_()
    encoded = encode_torch(positions, table, layout, torch.float16)
    assert torch.equal(encoded, encode_torch(positions, table.detach().half().float(), layout))
    assert not torch.equal(encoded, encode_torch(positions, table, layout))
    (encoded * 1e-9).backward(gradient)  # as half-precision numbers, these gradients would all be 0
    assert table.grad is not None
    plain = table.detach().clone().requires_grad_()
    (encode_torch(positions, plain, layout) * 1e-9).backward(gradient)
    assert plain.grad is not None
    assert torch.equal(table.grad, plain.grad)
    half = HashGrid(SMALL.model_copy(update={"table_dtype": "float16"}), encode_torch, seed=0)
    assert half.table.dtype == torch.float32
    assert torch.equal(half(positions), encode_torch(positions, half.table.half().float(), layout))


def published(settings: EncodingSettings) -> tuple[list[int], list[bool], list[int]]:
    """tiny-cuda-nn's levels as `grid.h` and `common_device.h` have them: corners per axis, whether dense, rows."""
    ratio = (settings.finest_resolution / settings.base_resolution) ** (1 / max(settings.levels - 1, 1))
    scales = [2 ** (level * math.log2(ratio)) * settings.base_resolution - 1 for level in range(settings.levels)]
    corners = [math.ceil(round(scale, 4)) + 1 for scale in scales]  # float32 there: whole numbers stay whole
    rows = [min(-(-(side**3) // 8) * 8, 2**settings.log2_table_size) for side in corners]
    return corners, [side**3 <= count for side, count in zip(corners, rows, strict=True)], rows


SD15 = EncodingSettings(levels=16, features_per_level=2, log2_table_size=19, base_resolution=16, finest_resolution=512)


@pytest.mark.parametrize(
    ("settings", "dense_there_alone"),
    [(SMALL, []), (SD15, []), (SD15.model_copy(update={"finest_resolution": 2048}), []), (EncodingSettings(), [3])],
)
def test_layout_beside_the_published_one_of_tiny_cuda_nn(settings: EncodingSettings, dense_there_alone: list[int]) -> None:
    """As many corners per axis or one more. The default grid is on the edge: 64³ corners of its last level there
    fill 2^18 rows, and 65³ here do not fit."""
    layout = grid_layout(settings)
    corners, dense, rows = published(settings)
    assert {ours + 1 - theirs for ours, theirs in zip(layout.resolutions, corners, strict=True)} <= {0, 1}
    assert [level for level in range(settings.levels) if dense[level] != layout.is_dense(level)] == dense_there_alone
    hashed = [level for level in range(settings.levels) if not dense[level]]
    assert all(layout.offsets[level + 1] - layout.offsets[level] == rows[level] for level in hashed)
