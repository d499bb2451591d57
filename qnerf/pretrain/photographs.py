"""Procedural pictures with photographs' statistics, so that the autoencoder carries a real photograph through its round trip.

Two facts about natural images are enough for that. Their spectrum falls as 1 / f (Field, "Relations between the statistics of
natural images and the response properties of cortical cells", 1987), and they are made of things that hide each other, whose
sizes follow a power law (the dead-leaves model: Lee, Mumford and Huang, "Occlusion models for natural images", 2001).
"""

from __future__ import annotations

import cv2
import numpy as np

LEAVES = (10, 60)  # things in one picture
SIZES = (0.05, 0.6)  # radius of a thing, as a share of the picture's side; density falls with the cube
EXPONENTS = (0.6, 1.0, 1.4, 1.8)  # of the noises that one picture's surfaces choose from
CONTRAST = 0.2  # largest deviation of a surface's noise
CHROMA = 0.12  # deviation of a surface's colour from grey


def photograph(rng: np.random.Generator, size: int) -> np.ndarray:
    """(3, size, size) float32 in [0, 1]: leaves before a ground, each a gradient with 1 / f noise; seen by a camera."""
    noises = [power_noise(rng, size, exponent) for exponent in EXPONENTS]
    picture = surface(rng, noises)
    for radius in leaf_sizes(rng, int(rng.integers(*LEAVES))):
        mask = leaf(rng, size, radius)
        picture += mask[..., None] * (surface(rng, noises) - picture)
    picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 0.8)))
    picture += rng.normal(0, rng.uniform(0, 0.02), picture.shape).astype(np.float32)
    return np.ascontiguousarray(picture.clip(0, 1).transpose(2, 0, 1))


def leaf_sizes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Radii whose density falls as r^-3 between the limits of SIZES, by inversion of its distribution function."""
    low, high = SIZES
    return (low**-2 - rng.random(count) * (low**-2 - high**-2)) ** -0.5


def leaf(rng: np.random.Generator, size: int, radius: float) -> np.ndarray:
    """(size, size) float32 in [0, 1]: an ellipse or a polygon somewhere in the picture, its edge one pixel soft."""
    mask = np.zeros((size, size), np.uint8)
    centre = rng.uniform(0, size, 2)
    corners = 32 if rng.random() < 0.5 else int(rng.integers(3, 7))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners)) if corners < 32 else np.linspace(0, 2 * np.pi, corners, endpoint=False)
    points = np.stack([np.cos(angles), rng.uniform(0.3, 1) * np.sin(angles)], axis=1) * radius * size
    turn = rng.uniform(0, 2 * np.pi)
    points = points @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) + centre
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def surface(rng: np.random.Generator, noises: list[np.ndarray]) -> np.ndarray:
    """(S, S, 3) float32: a colour with a linear gradient and one of the noises (S, S), shifted, mostly of lightness."""
    noise = noises[rng.integers(len(noises))]
    size = len(noise)
    colour, slope = rng.random() + rng.normal(0, CHROMA, 3), rng.normal(0, 0.2) + rng.normal(0, CHROMA / 2, 3)
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    gradient = np.cos(angle) * x + np.sin(angle) * y
    shifted = np.roll(noise, tuple(rng.integers(size, size=2)), (0, 1)) * rng.uniform(0, CONTRAST)
    tint = rng.normal(1, 0.2, 3)
    return (colour + gradient[..., None] * slope + shifted[..., None] * tint).astype(np.float32)


def power_noise(rng: np.random.Generator, size: int, exponent: float) -> np.ndarray:
    """(size, size) float32 of mean 0 and deviation 1 whose amplitude falls as 1 / f^exponent."""
    spectrum = np.fft.rfft2(rng.normal(size=(size, size)))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = np.inf  # no mean
    noise = np.fft.irfft2(spectrum / frequency**exponent, s=(size, size))
    return (noise / noise.std()).astype(np.float32)
