"""The published experiments that are built, by name: what each claims, what it measures, and how its verdict is found.

Names are those of the papers' claims: Q QNeRF (arXiv 2402.14792), U uniform attention maps (arXiv 2411.19652), F
Free-Prompt-Editing (arXiv 2403.03431), J Jambon's report (2023). A study's claims are comparisons of rows that a measuring
script has; what is measured is measured once, for all studies that read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Protocol

import numpy as np

from experiments.editors import study as editors
from experiments.features import study as components
from experiments.features import words
from experiments.injection import claims as injection
from experiments.inversions import cost, null_texts, transformed
from experiments.inversions import study as inversions
from experiments.others import study as others
from experiments.probes import study as probes
from experiments.questions import study as questions

LEAST_IMAGES = 8  # below, a difference is a first look

Found = Sequence[Mapping[str, str]]


class Script(Protocol):
    """A measuring script: rows by name, what it has measured, a table of it, and a sheet of pictures."""

    ROWS: Mapping[str, Any]
    RESULTS: str

    def measure_all(self, folder: Path, images: int, wanted: Callable[[str], bool]) -> None: ...

    def read(self, path: Path) -> list[dict[str, str]]: ...

    def table(self, path: Path) -> str: ...

    def sheet(self, folder: Path, rows: Sequence[str]) -> np.ndarray: ...


@dataclass(frozen=True)
class Claim:
    """`better` has a larger figure than `worse` by at least `least`, image by image. says: in words. published: the figure."""

    says: str
    published: str
    figure: str
    better: str
    worse: str
    least: float = 0.0
    change: str | None = None  # only images of this kind of edit


@dataclass(frozen=True)
class Verdict:
    """ours: the two means and their difference. images: how many have both rows. holds: None where there are none."""

    ours: str
    images: int
    holds: bool | None

    @property
    def in_words(self) -> str:
        """What may be said of it."""
        if self.holds is None:
            return "not measured"
        word = "holds" if self.holds else "does not hold"
        return word if self.images >= LEAST_IMAGES else f"{word}, so far"


@dataclass(frozen=True)
class Study:
    """One published experiment. script: what measures it. rows: of the script's, that it reads."""

    title: str
    script: Script
    rows: tuple[str, ...]
    claims: tuple[Claim, ...] = field(default_factory=tuple)


def judge(claim: Claim, found: Found) -> Verdict:
    """The mean of the difference over images, which has to exceed what is claimed by two standard errors, if there are enough."""
    by_row = {
        row: {each["image"]: float(each[claim.figure]) for each in found if each["row"] == row and _counts(claim, each)}
        for row in (claim.better, claim.worse)
    }
    images = sorted(by_row[claim.better].keys() & by_row[claim.worse].keys())
    if not images:
        return Verdict("-", 0, None)
    first, second = ([by_row[row][image] for image in images] for row in (claim.better, claim.worse))
    differences = [a - b - claim.least for a, b in zip(first, second, strict=True)]
    error = stdev(differences) / len(images) ** 0.5 if len(images) > 1 else 0.0
    holds = mean(differences) > (2 * error if len(images) >= LEAST_IMAGES else 0)
    return Verdict(f"{mean(first):.2f} against {mean(second):.2f}", len(images), holds)


def report(study: Study, folder: Path) -> str:
    """Claims, published figures, ours and verdicts, and the table of what was measured, as Markdown."""
    found = study.script.read(folder / study.script.RESULTS)
    lines = ["| claim | published | ours | images | verdict |", "|---|---|---|---|---|"]
    for claim in study.claims:
        verdict = judge(claim, found)
        lines.append(f"| {claim.says} | {claim.published} | {verdict.ours} | {verdict.images} | {verdict.in_words} |")
    head, *rest = study.script.table(folder / study.script.RESULTS).splitlines()
    shown = [head, *(line for line in rest if _is_of(line, study.rows))]
    return "\n".join([f"# {study.title}", "", *(lines if study.claims else []), "", *shown])


def _counts(claim: Claim, each: Mapping[str, str]) -> bool:
    return claim.change is None or each.get("change") == claim.change


def _is_of(line: str, rows: Sequence[str]) -> bool:
    """Whether a line below a table's head is one of these rows, or none of its rows."""
    return not line.startswith("|") or line.split("|")[1].strip() in rows or set(line) <= set("|-")


WARMER, TURNED = "much warmer", "turned by 20 degrees"
STEPS_OF = "fpe, γ 3.5, map_steps"
EVERY_LAYER, FROM_4_TO_14, LATE = (f"fpe, γ 3.5, layers {some}" for some in ("0-15", "3-13", "10-15"))  # 4 to 14 if counted from 1
FPE, P2P = "fpe, γ 7.5", "p2p, γ 7.5"
PSNR, WRONG = "psnr", "ddim, wrong prompt, γ 7.5"
OF_U1 = (
    "ddim, γ 1",
    "ddim, γ 7.5",
    "ddim, empty prompt",
    "uniform attention",
    "null-text, γ 7.5",
    "negative prompt, γ 7.5",
    "direct, γ 7.5",
)
BOTH, THEN_1 = "ddim, inverted and denoised at γ 7.5", "ddim, inverted at γ 7.5, denoised at 1"

