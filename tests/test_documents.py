"""README and docs/: links lead somewhere, and commands, settings and programs in them are the real ones."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from quartblog.cli import main
from quartblog.delivery.__main__ import main as delivery_command
from quartblog.settings.sources import known_keys

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [document.name for document in DOCUMENTS]
MANUALS = [*DOCUMENTS, ROOT / "config.toml", ROOT / "hypercorn.toml"]


def anchors(document: Path) -> set[str]:
    """The names of the document's headings, as a code host makes them."""
    text = re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(group: click.Group, name: str = "quartblog") -> Iterator[str]:
    """Every command that can be typed."""
    for word, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {word}")
        else:
            yield f"{name} {word}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_every_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and anchor not in anchors(file)):
            lost.append(target)

    assert lost == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_every_command_that_is_typed_exists(document: Path) -> None:
    known = set(commands(main))
    blocks = re.findall(r"^```sh\n(.*?)^```", document.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    typed = re.findall(r"\bquartblog((?: --config \S+)?(?: [a-z][a-z-]*)+)", "\n".join(blocks))
    words = [re.sub(r" --config \S+", "", line).split() for line in typed]

    assert [line for line in words if not {f"quartblog {' '.join(line[:n])}" for n in (1, 2)} & known] == []


def test_every_command_of_the_folder_is_spelt_right(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = (ROOT / "docs" / "delivery.md").read_text("utf-8")
    lines = re.findall(r"^python -m delivery --outbox \S+ (.+)$", text, re.MULTILINE)

    # 1 says that the outbox is missing; a usage error would exit with 2.
    assert {delivery_command(["--outbox", str(tmp_path / "none"), *line.split()]) for line in lines} == {1}
    assert len(lines) == len(capsys.readouterr().err.splitlines())


def test_every_command_is_in_the_operators_table() -> None:
    text = (ROOT / "docs" / "operating.md").read_text("utf-8").partition("## Commands and exit codes")[2]
    first_cells = re.findall(r"^\| (`quartblog .*?) \|", text, re.MULTILINE)
    rows = [re.findall("`([^`]+)`", cell) for cell in first_cells]
    listed = {first for first, *_ in rows} | {
        f"{first.rpartition(' ')[0]} {other}" for first, *others in rows for other in others
    }

    assert listed == set(commands(main))


def test_every_command_with_a_result_is_in_the_table_of_what_json_prints() -> None:
    text = (
        (ROOT / "docs" / "operating.md").read_text("utf-8").partition("### What --json prints")[2].partition("\n## ")[0]
    )
    rows = [re.findall("`([^`]+)`", cell) for cell in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)]
    listed = {first for first, *_ in rows} | {
        f"{first.partition(' ')[0]} {other}" for first, *others in rows for other in others
    }

    assert {f"quartblog {name}" for name in listed} == set(commands(main)) - {"quartblog run"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_every_setting_in_an_example_exists(document: Path) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", document.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    written = []
    for section, keys in re.findall(r"^\[(\w+)\]\n((?:\w+ = .*\n?)+)", "\n".join(blocks), re.MULTILINE):
        written += [(section, key) for key in re.findall(r"^(\w+) = ", keys, re.MULTILINE)]

    assert [key for key in written if key not in known_keys()] == []


def test_what_stops_the_site_waits_longer_than_a_stop_takes() -> None:
    text = (ROOT / "docs" / "operating.md").read_text("utf-8")
    server = tomllib.loads((ROOT / "hypercorn.toml").read_text("utf-8"))
    waits = re.findall(r"(?:TimeoutStopSec=|--stop-timeout )(\d+)", text)

    assert len(waits) == 2
    assert min(map(int, waits)) > server["graceful_timeout"] + server["shutdown_timeout"]


def test_every_file_that_developers_are_led_to_exists() -> None:
    text = (ROOT / "docs" / "development.md").read_text("utf-8")
    named = set(re.findall(r"`((?:quartblog|tests|alembic|docs)/[\w./]+|\.ci/\w+)`", text))
    to_be_written = {"tests/posts/test_about.py", "quartblog/templates/about.html"}

    assert to_be_written <= named
    assert {name for name in named if not (ROOT / name).exists()} <= to_be_written


@pytest.mark.parametrize(("document", "program"), [("README.md", "shop.py"), ("docs/delivery.md", "worker.py")])
def test_a_program_in_a_document_is_the_one_that_is_tested(document: str, program: str) -> None:
    source = (ROOT / "tests" / "examples" / program).read_text("utf-8").partition('"""\n\n')[2]

    assert f"```python\n{source}```\n" in (ROOT / document).read_text("utf-8")


def test_the_path_of_a_record_has_under_fifteen_stops_that_exist() -> None:
    text = (ROOT / "docs" / "development.md").read_text("utf-8")
    stops = re.findall(r"^\| \d+ \| [^|]+ \| `(\S+)` \|", text, re.MULTILINE)

    assert 0 < len(stops) < 15
    assert [stop for stop in stops if not (ROOT / "quartblog" / "delivery" / stop).is_file()] == []


@pytest.mark.parametrize("text", MANUALS, ids=[path.name for path in MANUALS])
def test_no_relative_clause_is_the_subject_of_a_sentence(text: Path) -> None:
    clause = r"(?:^|[.:|] |^[#*-] )((?:What|Whoever|Whatever)\b[^.?:|\n]*(?:\n[^.?:|\n]+)?\.)"
    sentences = re.findall(clause, text.read_text("utf-8"), re.MULTILINE)

    assert sentences == [], "as in: What a visitor can put right is no error."


def test_records_are_reported_and_mailed_and_nothing_is_told() -> None:
    texts = [*MANUALS, *(ROOT / "quartblog").rglob("*.py")]
    found = [path.name for path in texts if re.search(r"\b(tell|tells|told)\b", path.read_text("utf-8"), re.IGNORECASE)]

    assert found == [], "write report, log, include, show or mail instead"
