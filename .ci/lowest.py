"""pyproject.toml -> pip constraints for the lower bound of every dependency, on standard output."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[\w,.-]+\])?>=([\w.]+)(; .+)?")


def requirements(project: dict[str, Any]) -> Iterator[str]:
    """Yield every requirement of the file. A group's reference to another group adds none."""
    yield from project["build-system"]["requires"]
    yield from project["project"]["dependencies"]
    for extra in project["project"]["optional-dependencies"].values():
        yield from extra
    for group in project["dependency-groups"].values():
        yield from (entry for entry in group if isinstance(entry, str))


def lowest(requirement: str) -> str:
    """Turn `name[extra]>=1.2; marker` into `name==1.2; marker`. Raise SystemExit if the lower bound is missing."""
    if not (found := REQUIREMENT.fullmatch(requirement)):
        raise SystemExit(f"pyproject.toml: {requirement!r} has no lower bound to test")
    name, version, marker = found.groups(default="")
    return f"{name}=={version}{marker}"


if __name__ == "__main__":
    stated = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    print("\n".join(sorted({lowest(requirement) for requirement in requirements(stated)})))
