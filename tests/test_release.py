"""The name of the running version."""

from pathlib import Path

import pytest

from quartblog import __version__
from quartblog.release import running_release

COMMIT = "3f2a9c1b0d4e5f60718293a4b5c6d7e8f9012345"


@pytest.mark.parametrize(
    "files",
    [
        {"HEAD": f"{COMMIT}\n"},
        {"HEAD": "ref: refs/heads/main\n", "refs/heads/main": f"{COMMIT}\n"},
        {
            "HEAD": "ref: refs/heads/a/b\n",
            "packed-refs": f"# pack-refs\n{'0' * 40} refs/heads/main\n{COMMIT} refs/heads/a/b\n",
        },
    ],
)
def test_a_checkout_names_its_commit(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = tmp_path / ".git" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    assert running_release(tmp_path) == f"{__version__}+3f2a9c1b0d4e"


@pytest.mark.parametrize("files", [{}, {"HEAD": "ref: refs/heads/main\n"}, {"HEAD": "\xff"}])
def test_without_a_checkout_the_version_is_the_package_alone(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / ".git").mkdir()
        (tmp_path / ".git" / name).write_text(text, "latin-1")

    assert running_release(tmp_path) == __version__
