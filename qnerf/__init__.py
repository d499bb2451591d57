"""qnerf: consistent multi-view editing with query radiance fields (QNeRF, arXiv 2402.14792).

As a library, from settings to an edited capture:

    import qnerf

    settings = qnerf.Settings.compose("+exp=articulation", "guidance.strength=0.4")
    scene = qnerf.load_scene(settings)
    backbone = qnerf.load_backbone(settings)
    inverted = qnerf.invert(settings, scene, backbone)
    edited = qnerf.edit(settings, inverted)
    print(qnerf.measure(settings, scene, edited))
    edited.save("my_edit")

Runs (`python -m qnerf.run`) are made of the same functions, with a store and a report beside them. Names are imported when they are
first used: `import qnerf` itself imports neither PyTorch nor Hydra.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qnerf.config import RunSettings as Settings
    from qnerf.errors import UserError
    from qnerf.runs.inverting import Inverted, invert
    from qnerf.runs.loading import load_backbone, load_scene
    from qnerf.runs.measuring import measure
    from qnerf.runs.methods import Edited, edit
    from qnerf.runs.reconstruction import reconstruction_psnr
    from qnerf.runs.round_trip import round_trip_psnr
    from qnerf.scenes.scene import Scene

__version__ = "0.1.0"
__all__ = [
    "Edited",
    "Inverted",
    "Scene",
    "Settings",
    "UserError",
    "edit",
    "invert",
    "load_backbone",
    "load_scene",
    "measure",
    "reconstruction_psnr",
    "round_trip_psnr",
]

_PLACES = {
    "Edited": "qnerf.runs.methods.Edited",
    "Inverted": "qnerf.runs.inverting.Inverted",
    "Scene": "qnerf.scenes.scene.Scene",
    "Settings": "qnerf.config.RunSettings",
    "UserError": "qnerf.errors.UserError",
    "edit": "qnerf.runs.methods.edit",
    "invert": "qnerf.runs.inverting.invert",
    "load_backbone": "qnerf.runs.loading.load_backbone",
    "load_scene": "qnerf.runs.loading.load_scene",
    "measure": "qnerf.runs.measuring.measure",
    "reconstruction_psnr": "qnerf.runs.reconstruction.reconstruction_psnr",
    "round_trip_psnr": "qnerf.runs.round_trip.round_trip_psnr",
}


if not TYPE_CHECKING:  # a type checker knows the names above, and that there are no others

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module 'qnerf' has no attribute {name!r}")
        module, _, attribute = _PLACES[name].rpartition(".")
        found = getattr(import_module(module), attribute)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
