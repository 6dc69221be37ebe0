"""Chinese source text -> the reader's language, chosen by Accept-Language, without database, user or session.

An error page may call every function here, so none of them may fail: an unknown text stays untranslated, a missing
variable keeps its placeholder, and an unreadable header selects the site's language.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from babel import Locale
from babel.dates import (
    DateTimePattern,
    format_date,
    format_timedelta,
    get_date_format,
    get_datetime_format,
    get_time_format,
    parse_pattern,
)
from babel.messages.pofile import read_po
from markupsafe import Markup, escape
from quart import current_app, g, has_app_context, has_request_context, request
from werkzeug.datastructures import Accept
from werkzeug.http import parse_accept_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from quart import Quart

Language = Literal["zh", "en"]

LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
SOURCE: Final[Language] = "zh"
"""The language of the source texts; it needs no catalogue."""

FOLDER: Final = Path(__file__).parent.parent / "translations"

_EXTENSION: Final = "quartblog.language"
_LOCALES: Final = {"zh": Locale("zh", "CN", script="Hans"), "en": Locale("en")}
# The most characters read of Accept-Language. Browsers send up to 100; parsing 60,000 would block the loop for 50 ms.
_HEADER_READ: Final = 1000
_PLACEHOLDER: Final = re.compile(r"%\((\w+)\)s")
_RELATIVE_FOR: Final = timedelta(days=7)
_JUST_NOW: Final = timedelta(seconds=45)


def N_(text: str) -> str:  # noqa: N802 -- gettext's name: the extractor looks for it
    """Mark a text for the catalogue without translating it, because the reader's language is not known yet."""
    return text


def _(text: str, /, **variables: object) -> str:
    """Translate into the language of the current request; outside of a request, into the site's.

    Each `%(name)s` takes the variable of that name. The result is plain text, so Jinja escapes it.
    """
    return translate(text, locale(), **variables)


def translate(text: str, language: Language, /, **variables: object) -> str:
    """Translate into a given language, for code outside of Quart's request context."""
    if language != SOURCE:
        text = catalogue(language).get(text, text)
    if not variables:
        return text
    # Not the % operator: a text may hold a bare %, and a value may look like a placeholder.
    return _PLACEHOLDER.sub(lambda found: str(variables.get(found[1], found[0])), text)


@cache
def catalogue(language: Language, folder: Path = FOLDER) -> Mapping[str, str]:
    """Read the translations of one language. Drafts (`#, fuzzy`) count as missing."""
    path = folder / language / "LC_MESSAGES" / "messages.po"
    with path.open("rb") as file:
        messages = read_po(file, locale=language, abort_invalid=True)
    return {
        message.id: message.string
        for message in messages
        if message.id
        and message.string
        and not message.fuzzy
        and isinstance(message.id, str)
        and isinstance(message.string, str)
    }


def locale() -> Language:
    """Return the language of the answer, negotiated once per request."""
    try:
        language: Language = g.language
    except (AttributeError, RuntimeError):
        if not has_request_context():
            return _site_language()
        header = ", ".join(request.headers.getlist("Accept-Language"))
        language = g.language = negotiate(header, _site_language())
    return language


def negotiate(accept_language: str, default: Language) -> Language:
    """Choose a language by an Accept-Language header; `default` if it names none of the site's.

    The reader's order counts before an exact match: `zh-TW, en;q=0.5` selects Chinese, although only `en` matches
    exactly (Werkzeug's best_match would select English).
    """
    return _negotiated(accept_language[:_HEADER_READ], default)


@lru_cache(maxsize=256)
def _negotiated(accept_language: str, default: Language) -> Language:
    refused = set()
    wanted = []
    for tag, quality in parse_accept_header(accept_language, Accept):
        primary = re.split(r"[-_]", tag.strip().lower(), maxsplit=1)[0]
        if quality > 0:
            wanted.append(primary)
        else:
            refused.add(primary)
    for primary in wanted:
        for language in LANGUAGES:
            if primary == language and language not in refused:
                return language
    if default in refused:
        return next((language for language in LANGUAGES if language not in refused), default)
    return default


def absolute(value: datetime) -> str:
    """Write an aware datetime in full, in UTC, in the reader's language."""
    language = locale()
    return _full(language).apply(value.astimezone(UTC), _LOCALES[language])


@cache
def _full(language: Language) -> DateTimePattern:
    """Return the pattern of Babel's `format_datetime(…, "long")`, which puts it together on each call."""
    locale = _LOCALES[language]
    pattern = str(get_datetime_format("long", locale=locale)).replace("'", "")
    pattern = pattern.replace("{0}", get_time_format("long", locale=locale).pattern)
    return parse_pattern(pattern.replace("{1}", get_date_format("long", locale=locale).pattern))


def moment(value: datetime, age: str) -> Markup:
    """Render an aware datetime as `<time>`: how long ago it is, and in full for a pointer that rests on it."""
    exact = value.astimezone(UTC).isoformat(timespec="seconds")
    # Not Markup.format(), which takes as long as the rest.
    return Markup(f'<time datetime="{exact}" title="{escape(absolute(value))}">{escape(age)}</time>')  # noqa: S704


def age(value: datetime) -> str:
    """Write how long ago an aware datetime is, in the reader's language: within a week, else its date."""
    return age_at(value, int(time.time()), locale())


def ages(entries: Iterable[Any]) -> tuple[str, ...]:
    """Write the age of each entry's `created_at`."""
    second, language = int(time.time()), locale()
    return tuple([age_at(entry.created_at, second, language) for entry in entries])


# Cached for the second: Babel takes longer than the rest of a card, and a page of equal ages is rendered once.
@lru_cache(maxsize=4096)
def age_at(value: datetime, second: int, language: Language) -> str:
    """Write how long before an epoch second an aware datetime is."""
    passed = datetime.fromtimestamp(second, UTC) - value
    # Includes a negative age: the clock of another host may run ahead of this one.
    if passed < _JUST_NOW:
        return translate(N_("刚刚"), language)
    if passed < _RELATIVE_FOR:
        return format_timedelta(-passed, add_direction=True, locale=_LOCALES[language])
    return format_date(value.astimezone(UTC), "long", locale=_LOCALES[language])


def init_app(app: Quart, default_language: Language) -> None:
    """Give every template `_`, `locale`, `|moment`, `|age` and `|ages`.

    Read the catalogues now, so that a broken one stops the start instead of failing for the first English reader.
    """
    for language in LANGUAGES:
        if language != SOURCE:
            catalogue(language)
    app.extensions[_EXTENSION] = default_language
    app.jinja_env.globals.update({"_": _, "locale": locale})
    app.jinja_env.filters.update(moment=moment, age=age, ages=ages)


def _site_language() -> Language:
    if not has_app_context():
        return SOURCE
    language: Language = current_app.extensions.get(_EXTENSION, SOURCE)
    return language
