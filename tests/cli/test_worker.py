"""What a worker process loads, and how it and its parent end."""

import signal
from pathlib import Path

import pytest

from quartblog.cli import serving, worker


def test_a_worker_makes_the_app_of_the_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "config.toml").write_text('[site]\nname = "我的微博"')

    app = worker.serve()

    assert app.jinja_env.globals["site_name"] == "我的微博"
    assert signal.getsignal(signal.SIGTERM) is worker.leave_it_to_the_parent


@pytest.mark.parametrize(("parent", "ends"), [("alive or dead, it was there", False), (None, True)])
def test_a_worker_ends_on_sigterm_only_where_nobody_else_ends_it(
    monkeypatch: pytest.MonkeyPatch, parent: str | None, *, ends: bool
) -> None:
    raised: list[int] = []
    monkeypatch.setattr("multiprocessing.parent_process", lambda: parent)
    monkeypatch.setattr("signal.raise_signal", raised.append)

    worker.leave_it_to_the_parent(signal.SIGTERM, None)

    assert raised == ([signal.SIGTERM] if ends else [])


class Worker:
    """A worker process at the end."""

    def __init__(self) -> None:
        self.waited: list[float] = []
        self.killed = False

    def join(self, timeout: float) -> None:
        self.waited.append(timeout)

    def kill(self) -> None:
        self.killed = True


def test_every_worker_gets_its_time_before_it_is_ended(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    workers = [Worker(), Worker()]
    monkeypatch.setattr("multiprocessing.active_children", lambda: workers)

    serving.wait_for_workers(serving.configuration(None, None, None))

    assert [19 < each.waited[0] <= 20 for each in workers] == [True, True]
    assert all(each.killed for each in workers)
