from typing import Any

import pytest
import torch

import qnerf.fields.train_query_field as train_query_field_module
from qnerf.errors import UserError
from qnerf.fields.explained import explained_variance, measure_field, r_squared
from qnerf.fields.head_init import signed
from qnerf.fields.heads import heads_per_sample
from qnerf.fields.query_field import ForeignFieldError, LayerGroup, LayerShape, QueryField, group_layers
from qnerf.fields.query_units import QueryUnits
from qnerf.fields.settings import RayLoss
from qnerf.fields.token_rays import TokenGrid
from qnerf.fields.train_query_field import ray_loss, train_query_field, trimmed_sum
from qnerf.scenes.region import tokens_inside
from tests.fields.helpers import SPACE, field_settings, queries, ring, sphere

CAMERAS = ring(4)


def test_groups_by_resolution_keep_the_layers_order() -> None:
    shapes = (LayerShape("a", 4, 4, 6), LayerShape("b", 8, 8, 5), LayerShape("c", 4, 4, 7))
    assert group_layers(shapes) == (LayerGroup(4, 4, (0, 2), (6, 7)), LayerGroup(8, 8, (1,), (5,)))


def test_centre_rays_are_the_cameras_token_rays() -> None:
    grid, cameras = TokenGrid(2, 3, 5), ring(2)
    rays = grid.rays(cameras, torch.arange(len(grid)), torch.full((len(grid), 2), 0.5))
    expected = cameras.token_rays(3, 5)
    torch.testing.assert_close(rays.directions.view(2, 3, 5, 3), expected.directions)
    torch.testing.assert_close(rays.origins.view(2, 3, 5, 3), expected.origins)


def test_field_learns_a_sphere_and_generalises_to_other_views() -> None:
    cameras, others = ring(8), ring(8, start=0.5)
    field = train_query_field(queries(cameras), cameras, SPACE, field_settings(250), seed=0)
    assert min(measure_field(field, queries(cameras), cameras).values()) > 0.75
    assert min(measure_field(field, queries(others), others).values()) > 0.65


def test_only_the_objects_tokens_are_measured_where_they_are_known() -> None:
    """A map whose two tokens inside are met exactly and whose others are not at all: R² is 1, not what all tokens give."""
    wanted = torch.randn(1, 2, 2, 3)
    region = torch.zeros(1, 4, 4)
    region[0, 0, 0] = region[0, 3, 3] = 1  # of tokens of 2 x 2 cells: the first and the last
    assert tokens_inside(region, 2, 2)[0].tolist() == [[True, False], [False, True]]
    found = wanted.clone()
    found[0, 0, 1] = found[0, 1, 0] = 9.0
    assert explained_variance({"a": found}, {"a": wanted}, region) == {"a": 1.0}
    everywhere = explained_variance({"a": found}, {"a": wanted})
    assert everywhere["a"] < 0
    assert explained_variance({"a": found}, {"a": wanted}, torch.zeros(1, 4, 4)) == everywhere


def test_views_that_are_left_out_only_measure() -> None:
    """Every third of six views: the field is that of the other four, and its R² that on the two."""
    cameras = ring(6)
    maps, settings = queries(cameras), field_settings(40)
    field = train_query_field(maps, cameras, SPACE, settings.model_copy(update={"heldout_every": 3}), seed=0)
    seen, left_out = [0, 1, 3, 4], [2, 5]
    alone = train_query_field({name: value[seen] for name, value in maps.items()}, cameras[seen], SPACE, settings, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(field.parameters(), alone.parameters(), strict=True))
    measured = measure_field(alone, {name: value[left_out] for name, value in maps.items()}, cameras[left_out])
    assert measure_field(field, maps, cameras) == measured
    assert measured != measure_field(alone, maps, cameras)
    with pytest.raises(UserError, match=r"field.heldout_every: got 7, which holds out none of 6 views; expected at most 6"):
        train_query_field(maps, cameras, SPACE, settings.model_copy(update={"heldout_every": 7}), seed=0)


def test_render_gives_the_contract_shapes_in_the_queries_units() -> None:
    maps = queries(CAMERAS)
    field = train_query_field(maps, CAMERAS, SPACE, field_settings(30), seed=0)
    rendered = field.render(CAMERAS[[1, 2]])
    assert list(rendered.maps) == list(maps)
    for name, value in maps.items():
        assert rendered.maps[name].shape == (2, *value.shape[1:])
        assert rendered.opacity[name].shape == rendered.depth[name].shape == (2, *value.shape[1:3])
        assert (rendered.opacity[name] >= 0).all()
        assert (rendered.opacity[name] <= 1 + 1e-5).all()
        assert rendered.maps[name].mean().item() == pytest.approx(value.mean().item(), abs=0.3 * value.std().item())


