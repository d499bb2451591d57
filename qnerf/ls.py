"""The named experiments and the choices of every group, one line each: `python -m qnerf.ls`,
`python -m qnerf.ls guidance`; with `--config-dir <folder>` also those of that folder.

The lines are the first comments of the config files, so they are always up to date.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from qnerf.common.descriptions import describe_choice
from qnerf.common.messages import sentence
from qnerf.composing.search_path import split_config_dirs
from qnerf.errors import UserError
from qnerf.run import CONFIGS, USER_ERROR

NOT_OF_THE_RUN = ("pretrain", "evaluate_backbone", "hydra")  # composed by their own entry point, or Hydra's own (launchers)


def main(arguments: Sequence[str]) -> int:
    """0: the list is printed; 2: a group is named that is not there."""
    try:
        names, folders = split_config_dirs(arguments)
        folders = [CONFIGS, *folders]
        print("\n\n".join(describe_group(group, folders) for group in chosen_groups(names, folders)))
    except UserError as error:
        print(f"qnerf: {error}", file=sys.stderr)
        return USER_ERROR
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


def _use(group: str) -> str:
    return "'baselines=[<name>,…]'" if group == "baselines" else f"{group}=<name>"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
