"""Small fits against numpy's, and that they repeat."""

import numpy as np
import torch

from qnerf.fields.posing.least_squares import least_squares


def drawn(rows: int = 400) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.rand(rows, columns, generator=generator) for columns in (2, 3, 1))  # pyright: ignore[reportReturnType]


def test_it_is_numpys_in_float64() -> None:
    rows, values, weight = drawn()
    root = weight.sqrt().double()
    theirs = np.linalg.lstsq((rows * root).numpy(), (values * root).numpy(), rcond=None)[0]
    np.testing.assert_allclose(least_squares(rows, values, weight[:, 0]).numpy(), theirs, atol=1e-6)
    theirs = np.linalg.lstsq(rows.double().numpy(), values.double().numpy(), rcond=None)[0]
    np.testing.assert_allclose(least_squares(rows, values).numpy(), theirs, atol=1e-6)


def test_where_rows_do_not_say_it_is_the_shortest() -> None:
    """All cells of a flat bone at a quarter of it: its ends move in the shares 3 to 1; without any
    weight they do not move."""
    rows, values = torch.tensor([[0.75, 0.25]]).expand(9, 2), torch.tensor([[1.0, 0.0, -2.0]]).expand(9, 3)
    expected = rows[0][:, None] * values[0] / rows[0].square().sum()  # of all that fit, the one along the row
    torch.testing.assert_close(least_squares(rows, values), expected, atol=1e-6, rtol=0)
    np.testing.assert_allclose((rows @ least_squares(rows, values)).numpy(), values.numpy(), atol=1e-5)
    assert torch.equal(least_squares(rows, values, torch.zeros(9)), torch.zeros(2, 3))


def test_columns_of_unlike_sizes_are_fitted_alike() -> None:
    rows, answer = torch.tensor([[1e3, 0.0], [0.0, 0.1], [0.0, 0.1]]), torch.tensor([[1.0], [5.0]])
    torch.testing.assert_close(least_squares(rows, rows @ answer), answer, rtol=1e-4, atol=0)


def test_its_bits_do_not_depend_on_what_memory_held() -> None:
    rows, values, weight = drawn()
    first = least_squares(rows, values, weight[:, 0])
    held: list[torch.Tensor] = []
    for count in range(1, 200):
        held = [*held[-20:], torch.full((37 * count % 500,), count, dtype=torch.int32)]
        assert torch.equal(least_squares(rows.clone(), values.clone(), weight[:, 0].clone()), first)
