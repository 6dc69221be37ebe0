"""pyproject.toml -> pip constraints that hold every dependency at its lower bound, on standard output."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[\w,.-]+\])?>=([\w.]+)(; .+)?")


def requirements(project: dict[str, Any]) -> Iterator[str]:
    """Every requirement the file states, whoever needs it. Groups that include groups state nothing new."""
    yield from project["build-system"]["requires"]
    yield from project["project"]["dependencies"]
    for extra in project["project"]["optional-dependencies"].values():
        yield from extra
    for group in project["dependency-groups"].values():
        yield from (entry for entry in group if isinstance(entry, str))


def lowest(requirement: str) -> str:
    """Turn `name[extra]>=1.2; marker` into `name==1.2; marker`. Raise SystemExit for one without a lower bound."""
    if not (found := REQUIREMENT.fullmatch(requirement)):
        raise SystemExit(f"pyproject.toml: {requirement!r} has no lower bound that could be tested")
    name, version, marker = found.groups(default="")
    return f"{name}=={version}{marker}"


if __name__ == "__main__":
    stated = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    print("\n".join(sorted({lowest(requirement) for requirement in requirements(stated)})))
