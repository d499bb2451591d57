"""What a GPU machine without a network lacks, as wheels to carry there:

    make gpu-wheels            # python -m benchmarks.gpu.wheels

The machine is taken to have Python 3.12, torch with Triton, transformers, safetensors, torchmetrics, opencv, rich and pytest,
with what these need. Everything else that the tests, the benchmarks and a training import is in `NAMES`. Versions are those
of constraints.txt. Runs on any Python with pip: it imports nothing but the standard library.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WHEELS, SITE = ROOT / ".gpu" / "wheels", ROOT / ".gpu" / "site"  # ignored by git; the second is made from the first
NAMES = (
    "hydra-core", "omegaconf",  # the configuration, with antlr4 below
    "pydantic", "pydantic_core", "annotated-types", "typing-inspection", "typing_extensions",
    "diffusers", "importlib_metadata", "zipp", "lazy-importer", "pillow", "requests", "urllib3", "charset-normalizer",
    "nerfacc",
    "hypothesis", "sortedcontainers",  # the tests
    "ImageIO",  # without its ffmpeg, 30 MB: a run there writes no orbit.mp4
)  # fmt: skip
SOURCES = ("antlr4-python3-runtime",)  # released as source only; pure Python, so that its wheel fits any machine
PYTHON = "3.12"
PLATFORMS = ("manylinux2014_x86_64", *(f"manylinux_2_{minor}_x86_64" for minor in (17, 24, 26, 27, 28, 31, 34)))
LARGEST = 25 * 10**6
"""Bytes of all wheels together."""


def pinned(constraints: str) -> dict[str, str]:
    """Versions by normalised name, from the text of a constraints file."""
    found = re.findall(r"^([\w.-]+)==(\S+)", constraints, flags=re.MULTILINE)
    return {normalised(name): version for name, version in found}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def collect(folder: Path) -> None:
    """Fills the folder anew with every wheel. Leaves with pip's message where one cannot be had."""
    versions = pinned((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    target = ["--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp"]
    target += [f"--platform={platform}" for platform in PLATFORMS]
    wanted = [f"{name}=={versions[normalised(name)]}" for name in NAMES]
    subprocess.run([*pip, "download", "--no-deps", *target, "--dest", str(folder), *wanted], check=True)
    built = [f"{name}=={versions[normalised(name)]}" for name in SOURCES]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), *built], check=True)


def total(folder: Path) -> int:
    """Bytes of the folder's wheels."""
    return sum(wheel.stat().st_size for wheel in folder.glob("*.whl"))


def install(wheels: Path, site: Path) -> None:
    """Unpacks the wheels into the folder `site`, which is to stand on PYTHONPATH; offline, and nothing of the system changes.

    Does nothing where the folder holds these wheels already. pip itself cannot write a folder of packages whole or not at all, so
    the list of wheels is written last.
    """
    names = "\n".join(sorted(wheel.name for wheel in wheels.glob("*.whl")))
    mark = site / "wheels.txt"
    if mark.exists() and mark.read_text(encoding="utf-8") == names:
        return
    shutil.rmtree(site, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--target", str(site), *map(str, sorted(wheels.glob("*.whl")))]
    subprocess.run(command, check=True, env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"})
    mark.write_text(names, encoding="utf-8")


def main() -> int:
    try:
        collect(WHEELS)
    except subprocess.CalledProcessError as error:
        print(f"gpu-wheels: pip failed with exit code {error.returncode}: see its message above.", file=sys.stderr)
        return 1
    size, count = total(WHEELS), len([*WHEELS.glob("*.whl")])
    print(f"{count} wheels, {size / 1e6:.1f} MB, in {WHEELS.relative_to(ROOT)}: carry this folder with the checkout.")
    if size > LARGEST:
        print(f"gpu-wheels: {size / 1e6:.1f} MB is more than the {LARGEST / 1e6:.0f} MB that may be carried.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
