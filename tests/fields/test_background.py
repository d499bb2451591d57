import torch

from qnerf.fields.background import BASIS_SIZE, Background, direction_basis


def test_basis_is_orthogonal_over_the_sphere() -> None:
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(200_000, 3, generator=generator), dim=-1)
    basis = direction_basis(directions)
    assert basis.shape[-1] == BASIS_SIZE
    products = basis.T @ basis / len(basis)
    torch.testing.assert_close(products - products.diag().diag(), torch.zeros(BASIS_SIZE, BASIS_SIZE), rtol=0, atol=0.01)


def test_background_starts_at_nothing_and_learns_only_where_told() -> None:
    up = torch.tensor([[0.0, 0.0, 1.0]])
    assert Background(4, torch.device("cpu"))(up).abs().max() == 0
    assert not Background(4, torch.device("cpu"), learnt=False)(up).requires_grad
