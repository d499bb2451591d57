"""An editor and its additions as one editor, and the combinations that have no meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from qnerf.editors.base import Part
from qnerf.editors.editor import Editor, EditorSettings
from qnerf.variants import variants

if TYPE_CHECKING:
    from torch import Tensor

    from qnerf.attention.hooks import Edits
    from qnerf.denoising.edit import EditBranch, EditStep

PLACE = "additions"


def build_editor(settings: EditorSettings) -> Editor:
    """The editor with its additions; without any, the editor itself."""
    return Combined(settings) if settings.additions else settings.build()


def over_plain(data: Any) -> Any:
    """The config of an editor: additions without an editor go over `plain`."""
    return {"name": "plain", **data} if isinstance(data, dict) and "name" not in data and PLACE in data else data


def combination_problem(where: str, data: Any) -> str | None:
    """Why two editors were chosen that cannot be combined, one sentence, or None. data: the config that they left, whose keys tell
    of both."""
    known = variants("editors")
    chosen = known.get(str(data.get("name"))) if isinstance(data, dict) else None
    if chosen is None:
        return None
    for key in data:
        owner = next((name for name, other in known.items() if key in other.model_fields), None)
        if key not in chosen.model_fields and owner is not None:
            additions = ", ".join(sorted(variants("editors.additions")))
            return (
                f"{where}: {key} is of editor={owner}, but {data['name']} was chosen too; both say what the model attends to, so "
                f"that they cannot be combined: choose one of them, and beside it any of {additions}"
            )
    return None


class Combined(Editor):
    """Each stage by the editor first, then by its additions in their order."""

    def __init__(self, settings: EditorSettings) -> None:
        super().__init__(settings)
        self.editor = settings.build()
        self.additions = {name: addition.build() for name, addition in settings.additions.items()}
        self.every: tuple[Part, ...] = (self.editor, *self.additions.values())
        self.joint, self.pulls = self.editor.joint, any(part.pulls for part in self.every)

    def first_step(self, steps: int) -> int:
        return max(part.first_step(steps) for part in self.every)

    def null_text(self, branch: EditBranch, k: int) -> Tensor:
        return self.editor.null_text(branch, k)

    def gather(self, k: int, z: Tensor, branches: Callable[[], Iterator[tuple[EditBranch, Tensor]]]) -> None:
        self.editor.gather(k, z, branches)

    def pull(self, branch: EditBranch, z: Tensor, k: int) -> Tensor:
        return reduce(lambda now, part: part.pull(branch, now, k), self.every, z)

    def edits(self, step: EditStep) -> Edits:
        seen = reduce(lambda now, part: part.sees(now), self.every, step)
        return reduce(or_, (part.edits(seen if part is self.editor else step) for part in self.every))

    def steer(self, step: EditStep, noise: Tensor) -> Tensor:
        return reduce(lambda now, part: part.steer(step, now), self.every, noise)

    def revise(self, step: EditStep, clean: Tensor) -> Tensor:
        return reduce(lambda now, part: part.revise(step, now), self.every, clean)

    def blend(self, step: EditStep, z: Tensor) -> Tensor:
        return reduce(lambda now, part: part.blend(step, now), self.every, z)

    def state(self) -> dict[str, Tensor]:
        own = {f"{PLACE}/{name}/{key}": value for name, part in self.additions.items() for key, value in part.state().items()}
        return {**self.editor.state(), **own}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.editor.restore({key: value for key, value in state.items() if not key.startswith(f"{PLACE}/")})
        for name, part in self.additions.items():
            prefix = f"{PLACE}/{name}/"
            part.restore({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
