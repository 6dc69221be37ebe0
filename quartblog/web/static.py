"""Static file -> an address that changes with its content, so that a browser may keep it for a year."""

import hashlib
from functools import cache
from pathlib import Path

from quart import Quart

# Seconds a browser may show a static file without asking: a year.
MAX_AGE = 365 * 24 * 60 * 60

FOLDER = Path(__file__).parent.parent / "static"


def init_app(app: Quart) -> None:
    """Let files be kept, and `url_for("static")` tell their version: no old stylesheet around today's page."""
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = MAX_AGE
    app.url_defaults(_add_version)
    # Read now: a later look may meet a file of the next release, or none that can be opened.
    for file in FOLDER.iterdir():
        version(file.name)


def address(filename: str) -> str:
    """What `url_for("static")` gives, for pages that are written without the app."""
    return f"/static/{filename}?v={version(filename)}"


@cache
def version(filename: str) -> str | None:
    """Tell one content of the file from another; None where there is no such file."""
    try:
        return hashlib.sha256((FOLDER / filename).read_bytes()).hexdigest()[:12]
    except OSError:
        return None


def _add_version(endpoint: str, values: dict[str, object]) -> None:
    if endpoint == "static":
        values["v"] = version(str(values["filename"]))
