"""LogRecord -> the snapshot of its exception, which takes the place of the exception once its frames are dropped."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..own_log import reraise_interrupt
from .escaping import LONGEST
from .exceptions import ExceptionSnapshot

if TYPE_CHECKING:
    import logging

    from .exceptions import ExcInfo

FAILURE = "_failure"
"""The attribute of a record that holds its ExceptionSnapshot, once that exists."""


def snapshot_of(record: logging.LogRecord) -> ExceptionSnapshot | None:
    """Return the snapshot of the record's exception, None for a record without one."""
    # Read before the snapshot, because `drop_frames` may replace exc_info by the snapshot meanwhile.
    info = record.__dict__.get("exc_info")
    known = record.__dict__.get(FAILURE)
    # Anybody may give a record an attribute of this name.
    if type(known) is ExceptionSnapshot:
        return known
    return ExceptionSnapshot(valid) if (valid := valid_exc_info(info)) is not None else None


def keep_snapshot(record: logging.LogRecord) -> ExceptionSnapshot | None:
    """Put the snapshot on the record, and return it. Two threads may do so at once: one of them wins."""
    failure = snapshot_of(record)
    if failure is not None:
        kept = record.__dict__.setdefault(FAILURE, failure)
        return kept if type(kept) is ExceptionSnapshot else failure
    return None


def drop_frames(record: logging.LogRecord, *, at_any_cost: bool = True) -> None:
    """Replace the record's exception by a snapshot, so that its frames and all their locals can be collected.

    Without `at_any_cost` an exception stays if its text may take long: if it has causes, notes or members, if another
    `__str__` than that of BaseException would run, if the standard library would look for a name to suggest, or if the
    text is large.
    """
    try:
        if not at_any_cost and not _is_cheap(record.__dict__.get("exc_info")):
            return
    except BaseException as error:  # noqa: BLE001  the stack may be full, and this is called from the program's code
        reraise_interrupt(error)
        return
    if keep_snapshot(record) is not None:
        record.exc_info = None


# For these the standard library searches all names of the program for a similar one.
_SUGGESTING = (NameError, AttributeError)
# A class that defines one of these runs code of its own, or is a builtin one with a text of its own.
_OVERRIDES = frozenset(
    (
        *("__bool__", "__cause__", "__class__", "__context__", "__eq__", "__getattr__", "__getattribute__", "__hash__"),
        *("__notes__", "__str__", "__suppress_context__", "__traceback__", "args"),
    )
)


def _is_cheap(info: Any) -> bool:
    """Return whether a snapshot runs no code but the interpreter's, on texts and numbers of a bounded size."""
    valid = valid_exc_info(info)
    if valid is None or (error := valid[1]) is None:
        return True
    # First of all the class: afterwards nothing that is asked of the exception runs code of its class.
    return (
        _is_plain(type(error))
        and error.__cause__ is None
        and error.__context__ is None
        and not hasattr(error, "__notes__")
        and all(map(_is_small, error.args))
    )


def _is_plain(kind: type[BaseException]) -> bool:
    if type(kind) is not type or issubclass(kind, _SUGGESTING):
        return False
    for each in kind.__mro__:
        if each is BaseException or each is KeyError:
            return True
        if not _OVERRIDES.isdisjoint(vars(each)):
            return False
    return False


def _is_small(value: object) -> bool:
    kind = type(value)
    if kind is str or kind is bytes:
        return len(value) <= LONGEST  # type: ignore[arg-type]  # it is a str or bytes
    return value is None or kind is int or kind is float or kind is bool


_TRACEBACK = BaseException.__dict__["__traceback__"]


def valid_exc_info(given: Any) -> ExcInfo | None:
    """Return the exception that an exc_info holds; None if it holds none, such as True or a tuple of other things.

    An exception without a traceback beside it is returned with its own traceback.
    """
    kind: Any = None
    error, trace = given, None
    if type(given) is tuple:
        if len(given) == 3:
            kind, error, trace = given
        else:
            error = next((part for part in given[:2] if issubclass(type(part), BaseException)), None)
    # By its type, because an object's __class__ may be false, or raise.
    if not issubclass(type(error), BaseException):
        return None
    if type(given) is not tuple or len(given) != 3:
        trace = _TRACEBACK.__get__(error)
    if kind is type(error) and (trace is None or type(trace) is TracebackType):
        valid: ExcInfo = given
        return valid
    return type(error), error, trace if type(trace) is TracebackType else None
