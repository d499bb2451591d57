"""`qnerf <command> …`: the same as `python -m qnerf.<command> …`."""

from __future__ import annotations

import runpy
import sys

from qnerf import __version__
from qnerf.common import renamed

USER_ERROR = 2
COMMANDS = {
    "run": "run an edit, or with -m a sweep",
    "validate": "check a command line, and estimate its cost",
    "inspect": "look at a capture: cameras, proxy, verdicts",
    "export": "write the edited views as a capture for other programs",
    "pose": "make a proxy: a skeleton or a box by mouse, or a skeleton of 2-D keypoints",
    "ls": "list the experiments and choices",
    "watch": "show how far a sweep is, on a page that refreshes",
    "compare": "write the page of a sweep",
    "diff": "say what differs between two runs",
    "sync": "tell finished runs to W&B, TensorBoard or MLflow",
    "completion": "print the script that completes commands with the tab key",
    "measure": "measure edited views by any method, ours or not",
    "rate": "write a page on which raters choose between unnamed edits",
    "benchmark": "write the tables and charts of the benchmark's sweep",
    "dashboard": "make a dashboard of a sweep at W&B",
    "store": "list, check and prune the artefact store",
    "weights": "make pickled weights into files that are read",
    "pretrain": "train the embedded backbone",
    "evaluate_backbone": "measure the embedded backbone on held-out views",
}
MODULES = {"measure": "measure_views"}
"""Where a command is not the module of its own name: `qnerf.measure` is a function of the library."""


def module_of(command: str) -> str:
    """The module that a command runs."""
    return f"qnerf.{MODULES.get(command, command)}"


def main() -> None:
    """Exit code 2 where there is no such command, else the command's own."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        width = max(map(len, COMMANDS))
        lines = [f"  qnerf {command:<{width}}  {meaning}" for command, meaning in COMMANDS.items()]
        if name in ("-h", "--help"):
            print("\n".join(["Usage: qnerf <command> …", *lines, "", "To begin: qnerf run +exp=smoke (half a minute), qnerf ls"]))
            raise SystemExit(0)
        if name == "--version":
            print(f"qnerf {__version__}")
            raise SystemExit(0)
        if new := renamed.of_kind("command").get(name):
            print(f"qnerf: the command {name} has a new name; run qnerf {new} instead", file=sys.stderr)
        else:
            print("\n".join([f"qnerf: {name or 'no command'!r} is not valid; expected one of:", *lines]), file=sys.stderr)
        raise SystemExit(USER_ERROR)
    sys.argv = [f"qnerf {name}", *sys.argv[2:]]
    runpy.run_module(module_of(name), run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