def test_a_ray_of_the_field_equals_heads_per_sample() -> None:
    shapes = (LayerShape("a", 4, 4, 6),)
    field = QueryField(field_settings(), SPACE, shapes, torch.device("cpu"), seed=0)
    with torch.no_grad():
        field.background.coefficients.normal_(generator=torch.Generator().manual_seed(0))
    rays = TokenGrid(4, 4, 4).rays(CAMERAS, torch.arange(20), torch.full((20, 2), 0.5))
    _, weights, hidden = field.trunk.march(rays, 12, None)
    head = field.head_layers[0]
    expected = heads_per_sample(hidden, weights, field.background(rays.directions), head.weight, head.bias)
    torch.testing.assert_close(head(field.march(rays, 12, None)[0]), expected, rtol=1e-5, atol=1e-5)


def test_two_trainings_are_bit_equal_and_seeds_differ() -> None:
    maps = queries(CAMERAS)
    first, second, other = (train_query_field(maps, CAMERAS, SPACE, field_settings(12), seed=seed).state() for seed in (5, 5, 6))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["module.trunk.encoding.table"], other["module.trunk.encoding.table"])


def test_state_round_trip_is_bit_exact() -> None:
    settings = field_settings(5)
    field = train_query_field(queries(CAMERAS), CAMERAS, SPACE, settings, seed=0)
    back = QueryField.from_state(field.state(), settings)
    assert back.shapes == field.shapes
    first, second = field.render(CAMERAS), back.render(CAMERAS)
    assert all(torch.equal(first.maps[name], second.maps[name]) for name in first.maps)
    assert all(torch.equal(value, back.state()[name]) for name, value in field.state().items())


def test_warm_start_begins_where_the_previous_field_ended() -> None:
    maps, losses = queries(CAMERAS), {}

    def run(label: str, warm: QueryField | None) -> QueryField:
        losses[label] = []
        return train_query_field(
            maps,
            CAMERAS,
            SPACE,
            field_settings(60),
            0,
            warm,
            on_step=lambda step, total, loss: losses[label].append(loss),
        )

    field = run("cold", None)
    run("warm", field)
    assert losses["warm"][0] < 0.7 * losses["cold"][0]
    assert len(losses["cold"]) == 60


def test_a_warm_start_speaks_of_this_fields_own_principal_components(monkeypatch: pytest.MonkeyPatch) -> None:
    """Axes of any sign and order: the field before, heads and all, says the same on the new ones before it is trained on."""
    maps = queries(CAMERAS)
    settings = field_settings(20).model_copy(update={"components": 3})
    before = train_query_field(maps, CAMERAS, SPACE, settings, 0)
    fit = QueryUnits.fit

    def fit_turned(units: QueryUnits, *arguments: Any) -> None:
        fit(units, *arguments)
        units.axes.copy_(-units.axes.flip(-1))

    monkeypatch.setattr(QueryUnits, "fit", fit_turned)
    monkeypatch.setattr(train_query_field_module, "train", lambda *_: None)
    after = train_query_field(maps, CAMERAS, SPACE, settings, 0, before)
    assert not torch.equal(before.layer_units[0].axes, after.layer_units[0].axes)
    for name, found in after.render(CAMERAS).maps.items():
        torch.testing.assert_close(found, before.render(CAMERAS).maps[name], rtol=1e-3, atol=1e-4)


def test_a_state_of_another_encoding_is_refused() -> None:
    field = train_query_field(queries(CAMERAS), CAMERAS, SPACE, field_settings(2), seed=0)
    state = field.state()
    state["module.trunk.encoding.grid.params"] = state.pop("module.trunk.encoding.table")
    with pytest.raises(ForeignFieldError, match=r"another field\.encoding.*encoding\.table"):
        QueryField.from_state(state, field.settings)


def test_depth_term_pulls_the_surface_to_the_given_depth() -> None:
    cameras = ring(6)
    flat = {"a": 0.01 * torch.randn(6, 8, 8, 4, generator=torch.Generator().manual_seed(0))}
    depth = sphere(cameras, 32, 1)[1]
    known = torch.isfinite(sphere(cameras, 8, 1)[1])
    errors = []
    for weight in (0.0, 5.0):
        field = train_query_field(flat, cameras, SPACE, field_settings(80, depth_weight=weight), 0, target_depth=depth)
        found = field.render(cameras).depth["a"]
        errors.append((found - sphere(cameras, 8, 1)[1])[known].abs().mean().item())
    assert errors[1] < 0.5 * errors[0]


