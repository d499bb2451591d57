"""transforms.json, as nerfstudio, instant-ngp and blender exporters write it: where the images are and what
took them.

Sources: nerfstudio's data conventions (OpenGL axes, `fl_x`, `fl_y`, `cx`, `cy`, `w`, `h`, OPENCV distortion),
instant-ngp's (`camera_angle_x`, `x_fov` in degrees, `is_fisheye`, file paths without an extension) and those
of the synthetic NeRF scenes (`transforms_train.json`, `transforms_val.json`, `transforms_test.json`). A
frame's own intrinsics win over the file's. A file of another name is one of these if it lists frames with
matrices; several are read as one capture, as instant-ngp does.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from qnerf.errors import UserError
from qnerf.scenes.frames import ImageFinder, checked_pose, in_order, matrix_of
from qnerf.scenes.images import image_size, read_json
from qnerf.scenes.lens import centre_of, focal_of, intrinsics_problem
from qnerf.scenes.problems import brief, check_world, quoted, raise_problems
from qnerf.scenes.readers.reader import Frame, Reader

FISHEYES = ("OPENCV_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
MODELS = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "FULL_OPENCV", *FISHEYES)
LENGTHS = ("fl_x", "fl_y")
ANGLES = ("camera_angle_x", "camera_angle_y")
DEGREES = {"x_fov": "camera_angle_x", "y_fov": "camera_angle_y"}
FOCAL = (*LENGTHS, *ANGLES, *DEGREES)
NUMBERS = (*FOCAL, "cx", "cy", "w", "h", "k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
POSITIVE = (*FOCAL, "w", "h")
OTHER_LENSES = ("ftheta", "latlong", "equirectangular")  # how instant-ngp's keys of lenses begin that are not read
UNUSED = {"rolling_shutter": "a rolling shutter"}
BESIDE = {"mask_path": "a mask (mask_path)", "depth_file_path": "depth (depth_file_path)"}
UNIT = "depth_unit_scale_factor"
NAME = "transforms.json"
SPLITS = tuple(f"transforms_{split}.json" for split in ("train", "val", "test"))
MOST_SIDE = 1e6  # pixels
AGREE = 1.05  # by which factor a focal length and an angle may differ before it is said


def files_of(path: Path) -> list[Path]:
    """The files of a capture's frames: the path itself, or transforms.json of a folder, or its splits, or
    what else lists frames."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".json" and _lists_frames(path) else []
    if (path / NAME).exists():
        return [path / NAME]
    splits = [path / name for name in SPLITS if (path / name).is_file()]
    if splits or not path.is_dir():
        return splits
    return [each for each in sorted(path.iterdir()) if each.suffix.lower() == ".json" and each.is_file() and _lists_frames(each)]


def read_frames(path: Path) -> tuple[dict[str, Any], list[Frame]]:
    """The first file's own keys, and the frames of all files in the natural order of their paths.

    Raises one UserError that names every frame that is wrong.
    """
    files = files_of(path)
    if not files:
        raise UserError(f"{path} has no list of frames, expected {NAME}: export the capture again.")
    problems: list[str] = []
    documents = [_document(file, problems) for file in files]
    frames = []
    for file, document in zip(files, documents, strict=True):
        images = ImageFinder(file.parent)
        found = [_parse_frame(file, images, index, entry, document, problems) for index, entry in enumerate(document["frames"])]
        frames += _with_sizes([frame for frame in found if frame])
    frames = in_order(str(files[0]), frames, problems)
    raise_problems(str(files[0]), problems)
    return documents[0], frames


def _document(file: Path, problems: list[str]) -> dict[str, Any]:
    document = read_json(file)
    entries = document.get("frames") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{file} has no list 'frames', expected at least two frames: export the capture again.")
    check_world(file, document, problems)
    return document


def _lists_frames(file: Path) -> bool:
    try:
        document = read_json(file)
    except UserError:
        return False
    entries = document.get("frames") if isinstance(document, dict) else None
    return isinstance(entries, list) and any(isinstance(entry, dict) and "transform_matrix" in entry for entry in entries)


