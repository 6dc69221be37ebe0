"""Request -> fields -> typed exit: the base of every form, and the field kinds they share."""

import re
import unicodedata
from typing import Any, Self

from quart import request
from wtforms import Field, StringField
from wtforms import Form as WTForm

from quartblog.web.csrf import SAFE_METHODS
from quartblog.web.i18n import N_

# Everything of category Cc but tab and line feed: no field means them, and PostgreSQL refuses NUL.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Controls, format characters, blanks, and marks without a letter that carries them.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Mc", "Me"})
# By category these are letters, symbols or not assigned yet, but fonts show them as nothing or as a blank: fillers of
# Hangul, blanks of Braille, music and hieroglyphs, noncharacters, and what Unicode keeps free for more of category Cf.
_BLANK = re.compile(
    r"[\u115f\u1160\u2065\u2800\u3164\ufdd0-\ufdef\uffa0\ufff0-\ufff8\ufffe\uffff"
    r"\U00013430-\U00013442\U0001d159\U000e0000-\U000e0fff]"
)


class Form(WTForm):
    """A WTForms form that reads Quart's request. Labels and messages are N_ texts: the macro translates them.

    The CSRF token is checked for every unsafe request before any view runs (`web.csrf`), not by the form.
    """

    @classmethod
    async def from_request(cls, **values: Any) -> Self:
        """Take what was typed from an unsafe request; `values` fill the fields of a fresh form."""
        if request.method in SAFE_METHODS:
            return cls(data=values)
        return cls(await request.form, data=values)

    def validate(self, extra_validators: Any = None) -> bool:
        """Validate, and refuse control characters in every text."""
        valid = super().validate(extra_validators)
        for field in self:
            if isinstance(field, StringField) and _CONTROL.search(field.data or ""):
                refuse(field, N_("请不要使用控制字符"))
                valid = False
        return valid


def refuse(field: Field, text: str) -> None:
    """Explain beside the field why its value cannot be taken; `text` is an N_ text."""
    field.errors = [*field.errors, text]


def has_visible_character(text: str) -> bool:
    """Whether a reader would see anything of the text."""
    return any(unicodedata.category(character) not in _INVISIBLE for character in _BLANK.sub("", text))


def tidy(text: str | None) -> str:
    """One line: composed (NFC), without the blanks around it; empty where nothing of it can be seen."""
    tidied = unicodedata.normalize("NFC", text or "").strip()
    return tidied if has_visible_character(tidied) else ""


def tidy_lines(text: str | None) -> str:
    """Several lines: browsers send CRLF, and each line break shall count as one character."""
    return tidy((text or "").replace("\r\n", "\n").replace("\r", "\n"))
