"""Driver's exception -> the same exception without values, and whether a retry may help.

Drivers quote values: `invalid input syntax for type integer: "…"`, `Key (email)=(…) already exists`. SQLAlchemy's
`hide_parameters` covers only its own text. So this module keeps a driver's message if it can name only tables,
constraints and the statement, and hides every other. It decides by error codes, because messages come in the server's
language.
"""

import re
import sqlite3

from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from quartblog.errors.exceptions import WriteRefused

HIDDEN = "[hidden]"

# SQLSTATE classes (PostgreSQL's appendix A) whose messages name tables, constraints, roles and states, never a value:
# connection, feature, integrity, transaction, statement, authorization, catalog, rollback, resources, limits, state,
# intervention, system, internal.
_NAMES_ONLY = frozenset({"08", "0A", "23", "25", "26", "28", "3D", "40", "53", "54", "55", "57", "58", "XX"})
# An error in the statement: PostgreSQL's class and SQLite's code.
_STATEMENT = "42"
_WRONG = "SQLITE_ERROR"
# States in which a retry may succeed. 25006: the server is read-only for now. 55P03: a lock was not available.
_PASSING = frozenset({"08", "40", "53", "57", "58", "25006", "55P03"})

# Beginnings of messages that hold no value; a value may follow them.
_PLAIN = re.compile(
    r"invalid input for query argument \$\d+|invalid input syntax for type [a-z ]+|integer out of range"
    r"|value too long for type [a-z ]+\(\d+\)|Could not decode to UTF-8 column '\w+'|no such table: \w+"
)


def is_passing(error: DBAPIError) -> bool:
    """Whether the database was unreachable, full, locked or stopped; otherwise the statement or a value was wrong."""
    if error.connection_invalidated:
        return True
    if type(error.orig).__name__ == "InvalidCachedStatementError":
        # Another host has just upgraded the tables. SQLAlchemy prepares the next statement anew.
        return True
    driver = error.driver_exception
    if state := _sqlstate(driver):
        return state in _PASSING or state[:2] in _PASSING
    # SQLite raises OperationalError for a wrong statement too.
    return isinstance(error, OperationalError) and getattr(driver, "sqlite_errorname", _WRONG) != _WRONG


def hide_values(context: ExceptionContext) -> None:
    """Remove sent values from an exception, its cause and their attributes; a listener for `handle_error`."""
    original, wrapper = context.original_exception, context.sqlalchemy_exception
    if context.connection is None or not isinstance(original, Exception) or isinstance(original, WriteRefused):
        return  # No statement was sent yet, or the request was cancelled.
    driver: Exception = getattr(original, "orig", None) or original
    if wrapper is not None:
        wrapper.params = None
    for error in (original, driver):
        _clear(error, "detail", "context", "internal_query")
    if _may_quote(driver, sent=bool(context.parameters)):
        words = _plain(str(driver))
        original.args = driver.args = (words,)
        # The chained exception quotes the value that asyncpg or a type of SQLAlchemy could not convert.
        driver.__cause__ = driver.__context__ = None
        _clear(driver, "message", "hint", "obj")
        if isinstance(driver, UnicodeEncodeError | UnicodeDecodeError):
            driver.object = type(driver.object)()
        if wrapper is not None:
            wrapper.args = (f"({type(original).__module__}.{type(original).__name__}) {words}",)


def _may_quote(driver: Exception, *, sent: bool) -> bool:
    if state := _sqlstate(driver):
        if state.startswith(_STATEMENT):
            # With a position, the server found the error in the statement, before it read the values.
            return sent and not getattr(driver, "position", None)
        return state[:2] not in _NAMES_ONLY
    if isinstance(driver, sqlite3.Error):
        if isinstance(driver, sqlite3.OperationalError):
            # Without a code, Python's module raised it and quotes a text that is not UTF-8.
            code = getattr(driver, "sqlite_errorname", None)
            return code is None or (code == _WRONG and sent)
        return False
    # asyncpg's own errors concern the connection. Any other exception comes from the conversion of a value.
    return not (isinstance(driver, OSError | SQLAlchemyError) or type(driver).__module__.startswith("asyncpg."))


def _sqlstate(driver: BaseException) -> str | None:
    state: str | None = getattr(driver, "sqlstate", None)
    return state


def _plain(words: str) -> str:
    found = _PLAIN.match(words)
    if found is None:
        return HIDDEN
    return words if found[0] == words else f"{found[0]}: {HIDDEN}"


def _clear(error: Exception, *names: str) -> None:
    for name in names:
        if getattr(error, name, None):
            setattr(error, name, None)