def _parse_frame(
    path: Path, images: ImageFinder, index: int, entry: Any, document: dict[str, Any], problems: list[str]
) -> Frame | None:
    where = f"{path}: frame {index}"
    file_path = entry.get("file_path") if isinstance(entry, dict) else None
    if not isinstance(file_path, str) or not file_path:
        problems.append(f"{where} has no 'file_path', expected the path of its image: add it.")
        return None
    where = f"{where} ({brief(file_path)})"
    found = len(problems)
    pose = checked_pose(where, matrix_of(entry.get("transform_matrix")), problems)
    own = _given(entry)
    if any(key in own for key in FOCAL):  # then the file's are of another camera
        document = {key: value for key, value in document.items() if key not in FOCAL}
    merged = {**_given(document), **own}
    fisheye = _parse_model(path, where, merged, entry, problems)
    numbers = _parse_numbers(path, where, merged, own, problems)
    if pose is None or len(problems) > found:
        return None
    image, note = images.find(file_path)
    conflict = _conflict(numbers)
    unused = [f"names {what}, which is not used" for key, what in UNUSED.items() if merged.get(key)]
    files, missing = _beside(images, entry)
    notes = (*([note] if note else []), *([conflict] if conflict else []), *unused, *missing)
    frame = Frame(file_path, image or path.parent / file_path, image is not None, pose, numbers, fisheye=fisheye, notes=notes)
    return replace(frame, mask_file=files["mask_path"], depth=files["depth_file_path"], depth_unit=_unit(path, merged, problems))


def _beside(images: ImageFinder, entry: dict[str, Any]) -> tuple[dict[str, Path | None], list[str]]:
    """A frame's mask and depth by their keys, None where it has none, and what is to be said of those that are not there."""
    named = {key: entry[key] for key in BESIDE if entry.get(key)}
    found = {key: images.find(value)[0] if isinstance(value, str) else None for key, value in named.items()}
    missing = [f"names {BESIDE[key]} that is not in the folder, which is not used" for key in named if found[key] is None]
    return {key: found.get(key) for key in BESIDE}, missing


def _unit(path: Path, merged: dict[str, Any], problems: list[str]) -> float | None:
    """World units of one unit of depth, None where that is not said."""
    value = merged.get(UNIT)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e-12 < value < 1e12:
        problems.append(f"{path} has {UNIT} = {quoted(value)}, expected a number above 0: world units of one unit of depth.")
        return None
    return float(value)


def _given(entry: dict[str, Any]) -> dict[str, Any]:
    """What is said: null says nothing."""
    return {key: value for key, value in entry.items() if value is not None}


def _parse_model(path: Path, where: str, merged: dict[str, Any], entry: dict[str, Any], problems: list[str]) -> bool:
    """Whether the lens is a fisheye. A problem for a lens that is not read, and for coefficients that its
    model does not have."""
    model, fisheye = merged.get("camera_model", "OPENCV"), merged.get("is_fisheye", False)
    place = where if "camera_model" in entry else path
    if model not in MODELS:
        panorama = "cut perspective views out of the panoramas" if model == "EQUIRECTANGULAR" else "undistort the images first"
        problems.append(f"{place} has camera_model {quoted(model)}, expected one of {', '.join(MODELS)}: {panorama}.")
    if other := next((key for key in merged if key.lower().startswith(OTHER_LENSES)), None):
        problems.append(
            f"{path} has a lens that is not read ({brief(other)}), expected OPENCV or a fisheye: undistort the images first."
        )
    if fisheye not in (False, True):
        problems.append(f"{path} has is_fisheye = {quoted(fisheye)}, expected true or false: correct it.")
    fisheye = model in FISHEYES or fisheye is True or fisheye == 1
    allowed = ("k4", "k5", "k6") if model == "FULL_OPENCV" else ("k4",) if fisheye else ()
    for key in ("k4", "k5", "k6", *(("p1", "p2") if fisheye else ())):
        if key not in allowed and isinstance(merged.get(key), int | float) and merged[key] != 0:
            kind = "a fisheye lens" if fisheye else "a lens without is_fisheye"
            problems.append(f"{path} has {key} = {quoted(merged[key])} for {kind}, expected 0: undistort the images first.")
    return fisheye


