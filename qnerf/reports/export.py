"""The edited views as a capture: transforms.json and PNGs, which nerfstudio, gsplat and qnerf itself can train on."""

from collections.abc import Sequence
from pathlib import Path

from qnerf.common.files import Pixels, write_image, write_json
from qnerf.scenes.scene import Scene
from qnerf.scenes.writer import region_document, transforms_document


def export_views(folder: Path, views: Sequence[Pixels], scene: Scene) -> None:
    """Writes edited/<view>.png and, where cameras are known, transforms.json. views: (H, W, 3) bytes, one for each of the scene's
    cameras."""
    paths = [f"edited/{name}.png" for name in scene.view_names]
    for path, pixels in zip(paths, views, strict=True):
        write_image(folder / path, pixels)
    if not scene.posed:
        return
    region = {"prompt": scene.target_prompt, **region_document(scene)}
    write_json(folder / "transforms.json", {**transforms_document(scene.cameras, paths, scene.world), **region})
