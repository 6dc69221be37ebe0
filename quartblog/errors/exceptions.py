"""Every error this project raises itself, one class a reason.

    QuartblogError
    ├── SettingsError            the configuration cannot be used; the message names key, value and what is allowed
    ├── DatabaseUnavailable      the database did not answer in time, or not at all: 503, and a record for the operator
    ├── SchemaOutdated           the tables do not fit this version; `quartblog db upgrade` mends it
    └── Refusal                  400: a rule said no; the visitor is told, the operator is not
        ├── StaleForm            400: the CSRF token is missing, forged, or too old
        ├── UsernameTaken        409: another account owns this name
        ├── EmailTaken           409: another account owns this address
        ├── InvalidUsername      400: the name breaks a rule of quartblog.auth.usernames
        ├── WrongCredentials     401: no account has this name with this password
        └── NoSuchUser           404: nobody has this name

This module imports nothing, so every package may raise from it.
"""


class QuartblogError(Exception):
    """The root: `except QuartblogError` catches what this project raises and nothing else."""


class SettingsError(QuartblogError):
    """The configuration cannot be used. The message is complete: print it as it is."""


class DatabaseUnavailable(QuartblogError):
    """The database did not answer within its pool or busy timeout, or refused the connection."""


class SchemaOutdated(QuartblogError):
    """The database's revision is not the one this version of the code was written for."""


class Refusal(QuartblogError):
    """A rule said no: shown to the visitor in the page, never recorded as a failure.

    A view that does not catch one answers with a page of its status. A subclass that names none has 400.
    """

    status = 400

    def __init_subclass__(cls) -> None:
        """Raise TypeError for a status that blames the server: such an answer would have to be recorded."""
        super().__init_subclass__()
        if not 400 <= cls.status < 500:
            raise TypeError(f"the status of a refusal is 400 to 499, not {cls.status}")


class StaleForm(Refusal):
    """The form's CSRF token is missing, forged, from another session, or older than the limit."""


class UsernameTaken(Refusal):
    """Another account owns this username, in any spelling that folds to the same key."""

    status = 409


class EmailTaken(Refusal):
    """Another account owns this e-mail address, in any letter case."""

    status = 409


class InvalidUsername(Refusal):
    """The username breaks a rule of `quartblog.auth.usernames`."""


class WrongCredentials(Refusal):
    """No account has this username with this password. Which of the two is wrong is never told."""

    status = 401


class NoSuchUser(Refusal):
    """No account has this username."""

    status = 404