def _parse_numbers(path: Path, where: str, merged: dict[str, Any], own: dict[str, Any], problems: list[str]) -> dict[str, float]:
    """The intrinsics of a frame. A wrong key of the whole file is laid to the file, not to each of its
    frames."""
    numbers: dict[str, float] = {}
    found = len(problems)
    for key in NUMBERS:
        value, place = merged.get(key), where if key in own else path
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1e300 < value < 1e300:
            problems.append(f"{place} has {key} = {quoted(value)}, expected a finite number: correct it.")
        elif key in POSITIVE and value <= 0:
            problems.append(f"{place} has {key} = {value:g}, expected a number above 0: correct its intrinsics.")
        elif key in ("w", "h") and not 0.5 < value <= MOST_SIDE:
            problems.append(f"{place} has {key} = {value:g}, expected 1 to {MOST_SIDE:g} pixels: correct its intrinsics.")
        elif key in ANGLES and value >= math.pi:
            degrees = f"as degrees, write {math.radians(value):.4g}" if 10 < value < 180 else "correct it"
            problems.append(f"{place} has {key} = {value:.4g}, expected radians below π: {degrees}.")
        elif key in DEGREES and value >= 180:
            problems.append(f"{place} has {key} = {value:.4g}, expected degrees below 180: correct it.")
        elif key in DEGREES:
            numbers.setdefault(DEGREES[key], math.radians(value))
        else:
            numbers[key] = float(value)
    if not numbers.keys() & {*LENGTHS, *ANGLES} and len(problems) == found:
        problems.append(f"{path} has neither fl_x nor camera_angle_x, expected one of them: add its intrinsics.")
    elif "w" in numbers and "h" in numbers and len(problems) == found:
        width, height = round(numbers["w"]), round(numbers["h"])
        focal, centre = focal_of(numbers, width, height), centre_of(numbers, width, height)
        if problem := intrinsics_problem(focal, centre, (width, height)):
            problems.append(f"{where if {*FOCAL, 'cx', 'cy', 'w', 'h'} & own.keys() else path} has {problem}.")
    return numbers


def _conflict(numbers: dict[str, float]) -> str | None:
    """That an angle says another focal length than the one that is given, which is taken."""
    if not numbers.keys() >= {"fl_x", "camera_angle_x", "w"}:
        return None
    length = 0.5 * numbers["w"] / math.tan(0.5 * numbers["camera_angle_x"])
    if 1 / AGREE < length / numbers["fl_x"] < AGREE:
        return None
    return f"has fl_x = {numbers['fl_x']:.4g}, which is taken, and a camera_angle_x that says {length:.4g}"


def _with_sizes(frames: list[Frame]) -> list[Frame]:
    """Frames that share a focal length in pixels and say nothing of the size it belongs to are given one:
    most images' own."""
    bare = {
        index for index, frame in enumerate(frames) if not {"w", "h"} & frame.numbers.keys() and {*LENGTHS} & frame.numbers.keys()
    }
    shared = Counter(frames[index].numbers.get("fl_x", frames[index].numbers.get("fl_y")) for index in bare)
    bare = {index for index in bare if shared[frames[index].numbers.get("fl_x", frames[index].numbers.get("fl_y"))] > 1}
    sizes = Counter(size for index in bare if frames[index].exists and (size := image_size(frames[index].image)))
    if len(sizes) < 2:
        return frames
    width, height = max(sizes, key=lambda size: (sizes[size], size))
    size = {"w": float(width), "h": float(height)}
    return [replace(frame, numbers={**frame.numbers, **size}) if index in bare else frame for index, frame in enumerate(frames)]


READER = Reader(
    name="transforms",
    looks_for=NAME,
    finds=lambda folder: bool(files_of(folder)),
    read=read_frames,
    files=files_of,
)
