"""The id that all workers of one start share."""

import subprocess
import sys

WORKER = """
import os
from quartblog.delivery.tools import this_run
print(this_run(), flush=True)
if os.fork() == 0:
    print(this_run(), flush=True)
    os._exit(0)
os.wait()
"""
SERVER = f"""
import subprocess, sys
for _ in range(2):
    subprocess.run([sys.executable, "-W", "ignore", "-c", {WORKER!r}], check=True)
"""


def start() -> list[str]:
    """The ids in two workers of one server, and in a forked child of each."""
    done = subprocess.run([sys.executable, "-c", SERVER], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_the_workers_of_one_start_share_it_with_their_children_and_those_of_another_do_not() -> None:
    first, second = start(), start()

    assert (len(first), len(set(first))) == (4, 1)
    assert (len(second), len(set(second))) == (4, 1)
    assert first[0] != second[0]


def test_a_server_that_gets_the_same_process_id_begins_another_run() -> None:
    # As the first process of a container does at each start.
    [run] = set(start())

    process, _, began = run.partition(":")
    assert process.isdecimal()
    assert began.isdecimal() == sys.platform.startswith("linux")