CROSS, OWN, CHANCE = "cross, chosen layer", "self, chosen layer", "{}, shuffled labels"

QUARTER, HALF = (f"{size} of the side, step 0.5" for size in ("a quarter", "half"))
OTHERS = f"{HALF}, another word"

DEFAULT, ONE_SHOT = questions.DEFAULT, questions.ONE_SHOT
SHORT, LONG = (f"explained, interval {interval}, strength 0.5" for interval in (2, 10))
WEAK, STRONG = (f"explained, interval 5, strength {strength}" for strength in ("0.25", "1"))
COARSE, FINE = "layers coarse", "layers fine"

STUDIES: Mapping[str, Study] = {
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
                Claim(f"{kind}: what is not edited stays as well, by .5 dB", "-", "bystander", f"{kind}, full",
                      f"{kind}, independent", -0.5)
                for kind in ("occluded", "pair")
            ),
        ),
    ),
    "U1": Study(
        "U1: the error of reconstruction by inversion",
        inversions,
        OF_U1,
        (
            Claim("null-text reconstructs better than negative prompt at γ 7.5", "by pictures", PSNR, OF_U1[4], OF_U1[5]),
            Claim("negative prompt better than ddim at γ 7.5", "by pictures", PSNR, OF_U1[5], OF_U1[1]),
            Claim("uniform maps better than ddim with a prompt at γ 7.5", "by figures of PIE-Bench", PSNR, OF_U1[3], OF_U1[1]),
        ),
    ),
    "U2": Study(
        "U2: the error of reconstruction under another prompt",
        inversions,
        ("uniform attention", "ddim, wrong prompt, γ 1", WRONG),
        (
            Claim("uniform maps beat a wrong prompt at γ 7.5 by 1 dB", "by figures", PSNR, "uniform attention", WRONG, 1.0),
            Claim("and at γ 1", "-", PSNR, "uniform attention", "ddim, wrong prompt, γ 1", 1.0),
        ),
    ),
    "J16": Study(
        "J16: γ of the inversion by γ of the reconstruction",
        inversions,
        ("ddim, γ 1", "ddim, γ 7.5", BOTH, THEN_1),
        (
            Claim("γ 1 both ways is best: than 1 then 7.5", "by pictures", PSNR, "ddim, γ 1", "ddim, γ 7.5"),
            Claim("than 7.5 both ways", "by pictures", PSNR, "ddim, γ 1", BOTH),
            Claim("than 7.5 then 1", "by pictures", PSNR, "ddim, γ 1", THEN_1),
        ),
    ),
    "F1": Study(
        "F1: what attention maps tell, by layer",
        probes,
        tuple(probes.ROWS),
        (
            Claim("cross maps tell the colour: .3 above chance", "by figures", "colour", CROSS, CHANCE.format("cross"), 0.3),
            Claim("and the kind", "by figures", "kind", CROSS, CHANCE.format("cross"), 0.3),
            Claim("self maps do not, by .1 above chance", "by figures", "colour", CHANCE.format("self"), OWN, -0.1),
            Claim("they tell it worse than cross maps, by .3", "by figures", "colour", CROSS, OWN, 0.3),
            Claim("self maps tell the kind a little: .1 above chance", "by figures", "kind", OWN, CHANCE.format("self"), 0.1),
        ),
    ),
    "F3": Study(
        "F3: Free-Prompt-Editing against Prompt-to-Prompt",
        editors,
        tuple(f"{editor}, γ {scale:g}" for editor in ("fpe", "p2p") for scale in editors.SCALES),
        (
            Claim("fpe changes the colour as often as p2p, γ 7.5", "by figures", "right", FPE, P2P, -0.02, "colour"),
            Claim("and keeps more of the structure", "by figures", "silhouette", FPE, P2P, 0, "colour"),
            Claim("at γ 2 it changes the colour as often", "-", "right", "fpe, γ 2", "p2p, γ 2", -0.02, "colour"),
            Claim("and keeps more of the structure", "-", "silhouette", "fpe, γ 2", "p2p, γ 2", 0, "colour"),
            Claim("a changed kind is nearer to the truth, dB, γ 7.5", "-", "psnr_edit", FPE, P2P, 0, "kind"),
        ),
    ),
    "F2-steps": Study(
        "F2: for how many steps fpe replaces maps",
        editors,
        (*(f"{STEPS_OF} {share:g}" for share in (0, 0.2, 0.4, 0.6, 1)), "fpe, γ 3.5"),
        (
            Claim("more steps keep more structure: .8 than .2", "by pictures", "silhouette", "fpe, γ 3.5", f"{STEPS_OF} 0.2"),
            Claim("all steps change a colour less often than .4", "by pictures", "right", f"{STEPS_OF} 0.4", f"{STEPS_OF} 1",
                  change="colour"),
        ),
    ),
    "F2": Study(
        "F2: which layers' maps fpe replaces (layers 4 to 14 of the paper, which counts from 1, are 3-13; the code's are 2-12)",
        editors,
        ("fpe, γ 3.5", EVERY_LAYER, FROM_4_TO_14, LATE),
        (
            Claim("4 to 14 change the colour more often than all", "by pictures", "right", FROM_4_TO_14, EVERY_LAYER, 0, "colour"),
            Claim("and the kind", "-", "right", FROM_4_TO_14, EVERY_LAYER, 0, "kind"),
            Claim("they keep more structure than late layers alone", "by pictures", "silhouette", FROM_4_TO_14, LATE),
            Claim("all keep as much of it", "-", "silhouette", EVERY_LAYER, FROM_4_TO_14, -0.02),
        ),
    ),
    "U3": Study(
        "U3: quantile, T_mask (below) and dilation of the adaptive mask, one at a time",
        editors,
        (editors.MASKED, *(name for name in editors.ROWS if name.startswith(f"{editors.MASKED}, "))),
    ),
    "U4": Study(
        "U4: time and memory of uniform maps",
        cost,
        tuple(cost.ROWS),
        (
            Claim("uniform maps take no more time, by .05", "-", "ratio", "ordinary", "uniform", -0.05),
            Claim("nor memory, by 1 MiB", "-", "memory", "ordinary", "uniform", -1.0),
            Claim("maps that are written out take more memory", "-", "memory", "ordinary, maps written out", "ordinary"),
        ),
    ),
    "J17-J19": Study(
        "J17, J18, J19: null embeddings by step, carried to other views, and one for five views",
        null_texts,
        tuple(null_texts.ROWS),
        (
            Claim("a view's own null embeddings reconstruct it", "by pictures", "psnr", null_texts.OWN, null_texts.NOT, 3.0),
            Claim("carried to other views they fail: 3 dB less", "by pictures", "psnr", null_texts.OWN, null_texts.CARRIED, 3.0),
            Claim("one for five views does not converge: 3 dB less", "by pictures", "psnr", null_texts.OWN, null_texts.SHARED, 3.0),
        ),
    ),
    "J20": Study(
        "J20: trajectories of transformed images",
        transformed,
        tuple(transformed.ROWS),
        (
            Claim("a change of colour is kept in the noisiest state, a turn is lost", "by a plot", "noisiest", WARMER, TURNED),
            Claim("and a scaling", "by a plot", "noisiest", WARMER, "1.5 times as large"),
        ),
    ),
    "J22": Study(
        "J22, J30: maps of words by size and step; centroid and size of a word from its map",
        words,
        tuple(words.ROWS),
        (
            Claim("a word's map tells where it is better than another's", "by pictures", "auc", HALF, OTHERS),
            Claim("maps of half the side tell it better than of a quarter", "-", "auc", HALF, QUARTER),
            Claim("the map's centroid is nearer than another word's", "by pictures", "centroid", OTHERS, HALF),
            Claim("and its size", "by pictures", "size", OTHERS, HALF),
        ),
    ),
    "J27": Study(
        "J26, J27: principal components by layer and step, and of four views together",
        components,
        tuple(components.ROWS),
        tuple(
            Claim(f"{name}: joint axes of four views are a view's own, more than another scene's are", "by pictures", "joint",
                  f"{name}, layer 12, step 0.5", f"{name}, layer 12, step 0.5, another scene")
            for name in components.FEATURES
        ),
    ),
    "editors": Study(
        "The editors beside each other, on single images",
        editors,
        tuple(editors.ROWS),
        tuple(
            Claim(f"the adaptive mask keeps .8 dB more of the rest: {editor}", ".79 dB (PIE-Bench)", "psnr_background",
                  f"{editor} + adaptive_mask, γ 3.5", f"{editor}, γ 3.5", 0.8)
            for editor in ("masactrl", "fpe", "p2p")
        )
        + tuple(
            Claim(f"and costs no accuracy: {editor}", "within 2 points", "right",
                  f"{editor} + adaptive_mask, γ 3.5", f"{editor}, γ 3.5", -0.02)
            for editor in ("masactrl", "fpe", "p2p")
        ),
    ),
    **{
        name: Study(title, script, rows, tuple(Claim(*each) for each in claims))
        for name, (title, script, rows, claims) in injection.STUDIES.items()
    },
}  # fmt: skip

NOT_BUILT: Mapping[str, str] = {
    "J1-J15": "fields of latents, score distillation, textual inversion",
    "J21, J23, J31": "depth control alone, cross-attention maps in 3-D, a cascade in pixels",
}
