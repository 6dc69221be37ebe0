"""`quartblog backup` of a site on PostgreSQL: the printed command completes it, and a new database takes it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from quartblog import migrations
from tests.support.postgres import Cluster, binary
from tests.support.processes import ROOT, configure, environment

pytestmark = pytest.mark.postgres

ADA = ("user", "create", "ada", "--email", "ada@example.org", "--password-stdin")


def run(folder: Path, *command: str, typed: str = "") -> str:
    """Run a command in a folder, and return what it prints."""
    # The programs of the server's version, which need not be the first ones on PATH.
    path = f"{Path(binary('pg_dump')).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        command, cwd=folder, env=environment() | {"PYTHONPATH": str(ROOT), "PATH": path}, input=typed,
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return ran.stdout


def quartblog(folder: Path, *arguments: str, typed: str = "") -> str:
    """Run a command of the site."""
    return run(folder, sys.executable, "-m", "quartblog.cli", *arguments, typed=typed)


def test_the_printed_command_writes_what_a_new_database_takes(
    cluster: Cluster, postgres_url: str, database_name: str, tmp_path: Path
) -> None:
    configure(tmp_path, database={"url": postgres_url})
    quartblog(tmp_path, *ADA, typed="a long password\n")

    told = json.loads(quartblog(tmp_path, "backup", "copy", "--json"))
    [command] = [text.partition(": ")[2] for text in told["not_in_the_backup"] if "pg_dump" in text]
    run(tmp_path, "sh", "-c", command)
    new = f"{database_name}_new"
    url = cluster.create(new)
    try:
        run(tmp_path, "pg_restore", "--no-owner", f"--dbname=host={cluster.folder} user=blog dbname={new}",
            "copy/quartblog.dump")  # fmt: skip
        configure(tmp_path, database={"url": url})

        assert quartblog(tmp_path, "db", "upgrade") == f"already at {migrations.head()}\n"
        assert cluster.sql("SELECT username FROM users", new) == "ada"
        quartblog(tmp_path, "user", "admin", "ada")
    finally:
        cluster.drop(new)
