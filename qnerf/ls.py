"""The named experiments and the choices of every group, one line each: `qnerf ls`, `qnerf ls guidance`; a choice with its
settings: `qnerf ls guidance soft`; with `--config-dir <folder>` also those of that folder.

The lines are the first comments of the config files, so they are always up to date.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from qnerf.common.descriptions import describe_choice
from qnerf.common.messages import sentence
from qnerf.composing.search_path import split_config_dirs
from qnerf.errors import UserError, told_in_a_sentence
from qnerf.run import CONFIGS

USAGE = """Usage: qnerf ls [GROUP …] [--config-dir FOLDER]
       qnerf ls GROUP CHOICE …

  GROUP                 a group of configs, such as exp (the experiments) or guidance: its choices, a line each; none: all
  CHOICE                one of the group's choices: its settings, with what each means
  --config-dir FOLDER   also the configs of that folder"""
NOT_OF_THE_RUN = ("pretrain", "evaluate_backbone", "hydra")  # composed by their own entry point, or Hydra's own (launchers)


def main(arguments: Sequence[str]) -> int:
    """0: the list is printed; 2: a group or choice is named that is not there."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    return told_in_a_sentence(lambda: _list(arguments))


def _list(arguments: Sequence[str]) -> int:
    names, folders = split_config_dirs(arguments)
    folders = [CONFIGS, *folders]
    groups = chosen_groups([], folders)
    if len(names) > 1 and names[0] in groups and not set(names[1:]) <= set(groups):
        print("\n\n".join(describe_settings(names[0], choice, folders) for choice in names[1:]))
    else:
        print("\n\n".join(describe_group(group, folders) for group in chosen_groups(names, folders)))
    return 0


def chosen_groups(names: Sequence[str], folders: Sequence[Path] = (CONFIGS,)) -> list[str]:
    """All groups, the experiments first, or those named. Raises UserError for a name that is none."""
    groups = sorted({p.name for folder in folders for p in folder.iterdir() if p.is_dir() and p.name not in NOT_OF_THE_RUN})
    groups.sort(key=lambda group: group != "exp")
    for name in names:
        if name not in groups:
            raise UserError(sentence(name, "there is no such group of configs", name, groups))
    return list(names) or groups


def describe_group(group: str, folders: Sequence[Path] = (CONFIGS,)) -> str:
    """A group's heading and its choices."""
    files = sorted((path for folder in folders for path in (folder / group).glob("*.yaml")), key=lambda path: path.stem)
    width = max(len(path.stem) for path in files)
    heading = "experiments: python -m qnerf.run +exp=<name>" if group == "exp" else f"{group}: python -m qnerf.run {_use(group)}"
    return "\n".join([heading, *(f"  {path.stem:<{width}}  {describe_choice(path)}" for path in files)])


def describe_settings(group: str, choice: str, folders: Sequence[Path] = (CONFIGS,)) -> str:
    """How a choice is made, and its config file, in which every setting has a comment. Raises UserError where there is none of this
    name."""
    files = {path.stem: path for folder in folders for path in sorted((folder / group).glob("*.yaml"))}
    name = choice.removesuffix(".yaml")
    if name not in files:
        raise UserError(sentence(f"{group} {choice}", f"there is no such choice of {group}", name, files))
    use = f"+exp={name}" if group == "exp" else _use(group).replace("<name>,…", name).replace("<name>", name)
    text = "".join(f"  {line}".rstrip() + "\n" for line in files[name].read_text(encoding="utf-8").splitlines())
    return f"{group}/{name}: python -m qnerf.run {use}\n{text}".rstrip()


def _use(group: str) -> str:
    return "'baselines=[<name>,…]'" if group == "baselines" else f"{group}=<name>"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
