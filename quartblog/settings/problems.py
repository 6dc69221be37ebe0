"""What pydantic found -> one sentence each for the operator: who set it, the key, the value, what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args, get_origin

from annotated_types import Ge, Le

from quartblog.settings.kinds import Allowed
from quartblog.settings.masking import shown
from quartblog.settings.sections import Settings
from quartblog.settings.sources import known_keys, nearest

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails


def sentences(error: ValidationError, origins: dict[tuple[str, str], str]) -> list[str]:
    """Return one line for each thing that is wrong."""
    return [_sentence(detail, origins) for detail in error.errors(include_url=False)]


def allowed(field: FieldInfo) -> str:
    """Return the end of the sentence "must be …" for a key."""
    for note in field.metadata:
        if isinstance(note, Allowed):
            return note.words
    if get_origin(field.annotation) is Literal:
        *others, last = (f'"{choice}"' for choice in get_args(field.annotation))
        return f"{', '.join(others)} or {last}"
    low = next((note.ge for note in field.metadata if isinstance(note, Ge)), None)
    high = next((note.le for note in field.metadata if isinstance(note, Le)), None)
    if low is not None:
        return f"a whole number from {low} to {high}" if high else f"a whole number of at least {low}"
    if field.annotation is Path:
        return "a path"
    return "true or false" if field.annotation is bool else "text"


def _sentence(detail: ErrorDetails, origins: dict[tuple[str, str], str]) -> str:
    section = str(detail["loc"][0])
    if section not in Settings.model_fields:
        return _unknown_section(section, detail["input"], origins)
    key = str(detail["loc"][1])
    place = _place(section, key, origins)
    field = type(Settings.model_fields[section].default).model_fields.get(key)
    if field is None:
        return f"{place}: unknown key; {_meant(section, key)}"
    value = shown(section, key, detail["input"])
    if detail["type"] == "value_error":
        return f"{place} = {value}: {detail['ctx']['error']}"
    return f"{place} = {value}: must be {allowed(field)}"


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
    return f"[{section}] has {', '.join(keys)}" if keys else "every key stands in a section"


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
