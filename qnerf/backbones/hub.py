"""Models of the Hugging Face hub: what is in its cache needs no network; what is not is fetched if that is "
"asked for. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from qnerf.backbones.places import find_place
from qnerf.errors import UserError

PATTERNS = ["*.json", "*.txt", "*/*.json", "*/*.txt", "*.safetensors", "*/*.safetensors"]
WHOLE_MODELS = [
    "*-emaonly*",
    "v1-5-pruned*",
    "v2-1_*",
    "*.non_ema.*",
    "*/*.non_ema.*",
    "safety_checker/*",
    "*.fp16.*",
    "*/*.fp16.*",
]
"""Not fetched: copies of a model as one file, weights for training, the safety checker, and the half copies of full weights."""
WAIT = 10.0  # seconds for the hub's first answer


def find_or_fetch(key: str, what: str, name: str, revision: str | None, download: bool, problems: list[str]) -> Path | None:
    """The place of a model, or None with a sentence among the problems."""
    try:
        place = find_place(name, revision)
        if place is None and download:
            place = fetch(key, what, name, revision)
    except UserError as error:
        problems.append(f"{key}: {error}" if not str(error).startswith("backbone.") else str(error))
        return None
    if place is None:
        problems.append(
            f"{key}: the {what} {name!r} was not found (it is neither a folder nor in the Hugging Face cache): set "
            f"backbone.download=true, fetch it with `{command(name, revision)}`, or give a local folder or file."
        )
    return place


def fetch(key: str, what: str, name: str, revision: str | None) -> Path:
    """The snapshot of a hub id, fetched. Raises one UserError where that does not work: nothing is tried twice."""
    import httpx
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        info = HfApi().model_info(name, revision=revision, timeout=WAIT, files_metadata=True)
        return Path(snapshot_download(name, revision=info.sha, allow_patterns=PATTERNS, ignore_patterns=WHOLE_MODELS))
    except (OSError, HFValidationError, HfHubHTTPError, httpx.HTTPError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(
            f"{key}: the {what} {name!r} is not in the Hugging Face cache and was not fetched "
            f"({type(error).__name__}: {reason}): check "
            f"name and connection, or on a machine with a connection run `{command(name, revision)}`, bring the "
            "folder here and give it."
        ) from None


def command(name: str, revision: str | None) -> str:
    """The command that fetches a model into a folder."""
    pinned = f" --revision {revision}" if revision else ""
    return f"hf download {name}{pinned} --local-dir {name.rpartition('/')[2]}"
