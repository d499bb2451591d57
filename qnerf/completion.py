"""Tab completion of commands, groups, choices and keys: `eval "$(qnerf completion bash)"`, once or in ~/.bashrc.

It serves `qnerf run …`, `python -m qnerf.run …` and `python qnerf/run.py …`, likewise validate, with or without -m. Hydra's own
(`--shell-completion`) knows the last of them alone.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from qnerf.__main__ import COMMANDS
from qnerf.composing.apart import hydra_apart
from qnerf.composing.overrides import first_value, without_options
from qnerf.run import CONFIGS, USER_ERROR

SHELLS = ("bash", "zsh")
USAGE = 'Usage: eval "$(qnerf completion bash)" (or zsh), once or in your shell\'s start-up file'
TAKES_OVERRIDES = ("run", "validate")
MODULE = re.compile(r"^\S*python[\d.]*\s+-m\s+qnerf\.(\w*)$")  # the command itself is being written
WAYS = (re.compile(r"^\S*python[\d.]*\s+-m\s+qnerf\."), re.compile(r"^\S*python[\d.]*\s+(?:\S*/)?qnerf/(?=\w+\.py)"))
SUFFIX = re.compile(r"^(qnerf \w+)\.py\b")

SCRIPT = r"""_qnerf_complete() {
  local line="${COMP_LINE:0:$COMP_POINT}"
  [[ "$line" == *qnerf* ]] || return 0
  local word="${line##* }"
  COMPREPLY=($(compgen -W "$(qnerf completion query "$line" 2>/dev/null)" -- "$word"))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
COMP_WORDBREAKS=${COMP_WORDBREAKS//:}
complete -o nospace -o default -o bashdefault -F _qnerf_complete qnerf python python3
"""
ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def main(arguments: Sequence[str]) -> int:
    """0: the script, or the words that may follow, are printed; 2: neither was asked for."""
    if {"-h", "--help"} & set(arguments):
        print(USAGE)
        return 0
    if len(arguments) == 1 and arguments[0] in SHELLS:
        print((ZSH if arguments[0] == "zsh" else "") + SCRIPT, end="")
        return 0
    if len(arguments) == 2 and arguments[0] == "query":
        print("\n".join(candidates(arguments[1])))
        return 0
    print(f"qnerf: {' '.join(arguments) or 'no shell'}: expected bash or zsh. {USAGE}", file=sys.stderr)
    return USER_ERROR


def candidates(line: str) -> list[str]:
    """The words that may stand in the place of the last word of a command line, which may be empty."""
    if module := MODULE.match(line):
        return [f"qnerf.{name}" for name in COMMANDS if name.startswith(module[1])]
    for way in WAYS:
        line = way.sub("qnerf ", line)
    program, *words = SUFFIX.sub(r"\1", line).split()
    words += [""] if line.endswith(" ") else []
    if program.rpartition("/")[2] != "qnerf" or not words:
        return []
    if len(words) == 1:
        return [name for name in COMMANDS if name.startswith(words[0])]
    command, *before, last = words
    return _overrides(before, last) if command in TAKES_OVERRIDES else []


def _overrides(before: Sequence[str], last: str) -> list[str]:
    """Groups, choices and keys. Of several values (`guidance=soft,ha`) the last is completed."""
    from hydra._internal.core_plugins.bash_completion import BashCompletion
    from hydra.core.global_hydra import GlobalHydra

    if last.startswith("-"):
        return [flag for flag in ("-m", "--multirun", "--config-dir", "--cfg", "--help") if flag.startswith(last)]
    key, _, values = last.partition("=")
    earlier, comma, value = values.rpartition(",")
    asked = f"{key}={value}" if comma else last
    with hydra_apart(CONFIGS):
        known = [first_value(word, [CONFIGS]) for word in without_options(before)]
        completion = BashCompletion(GlobalHydra.instance().config_loader())
        found = completion._query("config", " ".join([*known, asked]) if asked else " ".join([*known, ""]))
    return sorted(f"{key}={earlier},{word.partition('=')[2]}" if comma else word for word in found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
