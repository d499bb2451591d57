"""A proxy: `qnerf pose <scene>` writes a page on which a skeleton or a box is made by mouse; `qnerf
pose <scene> --keypoints <folder>` triangulates 2-D keypoints over the views and writes proxy.json;
`--detect <model>` makes these keypoints."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from qnerf.common.files import write_json
from qnerf.errors import UserError, told_in_a_sentence
from qnerf.scenes.detected import KINDS, Models, detect_keypoints
from qnerf.scenes.joints_found import Skeleton, find_joints
from qnerf.scenes.keypoints import read_keypoints
from qnerf.scenes.settings import SceneSettings

CONFIDENCE = 0.3
# options of one of the two ways alone
OF_KEYPOINTS, OF_THE_PAGE = ("target", "confidence", "tolerance", "detect"), ("proxy", "views")
OF_MODELS = ("finder", "kind")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="qnerf pose", description="A proxy: a skeleton or a box by mouse, or a skeleton from 2-D keypoints."
    )
    made.add_argument("scene", help="a capture: its folder, or its file of frames")
    made.add_argument("--keypoints", type=Path, help="OpenPose's JSON files, or COCO's: the pose before the edit")
    made.add_argument("--detect", type=Path, help="an ONNX model that makes --keypoints, a new folder (the extra rtmlib)")
    made.add_argument("--finder", type=Path, help="of --detect: a YOLOX model in ONNX that finds people or animals first")
    made.add_argument("--kind", choices=tuple(KINDS), help="of --detect: what the model is (RTMPose)")
    made.add_argument("--target", type=Path, help="keypoints of the pose after the edit; none: the target is the source")
    made.add_argument("--out", type=Path, help="the proxy's file (proxy.json), or without --keypoints the page (pose.html)")
    made.add_argument("--proxy", help="a skeleton or a box that is on the page from the beginning")
    made.add_argument("--views", type=int, help="how many views the page has, spread evenly (16, or all if there are fewer)")
    made.add_argument("--confidence", type=float, help=f"keypoints below are not used ({CONFIDENCE})")
    made.add_argument("--tolerance", type=float, help="pixels by which a view may miss a joint (1%% of the longer side)")
    made.add_argument("--axes", choices=("opengl", "opencv"), help="axes of the cameras, as scene.axes")
    return made


def main(arguments: Sequence[str]) -> int:
    """0: the page or the proxy is written; 2: an error that the user can correct, in one sentence."""
    given = parser().parse_args(arguments)

    def work() -> int:
        check_options(given)
        return _write_page(given) if given.keypoints is None else _write_proxy(given)

    return told_in_a_sentence(work, "give another --out")


def check_options(given: argparse.Namespace) -> None:
    """Raises one UserError for options that would be passed over, or whose values mean nothing."""
    ignored, way = (OF_KEYPOINTS, "the page, without --keypoints") if given.keypoints is None else (OF_THE_PAGE, "--keypoints")
    problems = [
        f"--{name}: {way} does not read it; leave it out" + (", or give --keypoints" if given.keypoints is None else "")
        for name in ignored
        if getattr(given, name) is not None
    ]
    problems += [
        f"--{name}: without --detect no model is read; leave it out, or give --detect"
        for name in OF_MODELS
        if given.detect is None and getattr(given, name) is not None
    ]
    if given.out is not None and given.out.is_dir():
        problems.append(f"--out: {given.out} is a folder; expected a file to write")
    if given.kind == "RTMO" and given.finder is not None:
        problems.append("--finder: an RTMO model finds people itself; leave it out")
    if given.confidence is not None and not 0 <= given.confidence < 1:
        problems.append(f"--confidence: got {given.confidence:g}; expected at least 0 and below 1")
    if given.tolerance is not None and not 0 < given.tolerance < math.inf:
        problems.append(f"--tolerance: got {given.tolerance:g}; expected pixels above 0")
    if given.views is not None and given.views < 2:
        problems.append(f"--views: got {given.views}; expected at least 2, from which a joint is found")
    if not given.scene:
        problems.append("scene: got nothing; expected a capture's folder, or its file of frames")
    if problems:
        raise UserError("\n".join(problems))


def _write_page(given: argparse.Namespace) -> int:
    # reading scenes takes torch: only once it is needed
    from qnerf.reports.posing.page import write_posing_page

    page = given.out or Path("pose.html")
    count = write_posing_page(given.scene, given.proxy, given.axes, given.views, page)
    print(f"{page}: {count} views; open it in a browser, and save proxy.json from it.")
    return 0


def _write_proxy(given: argparse.Namespace) -> int:
    settings, out = SceneSettings(path=given.scene, axes=given.axes, source_prompt=""), given.out or Path("proxy.json")
    if given.detect is not None:
        count = detect_keypoints(settings, Models(given.detect, given.finder, given.kind or "RTMPose"), given.keypoints)
        print(f"{given.keypoints}: keypoints of {count} photographs.")
    source, *others = (
        find_joints(settings, read_keypoints(folder), CONFIDENCE if given.confidence is None else given.confidence, given.tolerance)
        for folder in (given.keypoints, given.target)
        if folder is not None
    )
    target = others[0] if others else None
    write_json(out, source.document(target))
    one_sided = set(source.joints) ^ set(target.joints if target else source.joints)
    for title, skeleton in (("before", source), ("after", target)):
        if skeleton is not None:
            print(describe(title, skeleton))
    if one_sided:
        names = ", ".join(sorted(one_sided))
        print(f"Found in one of the two poses alone: {names}. Those before the edit stay where they are, the others are left out.")
    if target is None:
        print(f"The target is the source: move joints of 'target' in {out}, or give --target.")
    print(f"{out}: look at it with qnerf inspect {given.scene} scene.proxy={out}")
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
