"""The site answers where its log cannot be written; standard error has what the file cannot have."""

import pytest

from tests.support.processes import Servers, eventually

pytestmark = pytest.mark.server

REHEARSAL: dict[str, object] = {"rehearsal_route": True}


def test_a_log_folder_that_cannot_be_made_does_not_stop_the_site(servers: Servers) -> None:
    folder = servers.site(errors=REHEARSAL)
    # Permissions do not bind root, who runs tests in containers; a file in the folder's place binds everybody.
    (folder / "logs").write_text("in the way")
    server = servers.quartblog(folder, until="/healthz")
    visitor = server.client()

    assert visitor.get("/").status == 200
    assert visitor.get("/errors/rehearsal").status == 500
    visitor.register("ada")
    eventually(lambda: "microblog.log cannot be written, records are lost until it can" in server.stderr)
    degraded = visitor.get("/readyz")
    assert degraded.status == 200
    assert '"delivery":"log file cannot be written' in degraded.text
    assert server.stop() == 0


def test_a_full_disk_does_not_stop_the_site_and_it_recovers_by_itself(servers: Servers) -> None:
    folder = servers.site(errors=REHEARSAL)
    (folder / "logs").mkdir()
    log = folder / "logs" / "microblog.log"
    log.symlink_to("/dev/full")
    server = servers.quartblog(folder, workers=1, until="/healthz")

    lost = server.client().get("/errors/rehearsal")
    eventually(lambda: "No space left on device" in server.stderr)
    log.unlink()
    kept = server.client().get("/errors/rehearsal")

    assert (lost.status, kept.status) == (500, 500)
    eventually(lambda: kept.headers["X-Error-Id"] in server.log)
    eventually(lambda: "microblog.log is written again" in server.stderr)
    assert '"status":"ok"' in server.client().get("/readyz").text
    assert server.stop() == 0
