"""Models of the Hugging Face hub: what is in its cache needs no network; what is not is fetched if that is
asked for. Needs no torch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from qnerf.backbones.model_parts import TOKENIZERS
from qnerf.backbones.places import find_place
from qnerf.backbones.weight_files import weights_of
from qnerf.errors import UserError

log = logging.getLogger(__name__)

READ = (".json", ".txt", ".safetensors")
UNREAD = ("safety_checker/", "feature_extractor/")
WAIT = 10.0  # seconds for the hub's first answer
SIZES = {"diffusion model": "4.0 GiB for Stable Diffusion 1.5", "ControlNet": "1.4 GiB for Stable Diffusion 1.5"}
"""Of what is fetched, in float32 as the hub has it, by what it is."""


def find_or_fetch(key: str, what: str, name: str, revision: str | None, download: bool, problems: list[str]) -> Path | None:
    """The place of a model, or None with a sentence among the problems."""
    try:
        place = find_place(name, revision)
        if place is not None and not Path(name).expanduser().exists() and not is_whole(place):
            place = None  # a part of it was fetched, such as a tokenizer, or the fetching was interrupted
        if place is None and download:
            place = fetch(key, what, name, revision)
    except UserError as error:
        problems.append(f"{key}: {error}" if not str(error).startswith("backbone.") else str(error))
        return None
    if place is None:
        problems.append(
            f"{key}: the {what} {name!r} was not found (it is neither a folder nor in the Hugging Face cache): set "
            f"backbone.download=true, fetch it with `{command(name, revision)}` ({SIZES[what]}), or give a local folder or file."
        )
    return place


def fetch(key: str, what: str, name: str, revision: str | None, folder: str = "") -> Path:
    """The snapshot of a hub id, fetched, or one folder of it. Raises one UserError where that does not work; nothing is tried
    twice."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = HfApi().model_info(name, revision=revision, timeout=WAIT, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or []}
        chosen = [file for file in files_to_fetch(list(sizes)) if file.startswith(folder)]
        log.info("Fetching %s, %.2f GiB.", name, sum(sizes[file] for file in chosen) / 2**30)
        return Path(snapshot_download(name, revision=info.sha, allow_patterns=chosen))
    except Exception as error:  # of whichever client (requests, httpx …) the version of huggingface_hub has
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(
            f"{key}: the {what} {name!r} is not in the Hugging Face cache and was not fetched ({type(error).__name__}: {reason}): "
            f"check name and connection, or on a machine with a connection run `{command(name, revision)}`"
            f"{f' ({SIZES[what]})' if what in SIZES else ''}, bring the folder here and give it."
        ) from None


def files_to_fetch(files: Sequence[str]) -> list[str]:
    """Those that are read: no weights for training, no half copy beside full weights, and no copy of a whole model as one file."""
    whole = any(file.startswith("unet/") for file in files)
    return [
        file
        for file in files
        if file.endswith(READ)
        and not file.startswith(UNREAD)
        and ".non_ema" not in file
        and not (".fp16" in file and file.replace(".fp16", "") in files)
        and not (whole and "/" not in file and file.endswith(".safetensors"))
    ]


def is_whole(snapshot: Path) -> bool:
    """Whether a snapshot has a network and the weights of all its parts."""
    parts = [folder for part in ("unet", "vae", "text_encoder") if (folder := snapshot / part).is_dir()]
    try:
        for folder in parts or [snapshot]:
            weights_of(folder)
    except UserError:
        return False
    return not parts or (snapshot / "unet").is_dir()


def fetch_tokenizer(problems: list[str]) -> None:
    """Brings CLIP's tokenizer into the hub's cache, for a model in one file, unless it is there."""
    if all(find_place(name) is None for name in TOKENIZERS):
        try:
            fetch("backbone.tokenizer", "tokenizer of", TOKENIZERS[0], None, "tokenizer/")
        except UserError as error:
            problems.append(str(error))


def command(name: str, revision: str | None) -> str:
    """The command that fetches a model into a folder."""
    pinned = f" --revision {revision}" if revision else ""
    return f"hf download {name}{pinned} --local-dir {name.rpartition('/')[2]}"
