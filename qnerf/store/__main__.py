"""python -m qnerf.store list|check|prune: what the artefact store holds, whether it is whole, and making it smaller."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from qnerf.common.files import now_at
from qnerf.errors import UserError, told_in_a_sentence
from qnerf.store.prune import damaged, entries, prune
from qnerf.store.store import Store

GIB = 2**30
DAMAGED = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1: check found damage; 2: an error that the user can correct."""
    options = _parser().parse_args(arguments)

    def work() -> int:
        if not options.store.is_dir():
            raise UserError(
                f"--store {options.store}: there is no such folder; expected the store of runs, by default outputs/store"
            )
        return {"list": _list, "check": _check, "prune": _prune}[options.command](Store(options.store), options)

    return told_in_a_sentence(work, "make the store's folder one that can be written")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="qnerf store", description=__doc__.split(": ", 1)[1] if __doc__ else None)
    parser.add_argument("--store", type=Path, default=Path("outputs/store"), help="the store's folder (outputs/store)")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list all artefacts: stage, identity, size, last use")
    check = commands.add_parser("check", help="read every file and report damaged artefacts")
    check.add_argument("--drop", action="store_true", help="remove damaged artefacts")
    shrink = commands.add_parser("prune", help="remove the least recently used artefacts")
    shrink.add_argument("--max-gib", type=float, required=True, help="size to shrink the store to, GiB (0: empty it)")
    return parser


def _list(store: Store, options: argparse.Namespace) -> int:
    found = entries(store)
    now = now_at(store.root)
    for kept in found:
        age = (now - kept.used) / 3600
        print(f"{kept.key.stage:<16}{kept.key.identity:<18}{kept.bytes / 2**20:>10.2f} MiB   used {age:8.1f} h ago")
    print(f"{len(found)} artefacts, {sum(kept.bytes for kept in found) / GIB:.3f} GiB")
    return 0


def _check(store: Store, options: argparse.Namespace) -> int:
    found = list(damaged(store))
    for key, reason in found:
        print(f"{key}: {reason}{': dropped' if options.drop else ''}")
        if options.drop:
            store.drop(key)
    print(f"{len(found)} damaged of {len(entries(store)) + (len(found) if options.drop else 0)} artefacts")
    return DAMAGED if found and not options.drop else 0


def _prune(store: Store, options: argparse.Namespace) -> int:
    dropped = prune(store, options.max_gib * GIB)
    left = entries(store)
    print(
        f"{len(dropped)} artefacts dropped ({sum(kept.bytes for kept in dropped) / GIB:.3f} GiB), "
        f"{len(left)} left ({sum(kept.bytes for kept in left) / GIB:.3f} GiB)"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
