"""All settings, as docs/settings.md has them: `python -m qnerf.settings_page > docs/settings.md`.

Types and ranges come from the settings' own classes, values and comments from the files in conf/, so that the page has
no text of its own that could fall behind them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from qnerf.config import RunSettings
from qnerf.ls import chosen_groups, describe_choice
from qnerf.run import CONFIGS

HEAD = """# Settings

`python -m qnerf.settings_page` writes this page from the types of the settings and from the files in `conf/`; a test holds
them together.

Every key can be set on the command line, `python -m qnerf.run guidance.strength=0.3`. A *group* is a folder of `conf/`:
`guidance=soft` chooses the file `conf/guidance/soft.yaml`, whose keys then begin with `guidance.`. All mistakes of a command
line are reported at once, before anything is computed.
"""
PACKAGE = "# @package "
ADDITIONS = "additions"  # a mapping of an editor by names, whose keys have tables of their own
BESIDE = "beside"  # of a tracker, likewise
LISTED = ("exp", "baselines")  # groups whose files combine settings of other groups
FIRST = (
    "scene", "backbone", "inversion", "editor", "recorder", "field", "guidance", "schedule", "rgb_field", "source_field", "metrics",
    "tracker",
)  # fmt: skip

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """What a config file says of one key: the value as it is written, and the comment beside it."""

    value: str
    comment: str


def page() -> str:
    """The whole page as Markdown."""
    groups = [*FIRST, *(group for group in chosen_groups(()) if group not in (*FIRST, *LISTED))]
    hydra = [f"hydra/{path.name}" for path in sorted((CONFIGS / "hydra").iterdir())]
    parts = [HEAD, _top_level(groups), *(_group(group) for group in (*groups, *hydra)), *(_list(group) for group in LISTED)]
    return "\n".join(parts)


def _top_level(groups: Sequence[str]) -> str:
    keys = [key for key in schema()["properties"] if key not in groups and key not in LISTED]
    body = {"properties": {key: schema()["properties"][key] for key in keys}}
    own = {key: entry for key, entry in entries(CONFIGS / "config.yaml").items() if key.partition(".")[0] in keys}
    return f"## The run\nOf `conf/config.yaml`.\n\n{_table(body, {'default': own}, '', {})}"


def _group(group: str) -> str:
    """The choices of a group, and a table of keys for each settings class that they are of."""
    files = sorted((CONFIGS / group).glob("*.yaml"))
    classes: dict[str, list[Path]] = {}
    for path in files:
        classes.setdefault(_class_of(group, path), []).append(path)
    elsewhere = {key: entry.comment for path in files for key, entry in entries(path).items() if entry.comment}
    return f"## `{group}`\n" + "\n".join(_choice(group, members, elsewhere) for members in classes.values())


def _class_of(group: str, path: Path) -> str:
    """What tells the files of a group apart by their settings class: nothing where the group has one class; else their `name`, and
    of Hydra's own groups the file."""
    if group.startswith("hydra/"):
        return path.stem
    return entries(path)["name"].value.strip('"') if "discriminator" in schema()["properties"][group] else ""


def _choice(group: str, paths: Sequence[Path], elsewhere: Mapping[str, str]) -> str:
    """One settings class: the files that are of it, and its keys. elsewhere: comments of the group's other files."""
    hydra = group.startswith("hydra/")
    body = None if hydra else chosen(group, _class_of(group, paths[0]))
    title = ", ".join(f"`{group}={path.stem}`" for path in paths)
    table = _table(body, {path.stem: entries(path) for path in paths}, f"{_package(group, paths[0])}.", elsewhere)
    return f"### {title}\n" + ("" if hydra else f"{_choices(paths)}\n\n") + table


