"""Which module may import which: DESIGN's arrows, held against the source."""

import ast
import importlib
import re
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import quartblog

ROOT = Path(quartblog.__file__).parent
TOP = ROOT.parent
NAME = "quartblog"

# The most specific rule counts. A package may always import itself.
ALLOWED = {
    "": (),
    "paths": (),
    "database_errors": ("errors.exceptions",),
    "sqlite_connection": (),
    "errors.exceptions": (),
    "delivery": (),
    "forwarding": ("delivery",),
    "release": ("",),
    "settings": ("delivery", "errors.exceptions", "forwarding", "release"),
    "database": ("database_errors", "errors.exceptions", "sqlite_connection"),
    "models": ("database",),
    "database_copy": ("database", "errors.exceptions", "migrations", "models"),
    "backup": ("errors.exceptions",),
    "migrations": ("database", "errors.exceptions", "paths"),
    "errors": ("delivery", "web"),
    "web": ("delivery", "errors"),
    "auth": ("database", "delivery", "errors", "models", "web"),
    "posts": ("auth", "database", "errors", "models", "web"),
    "account": ("auth", "database", "models", "web"),
    "profile": ("auth", "database", "errors", "models", "posts", "web"),
    "serving": ("delivery", "errors.exceptions", "paths", "settings"),
    # A worker process makes the app, which itself has the rest of the package.
    "rehearsal": ("delivery",),
    "operations": ("auth", "database", "delivery", "errors", "models", "settings", "web"),
}
EVERYTHING = {"app", "cli"}
DOORS = ("delivery", "delivery.tools")
"""What others may import of the delivery: what an application needs, and what a program on top of it may use."""
LONGEST = 400
TOP_LEVEL = {
    "quartblog",
    "tests",
    "alembic",
    "alembic.ini",
    "config.toml",
    "hypercorn.toml",
    "pyproject.toml",
    "README.md",
    "docs",
    "CHANGELOG.md",
    "LICENSE",
    "Containerfile",
}


def modules() -> dict[str, Path]:
    """Each module by its name below the package; the package itself is ""."""
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(module: str) -> set[str]:
    """Every module named by an import, wherever in the file it stands, as an absolute name."""
    path = MODULES[module]
    package = [NAME, *path.relative_to(ROOT).parts[:-1]]
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*start, *([node.module] if node.module else [])])
            found |= {_origin(origin, alias.name) for alias in node.names}
    return found


def _origin(module: str, name: str) -> str:
    """The submodule where the name is one, else the module that has it."""
    inside = f"{module}.{name}".removeprefix(f"{NAME}.")
    return f"{NAME}.{inside}" if inside in MODULES and module.startswith(NAME) else module


def own_imports(module: str) -> set[str]:
    """What a module imports of this package, by names below it."""
    found = {name for name in imports(module) if name.split(".")[0] == NAME}
    return {name.removeprefix(NAME).removeprefix(".") for name in found}


def foreign_imports(module: str) -> set[str]:
    """The libraries a module imports."""
    return {name.split(".")[0] for name in imports(module)} - {NAME} - set(sys.stdlib_module_names)


def rule_of(module: str) -> str:
    """The key of ALLOWED or EVERYTHING that counts for a module."""
    parts = module.split(".")
    candidates = [".".join(parts[:length]) for length in range(len(parts), 0, -1)] or [""]
    return next((name for name in candidates if name in ALLOWED or name in EVERYTHING), "unknown")


def lies_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def test_the_reader_of_imports_understands_every_form() -> None:
    assert "delivery.context" in own_imports("delivery.capture.handler")
    assert "delivery.store.groups" in own_imports("delivery.store.outbox")
    assert {"migrations", "auth"} <= own_imports("app")
    assert "" in own_imports("cli")
    assert "errors.pages" in own_imports("app")
    assert "quart_auth" in foreign_imports("auth.visitor")


def test_a_module_imports_only_what_its_place_allows() -> None:
    assert [module for module in MODULES if rule_of(module) == "unknown"] == [], "say in ALLOWED what it may import"
    wrong = {
        (module, name)
        for module in MODULES
        if (rule := rule_of(module)) not in EVERYTHING
        for name in own_imports(module)
        # Everything lies in the package itself, so "" allows no more than its own module.
        if not any(lies_in(name, place) if place else not name for place in (rule, *ALLOWED[rule]))
    }

    assert wrong == set()


