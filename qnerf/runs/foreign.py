"""Whether the embedded model is asked for what it does not know: said in a warning, since everything else works."""

from __future__ import annotations

import logging
import re

from qnerf.backbones.diffusion import DiffusionBackbone
from qnerf.config import RunSettings
from qnerf.scenes.scene import Scene

log = logging.getLogger(__name__)

EXAMPLE = "asset:fox_box.json"


def warn_of_foreign_scene(settings: RunSettings, scene: Scene, backbone: DiffusionBackbone) -> None:
    """A warning where the embedded model is shown what it has never seen, or told what it has never read."""
    if not settings.backbone.own_world:
        return
    if scene.truth is None and not settings.scene.path.startswith("asset:"):
        log.warning(
            "The embedded model has only seen rendered puppets, so its pictures of photographs are poor. Cameras, fields and "
            "files are as for any run; for good pictures use backbone=sd15."
        )
    if unknown := unknown_words(backbone, *(prompt for pair in scene.prompts for prompt in pair)):
        log.warning(
            "The embedded model does not know %s and ignores such words: it knows only the words of its training "
            "(docs/embedded-backbone.md).",
            ", ".join(unknown),
        )


def warn_of_example_proxy(settings: RunSettings) -> None:
    """A warning where the edit is that of the fox example: right for the fox alone."""
    if settings.scene.proxy == EXAMPLE:
        log.warning(
            "scene.proxy is the box of the fox example (%s). For a capture of your own, set scene.proxy, scene.source_prompt and "
            "scene.target_prompt.",
            EXAMPLE,
        )


def unknown_words(backbone: DiffusionBackbone, *prompts: str) -> list[str]:
    """The prompts' words that are no token of their own, each once: the embedded model's words all are."""
    words = dict.fromkeys(word for prompt in prompts for word in re.findall(r"\w+", prompt.lower()))
    return [word for word in words if len(backbone.tokenizer.tokenize(word)) != 1]
