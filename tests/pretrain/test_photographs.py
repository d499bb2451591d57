"""Procedural photographs: the two statistics that they are made for, and their share among the samples."""

import numpy as np
import pytest
import torch

from qnerf.pretrain.data import WithPhotographs, load_batch
from qnerf.pretrain.photographs import SIZES, leaf, leaf_sizes, photograph, power_noise


def slope(picture: np.ndarray) -> float:
    """The exponent of amplitude over frequency, by least squares of logarithms over rings of the spectrum."""
    size = picture.shape[-1]
    amplitude = np.abs(np.fft.fft2(picture - picture.mean()))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :]) * size
    rings = np.arange(2, size // 4)
    mean = [amplitude[(frequency >= ring) & (frequency < ring + 1)].mean() for ring in rings]
    return float(np.polyfit(np.log(rings + 0.5), np.log(mean), 1)[0])


@pytest.mark.parametrize("exponent", [0.6, 1.0, 1.8])
def test_the_noise_has_the_spectrum_asked_for(exponent: float) -> None:
    rng = np.random.default_rng(0)
    found = np.mean([slope(power_noise(rng, 128, exponent)) for _ in range(4)])
    assert found == pytest.approx(-exponent, abs=0.1)
    noise = power_noise(rng, 64, exponent)
    assert noise.mean() == pytest.approx(0, abs=1e-4)
    assert noise.std() == pytest.approx(1, abs=1e-4)


def test_photographs_have_natural_spectra() -> None:
    """Amplitude falls about as 1 / f, which neither white noise (0) nor one smooth gradient does."""
    slopes = [slope(photograph(np.random.default_rng(i), 128).mean(axis=0)) for i in range(16)]
    assert -1.7 < np.mean(slopes) < -0.8


def test_sizes_follow_a_power_law() -> None:
    """Density r^-3: the share above r falls as r^-2, so a quarter as many are twice as large."""
    sizes = leaf_sizes(np.random.default_rng(1), 200_000)
    assert SIZES[0] <= sizes.min() < sizes.max() <= SIZES[1]
    assert (sizes > 2 * SIZES[0]).mean() / (sizes > SIZES[0]).mean() == pytest.approx(0.25, abs=0.02)


def test_leaves_have_soft_edges_inside_the_picture() -> None:
    masks = [leaf(np.random.default_rng(i), 64, 0.3) for i in range(8)]
    assert all(mask.min() >= 0 and mask.max() <= 1 for mask in masks)
    assert any(((mask > 0) & (mask < 1)).any() for mask in masks)


def test_a_share_of_the_samples_are_photographs() -> None:
    samples = WithPhotographs(7, 32, {"bones": 1.0})
    plain = load_batch(samples, range(12))
    samples.share = 0.5
    mixed = load_batch(samples, range(12))
    replaced = [not torch.equal(a, b) for a, b in zip(plain.images, mixed.images, strict=True)]
    assert 2 <= sum(replaced) <= 10
    assert [caption == "" for caption in mixed.captions] == replaced
    assert bool(mixed.images.min() >= 0)
    assert bool(mixed.images.max() <= 1)
