"""Package and checkout -> the name of the running version, which each group of errors shows."""

from functools import cache
from pathlib import Path

from quartblog import __version__

_COMMIT = 12
"""Characters of a commit's id that the name has."""


@cache
def running_release(folder: Path = Path(__file__).parent.parent) -> str:
    """Return the package's version, with the git commit if `folder` is a checkout: `1.2.0` or `1.2.0+3f2a9c1b0d4e`.

    Read once per process: a later `git pull` does not change the code that runs.
    """
    try:
        commit = _commit(folder / ".git")
    except (OSError, UnicodeError):
        commit = ""
    return f"{__version__}+{commit[:_COMMIT]}" if commit else __version__


def _commit(git: Path) -> str:
    head = (git / "HEAD").read_text("ascii").strip()
    if not head.startswith("ref: "):
        return head
    name = head.removeprefix("ref: ")
    if (git / name).is_file():
        return (git / name).read_text("ascii").strip()
    lines = (git / "packed-refs").read_text("ascii").splitlines()
    return next((line.partition(" ")[0] for line in lines if line.endswith(f" {name}")), "")
