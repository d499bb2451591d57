"""The published experiments that are built, by name: what each claims, and which rows of which
measuring script tell.

Names are those of the papers' claims: Q QNeRF (arXiv 2402.14792), U uniform attention maps (arXiv
2411.19652), F Free-Prompt-Editing (arXiv 2403.03431), J Jambon's report (2023). What is measured is
measured once, for all studies that read it.
"""

from __future__ import annotations

from collections.abc import Mapping

from experiments.claims import Claim, Study
from experiments.editors import study as editors
from experiments.features import study as components
from experiments.features import words
from experiments.injection import claims as injection
from experiments.inversions import cost, null_texts, transformed
from experiments.inversions import study as inversions
from experiments.open_questions import OPEN_QUESTIONS
from experiments.probes import study as probes

WARMER, TURNED = "much warmer", "turned by 20 degrees"
STEPS_OF = "fpe, γ 3.5, map_steps"
# 4 to 14 if counted from 1
EVERY_LAYER, FROM_4_TO_14, LATE = (f"fpe, γ 3.5, layers {some}" for some in ("0-15", "3-13", "10-15"))
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

STUDIES: Mapping[str, Study] = {
    **OPEN_QUESTIONS,
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
