"""What the README's first line installs, without a checkout to lean on."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.processes import ROOT, Servers, environment, eventually

pytestmark = pytest.mark.install

# What a checkout may hold that a fresh clone does not.
LEFT_BEHIND = shutil.ignore_patterns(".*", "instance", "logs", "build", "dist", "__pycache__")


def test_the_wheel_alone_serves_from_an_empty_folder(servers: Servers, tmp_path: Path) -> None:
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", f"--wheel-dir={tmp_path}", str(ROOT))
    [wheel] = tmp_path.glob("quartblog-*.whl")
    environment_folder = tmp_path / "venv"
    run(sys.executable, "-m", "venv", str(environment_folder))
    run(str(environment_folder / "bin" / "pip"), "install", str(wheel))
    empty = tmp_path / "empty"
    empty.mkdir()

    command = [str(environment_folder / "bin" / "quartblog"), "run", "--port=0"]
    server = servers.start(command, empty, installed=True).wait_for_address().wait_until("/readyz")

    # The start-up line is written off the start-up's path, like every other.
    eventually(lambda: "微博已启动" in server.log)
    assert sorted(path.name for path in empty.iterdir()) == ["instance", "logs"]
    visitor = server.client()
    visitor.register("ada")
    visitor.sign_in("ada")
    assert visitor.submit("/", body="从轮子里来").status == 302
    check_pages(visitor)
    assert server.stop() == 0
    assert server.stderr == ""


def test_the_first_line_of_the_readme_serves_from_a_fresh_clone(servers: Servers, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(ROOT, clone, ignore=LEFT_BEHIND)
    line = re.search(r"^python3\.11 .*/quartblog run$", readme(), re.MULTILINE)
    assert line, "the README's first line installs and serves"

    command = ["bash", "-c", line[0].replace("python3.11", sys.executable) + " --port=0"]
    server = servers.start(command, clone, installed=True).wait_for_address().wait_until("/readyz")

    check_pages(server.client())


def check_pages(visitor: Client) -> None:
    """Templates, static files and both languages are there."""
    home = visitor.get("/", Accept_Language="en")
    assert home.status == 200
    assert 'lang="en"' in home.text
    assert "首页" in visitor.get("/").text
    for address in re.findall(r'(?:href|src)="(/static/[^"]+)"', home.text):
        assert visitor.get(address).status == 200
    assert "网页未找到" in visitor.get("/no/such/page").text


def readme() -> str:
    """The README as text."""
    return (ROOT / "README.md").read_text("utf-8")


def run(*command: str) -> None:
    """Run a command to its end, and show what it said where it failed."""
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
