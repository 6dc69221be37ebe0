"""Username as typed -> its display form and its unique key, or InvalidUsername.

PRECIS (RFC 8265) folds case and width and refuses invisible and bidirectional characters. This module adds the rules
that PRECIS leaves to the application: the allowed characters, and no mixing of scripts whose letters look alike.
"""

import unicodedata

from precis_i18n import get_profile

from quartblog.errors.exceptions import InvalidUsername

MAX_LENGTH = 64

_PRESERVED = get_profile("UsernameCasePreserved")
_FOLDED = get_profile("UsernameCaseMapped")
_PUNCTUATION = frozenset("_-.")
# Scripts whose letters cannot be confused with each other's: one name may mix them.
_MIXABLE = frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO"})


def display_form(username: str) -> str:
    """Return the name to show: width folded, composed, case kept. Raise InvalidUsername if it breaks a rule."""
    try:
        name = str(_PRESERVED.enforce(username))
    except UnicodeError as error:
        raise InvalidUsername from error
    if len(name) > MAX_LENGTH or not name[0].isalnum() or not _characters_allowed(name):
        raise InvalidUsername
    return name


def username_key(username: str) -> str:
    """Return the unique key that all spellings of one name share. Raise InvalidUsername as `display_form` does."""
    display_form(username)
    key = str(_FOLDED.enforce(username))
    # Folding can lengthen a name: "İ" becomes two characters.
    if len(key) > MAX_LENGTH:
        raise InvalidUsername
    return key


def _characters_allowed(name: str) -> bool:
    if not all(character.isalnum() or character in _PUNCTUATION for character in name):
        return False
    scripts = {unicodedata.name(letter, "").partition(" ")[0] for letter in name if letter.isalpha()}
    return len(scripts) <= 1 or scripts <= _MIXABLE
