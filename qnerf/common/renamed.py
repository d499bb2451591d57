"""Names of earlier versions: old command lines are answered with the new name, old results are read under it.

`python -m qnerf.common.renamed > docs/names.md` writes the table for readers; a test keeps the two equal.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

Kind = Literal["setting", "figure", "command", "stage", "evaluation", "tracked", "python"]


class Renaming(NamedTuple):
    """One name. kind: where it stood. A setting of an attention recorder also stood under
    `baselines.<name>.`"""

    kind: Kind
    old: str
    new: str


TABLE = (
    Renaming("setting", "inversion.steps", "steps"),
    Renaming("setting", "capture", "recorder"),
    Renaming("setting", "field.hold_out_every", "field.heldout_every"),
    Renaming("setting", "guidance.strength", "guidance.step_size"),  # of soft guidance alone
    Renaming("figure", "consistency_object", "warp_error_object"),
    Renaming("figure", "consistency_object_floor", "warp_error_object_floor"),
    Renaming("figure", "consistency_moved", "warp_error_moved"),
    Renaming("figure", "consistency_moved_floor", "warp_error_moved_floor"),
    Renaming("figure", "silhouette_iou_floor", "silhouette_iou_ceiling"),
    Renaming("command", "examine", "evaluate_backbone"),
    Renaming("stage", "judges", "classifiers"),
    Renaming("evaluation", "judges", "classifiers"),
    Renaming("tracked", "explained", "r2"),
    Renaming("python", "qnerf.attention.settings.CaptureSettings", "qnerf.attention.settings.RecorderSettings"),
    Renaming("python", "qnerf.judges", "qnerf.classifiers"),
    Renaming("python", "qnerf.examine", "qnerf.evaluate_backbone"),
)
SOFT = "soft"
STRENGTH, STEP_SIZE = "guidance.strength", "guidance.step_size"
SOFT_CHOICES = {"guidance=soft", "+exp=paper"}  # of a command line: guidance.strength was the step size


def of_kind(kind: Kind) -> dict[str, str]:
    """Old name -> new name."""
    return {item.old: item.new for item in TABLE if item.kind == kind}


def new_key(key: str, is_soft: bool = False) -> str | None:
    """The name of a setting that had this dotted key, or none where it had not. is_soft: the guidance is."""
    method, rest = re.fullmatch(r"(baselines\.[^.]+\.)?(.*)", key).groups(default="")  # pyright: ignore[reportOptionalMemberAccess]
    for old, new in of_kind("setting").items():
        if (rest == old or rest.startswith(f"{old}.")) and (old != STRENGTH or is_soft):
            return method + new + rest.removeprefix(old)
    return None


def answer(key: str, is_soft: bool = False) -> str | None:
    """The sentence for a setting under its old key, or none where it is no old key."""
    new = new_key(key, is_soft)
    return new and f"{key}: this setting has a new name; write {new}=… instead"


def answer_words(arguments: Sequence[str], renamed: Mapping[str, str]) -> list[str]:
    """The sentences for the words of a command line that were renamed, as a whole or before their `=`."""
    new = {word: renamed.get(word) or _renamed_key(word, renamed) for word in arguments}
    return [f"{word}: this has a new name; write {found} instead" for word, found in new.items() if found]


def _renamed_key(word: str, renamed: Mapping[str, str]) -> str | None:
    key, equals, value = word.partition("=")
    return f"{renamed[key]}={value}" if equals and key in renamed else None


def figure(name: str) -> str:
    """A figure's name today."""
    return of_kind("figure").get(name, name)


def column(name: str, is_soft: bool = False) -> str:
    """A column of results.csv under today's name: a setting, a figure, or `methods.<method>.<figure>`."""
    method, dot, last = name.rpartition(".")
    is_figure = not dot or method.startswith("methods.")
    return method + dot + figure(last) if is_figure and figure(last) != last else new_key(name, is_soft) or name


def command(line: str) -> str:
    """A command line with today's names of its settings, and of the figures that a search is after."""
    words = shlex.split(line)
    found = [_word(word, is_soft_command(line)) for word in words]
    return line if found == words else shlex.join(found)


def is_soft_command(line: str) -> bool:
    """Whether a command line chooses soft guidance."""
    return bool(SOFT_CHOICES & set(shlex.split(line)))


def _word(word: str, is_soft: bool) -> str:
    key, equals, value = word.partition("=")
    plain = key.lstrip("+~")
    if plain == "sweep.objectives":
        value = re.sub(r"\w+", lambda match: figure(match[0]), value)
    return key[: len(key) - len(plain)] + (new_key(plain, is_soft) or plain) + equals + value


def config(old: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run folder's config.yaml under today's keys."""
    found: dict[str, Any] = {}
    for path, value, is_soft in _leaves(old):
        *parents, last = (new_key(".".join(path), is_soft) or ".".join(path)).split(".")
        node = found
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = [figure(name) for name in value] if path == ("sweep", "objectives") else value
    return found


def _leaves(node: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, bool]]:
    """Every value that is no filled dictionary, its path, and whether it is one of soft guidance."""
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, str(key)))
        else:
            yield (*path, str(key)), value, node.get("name") == SOFT


PAGE = """# Names that have changed

`python -m qnerf.common.renamed` writes this page from the table that the code uses. A test checks that the two
are the same.

If a command line or a config file has an old name, the error gives the new one. Folders of finished runs and
sweeps are read under the new names, by `qnerf compare`, `python -m qnerf.benchmark` and `qnerf dashboard`. Runs
that were tracked at W&B keep the old names there. A run that was interrupted before the change starts again.

| what | old | new |
|---|---|---|
"""
KINDS = {
    "setting": "setting",
    "figure": "figure",
    "command": "command: `qnerf …`, `python -m qnerf.…`",
    "stage": "stage of `qnerf pretrain`",
    "evaluation": "setting and group of `qnerf evaluate_backbone`",
    "tracked": "tracked figure `<method>/…/<layer>`, and record of a field",
    "python": "Python name",
}
NOTES = {
    "capture": " (the choices too: `capture=decoder`, `capture.layers`, `baselines.<name>.capture`)",
    STRENGTH: " of soft guidance",
}
TAIL = """
`guidance.strength` has one meaning now: the share of rendered queries in mixed guidance.

Words: *warp error* was "disagreement", *R²* was "trust" or "explained", *recorded* queries were "captured",
and a *capture* is now only a set of photographs with cameras.
"""


def page() -> str:
    """docs/names.md."""
    rows = [f"| {KINDS[item.kind]} | `{item.old}`{NOTES.get(item.old, '')} | `{item.new}` |" for item in TABLE]
    return PAGE + "\n".join(rows) + "\n" + TAIL


if __name__ == "__main__":
    print(page(), end="")
