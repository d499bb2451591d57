"""A command without -m that asks for several runs: what is said to it, by runs and by `qnerf.validate` alike."""

from collections.abc import Iterable, Mapping


def several_values(override: str) -> str:
    """The sentence for an override with several values in a command without -m."""
    key, _, values = override.partition("=")
    is_text = "," in values and "(" not in values
    quoted = f"; text with a comma in it needs quotes of its own: \"{key}='{values}'\"" if is_text else ""
    return f"{override}: several values need a sweep; add -m to run them all, or give one value{quoted}"


def unfilled_grid(params: Mapping[str, str], given: Iterable[str]) -> str | None:
    """The sentence for a command without -m whose experiment brings a grid, `hydra.sweeper.params`; None where the command gives
    a value for every key of it. given: the keys that it sets (`seed`, `+exp`)."""
    left = {key: str(value) for key, value in params.items() if key not in set(given)}
    if not left:
        return None
    listed = "; ".join(f"{key}: {values}" for key, values in left.items())
    return f"the experiment is a sweep ({listed}); add -m to run all of it, or give one value of each, such as {_firsts(left)}"


def _firsts(params: Mapping[str, str]) -> str:
    """A value of each key: the first, and of an interval its lower end."""
    return " ".join(f"{key}={values.rpartition('(')[2].split(',')[0].strip(' )')}" for key, values in params.items())
