"""`quartblog backup`: settings -> a folder with copies of what the site needs to live again."""

from __future__ import annotations

import signal
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from platform import node
from shlex import join
from typing import TYPE_CHECKING, NamedTuple

import click
from sqlalchemy import make_url

from quartblog import __version__, backup, migrations
from quartblog.cli import ownership
from quartblog.cli.output import as_json, json_option, print_json, say, table
from quartblog.cli.progress import progress
from quartblog.cli.site_outbox import exists
from quartblog.settings.secret import INSTANCE

if TYPE_CHECKING:
    from sqlalchemy import URL

    from quartblog.cli.invocation import Invocation
    from quartblog.settings import Loaded

DATABASE, OUTBOX, KEY, SITE, SERVER = (
    "quartblog.sqlite3", "outbox.sqlite3", "secret_key", "site.toml", "hypercorn.toml",
)  # fmt: skip
"""The names of the files in a backup, wherever the site has them."""
ABOUT = "backup.json"
"""The time, the version and the origin of each file."""
DUMP = "quartblog.dump"
"""The name of the file that pg_dump writes."""

_NOTES = {
    DATABASE: "the blog; SQLite finds no damage",
    OUTBOX: "errors and unsent mail; SQLite finds no damage",
    KEY: "a secret: signs the cookies",
    SITE: "the settings file",
    SERVER: "the settings of the web server",
    ABOUT: "time, version, and where each file came from",
}


class Plan(NamedTuple):
    """What the site has, and what of it the backup leaves out."""

    database: Path | None
    outbox: Path | None
    others: dict[str, Path]
    """The small files, by their names in the backup."""
    missing: list[str]
    """A sentence for everything that a restored site lacks."""
    secrets: bool
    """Whether the settings file holds a secret."""


@click.command("backup")
@click.argument("target", metavar="TO", type=click.Path(path_type=Path))
@click.option("--no-secrets", is_flag=True, help="Leave out the key of the cookies and the settings file.")
@json_option
@click.pass_obj
def command(invocation: Invocation, target: Path, *, no_secrets: bool, as_data: bool) -> None:
    """Copy the site into a folder while it runs.

    TO is a new or an empty folder. The backup has the blog's SQLite database, the outbox, the key of the cookies, the
    settings file and hypercorn.toml, but no log. Each database is copied as it was at one moment, then checked. TO gets
    its content only when everything is copied, checked and on the disk. Only its owner can read it. Keep it like that:
    it holds addresses, password hashes, unsent mail and, without --no-secrets, the secrets of the settings.

    From PostgreSQL the command copies nothing. It prints the pg_dump command that completes the backup.

    Exits 1 if there is no backup; then TO is as it was before.

    \b
    Example:
      quartblog backup /var/backups/quartblog/2026-11-28
      quartblog backup "/var/backups/quartblog/$(date +%F)" && rclone sync /var/backups/quartblog far:blog
      quartblog backup /var/backups/quartblog/2026-11-28 --json | jq .not_in_the_backup
    """
    # SIGTERM's default would leave half a backup behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    loaded = invocation.load()
    plan = _plan(loaded, target, secrets=not no_secrets)
    try:
        files = _copy(plan, target)
    except KeyboardInterrupt:
        say("Interrupted: there is no backup", err=True)
        raise click.exceptions.Exit(1) from None
    if as_data:
        described = [_described(file) for file in files]
        print_json({"folder": str(target), "files": described, "not_in_the_backup": plan.missing})
        return
    notes = _NOTES | ({SITE: "the settings file; holds a secret"} if plan.secrets else {})
    say(f"The backup is in {target}")
    say(table([(file.name, f"{file.size:,} bytes", notes[file.name]) for file in files], right=frozenset({1})))
    for sentence in plan.missing:
        say(f"Not in the backup: {sentence}")


def _plan(loaded: Loaded, target: Path, *, secrets: bool) -> Plan:
    """Look what there is. Raise ClickException for a missing database."""
    missing = []
    url = make_url(loaded.settings.database.url.get_secret_value())
    database = migrations.sqlite_file(str(loaded.settings.database.url.get_secret_value()))
    if url.get_backend_name() != "sqlite":
        missing.append(f"the blog's database. Copy it with: {pg_dump(url, target / DUMP)}")
    elif database is None or not exists(database):
        where = database or "[database] url"
        raise click.ClickException(f"{where}: the database does not exist{loaded.missing}")
    outbox: Path | None = loaded.settings.delivery.outbox
    if outbox is not None and not exists(outbox):
        missing.append(f"the outbox: {outbox} does not exist")
        outbox = None
    for path in (database, outbox):
        if path is not None:
            ownership.check(path)
    if database is not None and backup.revision(database) is None:
        raise click.ClickException(f"{database}: has no tables of a blog{loaded.missing}")
    others = {}
    wanted = (
        (KEY, INSTANCE / "secret_key" if loaded.settings.security.secret_key is None else None, secrets),
        (SITE, loaded.file, secrets),
        (SERVER, Path("hypercorn.toml"), True),
    )
    for name, path, want in wanted:
        if path is None or not exists(path):
            continue
        if want:
            others[name] = path
        else:
            missing.append(f"{path}")
    missing += _from_variables(loaded)
    return Plan(database, outbox, others, missing, secrets and loaded.file_holds_secrets)


def _from_variables(loaded: Loaded) -> list[str]:
    """Return a sentence for settings that only the environment has; it names them, and no value."""
    file = str(loaded.file)
    keys = [f"[{section}] {key}" for (section, key), origin in loaded.origins.items() if origin != file]
    return [f"settings from the environment: {', '.join(keys)}"] if keys else []


def _copy(plan: Plan, target: Path) -> list[backup.Copied]:
    with backup.new(target) as folder:
        for path, name in ((plan.database, DATABASE), (plan.outbox, OUTBOX)):
            if path is not None:
                with progress(f"Copying {name}") as show:
                    folder.add_database(path, name, show)
        for name, path in plan.others.items():
            folder.add_file(path, name)
        about = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "host": node(),
            "quartblog": __version__,
            "files": [_described(file) for file in folder.files],
            "not_in_the_backup": plan.missing,
        }
        folder.add_text(f"{as_json(about)}\n".encode(), ABOUT, Path(ABOUT))
        return folder.files


def _described(file: backup.Copied) -> dict[str, object]:
    return {**asdict(file), "origin": str(file.origin.absolute())}


def pg_dump(url: URL, file: Path) -> str:
    """Return the command that writes a PostgreSQL database to a file. It has no password."""
    given = {name: str(value) for name, value in url.query.items()}
    found = {
        "host": url.host or given.get("host"),
        "port": url.port or given.get("port"),
        "user": url.username or given.get("user"),
        "dbname": url.database or given.get("database"),
        "service": given.get("service"),
        "servicefile": given.get("servicefile"),
        "sslmode": given.get("ssl"),
    }
    words = " ".join(f"{name}={_quoted(str(value))}" for name, value in found.items() if value)
    return join(["pg_dump", "--format=custom", f"--file={file}", f"--dbname={words}"])


def _quoted(value: str) -> str:
    """Return a value of libpq's connection string."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return escaped if escaped and not set(escaped) & set(" \\'") else f"'{escaped}'"
