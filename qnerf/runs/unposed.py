"""What a run of images without cameras cannot have: said before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator

from qnerf.config import MAIN_METHOD, RunSettings

ALONE = "each image is edited by itself"


def unposed_problems(settings: RunSettings, images: int, masked: bool) -> Iterator[str]:
    """What the settings ask for that needs cameras, a proxy or, unless each image has one (`masked`), a mask: a sentence each."""
    path = settings.scene.path
    if images > 1 and (key := settings.inversion.shared_key):
        yield f"{key}: views of one scene share the prompt, but {path} has {images} images, and {ALONE}; set {key}=false"
    for name, method in settings.methods().items():
        where, schedule = "" if name == MAIN_METHOD else f"baselines.{name}.", method.schedule
        editor = method.editor or settings.editor
        if schedule.starts_from != "source":
            yield (
                f"{where}schedule.start: {schedule.starts_from} needs cameras and a proxy, but {path} has images without; expected "
                f"source: {where}schedule.start=source"
            )
        elif schedule.consolidates or schedule.reads_truth or schedule.reads_posed or schedule.reads_bounds:
            yield (
                f"{where}schedule: {schedule.name} needs cameras and a proxy, but {path} has images without; expected "
                f"independent, by which {ALONE}: {where}schedule=independent (+exp=edit_image)"
            )
        elif schedule.edits and editor.reads_posed(settings.steps):
            yield f"{where}editor.source: got posed, but {path} has images without cameras; set {where}editor.source=source"
        for key in dict.fromkeys(part.region_key for part in editor.parts if schedule.edits and not masked):
            if key is not None:
                yield (
                    f"{where}{key}: it asks for the object's region, but no mask says where that is in some image of {path}; "
                    "expected boxes or words, or a JSON list with a mask of each image"
                )
        if schedule.edits and editor.control_guidance != 1:
            yield (
                f"{where}editor.control_guidance: got {editor.control_guidance:g}, but {path} has images without a proxy, so there "
                f"is no control to be steered away from; set {where}editor.control_guidance=1"
            )
    if settings.scene.proxy is not None:
        yield f"scene.proxy: got {settings.scene.proxy}, but the cameras of {path} are not known; set scene.proxy=null"
