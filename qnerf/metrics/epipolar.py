"""Do edited views obey their cameras? Matches of local features against the epipolar geometry: no truth and no network needed.

For two views with intrinsics K and x_b = R x_a + t between their camera coordinates (OpenCV's axes), the pixels p_a, p_b of
one point satisfy p_bᵀ F p_a = 0 with

    F = K_b⁻ᵀ [t]× R K_a⁻¹                                                    (Hartley and Zisserman 2004, eq. 9.1 and 9.2)

The symmetric epipolar distance of a match is the mean of its distances from the two epipolar lines, in pixels,

    SED = ½ |p_bᵀ F p_a| (1 / ‖(F p_a)₁₂‖ + 1 / ‖(Fᵀ p_b)₁₂‖),

and TSED (Yu et al. 2023, "Long-Term Photometric Consistent Novel View Synthesis with Diffusion Models", and its code) is the
share of pairs of neighbouring views that have at least T_matches matches, whose median SED is below T_error.

Neighbours are those whose cameras are nearest (`neighbours`); the paper takes frames that follow each other in a video.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from qnerf.scenes.cameras import Cameras

LARGEST_ERROR, LEAST_MATCHES = 2.0, 10
"""T_error, pixels, and T_matches, as published for views of 256 x 256 pixels."""
RATIO = 0.8  # of the distances to the nearest and the second nearest descriptor, above which a match is no match (Lowe 2004)
TO_OPENCV = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))  # camera axes: y down, z forward


@dataclass(frozen=True)
class Features:
    """Local features of a view. points: (P, 2) pixels, centres at +0.5. descriptors: (P, 128)."""

    points: np.ndarray
    descriptors: np.ndarray


def epipolar_figures(
    images: Tensor, cameras: Cameras, largest_error: float = LARGEST_ERROR, least_matches: int = LEAST_MATCHES
) -> dict[str, float]:
    """The figures of views (N, 3, H, W) in [0, 1], N at least 2.

    tsed: as above. epipolar_inliers: share of all matches whose SED is below T_error; NaN without any match. epipolar_error: the
    median SED of all matches, pixels; NaN likewise. epipolar_matches: matches with an SED below T_error, by pair.
    """
    features = [find_features(image) for image in images]
    pairs = neighbours(cameras)
    found = [_pair_distances(features, cameras, first, second) for first, second in pairs]
    every = np.concatenate(found)
    good = every < largest_error
    return {
        "tsed": tsed(found, largest_error, least_matches),
        "epipolar_inliers": float(good.mean()) if len(every) else float("nan"),
        "epipolar_error": float(np.median(every)) if len(every) else float("nan"),
        "epipolar_matches": float(good.sum() / len(pairs)),
    }


def tsed(distances: Sequence[np.ndarray], largest_error: float, least_matches: int) -> float:
    """Share of pairs that are consistent, 0 to 1. distances: SEDs of each pair's matches, (M,)."""
    return float(np.mean([len(pair) >= least_matches and np.median(pair) < largest_error for pair in distances]))


def neighbours(cameras: Cameras, count: int = 2) -> list[tuple[int, int]]:
    """Pairs of views (i, j), i < j, of which one is among the `count` of the other whose centres of projection are nearest."""
    distance = torch.cdist(cameras.positions.double(), cameras.positions.double()).fill_diagonal_(torch.inf)
    nearest = distance.argsort(dim=1, stable=True)[:, : min(count, len(cameras) - 1)].tolist()
    return sorted({(min(i, j), max(i, j)) for i, row in enumerate(nearest) for j in row})


def find_features(image: Tensor) -> Features:
    """SIFT features (Lowe 2004) of a view (3, H, W) in [0, 1], by OpenCV with its own settings."""
    pixels = (image.detach().float().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    points, descriptors = cv2.SIFT_create().detectAndCompute(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), None)  # type: ignore[call-overload]
    if descriptors is None:
        return Features(np.empty((0, 2)), np.empty((0, 128), dtype=np.float32))
    return Features(np.array([point.pt for point in points], dtype=np.float64) + 0.5, descriptors)


def match_features(first: Features, second: Features) -> np.ndarray:
    """(M, 2) indices of features that are each other's nearest, and much nearer (`RATIO`) than the second nearest."""
    there, back = _nearest(first, second), _nearest(second, first)
    return np.array([(i, j) for i, j in there.items() if back.get(j) == i], dtype=np.int64).reshape(-1, 2)


def fundamental_matrix(cameras: Cameras, first: int, second: int) -> np.ndarray:
    """F (3, 3), float64, of two views: p_secondᵀ F p_first = 0."""
    (rotation_a, position_a), (rotation_b, position_b) = (_world_to_camera(cameras, view) for view in (first, second))
    rotation = rotation_b @ rotation_a.T
    x, y, z = (rotation_b @ (position_a - position_b)).tolist()
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.linalg.inv(_intrinsics(cameras, second)).T @ cross @ rotation.numpy() @ np.linalg.inv(_intrinsics(cameras, first))


def symmetric_distances(matrix: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """SED (M,), pixels, of matches at pixels first and second, (M, 2), under F (3, 3)."""
    a, b = (np.concatenate([points, np.ones((len(points), 1))], axis=1) for points in (first, second))
    in_second, in_first = a @ matrix.T, b @ matrix
    residual = np.abs((b * in_second).sum(axis=1))
    lengths = [np.linalg.norm(lines[:, :2], axis=1).clip(1e-12) for lines in (in_second, in_first)]
    return 0.5 * residual * (1 / lengths[0] + 1 / lengths[1])


def _pair_distances(features: Sequence[Features], cameras: Cameras, first: int, second: int) -> np.ndarray:
    matches = match_features(features[first], features[second])
    points = features[first].points[matches[:, 0]], features[second].points[matches[:, 1]]
    return symmetric_distances(fundamental_matrix(cameras, first, second), *points)


def _nearest(first: Features, second: Features) -> dict[int, int]:
    if len(first.points) == 0 or len(second.points) < 2:  # a ratio needs a second nearest
        return {}
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(first.descriptors, second.descriptors, k=2)
    return {best.queryIdx: best.trainIdx for best, other in pairs if best.distance < RATIO * other.distance}


def _world_to_camera(cameras: Cameras, view: int) -> tuple[Tensor, Tensor]:
    """Rotation (3, 3) into OpenCV's camera axes, and the centre of projection (3,)."""
    pose = cameras.camera_to_world[view].double().cpu()
    return TO_OPENCV @ pose[:3, :3].T, pose[:3, 3]


def _intrinsics(cameras: Cameras, view: int) -> np.ndarray:
    matrix = np.diag([*cameras.focal[view].double().tolist(), 1.0])
    matrix[:2, 2] = cameras.centre[view].double().tolist()
    return matrix
