"""The open questions of QNeRF (arXiv 2402.14792) as studies, by name: on scenes whose true edit is known."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.claims import Claim, Study
from experiments.others import study as others
from experiments.questions import study as questions

DEFAULT, ONE_SHOT = questions.DEFAULT, questions.ONE_SHOT
SHORT, LONG = (f"explained, interval {interval}, strength 0.5" for interval in (2, 10))
WEAK, STRONG = (f"explained, interval 5, strength {strength}" for strength in ("0.25", "1"))
COARSE, FINE = "layers coarse", "layers fine"

OPEN_QUESTIONS: Mapping[str, Study] = {
    "Q3": Study(
        "Q3: interval and strength of guidance",
        questions,
        tuple(name for name in questions.ROWS if name.startswith(("explained", "soft"))),
        (
            Claim("weak guidance agrees less: .5 than .25", "by pictures", "cut", DEFAULT, WEAK),
            Claim("strong guidance costs fidelity: .5 than 1", "by pictures", "object", DEFAULT, STRONG),
            Claim("long intervals agree less: 5 than 10", "by pictures", "cut", DEFAULT, LONG),
            Claim("short ones cost fidelity: 5 than 2", "by pictures", "object", DEFAULT, SHORT),
        ),
    ),
    "Q4": Study(
        "Q4: the number of views",
        questions,
        questions.MANY,
        (
            Claim("16 views agree better than 4", "by a figure", "cut", "views 16", "views 4"),
            Claim("64 better than 16", "by a figure", "cut", "views 64", "views 16"),
            Claim("held-out views gain more: 16 than 4", "-", "heldout", "views 16", "views 4"),
        ),
    ),
    "Q5": Study(
        "Q5: progressive against one-shot",
        questions,
        (DEFAULT, ONE_SHOT),
        (
            Claim("progressive agrees better", "open", "cut", DEFAULT, ONE_SHOT),
            Claim("and is nearer to the truth", "open", "object", DEFAULT, ONE_SHOT),
            Claim("one-shot takes less time", "open", "seconds", DEFAULT, ONE_SHOT),
        ),
    ),
    "Q6": Study(
        "Q6: which layers' queries are consolidated",
        questions,
        (DEFAULT, *(f"layers {name}" for name in questions.RECORDERS)),
        (
            Claim("all layers agree better than the coarse ones", "-", "cut", DEFAULT, COARSE),
            Claim("coarse layers alone agree better than fine ones", "-", "cut", COARSE, FINE),
        ),
    ),
    "Q7": Study(
        "Q7: which inversion",
        questions,
        (DEFAULT, *(f"inversion {name}" for name in questions.INVERSIONS)),
        (
            Claim("null-text is nearer to the truth than ddim", "-", "object", "inversion null_text", DEFAULT),
            Claim("uniform attention than ddim", "-", "object", "inversion uniform_attention", DEFAULT),
        ),
    ),
    "Q8": Study(
        "Q8: how much of the queries' variance a field explains",
        questions,
        (DEFAULT, *(f"layers {name}" for name in questions.RECORDERS), *questions.MANY),
        (
            Claim("more of coarse layers than of fine ones", "-", "last_r2", COARSE, FINE),
            Claim("less of many views than of few: 4 than 64", "-", "last_r2", "views 4", "views 64"),
        ),
    ),
    "others": Study(
        "others: edits of other kinds: another colour, sitting down, behind a post, one figure of two",
        others,
        tuple(others.ROWS),
        (
            *(
                Claim(f"{kind}: the default is nearer than the independent edit", "open", "psnr_object", f"{kind}, full",
                      f"{kind}, independent")
                for kind in others.OTHER_EDITS
            ),
            Claim("recoloured: nearer than the source's own pixels", "-", "psnr_moved", "recoloured, full", "recoloured, posed"),
            *(
                Claim(f"recoloured by {editor}: nearer than by masactrl", "-", "psnr_moved", f"recoloured, full by {editor}",
                      "recoloured, full")
                for editor in ("fpe", "p2p")
            ),
            *(
                Claim(f"recoloured by {editor}: the default is nearer than the independent edit", "open", "psnr_moved",
                      f"recoloured, full by {editor}", f"recoloured, independent by {editor}")
                for editor in ("fpe", "p2p")
            ),
            *(
                Claim(f"{kind}: what is not edited stays as well, by .5 dB", "-", "bystander", f"{kind}, full",
                      f"{kind}, independent", -0.5)
                for kind in ("occluded", "pair")
            ),
        ),
    ),
}  # fmt: skip