def _package(group: str, path: Path) -> str:
    """Where a file's keys are: under the group's name, unless its first line says otherwise."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix(PACKAGE) if first.startswith(PACKAGE) and group not in LISTED else group.replace("/", ".")


def _list(group: str) -> str:
    use = "`'baselines=[independent,hard]'`" if group == "baselines" else "`+exp=<name>`"
    return f"## `{group}`\nChosen by {use}.\n\n{_choices(sorted((CONFIGS / group).glob('*.yaml')))}\n"


def _choices(paths: Sequence[Path]) -> str:
    return "\n".join(f"- `{path.stem}`: {describe_choice(path)}." for path in paths)


def _table(body: Schema | None, files: Mapping[str, Mapping[str, Entry]], prefix: str, elsewhere: Mapping[str, str]) -> str:
    """Keys by rows; their values in each file, what is allowed (where a class says it) and their meaning by columns."""
    types = dict(leaves(body)) if body else {}
    seen = [(key, entry) for values in files.values() for key, entry in values.items()]
    written = dict.fromkeys(key for key, entry in seen if entry.value or key in types)
    rows = []
    for key in dict.fromkeys((*written, *types)):
        if key in ("name", ADDITIONS, BESIDE) or key.startswith("_"):
            continue
        found = [values.get(key, Entry("", "")) for values in files.values()]
        meaning = next((entry.comment for entry in found if entry.comment), elsewhere.get(key, ""))
        values = [f"`{entry.value}`" if entry.value else "" for entry in found]
        rows.append([f"`{prefix}{key}`", *values, *([allowed(types[key])] if body else []), escaped(meaning)])
    if not rows:
        return "No keys of its own.\n"
    head = ["key", *(files if len(files) > 1 else ["default"]), *(["allowed"] if body else []), "meaning"]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def escaped(text: str) -> str:
    """A comment as a cell of a Markdown table, without signs that mean something there."""
    return re.sub(r"([|*{}])", r"\\\1", text).replace("<", "&lt;")


@cache
def schema() -> Schema:
    """The JSON schema of all settings of a run."""
    return RunSettings.model_json_schema()


def resolved(part: Schema) -> Schema:
    """A part of the schema, where it refers to another the other one."""
    return schema()["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part


def chosen(group: str, name: str) -> Schema:
    """The schema of one choice of a group, by the `name` in its file."""
    part = schema()["properties"][group]
    mapping = {**part.get("discriminator", {}).get("mapping", {}), **(additions() if group == "editor" else {})}
    return resolved({"$ref": mapping[name]} if mapping else part)


def additions() -> Mapping[str, str]:
    """Where the schema has the additions to editors, by their names."""
    plain = resolved({"$ref": schema()["properties"]["editor"]["discriminator"]["mapping"]["plain"]})
    return plain["properties"][ADDITIONS]["additionalProperties"]["discriminator"]["mapping"]


def leaves(body: Schema, prefix: str = "") -> Iterator[tuple[str, Schema]]:
    """The keys of a settings class by their dotted names, those of the classes inside it for themselves."""
    for key, part in body["properties"].items():
        options = [resolved(option) for option in part.get("anyOf", [part])]
        inner = next((option for option in options if "properties" in option), None)
        if inner is None or len(options) > 1:
            yield prefix + key, part
        if inner is not None:
            yield from leaves(inner, f"{prefix}{key}.")


def allowed(part: Schema) -> str:
    """The values that a part of the schema takes, in words."""
    if "anyOf" in part:
        return " or ".join(allowed(resolved(option)) for option in part["anyOf"])
    if values := part.get("enum", [part["const"]] if "const" in part else []):
        return ", ".join(f"`{str(value).lower() if isinstance(value, bool) else value}`" for value in values)
    if "properties" in part:
        return "the keys below"
    if part.get("type") == "array":
        items = part.get("items") or part["prefixItems"][0]
        if "properties" in resolved(items):
            return f"list of {{{', '.join(resolved(items)['properties'])}}}"
        count = f"{part['maxItems']} of: " if "prefixItems" in part else ""
        return f"list of {count}{allowed(resolved(items))}"
    if part.get("type") == "object":
        return f"by word: {allowed(resolved(part['additionalProperties']))}"
    kinds = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text", "null": "`null`"}
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<", "multipleOf": "multiple of"}
    bounds = ", ".join(f"{sign} {part[key]:.10g}" for key, sign in signs.items() if key in part)
    return f"{kinds[part['type']]} {bounds}".strip()


@cache
def entries(path: Path) -> dict[str, Entry]:
    """Every key of a config file by its dotted name, with its value and comment; of a nested one also the parent's own comment."""
    text = path.read_text(encoding="utf-8")
    root, found = yaml.compose(text), {}
    lines = text.splitlines()
    stack = [("", pair) for pair in reversed(root.value)] if root else []
    while stack:
        prefix, (key, value) = stack.pop()
        nested = isinstance(value, yaml.MappingNode) and not value.flow_style
        end = key.end_mark if nested else value.end_mark
        comment = lines[end.line][end.column :].partition("# ")[2].strip() if end.line < len(lines) else ""
        written = "" if nested else text[value.start_mark.index : value.end_mark.index]
        found[prefix + key.value] = Entry(written, comment)
        stack += [(f"{prefix}{key.value}.", pair) for pair in reversed(value.value)] if nested else []
    return found


if __name__ == "__main__":
    print(page(), end="")
