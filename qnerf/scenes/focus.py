"""Where the cameras look: the focus and the radius of a scene, how good the evidence for them is, and whether
its poses mean what they should. Needs no torch.

The focus is the point nearest to all optical axes. Where axes say little (nearly parallel, or they meet
behind the cameras), points of the scene's surface say it, if the format has some: the mean over the cameras
of the point on the axis at the median depth of what the camera sees near its axis. Where there are no points, masks of an
object do (`mask_focus`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from qnerf.errors import UserError
from qnerf.scenes.problems import as_array, quoted

RADIUS_FRACTION = 0.5  # of the median distance from the cameras to the focus
PARALLEL = 1e-4  # smallest eigenvalue of the mean of (I - d d^T) below which optical axes say nothing
NEARLY_PARALLEL = 0.01  # below which they say little: 4 degrees of spread
MISSED = 0.3  # median distance of the axes from the focus, as a share of the cameras' from it, that is worth a word
ONE_POINT = 1e-11  # spread of the cameras, as a share of their distance from the origin
CONE = 0.966  # cosine of 15 degrees: how near to its axis a camera's points lie
LEAST_POINTS = 5
LEAST_DISTANCE, MOST_DISTANCE = 1e-3, 1e4  # of the cameras from the focus, in radii
OUTLIER = 30
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # between OpenGL's and OpenCV's camera axes

_SET = "set scene.focus and scene.radius"
_FACING_OPENCV = (
    "all cameras look away from {what}: these poses look like OpenCV's (the camera looks along +z), expected OpenGL's: set "
    f"scene.axes=opencv; if the cameras look outwards, {_SET} before them and scene.axes=opengl."
)


@dataclass
class Region:
    """What is of interest in a scene. focus: (3,) float64. radius: half its size. Both world units. warnings:
    sentences about weak evidence. problems: what makes it no region; focus and radius then mean nothing."""

    focus: np.ndarray
    radius: float
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Axes:
    """The optical axes of some poses. focus: (3,) the point nearest to all of them. spread: the smallest
    eigenvalue of the mean of (I - d d^T). ahead: share of the cameras before which the focus lies. missed:
    median distance of an axis from the focus, as a share of the median distance of the cameras from it."""

    focus: np.ndarray
    spread: float
    ahead: float
    missed: float


def find_region(
    origin: str,
    given: tuple[object, object],
    poses: np.ndarray,
    every: np.ndarray,
    points: np.ndarray | None = None,
    axes_known: bool = False,
    masked: Callable[[], np.ndarray | None] = lambda: None,
) -> Region:
    """Focus and radius of a scene of poses (N, 4, 4) camera to world.

    given: focus and radius as settings or files say, each None if they do not. every: (M, 4, 4) the poses of
    the whole capture, by which the evidence is judged, so that the verdict does not depend on how many views
    are taken. points: (P, 3). axes_known: whether there is no doubt that the cameras' axes are OpenGL's. masked: where masks
    show an object, (3,), asked for only where axes and points do not tell.
    """
    focus, radius = given
    region = Region(np.zeros(3), 1.0)
    point = None if focus is None else as_array(focus, (3,))
    length = None if radius is None else as_array(radius, ())
    if (point is None) != (focus is None) or (length is None) != (radius is None) or not (length is None or length > 0):
        region.problems.append(
            f"{origin} has focus = {quoted(focus)} and radius = {quoted(radius)}, expected a point of three finite "
            "numbers and a length above 0: correct them or set scene.focus and scene.radius."
        )
        return region
    if not axes_known and (problem := doubt_about_axes(origin, every, point)):
        region.problems.append(problem)
        return region
    try:
        region.focus = _focus(origin, poses, every, points, masked, region.warnings) if point is None else point
        region.radius = radius_from_cameras(poses, region.focus) if length is None else float(length)
    except UserError as error:
        region.problems.append(str(error))
        return region
    distances = np.linalg.norm(every[:, :3, 3] - region.focus, axis=1)
    if not region.radius > 0:
        region.problems.append(f"{origin}: all cameras stand in the focus, so the size of the scene is not known: {_SET}.")
    elif not LEAST_DISTANCE < np.median(distances) / region.radius < MOST_DISTANCE:
        found = f"a radius of {region.radius:.3g}, with cameras {np.median(distances):.3g} from the focus"
        region.problems.append(f"{origin} has {found}, expected {LEAST_DISTANCE:g} to {MOST_DISTANCE:g} radii: {_SET}.")
    elif (far := int((distances > OUTLIER * np.median(distances)).sum())) > 0:
        region.warnings.append(f"{origin}: {far} of {len(every)} cameras stand more than {OUTLIER} times as far off as most")
    if point is not None and not (ahead_of(every, point) > 0).any():
        region.warnings.append(f"{origin}: no camera looks towards the focus {_said(point)}; it is used as it is")
    return region


def optical_axes(poses: np.ndarray) -> Axes:
    """Solves sum_i (I - d_i d_i^T) x = sum_i (I - d_i d_i^T) o_i about the cameras' mean position."""
    directions, middle = -poses[:, :3, 2], poses[:, :3, 3].mean(axis=0)
    origins = poses[:, :3, 3] - middle
    across = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    matrix = across.mean(axis=0)
    spread = float(np.linalg.eigvalsh(matrix)[0])
    if spread <= PARALLEL:
        return Axes(middle, spread, 0.0, 0.0)
    focus = np.linalg.solve(matrix, np.einsum("nij,nj->i", across, origins) / len(poses))
    missed = np.median(np.linalg.norm(np.einsum("nij,nj->ni", across, focus - origins), axis=1))
    distance = np.median(np.linalg.norm(focus - origins, axis=1))
    ahead = float((np.einsum("ni,ni->n", focus - origins, directions) > 0).mean())
    return Axes(focus + middle, spread, ahead, float(missed / max(distance, 1e-300)))


