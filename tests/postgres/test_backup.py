"""`quartblog backup` of a site on PostgreSQL: the printed command completes the backup."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.postgres import binary
from tests.support.processes import ROOT, configure, environment

pytestmark = pytest.mark.postgres


def test_the_printed_command_writes_the_rest_of_the_backup(postgres_url: str, tmp_path: Path) -> None:
    configure(tmp_path, database={"url": postgres_url})
    # The program of the server's version, which need not be the first one on PATH.
    path = f"{Path(binary('pg_dump')).parent}{os.pathsep}{os.environ['PATH']}"
    variables = environment() | {"PYTHONPATH": str(ROOT), "PATH": path}

    told = subprocess.run(
        [sys.executable, "-m", "quartblog.cli", "backup", "copy", "--json"],
        cwd=tmp_path, env=variables, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    [command] = [text.partition(": ")[2] for text in json.loads(told.stdout)["not_in_the_backup"] if "pg_dump" in text]
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env=variables, check=True)
    listed = subprocess.run(
        ["pg_restore", "--list", "copy/quartblog.dump"],
        cwd=tmp_path, env=variables, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip

    assert "TABLE DATA public posts blog" in listed.stdout
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700
