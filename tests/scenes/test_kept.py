"""Kept pixels: the source's bytes where nothing moves, the edit's where something does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from qnerf.reports.images import to_pixels
from qnerf.scenes.kept import EDGE, LEAST_EDGE, change_mask, keep_pixels, keep_posed, soft_edged
from qnerf.scenes.procedural.build import build_scene
from qnerf.scenes.region import edited_region
from qnerf.scenes.shadow import find_light, shadow_region


def test_a_soft_edge_by_hand() -> None:
    region = torch.zeros(2, 9, 9)
    region[0, :, 4] = 1
    mask = soft_edged(region, 3.0)
    assert mask[0, 2].tolist() == pytest.approx([0, 0, 7 / 27, 20 / 27, 1, 20 / 27, 7 / 27, 0, 0], abs=1e-6)
    assert not mask[1].any(), "a view in which nothing moves"
    assert torch.equal(soft_edged(torch.ones(1, 4, 4), 3.0), torch.ones(1, 4, 4))


def test_pixels_are_one_or_the_other_bit_by_bit() -> None:
    decoded, source = torch.rand(2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 8, 8)
    mask[:, :, 3:], mask[0, 0, 0] = 1.0, 0.25
    found = keep_pixels(decoded, source, mask)
    assert torch.equal(found[:, :, :, 3:], decoded[:, :, :, 3:])
    assert torch.equal(found[:, :, 1:, :3], source[:, :, 1:, :3])
    torch.testing.assert_close(found[0, :, 0, 0], 0.25 * decoded[0, :, 0, 0] + 0.75 * source[0, :, 0, 0])


def test_posed_pixels_stand_where_a_moved_part_is_opaque_and_trusted() -> None:
    decoded, posed = torch.rand(2, 1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    moved, trust = torch.tensor([[[1.0, 1.0], [0.0, 0.5]]]), torch.tensor([[[1.0, 0.0], [1.0, 0.5]]])
    found = keep_posed(decoded, posed, moved, trust)
    assert torch.equal(found[..., 0, 0], posed[..., 0, 0])
    assert torch.equal(found[..., 0, 1], decoded[..., 0, 1]), "not trusted"
    assert torch.equal(found[..., 1, 0], decoded[..., 1, 0]), "no moved part, such as where one has left"
    torch.testing.assert_close(found[..., 1, 1], 0.75 * decoded[..., 1, 1] + 0.25 * posed[..., 1, 1])


@pytest.mark.parametrize("kind", ["figure", "toy"])
def test_outside_the_soft_edge_the_output_is_the_photograph(kind: str) -> None:
    scene = build_scene(4, views=4, size=64, kind=kind, world=2)
    scene = replace(scene, images=(scene.images * 255).round() / 255)
    proxy, cameras = scene.proxy, scene.cameras
    assert proxy is not None
    mask = change_mask(scene, 0.1)
    light = find_light(proxy, scene.images, cameras, 0.1)
    moving = edited_region(proxy, cameras, (64, 64), 0.1, finer=1)
    region = moving.moved + shadow_region(proxy, cameras, (64, 64), 0.1, light, 1) * (1 - moving.object)
    assert torch.equal(mask == 1, region > 0)
    reach = 2 * int(max(LEAST_EDGE, EDGE * 64)) + 1
    near = torch.nn.functional.max_pool2d((region > 0).float()[:, None], reach, 1, reach // 2)[:, 0] > 0
    assert not mask[~near].any()
    assert 0.2 < float((mask == 0).float().mean()) < 0.95
    out = keep_pixels(torch.rand_like(scene.images), scene.images, mask)
    kept = (mask == 0).numpy()
    for view in range(4):
        assert np.array_equal(to_pixels(out[view])[kept[view]], to_pixels(scene.images[view])[kept[view]])
    assert torch.equal(out.permute(0, 2, 3, 1)[mask == 0], scene.images.permute(0, 2, 3, 1)[mask == 0])


def test_what_the_posed_views_show_to_move_takes_the_place_of_the_proxys_thickness_as_far_as_it_is_trusted() -> None:
    scene = build_scene(4, views=2, size=64, kind="figure", world=2)
    plain, shape = change_mask(scene, 0.1), (2, 64, 64)
    nothing, all_of_it = torch.zeros(shape), torch.ones(shape)
    assert torch.equal(change_mask(scene, 0.1, (nothing, nothing)), plain), "not trusted"
    assert torch.equal(change_mask(scene, 0.1, (all_of_it, all_of_it)), plain), "never more than by the proxy"
    tight = change_mask(scene, 0.1, (nothing, all_of_it))
    assert (tight <= plain).all()
    assert tight.sum() < 0.95 * plain.sum(), "only the shadow's region is left"
    torch.testing.assert_close(change_mask(scene, 0.1, (nothing, 0.5 * all_of_it)), torch.minimum(plain, 0.5 + 0.5 * tight))
    row, column = (plain[0] == 1).nonzero()[0].tolist()
    changed = nothing.clone()
    changed[0, row, column] = 1
    assert change_mask(scene, 0.1, (changed, all_of_it))[0, row, column] == 1