def test_nobody_but_a_worker_and_the_command_imports_app_or_command() -> None:
    users = {
        module
        for module in MODULES
        for name in own_imports(module)
        if (lies_in(name, "app") or lies_in(name, "cli")) and not lies_in(module, "cli")
    }

    assert users == set()


def test_the_delivery_could_be_taken_as_it_is() -> None:
    libraries = {name for module in MODULES if lies_in(module, "delivery") for name in foreign_imports(module)}

    assert libraries == {"aiosmtplib", "concurrent_log_handler"}


def test_the_delivery_is_used_through_its_two_doors_only() -> None:
    inner = {
        (module, name)
        for module in MODULES
        if not lies_in(module, "delivery")
        for name in own_imports(module)
        if lies_in(name, "delivery") and name not in DOORS
    }

    assert inner == set(), f"import it from one of {DOORS}, whose __all__ names what others may use"


def test_tests_of_other_parts_use_the_doors_too() -> None:
    # The parts themselves are measured, a try is waited for, ids are counted, and the command is called.
    known = {"benchmarks/in_process.py", "rehearsal/test_rehearsal.py", "benchmarks/operations.py", "test_documents.py"}
    inner = re.compile(r"^ *(?:from|import) quartblog\.delivery\.(?!tools\b)", re.MULTILINE)
    found = {
        path.relative_to(TOP / "tests").as_posix()
        for path in (TOP / "tests").rglob("*.py")
        if inner.search(path.read_text("utf-8"))
    }

    assert {name for name in found if name.split("/")[0] not in {"delivery", "support"}} == known


def test_the_delivery_itself_does_not_use_its_doors() -> None:
    inside = [module for module in MODULES if lies_in(module, "delivery")]

    assert [module for module in inside if own_imports(module) & set(DOORS)] == []


@pytest.mark.parametrize("door", DOORS)
def test_a_door_lists_what_it_imports(door: str) -> None:
    imported = {
        alias.asname or alias.name
        for node in ast.parse(MODULES[door].read_text("utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert imported == set(importlib.import_module(f"{NAME}.{door}").__all__)


def test_a_name_is_in_one_door_only_and_used_outside_or_documented() -> None:
    front, tools = (set(importlib.import_module(f"{NAME}.{door}").__all__) for door in DOORS)
    outside = {
        alias.name
        for module, path in MODULES.items()
        if not lies_in(module, "delivery")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module in {f"{NAME}.{door}" for door in DOORS}
        for alias in node.names
    }
    _, _, page = (TOP / "docs/delivery.md").read_text("utf-8").partition("## Take the folder into your own program")

    assert front & tools == set()
    assert tools - outside == set()
    # The page is for strangers, who must find everything that is meant for them.
    assert {name for name in front if not re.search(rf"`{name}[`(]", page)} == set()


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.endswith(".service")))
def test_a_service_knows_neither_http_nor_commit(module: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}

    assert foreign_imports(module) <= {"sqlalchemy"}
    assert not [name for name in own_imports(module) if name.endswith((".views", ".forms", ".visitor"))]
    assert not [name for name in own_imports(module) if lies_in(name, "web")]
    assert not called & {"commit", "rollback", "close"}


def test_who_may_be_raised_by_everybody_imports_nothing() -> None:
    assert imports("errors.exceptions") == set()
    assert imports("") == set()


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {module: {name for name in own_imports(module) if name != module} for module in MODULES}
    for module in MODULES:
        # `from package import submodule` names the package only in passing.
        graph[module] -= {name for name in graph[module] if lies_in(module, name)}

    assert list(TopologicalSorter(graph).static_order())


def test_a_module_is_read_in_one_sitting() -> None:
    lengths = {module: len(path.read_text("utf-8").splitlines()) for module, path in MODULES.items()}

    assert {module: length for module, length in lengths.items() if length > LONGEST} == {}


def test_a_module_says_what_it_is() -> None:
    assert [name for name, path in MODULES.items() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))] == []


def test_the_top_level_holds_what_the_design_says() -> None:
    # And whatever else: a note, a Dockerfile or a folder of a fork's own is nobody's failure.
    assert TOP_LEVEL - {path.name for path in TOP.iterdir()} == set()


def test_the_migrations_do_not_shadow_the_library() -> None:
    assert not list((TOP / "alembic").rglob("__init__.py"))
