"""What a GPU is asked first, in nine minutes: does it compute the same, how fast, and what does training gain on it?

    make gpu                             # everything, into $OUT or outputs/gpu/<date>-<card>
    make gpu STAGES="check time"         # some stages
    python -m benchmarks.gpu time --seconds 300     # in less time; parts that do not fit are left out
    make gpu-rehearsal                   # everything at toy size on a CPU
    python -m benchmarks.gpu --page outputs/gpu/<folder>    # puts a folder's table into docs/gpu.md

Each stage is a process that is stopped at its limit; what it has written stays. The folder holds results.jsonl, gpu.md
(the table so far), log.txt, and what training made. This file imports nothing but the standard library, since it brings
the wheels to their place.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import date
from importlib.util import find_spec
from pathlib import Path

from benchmarks.gpu import page, wheels
from benchmarks.gpu.results import PAGE, RESULTS, ROWS, Results, append, as_section, as_table, read, rows_of

STAGES = {"check": "benchmarks.gpu.check", "time": "benchmarks.gpu.timing", "train": "benchmarks.gpu.train"}
TOTAL = 540.0
"""Seconds of all stages together."""
DUE = {"check": 110.0, "time": 480.0, "train": TOTAL}
"""Seconds after the start at which a stage is stopped; the last one asked for has all that is left. What a stage does
not need is the next one's. docs/gpu.md says how each is filled."""
GPU_ONLY = ("field.triton", "field.tinycudann", "pass.graph")  # rows that a CPU cannot fill
TOY_TOTAL = 900.0
"""Of a rehearsal, which should take less than three minutes: the machine may have more to do."""
GRACE = 5.0  # seconds between asking a process to stop and ending it


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(STAGES)}; none: all")
    parser.add_argument("--toy", action="store_true", help="toy sizes, on any device")
    parser.add_argument("--seconds", type=float, default=TOTAL, help=f"that all stages may take together; {TOTAL:.0f}")
    parser.add_argument("--page", type=Path, metavar="FOLDER", help="put this folder's table into docs/gpu.md, and stop")
    arguments = parser.parse_args()
    if arguments.page:
        return page.add(arguments.page)
    if unknown := set(arguments.stages) - set(STAGES):
        return _refuse(f"there is no stage {', '.join(sorted(unknown))}; the stages are {', '.join(STAGES)}")
    environment = dict(os.environ)
    if arguments.toy:
        environment.setdefault("OMP_NUM_THREADS", "1")  # toy models gain nothing from a second thread
    if problem := _bring_packages(environment):
        return _refuse(problem)
    card = "CPU" if arguments.toy else _card()
    if card is None:
        return _refuse("no GPU answers (nvidia-smi); `make gpu-rehearsal` runs the same at toy size on a CPU")
    folder = Path(os.environ.get("OUT") or wheels.ROOT / "outputs" / "gpu" / f"{date.today()}-{card.replace(' ', '-')}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in (RESULTS, "log.txt"):
        (folder / name).unlink(missing_ok=True)
    wanted = [stage for stage in STAGES if stage in arguments.stages or not arguments.stages]
    append(folder / RESULTS, {"about": _about(card, wanted, arguments.toy)})
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        helper = _prepare(folder, Path(scratch), arguments.toy, environment) if "time" in wanted else None
        for stage in wanted:
            end = arguments.seconds if stage == wanted[-1] else min(DUE[stage], arguments.seconds)
            limit = end * (TOY_TOTAL / TOTAL if arguments.toy else 1) - (time.monotonic() - started)
            run_stage(stage, folder, Path(scratch), limit, arguments.toy, environment)
        if helper is not None and helper.poll() is None:
            _stop(helper)
    found = read(folder / RESULTS)
    print(f"\n{as_table(found.found, rows_of(card))}\n\n{time.monotonic() - started:.0f} s; files in {folder}")
    return 1 if any(found.found.get(row, {"value": None})["value"] is None for row in expected(wanted, arguments.toy)) else 0


def expected(stages: list[str], toy: bool) -> list[str]:
    """The rows whose absence is an error: at toy size all that a CPU can fill, on a GPU those of the tests."""
    owners = {"tests": "check", "train": "train"}
    wanted = [row for row in ROWS if owners.get(row.split(".")[0], "time") in stages]
    return [row for row in wanted if row == "tests" or (toy and row not in GPU_ONLY)]


def run_stage(stage: str, folder: Path, scratch: Path, limit: float, toy: bool, environment: dict[str, str]) -> None:
    """One stage. A process that dies before its time is followed by another, behind the part that it did not survive."""
    before = read(folder / RESULTS)
    end, known, shown = time.monotonic() + limit, set(before.begun), set(before.found)
    print(f"\n{stage}: at most {limit:.0f} s", flush=True)
    while True:
        begun = [part for part in read(folder / RESULTS).begun if part not in known]
        command = [sys.executable, "-m", STAGES[stage], "--out", str(folder), "--scratch", str(scratch)]
        command += ["--seconds", f"{end - time.monotonic():.1f}", *(["--toy"] if toy else []), "--skip", *begun]
        with (folder / "log.txt").open("a") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=wheels.ROOT, env=environment, start_new_session=True)
        stopped = _follow(process, folder, end, shown)
        after = read(folder / RESULTS)
        fresh = [part for part in after.begun if part not in known]
        died = f"its process ended with {process.returncode}: see log.txt"
        why = f"stopped at the stage's limit of {limit:.0f} s" if stopped else died
        for row in (row for part in fresh for row in after.begun[part] if row not in after.found):
            append(folder / RESULTS, {"row": row, "value": None, "note": why})
        _show(folder, shown)
        if stopped or process.returncode == 0 or fresh == begun:
            return


