"""Look at a capture before anything is computed: `qnerf inspect <folder> [scene.proxy=… …]` writes a page and
prints verdicts."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from qnerf.common.messages import describe_error
from qnerf.errors import USER_ERROR, UserError, told_in_a_sentence
from qnerf.scenes.settings import SceneSettings

PAGE = "inspect.html"
USAGE = (
    "Usage: qnerf inspect FOLDER [scene.proxy=… scene.views=… …] [page=inspect.html]   (a capture, or its file of "
    "frames; the settings of a run's scene)"
)
UNSAID = {"source_prompt": "", "target_prompt": ""}  # of no effect on what is looked at


def main(arguments: Sequence[str]) -> int:
    """0: the page is written; 2: an error that the user can correct, in one sentence."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    if not arguments or "=" in arguments[0]:
        print(f"qnerf: no folder is given. {USAGE}", file=sys.stderr)
        return USER_ERROR
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    return told_in_a_sentence(lambda: _inspect(arguments[0], arguments[1:]), "write the page elsewhere (page=…)")


def _inspect(folder: str, overrides: Sequence[str]) -> int:
    settings, page = parse(folder, overrides)
    from qnerf.reports.inspection.page import inspect  # reading scenes takes torch: only once it is needed

    inspection = inspect(settings)
    inspection.write(page)
    width = max(len(check.name) for check in inspection.checks)
    for check in inspection.checks:
        print(f"{check.verdict:<5} {check.name:<{width}}  {check.said}")
    print(f"{page} ({page.stat().st_size / 2**20:.1f} MiB): open it in a browser.")
    return 0


def parse(path: str, overrides: Sequence[str]) -> tuple[SceneSettings, Path]:
    """The scene's settings, and where the page goes. Raises UserError for a key or value that there is
    not."""
    try:
        given = OmegaConf.to_container(OmegaConf.from_dotlist([*overrides]), resolve=True)
    except (OmegaConfBaseException, ValueError) as error:
        raise UserError(f"{' '.join(overrides)}: {str(error).splitlines()[0]}; expected key=value") from None
    assert isinstance(given, dict)
    page, scene = given.pop("page", PAGE), given.pop("scene", {})
    problems = [_not_here(str(key)) for key in given]
    if not isinstance(page, str) or not page:
        problems.append(f"page: got {page!r}; expected the file of the page, such as page={PAGE}")
    if not isinstance(scene, dict):
        problems.append(f"scene: got {scene!r}; expected scene.<key>=…")
        scene = {}
    if "path" in scene:
        problems.append(f"scene.path: {path} is the scene already; leave it out")
    settings = {"size": 256, **UNSAID, **scene, "path": path}
    try:
        found = SceneSettings(**settings)
    except ValidationError as error:
        found, problems = None, [*problems, *(f"scene.{describe_error(e, SceneSettings, settings)}" for e in error.errors())]
    if problems or found is None:
        raise UserError("\n".join(problems))
    return found, Path(page)


def _not_here(key: str) -> str:
    """What is to be said of a key that is neither `page` nor `scene`."""
    if key in SceneSettings.model_fields:
        return f"{key}: no such key here; write scene.{key}=…"
    return f"{key}: no such key here; expected scene.<key>=… or page=…"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
