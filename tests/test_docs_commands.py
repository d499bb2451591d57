"""Every command in the documents' blocks is composed by what checks settings, run, or looked for, if no test can run it."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from qnerf.__main__ import module_of
from qnerf.ls import main as list_choices
from qnerf.planning.cells import plan_command
from qnerf.run import CONFIGS
from qnerf.store.__main__ import _parser as store_options
from tests.documents import PAGES, ROOT, named, tokens

SHELLS = {"", "bash", "sh", "shell", "console"}
STARTS = re.compile(r"\s*(\$ )?([A-Z_]+=\S+ )*(\S*/)?(python[\d.]*|qnerf|make|pip|for|git|cd)\s")
"""How a line of a block begins that is a command, and no drawing or output."""
LOOKED_FOR = ("benchmarks", "qnerf.pretrain", "qnerf.evaluate_backbone", "qnerf.scenes.procedural.build")  # costly, or they write
PLUGIN = ROOT / "tests" / "plugin" / "qnerf_example" / "conf"  # what tests/test_plugins.py installs and runs
WRITERS = ("qnerf.metrics", "qnerf.settings_page")  # of pages, which tests hold against them
MARK = re.compile(r"\b(costly|interactive)\b")
"""In a comment behind a command, or in an HTML comment before its block: a test cannot run it."""


@dataclass(frozen=True)
class Command:
    """One command of a document: its words, whether it has a gap to be filled in (`<folder>`), and whether it is marked."""

    words: tuple[str, ...]
    gaps: bool
    marked: bool


def commands(path: Path) -> Iterator[Command]:
    """What the fenced blocks of a page would have a shell do."""
    before = ""
    for token in tokens(path):
        if token.type == "fence" and token.info.strip().partition(" ")[0] in SHELLS:
            whole = before.startswith("<!--") and MARK.search(before) is not None
            for line in token.content.replace("\\\n", " ").splitlines():
                yield from commands_of(line, whole)
        before = token.content


def commands_of(line: str, marked: bool = False) -> Iterator[Command]:
    text, _, comment = line.partition(" #")
    if not STARTS.match(text):
        return
    marked = marked or MARK.search(comment) is not None
    filled = re.sub(r"\$\([^()]*\)|\$\w+|<[^<>]*>|…", "GAP", text)
    lexer = shlex.shlex(filled, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    for word in [*lexer, ";"]:
        if not set(word) <= set(";&|"):
            words.append(word)
            continue
        while words and (words[0] in ("$", "do", "then") or re.match(r"[A-Z_]+=", words[0])):
            words.pop(0)
        if words and re.fullmatch(r"(\S*/)?python[\d.]*|qnerf|make|pip", words[0]):
            yield Command(tuple(words), any("GAP" in part for part in words), marked)
        words = []


def problem(command: Command) -> str | None:
    """What is wrong with a command, or None: composed by what checks its settings, run, or looked for, if it cannot be run."""
    program, *rest = command.words
    if program == "make":
        known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        wrong = [word for word in rest if "=" not in word and word not in known]
        return f"no target of the Makefile: {wrong}" if wrong else None
    if program == "pip":
        return _unknown_extras(rest)
    module = module_of(rest[0]) if program == "qnerf" else rest[1] if rest[:1] == ["-m"] else None
    arguments = rest[1:] if program == "qnerf" else rest[2:]
    if module is None:
        script = next((word for word in rest if word.endswith(".py")), None)
        return None if script is None or (ROOT / script).is_file() else f"no such file: {script}"
    if module == "qnerf.--help":
        return None
    if not module.startswith(("qnerf", "benchmarks")):
        return None
    if find_spec(module) is None:
        return f"no such module: {module}"
    if any(word.startswith("--config-dir") for word in arguments):
        return _unknown_choices(arguments)
    if module in ("qnerf.run", "qnerf.validate"):
        return _composed(tuple(word for word in arguments if word != "-m"))
    if module == "qnerf.ls" and "GAP" not in arguments and not command.marked:
        return "it fails" if list_choices(arguments) else None
    if module == "qnerf.store" and not _parses(arguments):
        return f"qnerf store does not take {arguments}"
    kept = bool(arguments) and all((ROOT / word).exists() for word in arguments)  # figures of ours, to be looked at
    if kept or command.gaps or command.marked or module.startswith((*LOOKED_FOR, "qnerf.store")) or module in WRITERS:
        return None
    return "neither composed, nor run, nor marked: put `# costly` or `# interactive` behind it, or give it to this test"


def _parses(arguments: list[str]) -> bool:
    try:
        return bool(store_options().parse_args(arguments))
    except SystemExit:
        return False


@cache
def _composed(overrides: tuple[str, ...]) -> str | None:
    filled = ["+exp=smoke" if o == "+exp=GAP" else o for o in overrides if "GAP" not in o.partition("=")[0]]
    return "; ".join(plan_command(filled, CONFIGS).errors) or None


def _unknown_choices(arguments: list[str]) -> str | None:
    """Of a command with a plug-in: choices that neither the package's configs have nor the example's."""
    pairs = [
        (group, name) for word in arguments for group, sign, names in [word.partition("=")] if sign for name in names.split(",")
    ]
    folders = [folder for folder in (CONFIGS, PLUGIN) if folder.is_dir()]
    asked = [(group, name) for group, name in pairs if (CONFIGS / group.lstrip("+")).is_dir() and not name.startswith("[")]
    wrong = [pair for pair in asked if not any((folder / pair[0].lstrip("+") / f"{pair[1]}.yaml").is_file() for folder in folders)]
    return f"no such choices: {wrong}" if wrong else None


def _unknown_extras(words: list[str]) -> str | None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    asked = [name for word in words for group in re.findall(r"(?:qnerf|\.)\[([\w,-]+)\]", word) for name in group.split(",")]
    wrong = [name for name in asked if name not in extras]
    return f"no extras of qnerf: {wrong}" if wrong else None


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_command_is_good(path: Path) -> None:
    found = {" ".join(command.words): problem(command) for command in commands(path)}
    assert {command: wrong for command, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("python -m qnerf.run guidance.strenght=0.3  # one setting", "nearest valid: guidance.strength"),
        ("for seed in 1 2; do python -m qnerf.run seed=$seed steps=0; done", "steps: got"),
        ("git clone <url> && cd qnerf && make dmo", "no target of the Makefile"),
        ("qnerf lss guidance", "no such module: qnerf.lss"),
        ("qnerf compare outputs/sweeps", "neither composed, nor run"),
        ("qnerf run --config-dir my_package/conf inversion=straigt", "no such choices: [('inversion', 'straigt')]"),
        ("qnerf store lst", "does not take"),
        ("pip install 'qnerf[jblib]'", "no extras of qnerf"),
        ("python experiments/no_such.py", "no such file"),
    ],
)
def test_a_bad_command_is_found(line: str, wrong: str) -> None:
    assert wrong in "; ".join(str(problem(command)) for command in commands_of(line))
