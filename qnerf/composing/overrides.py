"""Hydra's own complaints (unknown keys, groups and choices, bad syntax) as sentences, all of them together.

Hydra stops at the first bad override, before our code sees a config. So when it has stopped, the overrides are tried
again by the compose API: each one that Hydra refuses is explained and left out, until the rest composes; the rest is
then validated as usual.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from qnerf.common import renamed
from qnerf.common.messages import nearest, sentence
from qnerf.composing.apart import hydra_apart
from qnerf.composing.grids import several_values
from qnerf.composing.presets import drop_left_over
from qnerf.composing.search_path import SEARCH_PATH
from qnerf.variants import KINDS, problems, variants

Folders = Sequence[Path]

REFUSALS = (HydraException, OmegaConfBaseException)
OPTIONS = {
    "--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--cfg", "-c", "--package", "-p", "--info", "-i",
    "--shell-completion", "-sc", "--experimental-rerun",
}  # fmt: skip  # of Hydra, with a value
INFO = ("--info", "-i")


def explain_refusal(
    refusal: Exception, overrides: Sequence[str], folder: Path, check: Callable[[DictConfig], list[str]]
) -> list[str]:
    """Every error in `overrides`, for the configs in `folder` and in the search path that they bring; `check` gives the errors of a
    config that composes."""
    places = [o for o in overrides if o.startswith(f"{SEARCH_PATH}=")]
    folders = search_folders(folder, overrides)
    remaining = [o for o in without_options(overrides) if not o.startswith("hydra")]
    dashed = [f"{o}: not an option; write {o.lstrip('-')} instead" for o in overrides if _is_dashed_setting(o)]
    with hydra_apart(folder):
        if not {"-m", "--multirun"} & set(overrides):
            return [*dashed, *_errors(remaining, places, folders, check)] or [_plain(refusal)]
        first = [first_value(o, folders) for o in remaining]
        if errors := [*dashed, *_errors(first, places, folders, check)]:
            return errors
        for place, swept in enumerate(remaining):  # the first cell is right: at which other choice of files is the mistake?
            for value in each_value(swept, folders)[1:] if _is_choice(swept, folders) else ():
                found = _errors([*first[:place], value, *first[place + 1 :]], places, folders, check)
                errors += [error if value in error else f"at {value}: {error}" for error in found]
        return errors or [_plain(refusal)]


def _errors(
    overrides: Sequence[str], places: Sequence[str], folders: Folders, check: Callable[[DictConfig], list[str]]
) -> list[str]:
    """Every error in the overrides of one run."""
    choices = [o for o in overrides if _is_choice(o, folders)]
    errors, choices, config = _compose_rest([*places, *choices], folders)
    # Composing takes a tenth of a second, so the unknown keys, the commonest mistake, are all found in one config.
    keys = [o for o in overrides if not _is_choice(o, folders)]
    known = {*keys_of(config), *_groups(folders)}
    unknown = [o for o in keys if not o.startswith(("+", "~")) and _parses(o) and _key(o) not in known]
    errors += [_unknown_key(_key(o), folders, config) for o in unknown]
    more, _, config = _compose_rest([*choices, *(o for o in keys if o not in unknown)], folders)
    drop_left_over(config, overrides)
    return [*errors, *more, *check(config)]


def search_folders(folder: Path, overrides: Sequence[str]) -> list[Path]:
    """The folder of configs, and those that the overrides add to Hydra's search path."""
    return [folder, *(path for o in overrides if o.startswith(f"{SEARCH_PATH}=") for path in _searched(o))]


def without_options(arguments: Sequence[str]) -> list[str]:
    """A command line without Hydra's options and their values: its overrides."""
    return _split_options(arguments)[1]


def options_first(arguments: Sequence[str]) -> list[str]:
    """A command line with Hydra's options before the overrides: Hydra takes them in no other order than all overrides in a row."""
    options, overrides = _split_options(arguments)
    return [*options, *overrides]


