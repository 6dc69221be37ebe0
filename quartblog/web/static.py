"""Static file -> an address that changes with its content, so that browsers may cache it for a year."""

import hashlib
from functools import cache
from pathlib import Path

from quart import Quart, abort, request

# Seconds a browser may use a static file without a new request: a year.
MAX_AGE = 365 * 24 * 60 * 60

# Bytes. A longer file name raises OSError on most file systems.
MAX_PATH = 255

FOLDER = Path(__file__).parent.parent / "static"


def init_app(app: Quart) -> None:
    """Let browsers cache static files, and add the version to `url_for("static")`."""
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = MAX_AGE
    app.url_defaults(_add_version)
    app.before_request(refuse_endless_names)
    # Hash the files now: later they may belong to the next release, or be unreadable.
    for file in FOLDER.iterdir():
        version(file.name)


def address(filename: str) -> str:
    """Return the same as `url_for("static")`, for pages built without the app."""
    return f"/static/{filename}?v={version(filename)}"


@cache
def version(filename: str, folder: Path = FOLDER) -> str | None:
    """Return a short hash of the file's content; None if the file does not exist."""
    try:
        return hashlib.sha256((folder / filename).read_bytes()).hexdigest()[:12]
    except OSError:
        return None


async def refuse_endless_names() -> None:
    """Answer 404 for a static file whose name is too long for a file system."""
    if request.endpoint == "static" and len(request.path.encode("utf-8", "replace")) > MAX_PATH:
        abort(404)


def _add_version(endpoint: str, values: dict[str, object]) -> None:
    if endpoint == "static":
        values["v"] = version(str(values["filename"]))
