"""Reading a scene finds what is wrong with all of it before it gives up: each problem is one sentence."""

from __future__ import annotations

from qnerf.errors import UserError

_SHOWN = 8


def raise_problems(where: str, problems: list[str]) -> None:
    """Raise one UserError that names every problem (the first eight, and how many more); none, no error."""
    problems = list(dict.fromkeys(problems))  # what is wrong with the whole file is found once a frame
    if not problems:
        return
    if len(problems) == 1:
        raise UserError(problems[0])
    lines = [f"{len(problems)} problems in {where}:", *(f"- {problem}" for problem in problems[:_SHOWN])]
    if len(problems) > _SHOWN:
        lines.append(f"- and {len(problems) - _SHOWN} more of the same kinds.")
    raise UserError("\n".join(lines))