def _split_options(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Hydra's options with their values, and the overrides."""
    options, overrides, after = [], [], ""
    for word in arguments:
        is_value = after in OPTIONS and not (after in INFO and "=" in word)  # `--info` may stand alone
        (options if is_value or word.startswith("-") else overrides).append(word)
        after = "" if is_value else word
    return options, overrides


def _compose_rest(overrides: list[str], folders: Folders) -> tuple[list[str], list[str], DictConfig]:
    """The overrides that Hydra refuses explained, those that it takes, and the config that these compose."""
    errors, kept = [], list(overrides)
    while True:
        try:
            return errors, kept, compose("config", kept)
        except REFUSALS as error:
            culprit = _culprit(error, kept)
            if culprit is None:  # nobody to blame: the bare config has to do
                return [*errors, _plain(error)], [], compose("config")
            errors.append(_explain(error, culprit, folders, compose("config")))
            kept.remove(culprit)


def first_value(override: str, folders: Folders = ()) -> str:
    """One override of a sweep (`a=1,2`, `a=range(3)`, `a=interval(1, 2)`, and of the groups in `folders` `a=glob(*)`) as that of
    its first job; any other as it is."""
    return next(iter(each_value(override, folders)), override)


def each_value(override: str, folders: Folders) -> list[str]:
    """One override of a sweep as that of each of its jobs, an interval's by its start; any other alone."""
    try:
        parsed = OverridesParser.create().parse_override(override)
        if not parsed.is_sweep_override():
            return [override]
        sweep = parsed.value()
        if isinstance(sweep, Glob):
            values = sweep.filter(_choices(folders, _key(override)))
        else:
            values = [sweep.start] if isinstance(sweep, IntervalSweep) else list(parsed.sweep_string_iterator())
        return [f"{override.split('=', 1)[0]}={value}" for value in values]
    except REFUSALS:
        return [override]


def editor_clashes(overrides: Sequence[str]) -> list[str]:
    """A sentence for each override that chooses an editor twice, or `plain` beside another. Hydra merges their files, after which
    nothing tells of the first; other pairs leave keys of both (`combination_problem`)."""
    found: dict[str, None] = {}
    for override in overrides:
        if override.startswith("-") or not _parses(override) or _key(override).split("@")[0] != "editor":
            continue
        parsed = OverridesParser.create().parse_override(override)
        values = parsed.sweep_string_iterator() if parsed.is_discrete_sweep() else [parsed.get_value_string()]
        for value in values:
            names = [name.strip(" '\"") for name in str(value).strip("[]").split(",")]
            twice = sorted({name for name in names if names.count(name) > 1})
            editors = [name for name in names if name != "plain" and not problems() and name in variants("editors")]
            if twice:
                found[f"{override}: {twice[0]} is chosen twice; expected each once: leave one out"] = None
            elif "plain" in names and editors:
                found[
                    f"{override}: plain changes nothing that the model attends to, so that it does not go with {editors[0]}; "
                    "expected one of them: choose one"
                ] = None
    return list(found)


def _culprit(error: Exception, overrides: Sequence[str]) -> str | None:
    """The override that this refusal is about: Hydra names its key in the message, or its value as a missing config."""
    if isinstance(error, OverrideParseException):
        return next((o for o in overrides if o == error.override), None)
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        choice = error.missing_cfg_file.removesuffix(".yaml")
        return next((o for o in overrides if _key(o).split("@")[0] == choice.rsplit("/", 1)[0]), None)
    named = [o for o in overrides if re.search(rf"(?<![\w.]){re.escape(_key(o))}(?![\w.])", text)]
    return max(named, key=lambda o: len(_key(o)), default=None)


def _explain(error: Exception, override: str, folders: Folders, base: DictConfig) -> str:
    key = _key(override)
    if answer := _renamed(error):
        return answer
    if isinstance(error, OverrideParseException) and override in _choices(folders, "exp"):
        return f"{override}: not a valid override; write +exp={override} for the experiment of that name"
    if isinstance(error, OverrideParseException):
        return f"{override}: not a valid override ({_plain(error)}); expected key=value, in quotes if it has special characters"
    if isinstance(error, MissingConfigException):
        group, _, choice = (error.missing_cfg_file or key).removesuffix(".yaml").rpartition("/")
        problem = f"there is no {group}/{choice}.yaml in conf/"
        if _is_installed(group, choice):
            return f"{override}: {problem}; {choice} is of an installed package: add --config-dir <the package's folder of configs>"
        return sentence(override, problem, choice, _choices(folders, group))
    if override.startswith("~"):
        return f"{override}: {_plain(error)}; {_without(key, folders, base)}"
    if is_sweep_override(override):
        return several_values(override)
    if key in _groups(folders) and not override.startswith("+"):
        choices = ", ".join(_choices(folders, key))
        return f"{override}: {key} has no default to replace; write +{override} (expected one of {choices})"
    if override.startswith("+"):
        return f"{override}: {_plain(error)}; write {override.lstrip('+')} to change a key that exists"
    return _unknown_key(key, folders, base)


def is_sweep_override(override: str) -> bool:
    """Whether it has several values, or an interval."""
    try:
        return OverridesParser.create().parse_override(override).is_sweep_override()
    except REFUSALS:
        return False


def _without(key: str, folders: Folders, base: DictConfig) -> str:
    """What to write instead of taking a key out, which is seldom what a run can do without."""
    if key in _groups(folders):
        empty = OmegaConf.is_dict(base.get(key)) and key == "baselines"
        return f"write {key}=[] for none" if empty else f"a run needs one; write {key}=<name>"
    return f"write {key}=null where it may have no value"


def _is_installed(group: str, choice: str) -> bool:
    """Whether a variant of this name is there, which then is a plug-in's, since its config is not."""
    kinds = [kind for kind in KINDS if group in (kind.split(".")[0], kind.split(".")[0].removesuffix("s"))]
    return bool(kinds) and not problems() and any(choice in variants(kind) for kind in kinds)


def _is_dashed_setting(word: str) -> bool:
    """Whether a word is a setting with the dashes of an option, such as `--guidance.strength=0.3`."""
    key, equals, _ = word.partition("=")
    return bool(equals) and key.startswith("--") and key not in OPTIONS


def _unknown_key(key: str, folders: Folders, base: DictConfig) -> str:
    is_soft = OmegaConf.select(base, f"{key.rpartition('.')[0]}.name") == renamed.SOFT
    if answer := renamed.answer(key, is_soft):
        return answer
    keys = keys_of(base)
    close = nearest(key, {*keys, *_groups(folders)})
    parent = key.rsplit(".", 1)[0] if "." in key else ""
    siblings = sorted(k for k in keys if (k.rsplit(".", 1)[0] if "." in k else "") == parent)
    hint = f"; nearest valid: {close}" if close else ""
    return f"{key}: unknown key{hint}; expected one of {', '.join(siblings or sorted(str(k) for k in base))}"


def _searched(place: str) -> list[Path]:
    """The folders of an override of Hydra's search path; none where it cannot be read, of which Hydra complains itself."""
    try:
        found = OverridesParser.create().parse_override(place).value()
    except REFUSALS:
        return []
    return [Path(str(item).removeprefix("file://")) for item in found] if isinstance(found, list) else []


def _groups(folders: Folders) -> list[str]:
    return sorted({str(p.relative_to(folder)) for folder in folders for p in folder.rglob("*") if p.is_dir()})


def _choices(folders: Folders, group: str) -> list[str]:
    return sorted(path.stem for folder in folders for path in (folder / group).glob("*.yaml"))


def _is_choice(override: str, folders: Folders) -> bool:
    """Whether an override chooses a file (`guidance=hard`, `+exp=compare`) rather than setting a value."""
    return _key(override).split("@")[0] in _groups(folders)


def _parses(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except REFUSALS:
        return False
    return True


def keys_of(config: DictConfig, prefix: str = "") -> list[str]:
    """Every dotted key of a config, inner nodes included."""
    keys: list[str] = []
    container: Any = OmegaConf.to_container(config, resolve=False)
    stack = [(prefix, container)]
    while stack:
        name, node = stack.pop()
        keys += [name] if name else []
        if isinstance(node, dict):
            stack += [(f"{name}.{k}" if name else str(k), v) for k, v in node.items()]
    return keys


def _key(override: str) -> str:
    return override.split("=", 1)[0].lstrip("+~")


def _renamed(error: Exception) -> str | None:
    """The sentence for a setting or a group whose old name Hydra does not find, also inside a config file."""
    found = re.search(r"(?:In '(?P<file>[^']+)': )?Could not (?:override|find) '/?(?P<name>[\w.]+)", str(error))
    answer = found and renamed.answer(found["name"])
    return f"{found['file']}.yaml: {answer}" if found and found["file"] and answer else answer


def _plain(error: Exception) -> str:
    """The first line of an error's message, without a final full stop; of an old name, the sentence for
    it."""
    if answer := _renamed(error):
        return answer
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
