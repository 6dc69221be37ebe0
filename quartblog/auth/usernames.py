"""Which names people may have, and when two of them are the same.

PRECIS (RFC 8265) folds case and width and refuses invisible and bidirectional characters; on top of it come the
rules it leaves to the application: which characters, and no mixing of scripts whose letters look alike.
"""

import unicodedata

from precis_i18n import get_profile

from quartblog.errors.exceptions import InvalidUsername

MAX_LENGTH = 64

_PRESERVED = get_profile("UsernameCasePreserved")
_FOLDED = get_profile("UsernameCaseMapped")
_PUNCTUATION = frozenset("_-.")
# Scripts of which no letter passes for one of another: these may share a name.
_MIXABLE = frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO"})


def display_form(username: str) -> str:
    """The name as it is shown: width folded, composed, case kept. Raise InvalidUsername where a rule is broken."""
    try:
        name = str(_PRESERVED.enforce(username))
    except UnicodeError as error:
        raise InvalidUsername from error
    if len(name) > MAX_LENGTH or not name[0].isalnum() or not _characters_allowed(name):
        raise InvalidUsername
    return name


def username_key(username: str) -> str:
    """What two spellings of one name share, and what must be unique. Raise InvalidUsername as `display_form`."""
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
