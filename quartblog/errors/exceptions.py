"""Every exception class of this project, one per reason.

    QuartblogError
    ├── SettingsError            a setting is invalid; the message names key, value and the allowed values
    ├── DatabaseUnavailable      503: the database did not answer in time; recorded as an error
    ├── CopyRefused              `db copy`: the target is in use, the source changed meanwhile, or a row is invalid
    ├── BackupFailed             `backup`: the folder is in use, the disk is full, or a file is unreadable or damaged
    ├── SchemaOutdated           the tables do not match this version, or are an unfinished copy; the message says
    │                            which command to run
    ├── WriteRefused             a mistake in the code: reading() got a statement that changes rows
    └── Refusal                  400: the visitor broke a rule; shown in the page, not recorded as an error
        ├── FromElsewhere        403: another site sent the form
        ├── FromNowhere          403: the request does not say which site sent the form
        ├── KeyRefused           403: the key for the operations pages was used, is too old or wrong
        ├── UsernameTaken        409: another account owns this name
        ├── EmailTaken           409: another account owns this address
        ├── InvalidUsername      400: the name breaks a rule of quartblog.auth.usernames
        ├── WrongCredentials     401: no account has this name with this password
        └── NoSuchUser           404: nobody has this name

This module imports nothing, so every package may raise from it.
"""


class QuartblogError(Exception):
    """The base class of every exception of this project."""


class SettingsError(QuartblogError):
    """The configuration is invalid. The message is complete and ready to print."""


class DatabaseUnavailable(QuartblogError):
    """The database did not answer within its pool or busy timeout, or refused the connection."""


class WriteRefused(QuartblogError):
    """The statement changes rows outside of a transaction. The code must use `transaction()` instead of `reading()`."""


class SchemaOutdated(QuartblogError):
    """The database's revision differs from the one that this version of the code needs.

    An unfinished copy has a revision of its own, see `quartblog.migrations.copying`.
    """


class CopyRefused(QuartblogError):
    """One database cannot be copied into the other; the message says what to do."""


class BackupFailed(QuartblogError):
    """There is no backup. The message names the file or folder and the reason, and is ready to print."""


class Refusal(QuartblogError):
    """The visitor broke a rule. The page explains it; nothing is recorded as an error.

    If no view catches it, the error handler answers with a page of its `status`.
    """

    status = 400

    def __init_subclass__(cls) -> None:
        """Raise TypeError for a status outside 400 to 499: a server error would have to be recorded."""
        super().__init_subclass__()
        if not 400 <= cls.status < 500:
            raise TypeError(f"the status of a refusal is 400 to 499, not {cls.status}")


class FromElsewhere(Refusal):
    """Another site sent the form."""

    status = 403


class KeyRefused(Refusal):
    """The key for the operations pages was used already, is too old, or was never one."""

    status = 403


class FromNowhere(Refusal):
    """The request has neither header that says which site sent the form."""

    status = 403


class UsernameTaken(Refusal):
    """Another account owns this username, in any spelling that folds to the same key."""

    status = 409


class EmailTaken(Refusal):
    """Another account owns this e-mail address, in any letter case."""

    status = 409


class InvalidUsername(Refusal):
    """The username breaks a rule of `quartblog.auth.usernames`."""


class WrongCredentials(Refusal):
    """No account has this username with this password. The page never says which of the two is wrong."""

    status = 401


class NoSuchUser(Refusal):
    """No account has this username."""

    status = 404