def nearest_point_to_axes(poses: np.ndarray) -> np.ndarray:
    """The point (3,) nearest to the optical axes of poses (N, 4, 4), in the least-squares sense.

    Raises UserError where the axes are parallel or meet behind the cameras, so that they say nothing about
    the depth of the scene.
    """
    axes = optical_axes(poses)
    if axes.spread > PARALLEL and np.median(ahead_of(poses, axes.focus)) > 0:
        return axes.focus
    raise UserError(
        "transforms.json: the optical axes of the cameras do not meet in front of them, so the point they "
        f"look at is not known: {_SET}."
    )


def radius_from_cameras(poses: np.ndarray, focus: np.ndarray) -> float:
    """Half (`RADIUS_FRACTION`) of the median distance of the cameras (N, 4, 4) from the focus (3,)."""
    return float(RADIUS_FRACTION * np.median(np.linalg.norm(poses[:, :3, 3] - focus, axis=-1)))


def ahead_of(poses: np.ndarray, point: np.ndarray) -> np.ndarray:
    """How far a point (3,) lies before each camera, (N,); negative behind it."""
    return np.einsum("ni,ni->n", point - poses[:, :3, 3], -poses[:, :3, 2])


def doubt_about_axes(origin: str, poses: np.ndarray, focus: np.ndarray | None) -> str | None:
    """Why the poses seem to follow another convention than OpenGL's camera to world, None if they do not.
    focus: where the cameras look, if that is known."""
    axes, around = optical_axes(poses), np.ptp(poses[:, :3, 3], axis=0).max()
    one_point = around <= ONE_POINT * max(np.abs(poses[:, :3, 3]).max(), 1e-300)
    if (one_point or axes.ahead < 1) and _meet(np.linalg.inv(poses)):
        return f"{origin}: the poses look like world-to-camera matrices, expected camera to world: invert each matrix."
    if one_point and len(poses) > 1:
        return f"{origin}: all cameras stand at one point, so nothing says how far the scene is: give poses with their positions."
    if focus is not None and (ahead_of(poses, focus) <= 0).all():
        return f"{origin}: {_FACING_OPENCV.format(what='the focus')}"
    if focus is None and axes.spread > NEARLY_PARALLEL and axes.ahead == 0:
        return f"{origin}: {_FACING_OPENCV.format(what='their common focus')}"
    return None


def _meet(poses: np.ndarray) -> bool:
    """Whether the cameras clearly look at one point, if these are their poses, with OpenGL's or OpenCV's
    axes."""
    axes, places = optical_axes(poses), poses[:, :3, 3]
    apart = np.median(np.linalg.norm(places - np.median(places, axis=0), axis=1))
    if apart <= 0.1 * np.linalg.norm(places, axis=1).max():
        return False  # so does a ring of cameras look after it has been inverted
    return len(poses) > 2 and axes.spread > NEARLY_PARALLEL and axes.missed < 0.1 and axes.ahead in (0.0, 1.0)


def _focus(
    origin: str,
    poses: np.ndarray,
    every: np.ndarray,
    points: np.ndarray | None,
    masked: Callable[[], np.ndarray | None],
    warnings: list[str],
) -> np.ndarray:
    axes = optical_axes(every)
    behind = int((ahead_of(every, axes.focus) <= 0).sum()) if axes.spread > PARALLEL else 0
    weak = None
    if axes.spread <= NEARLY_PARALLEL:
        weak = "the optical axes are nearly parallel, so that their nearest point says little of the depth of the scene"
    elif behind > 0.1 * len(every):
        weak = f"{behind} of {len(every)} cameras have the point nearest to all axes behind them: they seem to look outwards"
    elif axes.missed > MISSED:
        weak = f"the optical axes pass the focus at {axes.missed:.0%} of the cameras' distance: they look at different things"
    if weak is None:
        return nearest_point_to_axes(poses)
    if points is not None and (found := _focus_from_points(poses, points)) is not None:
        return found
    if (found := masked()) is not None:
        return found
    if axes.spread <= PARALLEL:
        return nearest_point_to_axes(every)  # which raises
    own = optical_axes(poses)
    if own.spread > PARALLEL and np.median(ahead_of(poses, own.focus)) > 0:
        focus = own.focus
    elif axes.spread <= NEARLY_PARALLEL or np.median(ahead_of(every, axes.focus)) > 0:
        focus = nearest_point_to_axes(every)  # which raises where the axes meet behind the cameras
    else:
        focus = poses[:, :3, 3].mean(axis=0)
    length = radius_from_cameras(poses, focus)
    turned = "; if they look the other way, scene.axes=opencv" if axes.spread <= NEARLY_PARALLEL else ""
    warnings.append(f"{origin}: {weak}. Used: focus {_said(focus)}, radius {length:.4g}. Better {_SET}{turned}")
    return focus


def _focus_from_points(poses: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    found = []
    for pose in poses:
        away = points - pose[:3, 3]
        depth = away @ -pose[:3, 2]
        near = depth > CONE * np.linalg.norm(away, axis=1)
        if near.sum() >= LEAST_POINTS:
            found.append(pose[:3, 3] - pose[:3, 2] * np.median(depth[near]))
    return np.mean(found, axis=0) if len(found) * 2 > len(poses) else None


def _said(point: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in point) + ")"
