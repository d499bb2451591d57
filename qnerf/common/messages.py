"""Validation errors as sentences a user can act on: the key, the problem, the nearest valid name, what was expected."""

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from qnerf.common import renamed
from qnerf.errors import UserError

Model = TypeVar("Model", bound=BaseModel)


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name most like `name`, or none if nothing is at all like it."""
    close = difflib.get_close_matches(str(name), list(valid), n=1, cutoff=0.4)
    return close[0] if close else None


def sentence(key: str, problem: str, found: str, valid: Iterable[str]) -> str:
    """`key: problem; nearest valid: …; expected one of …`; of a name that was changed, the new one."""
    valid = sorted(valid)
    if new := next((item.new for item in renamed.TABLE if item.old == found and item.new in valid), None):
        return f"{key}: {problem}; it has a new name: write {new} instead"
    close = nearest(found, valid)
    hint = f"; nearest valid: {close}" if close else ""
    return f"{key}: {problem}{hint}; expected one of {', '.join(valid)}"


def describe_error(error: Mapping[str, Any], root: type[BaseModel], data: Any) -> str:
    """One line for one error of pydantic's `ValidationError.errors()`, made while validating `data` as `root`."""
    path, kind, context = _key_path(error["loc"], data), error["type"], error.get("ctx", {})
    key = ".".join(path) or "config"
    if kind == "extra_forbidden":
        if answer := renamed.answer(key, is_soft=_value_at(data, (*path[:-1], "name")) == renamed.SOFT):
            return answer
        model = model_at(root, data, path[:-1])
        return sentence(key, "unknown key", path[-1], model.model_fields if model else ())
    if kind == "missing":
        listed = any(part.isdigit() for part in path)  # Hydra sets no key inside a list
        return f"{key}: missing; expected a value" + ("" if listed else f" ({key}=…)")
    if kind == "literal_error":
        return sentence(key, f"{error['input']!r} is not valid", str(error["input"]), _quoted(context["expected"]))
    if kind == "union_tag_invalid":
        known = _quoted(context["expected_tags"])
        hint = "" if nearest(context["tag"], known) else "; if it is a plug-in's, install the plug-in's package"
        return sentence(f"{key}.name", f"{context['tag']!r} is not valid", context["tag"], known) + hint
    if kind == "union_tag_not_found":
        return f"{key}.name: missing; expected the name of a variant (conf/{key.split('.')[-1]}/ lists them)"
    if kind == "string_pattern_mismatch":
        model = model_at(root, data, path[:-1])
        examples = model.model_fields[path[-1]].examples if model and path[-1] in model.model_fields else None
        expected = f"one of {', '.join(examples)}" if examples else f"text like {context['pattern']}"
        return f"{key}: {error['input']!r} is not valid; expected {expected}"
    if kind == "model_type" and (model := model_at(root, data, path)):
        keys = ", ".join(f"{name}: …" for name in model.model_fields)
        return f"{key}: got {error['input']!r}; expected keys and their values, {{{keys}}}"
    if kind == "tuple_type":
        return f"{key}: got {error['input']!r}; expected a list, in brackets: {key}=[…]"
    if kind == "value_error":
        return f"{key}: {error['msg'].removeprefix('Value error, ')}" if path else error["msg"].removeprefix("Value error, ")
    return f"{key}: got {error['input']!r}; expected {_expectation(error['msg'])}"


def validated(model: type[Model], data: Any) -> Model:
    """Data as typed settings. Raises one UserError with a line for every error found."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise UserError("\n".join(describe_error(item, model, data) for item in error.errors())) from error


def model_at(root: type[BaseModel], data: Any, path: tuple[str, ...]) -> type[BaseModel] | None:
    """The settings class that validates the part of `data` under `path`, or none where no class does."""
    annotation: Any = root
    for part in path:
        model = _select(annotation, data)
        data = _inside(data, part)
        if model is not None and part in model.model_fields:
            field = model.model_fields[part]
            annotation = field.annotation
        elif get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        elif get_origin(annotation) in (list, tuple):
            annotation = get_args(annotation)[0]
        else:
            return None
    return _select(annotation, data)


def _value_at(data: Any, path: Iterable[str]) -> Any:
    """The value under a path, or none where there is none."""
    for part in path:
        data = _inside(data, part)
    return data


def _inside(data: Any, part: str | int) -> Any:
    """The value under a key of a mapping or at a place of a list, or none."""
    if isinstance(data, list | tuple):
        return data[int(part)] if str(part).isdigit() and int(part) < len(data) else None
    return data.get(part) if isinstance(data, dict) else None


def _select(annotation: Any, data: Any) -> type[BaseModel] | None:
    """The class that an annotation means for this data: a model itself, or the union's member whose `name` fits."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _select(arguments[0], data)
    if origin not in (Union, UnionType):
        return None
    members = [member for member in (_select(a, data) for a in arguments) if member is not None]
    tag = data.get("name") if isinstance(data, dict) else None
    tagged = [m for m in members if "name" in m.model_fields and tag in get_args(m.model_fields["name"].annotation)]
    return (tagged or members)[0] if members else None


def _key_path(location: Iterable[str | int], data: Any) -> tuple[str, ...]:
    """The keys a user wrote: pydantic's location without the tags that it inserts for unions."""
    path: list[str] = []
    for part in location:
        is_tag = isinstance(data, dict) and part not in data and part == data.get("name")
        if is_tag:
            continue
        path.append(str(part))
        data = _inside(data, part)
    return tuple(path)


def _quoted(text: str) -> list[str]:
    return re.findall(r"'([^']*)'", text) or re.split(r", | or ", text)  # numbers stand without quotes


def _expectation(message: str) -> str:
    return re.sub(r"^(Input|Value|String|Tuple|List|Dictionary) should (be|have) ", "", message)


def command_line(words: Sequence[str]) -> str:
    """Words as a shell takes them, on one line whatever is in them: a newline in a prompt is written as bash's $'\\n'."""
    return " ".join(shlex.quote(word) if word.isprintable() else f"$'{_escaped(word)}'" for word in words)


def _escaped(word: str) -> str:
    plain = word.replace("\\", "\\\\").replace("'", "\\'")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)
