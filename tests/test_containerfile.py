"""The Containerfile: what must be in it, and what must not."""

import json
import re
import shlex
from pathlib import Path

import pytest

from quartblog.operations.health import ALIVE
from quartblog.settings.sources import known_keys

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Containerfile").read_text("utf-8")


def instructions() -> list[tuple[str, str]]:
    """Each instruction and its arguments, without comments and line ends."""
    lines = [line for line in TEXT.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(lines))
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def arguments(name: str) -> list[str]:
    """The arguments of every instruction of this name."""
    return [rest for word, rest in instructions() if word == name]


def final_stage() -> list[tuple[str, str]]:
    """The instructions that make the image."""
    found = instructions()
    return found[max(place for place, (word, _) in enumerate(found) if word == "FROM") :]


def test_it_copies_named_files_only_and_every_one_exists() -> None:
    copied = [shlex.split(rest) for rest in arguments("COPY")]
    sources = [word for words in copied if not words[0].startswith("--") for word in words[:-1]]

    assert sources
    assert arguments("ADD") == []
    assert [name for name in sources if not (ROOT / name).exists()] == []
    forbidden = {".", "./", "*", "instance", "logs", ".git", ".ci", "tests", "config.toml"}
    assert forbidden.isdisjoint(sources)


def test_it_copies_what_the_package_is_built_from() -> None:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    wanted = set(re.findall(r'^"(.+)" = "quartblog/', project, re.MULTILINE)) | {"pyproject.toml", "quartblog"}
    wanted |= {*re.findall(r'^readme = "(.+)"', project, re.MULTILINE), "LICENSE"}

    assert wanted <= {word for rest in arguments("COPY") for word in shlex.split(rest)}


def test_the_image_holds_neither_sources_nor_the_builders_files() -> None:
    copies = [rest for word, rest in final_stage() if word == "COPY"]

    assert len(arguments("FROM")) == 2
    assert copies == ["--from=build /opt/quartblog /opt/quartblog"]


def test_no_secret_can_be_built_in() -> None:
    given = "\n".join(arguments("ENV") + arguments("ARG") + arguments("RUN"))
    variables = {f"QUARTBLOG_{section}__{key}".upper() for section, key in known_keys()}

    assert [name for name in variables if name in given] == []
    assert not re.search(r"MAIL_|PASSWORD|SECRET|TOKEN|_KEY|://", given, re.IGNORECASE)
    assert not re.search(r"db upgrade|quartblog run", given), "a database or a key of the build would be in each copy"


def test_the_site_does_not_run_as_root_and_cannot_change_its_own_program() -> None:
    words = [word for word, _ in final_stage()]
    users = [rest for word, rest in final_stage() if word == "USER"]

    assert users == ["10001:10001"]
    assert words.index("USER") > words.index("COPY"), "files copied before belong to root"
    assert "--chown" not in " ".join(arguments("COPY"))


def test_what_must_survive_the_container_is_in_volumes_of_the_working_directory() -> None:
    [folder] = [rest for word, rest in final_stage() if word == "WORKDIR"]
    [volumes] = arguments("VOLUME")
    made = [rest for word, rest in final_stage() if word == "RUN"]

    assert json.loads(volumes) == [f"{folder}/instance", f"{folder}/logs"]
    assert f"-m 0700 {folder}/instance {folder}/logs" in made[0]


def test_the_probe_asks_whether_the_process_lives_where_the_server_listens() -> None:
    [check] = arguments("HEALTHCHECK")
    [command] = arguments("CMD")
    _, _, probe = check.partition("CMD ")
    port = json.loads(command)[-1]

    assert arguments("EXPOSE") == [port]
    assert f"http://127.0.0.1:{port}{ALIVE}" in json.loads(probe)[2]
    assert not re.search(r"curl|wget", check), "the slim image has neither"


@pytest.mark.parametrize("name", ["ENTRYPOINT", "CMD"])
def test_signals_reach_the_server_and_no_shell(name: str) -> None:
    [given] = arguments(name)

    assert isinstance(json.loads(given), list)
    assert arguments("STOPSIGNAL") == ["SIGTERM"]