def test_explained_variance_by_hand() -> None:
    wanted = torch.tensor([[0.0, 10.0], [2.0, 10.0]])
    assert r_squared(wanted, wanted) == 1.0
    assert r_squared(wanted.mean(0).expand(2, 2), wanted) == pytest.approx(0.0)
    assert r_squared(torch.tensor([[0.0, 10.0], [1.0, 10.0]]), wanted) == pytest.approx(0.5)


@pytest.mark.parametrize("components", [None, 2, 9])
@pytest.mark.parametrize("normalisation", ["layer", "channel"])
def test_units_against_their_definition(normalisation: Any, components: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(5, 5, generator=generator)
    queries = 3 + torch.randn(2, 4, 4, 5, generator=generator) @ mixed
    units = QueryUnits(5, components)
    units.fit(queries, normalisation)
    flat = queries.flatten(0, 2)
    scale = flat.std(dim=0) if normalisation == "channel" else flat.std()
    if components is None:
        mean = flat.mean(dim=0) if normalisation == "channel" else flat.mean()
        torch.testing.assert_close(units.into(queries), (queries - mean) / scale)
    else:  # the plain way: a singular value decomposition
        scaled = (flat - flat.mean(dim=0)) / scale
        axes = torch.linalg.svd(scaled).Vh[:components].T
        kept = scaled @ axes @ axes.T * scale + flat.mean(dim=0)
        torch.testing.assert_close(units.back(units.into(queries)).flatten(0, 2), kept, atol=1e-4, rtol=1e-4)
        assert torch.equal(units.axes, signed(units.axes)), "which way an axis points is not left to rounding"
    if components != 2:
        torch.testing.assert_close(units.back(units.into(queries)), queries, atol=1e-4, rtol=1e-4)
    assert units.into(queries).shape[-1] == units.width == (2 if components == 2 else 5)


def test_losses_of_a_ray_by_hand() -> None:
    """Four channels: δ = 1. An error of length 5, and one of length 0.5."""
    errors = torch.tensor([[3.0, 0.0, 4.0, 0.0], [0.0, 0.3, 0.0, 0.4]])
    expected: dict[RayLoss, list[float]] = {"norm": [5.0, 0.5], "squared": [25.0, 0.25], "huber": [5.0, 0.625]}
    for kind, losses in expected.items():
        torch.testing.assert_close(ray_loss(errors, kind), torch.tensor(losses))


def test_trimming_leaves_out_the_worst_rays() -> None:
    losses = torch.tensor([4.0, 100.0, 1.0, 3.0])
    assert trimmed_sum(losses, 0.25) == pytest.approx((4 + 1 + 3) * 4 / 3)
    assert trimmed_sum(losses, 0.0) == 108
    assert trimmed_sum(losses[:1], 0.9) == 4


@pytest.mark.parametrize("changes", [{"components": 3}, {"normalisation": "channel"}, {"loss": "huber"}, {"trimmed": 0.1}])
def test_variants_of_the_field_learn_too(changes: dict[str, Any]) -> None:
    """And come back from their state bit for bit, in the queries' own units."""
    cameras = ring(6)
    maps = queries(cameras)
    settings = field_settings(120, **changes)
    field = train_query_field(maps, cameras, SPACE, settings, seed=0)
    assert min(measure_field(field, maps, cameras).values()) > 0.6
    back = QueryField.from_state(field.state(), settings).render(cameras).maps
    assert all(torch.equal(value, back[name]) for name, value in field.render(cameras).maps.items())


def test_wrong_queries_are_one_sentence() -> None:
    maps = queries(CAMERAS)
    with pytest.raises(UserError, match=r"up_blocks.1.a.*one map per camera"):
        train_query_field(maps, ring(3), SPACE, field_settings(), 0)
    with pytest.raises(UserError, match="NaN"):
        train_query_field({"a": torch.full((4, 4, 4, 3), torch.nan)}, CAMERAS, SPACE, field_settings(), 0)
    with pytest.raises(UserError, match="no queries were given"):
        train_query_field({}, CAMERAS, SPACE, field_settings(), 0)
    field = train_query_field({"a": maps["up_blocks.1.a"]}, CAMERAS, SPACE, field_settings(1), 0)
    with pytest.raises(UserError, match="warm_start"):
        train_query_field(maps, CAMERAS, SPACE, field_settings(), 0, warm_start=field)
