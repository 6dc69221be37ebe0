"""config.toml is edited while two real workers serve."""

import json

import pytest

from tests.support.processes import Server, Servers, configure, eventually

pytestmark = pytest.mark.server


def workers_that_said(server: Server, words: str) -> set[int]:
    """The processes with a record that holds these words."""
    records = [json.loads(line) for line in server.log.splitlines()]
    return {record["process"] for record in records if words in record["message"]}


def test_every_worker_takes_a_change_over_and_refuses_a_bad_one(servers: Servers) -> None:
    folder = servers.site(logging={"format": "json"})
    server = servers.quartblog(folder)
    eventually(lambda: len(workers_that_said(server, "微博已启动")) == 2)
    configure(folder, logging={"format": "json", "level": "DEBUG"}, delivery={"queue_size": 50})
    eventually(lambda: len(workers_that_said(server, "[logging], [delivery] is in effect now")) == 2)

    configure(folder, logging={"format": "xml"})
    eventually(lambda: len(workers_that_said(server, "config.toml has changed but is invalid")) == 2)

    assert workers_that_said(server, "[logging] format") == workers_that_said(server, "is in effect now")
    assert server.client().get("/").status == 200
    assert server.stop() == 0
