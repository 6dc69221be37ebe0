"""Request -> fields -> typed values: the base class of all forms, and the functions their fields share."""

import re
import unicodedata
from typing import Any, NamedTuple, Self

from quart import request
from wtforms import Field, StringField
from wtforms import Form as WTForm

from quartblog.web.i18n import N_

# Category Cc without tab and line feed. No field needs these characters, and PostgreSQL refuses NUL.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Controls, format characters, blanks, and combining marks: a text of these alone shows nothing.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Mc", "Me"})
# Unicode lists these as letters, symbols or unassigned, but fonts draw nothing or a blank: Hangul fillers; blanks of
# Braille, music and hieroglyphs; noncharacters; and code points reserved for future characters of category Cf.
_BLANK = re.compile(
    r"[\u115f\u1160\u2065\u2800\u3164\ufdd0-\ufdef\uffa0\ufff0-\ufff8\ufffe\uffff"
    r"\U00013430-\U00013442\U0001d159\U000e0000-\U000e0fff]"
)


class Form(WTForm):
    """A WTForms form that reads Quart's request. Labels and messages are N_ texts, which the template translates."""

    is_blank = False

    @classmethod
    def blank(cls, **values: str) -> "Blank":
        """Describe the form as a page shows it first, with these values."""
        return Blank(cls, tuple(values.items()))

    @classmethod
    async def sent(cls) -> Self:
        """Fill the form from the request's body."""
        return cls(await request.form)

    def validate(self, extra_validators: Any = None) -> bool:
        """Validate, and refuse control characters in every text."""
        valid = super().validate(extra_validators)
        for field in self:
            if isinstance(field, StringField) and _CONTROL.search(field.data or ""):
                refuse(field, N_("请不要使用控制字符"))
                valid = False
        return valid


class Blank(NamedTuple):
    """A form that nobody has sent yet. It is equal for equal values, so its HTML is rendered once."""

    form: type[Form]
    values: tuple[tuple[str, str], ...]

    @property
    def is_blank(self) -> bool:
        """True, as no form itself is."""
        return True

    def made(self) -> Form:
        """Return the form itself, which takes WTForms long to make."""
        return self.form(data=dict(self.values))


def refuse(field: Field, text: str) -> None:
    """Show `text`, an N_ text, as an error beside the field."""
    field.errors = [*field.errors, text]


def has_visible_character(text: str) -> bool:
    """Whether the text has a character that a reader can see."""
    return any(unicodedata.category(character) not in _INVISIBLE for character in _BLANK.sub("", text))


def tidy(text: str | None) -> str:
    """Normalize one line to NFC and strip it; return an empty string if no character is visible."""
    tidied = unicodedata.normalize("NFC", text or "").strip()
    return tidied if has_visible_character(tidied) else ""


def tidy_lines(text: str | None) -> str:
    """Tidy several lines. Browsers send CRLF; each line break counts as one character here."""
    return tidy((text or "").replace("\r\n", "\n").replace("\r", "\n"))
