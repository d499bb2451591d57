"""Keys of a preset that the chosen variant does not have: `+exp=smoke schedule=independent`, where smoke sets schedule.interval.

Such a key was meant for another choice, so it is left out, and said. One that is typed on the command line stays, and is refused
with the other errors; so does one that no variant of its kind has, since that is a mistake.
"""

from __future__ import annotations

from collections.abc import Iterable

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from qnerf.variants import problems, variants

KINDS = {
    "backbone": "backbones", "editor": "editors", "guidance": "guidance", "inversion": "inversions", "schedule": "schedules",
    "tracker": "trackers",
}  # fmt: skip


def drop_left_over(config: DictConfig, overrides: Iterable[str]) -> list[str]:
    """Takes these keys out of a composed config; a sentence for each. overrides: the command line's, with or without flags."""
    if problems():  # of installed variants: told with the config's errors
        return []
    typed = {override.split("=", 1)[0].lstrip("+~") for override in overrides}
    notes = []
    with read_write(config), open_dict(config):
        for group, kind in KINDS.items():
            node, found = config.get(group), variants(kind)
            chosen = found.get(str(node.get("name"))) if isinstance(node, DictConfig) else None
            if chosen is None:
                continue
            elsewhere = {key for variant in found.values() for key in variant.model_fields} - set(chosen.model_fields)
            for key in [str(key) for key in node if key in elsewhere]:
                name = f"{group}.{key}"
                if not any(each == name or each.startswith(f"{name}.") for each in typed):
                    value = OmegaConf.to_container(node, resolve=False)
                    notes.append(f"{name}={_brief(value, key)} is left out: {group}={node.name} does not have it")
                    del node[key]
    return notes


def _brief(node: object, key: str) -> str:
    value = node[key] if isinstance(node, dict) else None
    return "…" if isinstance(value, dict | list) else str(value)
