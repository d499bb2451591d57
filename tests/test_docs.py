"""The documents keep to the code: links and anchors lead somewhere, commands are good, § references have their section, generated
pages are as the code would write them. What each page looks like is `make docs`'s to build."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

import qnerf
from qnerf.ls import main as list_choices
from qnerf.planning.cells import plan_command
from qnerf.run import CONFIGS
from qnerf.settings_page import page
from qnerf.store.__main__ import _parser as store_options

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "experiments").glob("*/README.md")), *DOCS]
METHOD = ROOT / "docs" / "method.md"


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tokens(path: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))


# Links and anchors.


def targets(path: Path) -> Iterator[str]:
    """Where a page's links and pictures lead."""
    for token in tokens(path):
        for part in (token, *(token.children or ())):
            if isinstance(target := part.attrs.get("href") or part.attrs.get("src"), str):
                yield target
            if part.type.startswith("html"):
                yield from re.findall(r'(?:href|src)="([^"]+)"', part.content)


@cache
def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings: on the site for pages of docs/, on GitHub for others."""
    found: set[str] = set()
    for before, token in zip(tokens(path), tokens(path)[1:], strict=False):
        if before.type == "heading_open":
            text = "".join(part.content for part in token.children or ())
            slug = site_slug(text) if path in DOCS else github_slug(text)
            found.add(slug)
    return found | set(re.findall(r'(?:id|name)="([^"]+)"', path.read_text(encoding="utf-8")))


def site_slug(text: str) -> str:
    """As Python-Markdown's table of contents makes them."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def github_slug(text: str) -> str:
    return re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")


def is_there(target: str, page_: Path) -> bool:
    """Whether a relative link of a page leads to a file or folder and, if it names one, to an anchor in it."""
    place, _, anchor = target.partition("#")
    path = (page_.parent / place).resolve() if place else page_
    if path.name.endswith("_notebook.md"):  # made of the notebook when the site is built
        return path.with_name(path.name.replace("_notebook.md", ".ipynb")).is_file()
    if not path.exists():
        return False
    if anchor.startswith("qnerf."):  # an object of the Python interface
        shown = re.findall(r"^::: (\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        return any(f"{anchor}.".startswith(f"{name}.") for name in shown)
    return not anchor or path.suffix != ".md" or anchor in anchors(path)


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_link_leads_somewhere(path: Path) -> None:
    local = [target for target in targets(path) if not re.match(r"[a-z]+:", target)]
    assert [target for target in local if not is_there(target, path)] == []


def test_anchors_are_what_the_site_and_github_make_of_headings() -> None:
    assert site_slug("1.2 A DDIM step: ẑ0, `steps`") == "12-a-ddim-step-z0-steps"
    assert github_slug("What a run leaves: R², a & b") == "what-a-run-leaves-r²-a--b"


# Commands.

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
    module = f"qnerf.{rest[0]}" if program == "qnerf" else rest[1] if rest[:1] == ["-m"] else None
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
        return _composed(tuple(arguments))
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


# The method page: what points to it, and what it points to.


def sections() -> set[str]:
    """The numbers of the method page's headings."""
    return set(re.findall(r"^#+ (\d+(?:\.\d+)*)\.? ", METHOD.read_text(encoding="utf-8"), re.MULTILINE))


def references() -> Iterator[tuple[str, str]]:
    """Every § that code and documents name, with the file."""
    for folder in ("qnerf", "tests", "benchmarks", "experiments", "conf", "docs"):
        for path in (path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".py", ".yaml", ".md")):
            text = path.read_text(encoding="utf-8")
            for found in re.findall(r"method\.md[\s#]+(§[\d.]+(?:(?:,| and| to)?[\s#]+§[\d.]+)*)", text):
                yield from ((named(path), number.rstrip(".")) for number in re.findall(r"§([\d.]+)", found))
    own = re.findall(r"(?<!, )§(\d[\d.]*)", METHOD.read_text(encoding="utf-8"))  # behind a comma: of a paper
    yield from ((named(METHOD), number.rstrip(".")) for number in own)


def test_every_reference_to_the_method_has_its_section() -> None:
    found = list(references())
    assert len(found) > 40
    assert [reference for reference in found if reference[1] not in sections()] == []


def test_every_reference_names_the_page() -> None:
    """So that a reader of the code finds it: "docs/method.md §2.4", and no other name of it."""
    texts = {named(path): path.read_text(encoding="utf-8") for path in (ROOT / "qnerf").rglob("*.py")}
    wrong = [name for name, text in texts.items() if re.search(r"METHOD\W*§", text)]
    assert wrong == []


def test_every_file_and_name_of_the_method_page_exists() -> None:
    text = METHOD.read_text(encoding="utf-8")
    assert [path for path in re.findall(r"`((?:qnerf|conf)/[\w/.]*)`", text) if not (ROOT / path).exists()] == []
    wrong = []
    for path, names in re.findall(r"`(qnerf/[\w/]+\.py)`\s\(([^)]*)\)", text):
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        there = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef)}
        wrong += [(path, name) for name in re.findall(r"`(\w+)`", names) if name not in there]
    assert wrong == []


# The pages of the Python interface and of the settings.


def test_every_public_name_is_documented() -> None:
    shown = re.findall(r"^::: qnerf\.(\w+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(shown) == sorted(qnerf.__all__)


def test_the_page_of_settings_is_that_of_the_settings() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page(), "python -m qnerf.settings_page > docs/settings.md"


def test_every_setting_has_a_meaning() -> None:
    rows = [line.strip("| ").split(" | ") for line in page().splitlines() if line.startswith("| `")]
    assert len(rows) > 150
    assert [row[0] for row in rows if not row[-1].strip() or row[-1].startswith("`")] == []
