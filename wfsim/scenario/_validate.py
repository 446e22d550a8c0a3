"""Validation by pydantic, its errors put into words that help.

A part of a file is validated either by a model (``validate``) or by the signature of what will be called with
it (``read_options``): a checker's, a fault's, a policy's own keyword arguments are what a file may say.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path as FilePath
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    create_model,
)

from wfsim.harness import Reference
from wfsim.kernel import Distribution
from wfsim.scenario._problems import Wrong, Wrongs, unknown
from wfsim.scenario._reference import load_reference
from wfsim.scenario._values import checked_duration, read_distribution, read_duration_ns
from wfsim.units import Duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

ModelT = TypeVar("ModelT", bound=BaseModel)

_HERE = FilePath()

DurationNs = Annotated[int, PlainValidator(read_duration_ns)]
DistributionField = Annotated[Any, PlainValidator(read_distribution)]
Name = Annotated[str, Field(min_length=1)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """The base of every model of a file: nothing is converted, nothing unknown is let through."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)


def validate(model: type[ModelT], value: Any, folder: FilePath = _HERE) -> ModelT:
    """Return ``value`` as ``model``; references in it start from ``folder``. Raises Wrong or Wrongs."""
    if not isinstance(value, dict):
        raise Wrong(f"expected a mapping, got {shown(value)}", allowed=_keys(model))
    try:
        return model.model_validate(value, context={"folder": folder, "loaded": {}})
    except ValidationError as error:
        raise Wrongs(_without_echoes(list(_wrongs(model, error)))) from error


def read_options(function: Callable[..., Any], value: Any, folder: FilePath = _HERE) -> dict[str, Any]:
    """Return the keyword arguments for ``function`` that ``value`` gives. Raises Wrong or Wrongs.

    References in it start from ``folder``.

    A value that is no mapping is taken for the first option: ``completes_within: 2s``. An option whose
    name ends in ``_ns`` is a duration and is written without that ending.
    """
    model, names = _options_model(function)
    if not names and value not in (None, {}):
        raise Wrong(f"takes no options, got {shown(value)}")
    if value is None:
        value = {}
    elif not isinstance(value, dict):
        value = {next(iter(names)): value}
    part = validate(model, value, folder)
    return {names[key]: getattr(part, key) for key in value}


@cache
def _options_model(function: Callable[..., Any]) -> tuple[type[BaseModel], Mapping[str, str]]:
    """Make the model of a function's options, and the map from a file's key to the argument's name."""
    fields: dict[str, Any] = {}
    names: dict[str, str] = {}
    for parameter in _options(function):
        key = parameter.name.removesuffix("_ns").rstrip("_")
        default = ... if parameter.default is parameter.empty else None
        fields[key] = (_field_type(function, parameter), Field(default))
        names[key] = parameter.name
    return create_model(f"{getattr(function, '__name__', 'Options')}", __base__=Part, **fields), names


def _options(function: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    """Yield what may be given by keyword; a checker's history, its one positional argument, is not."""
    parameters = inspect.signature(function).parameters.values()
    keyword_only = [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    yield from keyword_only or (
        parameter for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    )


def _field_type(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return the type to validate by; a name that only type checkers can see is not validated."""
    if parameter.name.endswith("_ns"):
        return DurationNs
    annotation = parameter.annotation
    if isinstance(annotation, str):
        module = sys.modules.get(getattr(function, "__module__", ""))
        try:
            annotation = eval(annotation, dict(vars(module)) if module else {})  # noqa: S307 - the code's own text
        except (NameError, TypeError):
            return Any
    return _known_type(annotation, optional=parameter.default is None)


def _known_type(annotation: Any, *, optional: bool) -> Any:
    if annotation is inspect.Parameter.empty:
        return Any
    for alias, reader in _READERS:
        if annotation == alias or annotation == alias | None:
            return Annotated[Any, PlainValidator(reader)]
    if annotation == Sequence[Reference]:
        return list[Annotated[Any, PlainValidator(_referenced)]]
    return annotation | None if optional else annotation


def _referenced(value: Any, info: ValidationInfo) -> Any:
    """Load what is named; what comes from one file comes from one execution of it."""
    context = info.context or {}
    return load_reference(value, context["folder"], context["loaded"])


_READERS: tuple[tuple[Any, Callable[..., Any]], ...] = (
    (Duration, checked_duration),
    (Distribution, read_distribution),
    (Reference, _referenced),
)


def _wrongs(model: type[BaseModel], error: ValidationError) -> Iterator[Wrong]:
    for details in error.errors(include_url=False):
        loc = details["loc"]
        own = details.get("ctx", {}).get("error")
        for wrong in own.all if isinstance(own, Wrongs) else [own if isinstance(own, Wrong) else None]:
            if wrong is None:
                yield _in_words(model, details)
            else:
                wrong.at = (*loc, *wrong.at)
                yield wrong


def _without_echoes(wrongs: list[Wrong]) -> list[Wrong]:
    """Leave out what is missing only because its key is misspelt."""
    meant = [(*wrong.at[:-1], wrong.suggestion) for wrong in wrongs if wrong.key]
    return [wrong for wrong in wrongs if wrong.key or wrong.at not in meant]


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def _in_words(model: type[BaseModel], details: ErrorDetails) -> Wrong:
    """Put one of pydantic's errors into words."""
    kind, loc, value, ctx = details["type"], details["loc"], details["input"], details.get("ctx", {})
    if kind == "extra_forbidden":
        inner = _type_at(model, loc[:-1])
        return unknown("key", loc[-1], _keys(inner), at=loc, key=True)
    if kind == "missing":
        return Wrong(f"{loc[-1]!r} is missing", at=loc)
    if kind == "literal_error":
        return unknown("value", value, map(str, get_args(_type_at(model, loc))), at=loc)
    if kind in _EXPECTED:
        inner = _type_at(model, loc)
        allowed = _keys(inner) if isinstance(inner, type) and issubclass(inner, BaseModel) else ()
        return Wrong(f"expected {_EXPECTED[kind]}, got {shown(value)}", allowed=allowed, at=loc)
    return Wrong(_bound(kind, ctx, value) or f"{details['msg']}, got {shown(value)}", at=loc)


def _bound(kind: str, ctx: Mapping[str, Any], value: Any) -> str:
    """Word the errors about bounds."""
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    for key, word in words.items():
        if key in ctx:
            return f"must be {word} {ctx[key]:.12g}, got {shown(value)}"
    if kind in {"too_short", "string_too_short"}:
        return "must not be empty"
    return ""


def _keys(model: Any) -> tuple[str, ...]:
    fields = getattr(model, "model_fields", {})
    return tuple(field.alias or name for name, field in fields.items())


def _type_at(model: Any, loc: tuple[int | str, ...]) -> Any:
    """Return the type that stands at ``loc`` in a model: a list's element, a field's type without None."""
    found = model
    for part in loc:
        found = _bare(found)
        if isinstance(part, int):
            found = (get_args(found) or (Any,))[0]
        else:
            found = {field.alias or name: field.annotation for name, field in found.model_fields.items()}[
                part
            ]
    return _bare(found)


def _bare(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        inner = [arg for arg in get_args(annotation) if arg is not NoneType]
        return _bare(next((arg for arg in inner if get_origin(arg) is Literal), inner[0]))
    return annotation


def shown(value: Any) -> str:
    """Show a value of the file in a message, shortened."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - what fits in a line
