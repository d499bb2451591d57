"""How much work a run will be, before it starts: what the progress bar and its remaining time are made of."""

from collections.abc import Iterable, Mapping

from qnerf.backbones.words import word_problem
from qnerf.config import MAIN_METHOD, MethodSettings, RunSettings

Work = dict[str, float]  # units by kind

FIELD_START, FIELD_STEP = 10.0, 0.3  # rough cost of a field and of each of its iterations, in UNet passes of one view

SOURCE_STEP, POSE = 1.2, 30.0  # of an iteration of the source's radiance field, and of a posed view


def plan_work(settings: RunSettings, views: int) -> Work:
    """Units of every kind for the whole run. "invert" counts passes of one view; "field" fields; "measure" methods."""
    methods = settings.methods()
    inversion = settings.inversion
    passes = inversion.passes(settings.steps) + inversion.reconstruction_passes(settings.steps)
    total: Work = {"encode": 2 * views, "invert": passes * views, "decode": views * (len(methods) + 4)}  # where a truth is known
    total["measure"] = len(methods)
    if settings.attention is not None:
        total["invert"] += settings.steps * min(views, settings.attention.views)
    for needed in (uses_oracle(settings), follows_posed(settings)):
        total["encode"] += views * needed
        total["invert"] += inversion.passes(settings.steps) * views * needed
    if uses_posed(settings):
        total |= {"source field": 1.0, "pose": float(views)}
    for method in methods.values():
        for kind, units in plan_method(method, settings.steps, views).items():
            total[kind] = total.get(kind, 0.0) + units
    return total


def work_weights(settings: RunSettings) -> Mapping[str, float]:
    """Rough cost of a unit of each kind, in UNet passes of one view: only used until the first of a kind is measured."""
    field, measure = settings.field.optimiser.iterations, settings.rgb_field.optimiser.iterations
    source = settings.source_field.optimiser.iterations
    return {
        "encode": 0.5,
        "decode": 0.5,
        "invert": 1.0,
        "unet": 1.5,  # MasaCtrl's source branch runs beside the first visit of a step
        "field": FIELD_START + FIELD_STEP * field,
        "measure": FIELD_START + FIELD_STEP * measure,
        "source field": FIELD_START + SOURCE_STEP * source,
        "pose": POSE,
        "feedback": FIELD_START + FIELD_STEP * measure,
    }


def uses_oracle(settings: RunSettings) -> bool:
    """Whether any method asks for the true edited views."""
    return any(method.schedule.reads_truth for method in settings.methods().values())


def uses_posed(settings: RunSettings) -> bool:
    """Whether any method asks for the posed views."""
    return any(method.schedule.reads_posed for method in settings.methods().values()) or follows_posed(settings)


def follows_posed(settings: RunSettings) -> bool:
    """Whether any method asks for the posed views' inversion."""
    return any(method_follows_posed(settings, method) for method in settings.methods().values())


def method_follows_posed(settings: RunSettings, method: MethodSettings) -> bool:
    """Whether this method asks for it: its schedule, or its editor, which reads the posed branch."""
    reads = (method.editor or settings.editor).reads_posed(settings.steps)
    return method.schedule.follows_posed or (method.schedule.edits and reads)


def prompt_problems(settings: RunSettings, prompts: Iterable[tuple[str, str]]) -> list[str]:
    """A sentence for each editor that cannot edit between some of these prompts, of source and target by view: such as one that
    looks for a word which they have not."""
    pairs = tuple(dict.fromkeys(prompts))
    words = () if settings.attention is None else settings.attention.words
    unseen = (word_problem("attention.words", words, source) for source, _ in pairs)
    editors = {name: method.editor or settings.editor for name, method in settings.methods().items() if method.schedule.edits}
    found = [problem for problem in unseen if problem]
    for name, editor in editors.items():
        own = name == MAIN_METHOD or settings.baselines[name].editor is None
        problems = (part.problem(*pair) for pair in pairs for part in editor.parts)
        found += [problem if own else f"baselines.{name}.{problem}" for problem in problems if problem]
    return list(dict.fromkeys(found))


def plan_method(method: MethodSettings, steps: int, views: int) -> Work:
    """Work of one method's edit: "unet" passes of one view, query fields, and radiance fields of "feedback"."""
    return method.schedule.work(method.guidance, steps, views)
