"""pydantic's errors -> one sentence each for the operator: the origin, the key, the value and the allowed values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Union, get_args, get_origin

from annotated_types import Ge, Le

from quartblog.settings.kinds import Allowed
from quartblog.settings.masking import shown
from quartblog.settings.sections import Settings
from quartblog.settings.sources import known_keys, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails


def sentences(error: ValidationError, origins: dict[tuple[str, str], str]) -> list[str]:
    """Return one line for each error."""
    return [_sentence(detail, origins) for detail in error.errors(include_url=False)]


def allowed(field: FieldInfo) -> str:
    """Return the end of the sentence "must be …" for a key."""
    return _allowed(field.annotation, field.metadata)


def _allowed(kind: object, notes: Sequence[object]) -> str:
    for note in notes:
        if isinstance(note, Allowed):
            return note.words
    if get_origin(kind) is Annotated:
        inner, *more = get_args(kind)
        return _allowed(inner, more)
    if get_origin(kind) is Union:
        # The union's second member is None, for a missing value.
        return _allowed(get_args(kind)[0], ())
    if get_origin(kind) is Literal:
        *others, last = (f'"{choice}"' for choice in get_args(kind))
        return f"{', '.join(others)} or {last}"
    return _bounds(notes) or {Path: "a path", bool: "true or false"}.get(kind, "text")  # type: ignore[call-overload]


def _bounds(notes: Sequence[object]) -> str:
    low = next((note.ge for note in notes if isinstance(note, Ge)), None)
    high = next((note.le for note in notes if isinstance(note, Le)), None)
    if low is None:
        return ""
    return f"a whole number from {low} to {high}" if high else f"a whole number of at least {low}"


def _sentence(detail: ErrorDetails, origins: dict[tuple[str, str], str]) -> str:
    section, *inside = map(str, detail["loc"])
    if section not in Settings.model_fields:
        return _unknown_section(section, detail["input"], origins)
    key, *within = inside
    place = _place(section, key, origins)
    field = type(Settings.model_fields[section].default).model_fields.get(key)
    if field is None:
        return f"{place}: unknown key; {_meant(section, key)}"
    value = shown(section, key, detail["input"])
    if len(within) < 2:
        must = _must(detail, field)
        if (section, key) not in origins:
            # The default of this key conflicts with another key, which the sentence names.
            return f"{_whoever_set_what_is_named(must, origins)}{place} = {value} by default: {must}"
        return f"{place} = {value}: {must}"
    index, name, *_ = within
    place = f"{place}, number {int(index) + 1}: {name}"
    [table, _] = get_args(field.annotation)
    if name not in table.model_fields:
        return f"{place}: unknown key; {_one_of(table, name)}"
    said = "" if detail["type"] == "missing" else f" = {value}"
    return f"{place}{said}: {_must(detail, table.model_fields[name])}"


def _must(detail: ErrorDetails, field: FieldInfo) -> str:
    return str(detail["ctx"]["error"]) if detail["type"] == "value_error" else f"must be {allowed(field)}"


def _whoever_set_what_is_named(sentence: str, origins: dict[tuple[str, str], str]) -> str:
    named = {origin: None for (section, key), origin in origins.items() if f"[{section}] {key}" in sentence}
    return f"{', '.join(named)}: " if named else ""


def _one_of(table: type[BaseModel], name: str) -> str:
    near = nearest(name, [*table.model_fields])
    return f"did you mean {near}?" if near else f"the keys are {', '.join(table.model_fields)}"


def _place(section: str, key: str, origins: dict[tuple[str, str], str]) -> str:
    named = f"[{section}] {key}".strip()
    origin = origins.get((section, key))
    return f"{origin}: {named}" if origin else named


def _meant(section: str, key: str) -> str:
    elsewhere = [other for other, known in known_keys() if known == key]
    if elsewhere:
        return f"it belongs in [{elsewhere[0]}]"
    keys = [known for other, known in known_keys() if other == section]
    if near := nearest(key, keys):
        return f"did you mean {near}?"
    return f"[{section}] has {', '.join(keys)}" if keys else "every key belongs in a section"


def _unknown_section(name: str, content: object, origins: dict[tuple[str, str], str]) -> str:
    if not isinstance(content, dict):
        origin = origins[name, ""]
        return f"{origin}: {name}: unknown key outside of any section; {_meant('', name)}"
    said_by = dict.fromkeys(origin for (section, _), origin in origins.items() if section == name)
    place = f"{', '.join(said_by)}: [{name}]" if said_by else f"[{name}]"
    sections = list(Settings.model_fields)
    near = nearest(name, sections)
    return f"{place}: unknown section; " + (
        f"did you mean [{near}]?" if near else f"the sections are {', '.join(f'[{s}]' for s in sections)}"
    )
