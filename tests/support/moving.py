"""File -> a folder or nothing in its place, until the file is back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def moved_away(file: Path, *, for_a_folder: bool = True) -> Iterator[None]:
    """Move the file elsewhere during the block, and put it back."""
    kept = file.with_name(f"{file.name}.kept")
    file.rename(kept)
    if for_a_folder:
        file.mkdir()
    try:
        yield
        assert not file.is_file(), f"something has created {file} anew"
    finally:
        if for_a_folder:
            file.rmdir()
        kept.rename(file)
