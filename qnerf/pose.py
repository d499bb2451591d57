"""A skeleton proxy from 2-D keypoints: `qnerf pose <scene> --keypoints <folder>` triangulates them over the
views and writes proxy.json."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from qnerf.common.files import write_json
from qnerf.errors import UserError, explain_os_error
from qnerf.run import USER_ERROR
from qnerf.scenes.joints_found import Skeleton, find_joints
from qnerf.scenes.keypoints import read_keypoints
from qnerf.scenes.settings import SceneSettings


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="qnerf pose", description="A skeleton proxy from 2-D keypoints of a capture's photographs.")
    made.add_argument("scene", help="a capture: its folder, or its file of frames")
    made.add_argument(
        "--keypoints",
        type=Path,
        required=True,
        help="OpenPose's JSON files, or COCO's: the pose before the edit",
    )
    made.add_argument("--target", type=Path, help="keypoints of the pose after the edit; none: the target is the source")
    made.add_argument("--out", type=Path, default=Path("proxy.json"), help="the proxy's file (proxy.json)")
    made.add_argument("--confidence", type=float, default=0.3, help="keypoints below are not used (0.3)")
    made.add_argument("--tolerance", type=float, help="pixels by which a view may miss a joint (1%% of the longer side)")
    made.add_argument("--axes", choices=("opengl", "opencv"), help="axes of the cameras, as scene.axes")
    return made


def main(arguments: Sequence[str]) -> int:
    """0: the proxy is written; 2: an error that the user can correct, in one sentence."""
    given = parser().parse_args(arguments)
    settings = SceneSettings(path=given.scene, axes=given.axes, source_prompt="")
    try:
        source, *others = (
            find_joints(settings, read_keypoints(folder), given.confidence, given.tolerance)
            for folder in (given.keypoints, given.target)
            if folder is not None
        )
        target = others[0] if others else None
        write_json(given.out, source.document(target))
    except UserError as error:
        print(f"qnerf: {error}", file=sys.stderr)
        return USER_ERROR
    except OSError as error:
        if (said := explain_os_error(error)) is None:
            raise
        print(f"qnerf: {said}", file=sys.stderr)
        return USER_ERROR
    for title, skeleton in (("before", source), ("after", target)):
        if skeleton is not None:
            print(describe(title, skeleton))
    if target is None:
        print(f"The target is the source: move joints of 'target' in {given.out}, or give --target.")
    print(f"{given.out}: look at it with qnerf inspect {given.scene} scene.proxy={given.out}")
    return 0


def describe(title: str, skeleton: Skeleton) -> str:
    """A line for each joint."""
    width = max(map(len, skeleton.joints))
    lines = [f"{'joint ' + title:<{width}}  views  agree  error, px"]
    for name, found, seen in zip(skeleton.joints, skeleton.found, skeleton.seen, strict=True):
        lines.append(f"{name:<{width}}  {seen:>5}  {int(found.used.sum()):>5}  {found.error:9.2f}")
    if skeleton.missing:
        lines.append(f"Not found, since too few views agree: {', '.join(skeleton.missing)}.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