def _follow(process: subprocess.Popen[bytes], folder: Path, end: float, shown: set[str]) -> bool:
    """Until the process ends, or is ended with its time: each row is printed as it comes. Whether it was ended."""
    while process.poll() is None:
        if time.monotonic() > end:
            _stop(process)
            return True
        _show(folder, shown)
        time.sleep(0.2)
    return False


def _show(folder: Path, shown: set[str]) -> None:
    """Prints the rows that are done and not in `shown`, adds them to it, and writes the page."""
    results = read(folder / RESULTS)
    for name, line in results.found.items():
        if name not in shown and not line.get("so_far"):
            rows = [row for row in rows_of(results.about["card"]) if row.name == name]
            print(as_table({name: line}, rows).splitlines()[-1], flush=True)
            shown.add(name)
    _write_page(folder, results)


def _write_page(folder: Path, results: Results) -> None:
    fresh = folder / f"{PAGE}.partial"
    fresh.write_text(as_section(results), encoding="utf-8")
    fresh.replace(folder / PAGE)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and its children: politely, then for good."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(GRACE)
        except (subprocess.TimeoutExpired, ProcessLookupError):
            continue


def _prepare(folder: Path, scratch: Path, toy: bool, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Writes scene and model for the timing, a minute of CPU work, beside the tests."""
    command = [sys.executable, "-m", "benchmarks.gpu.prepare", str(scratch), *(["--toy"] if toy else [])]
    with (folder / "log.txt").open("a") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=wheels.ROOT, env=environment, start_new_session=True)


def _bring_packages(environment: dict[str, str]) -> str | None:
    """Puts the carried wheels on the path of the stages where this Python lacks packages; a sentence if that is not enough."""
    if find_spec("torch") is None:
        return f"{sys.executable} has no torch: name a Python that has, make gpu PYTHON=.venv/bin/python"
    if all(find_spec(name) for name in ("hydra", "diffusers", "pydantic", "hypothesis")):
        return None
    if not [*wheels.WHEELS.glob("*.whl")]:
        return f"{sys.executable} lacks packages, and {wheels.WHEELS} has no wheels: run `make gpu-wheels` where there is a network"
    wheels.install(wheels.WHEELS, wheels.SITE)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(wheels.SITE), environment.get("PYTHONPATH")]))
    return None


def _card() -> str | None:
    """The first GPU's name."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    lines = subprocess.run(query, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return lines[0].strip() if lines else None


def _about(card: str, stages: list[str], toy: bool) -> dict[str, str]:
    command = "make gpu-rehearsal" if toy else f'make gpu STAGES="{" ".join(stages)}"'
    return {"card": card, "date": str(date.today()), "commit": commit(), "command": command, "Python": sys.version.split()[0]}


def commit() -> str:
    """The checkout's commit, + if files differ from it; where there is no repository, what COMMIT says."""
    git = ["git", "-C", str(wheels.ROOT)]
    try:
        found = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("COMMIT") or "unknown"
    return found + ("+" if changed else "")


def _refuse(why: str) -> int:
    print(f"gpu: {why}.", file=sys.stderr)
    return 2


if __name__ == "__main__":
    raise SystemExit(main())
