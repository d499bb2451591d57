"""PSNR and SSIM on cases worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from qnerf.metrics.fidelity import psnr, ssim


def test_a_difference_of_a_tenth_is_twenty_decibels() -> None:
    reference = torch.rand(3, 3, 16, 16) * 0.9
    assert psnr(reference + 0.1, reference) == pytest.approx(20, abs=1e-3)


def test_a_perfect_edit_scores_a_hundred_decibels() -> None:
    images = torch.rand(2, 3, 16, 16)
    assert psnr(images, images) == pytest.approx(100)


def test_psnr_is_the_mean_over_views_of_the_masked_error() -> None:
    reference = torch.full((3, 3, 4, 4), 0.5)
    images = reference.clone()
    images[0, :, :2] += 0.1  # inside the mask: 20 dB
    images[0, :, 2:] += 0.4  # outside it
    images[1, 0, 0, 0] += 0.3  # 0.09 / 3 channels / 8 pixels
    mask = torch.zeros(3, 4, 4, dtype=torch.bool)
    mask[:2, :2] = True  # the third view has nothing to count
    expected = (20 - 10 * math.log10(0.09 / 24)) / 2
    assert psnr(images, reference, mask) == pytest.approx(expected, abs=1e-3)


def test_an_empty_mask_is_not_a_number() -> None:
    images = torch.rand(2, 3, 4, 4)
    assert math.isnan(psnr(images, images, torch.zeros(2, 4, 4, dtype=torch.bool)))


def test_ssim_of_flat_images_is_its_luminance_term() -> None:
    first, second = torch.full((1, 3, 32, 32), 0.4), torch.full((1, 3, 32, 32), 0.6)
    c1 = 0.01**2
    assert ssim(first, second) == pytest.approx((2 * 0.4 * 0.6 + c1) / (0.4**2 + 0.6**2 + c1), abs=1e-3)
    assert ssim(first, first) == pytest.approx(1)


def test_ssim_falls_with_blur() -> None:
    images = torch.rand(1, 3, 32, 32)
    blurred = torch.nn.functional.avg_pool2d(images, 3, 1, 1)
    assert ssim(blurred, images) < 0.7
