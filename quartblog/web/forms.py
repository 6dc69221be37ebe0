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


def tidy(text: str | None) -> str:
    """One line: composed (NFC), without the blanks around it."""
    return unicodedata.normalize("NFC", text or "").strip()


def tidy_lines(text: str | None) -> str:
    """Several lines: browsers send CRLF, and each line break shall count as one character."""
    return tidy((text or "").replace("\r\n", "\n").replace("\r", "\n"))
