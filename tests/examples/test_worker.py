"""The plain asyncio program beside a copy of the folder: each job has its id, and no name of the blog appears."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from .conftest import FOLDER, FOREIGN, HERE

if TYPE_CHECKING:
    from .conftest import Project

PROGRAM = (HERE / "worker.py").read_text("utf-8")
INSPECTED = """
        import json, sys, threading
        print(json.dumps([[thread.name for thread in threading.enumerate()], sorted(sys.modules)]))
"""


def test_the_folder_names_no_blog() -> None:
    texts = [path.read_text("utf-8") for path in FOLDER.rglob("*.py")]

    assert [name for name in FOREIGN for text in texts if name in text] == []


def test_each_job_has_an_id_that_log_and_mail_share(project: Project) -> None:
    project.add("worker.py", PROGRAM)

    printed = project.run("worker.py")

    log = project.log("worker.log")
    ids = re.findall(r"ERROR: The job failed \[in .*\] \[id (\w{12})\]", log)
    assert len(set(ids)) == 2
    assert [log.count(f"[id {error_id}]") for error_id in ids] == [2, 2]
    assert "FileNotFoundError: [Errno 2] No such file or directory: '[redacted]'" in log
    assert "ada-on-holiday" not in log
    mails = project.mail_server.mails
    assert any(error_id in mails[0].text for error_id in ids)
    assert "Thumbnails" in mails[0].subject
    project.assert_neutral(printed)


def test_threads_and_modules_have_the_folders_name(project: Project) -> None:
    project.add("worker.py", PROGRAM.replace("asyncio.run(main())\n", f"asyncio.run(main()){INSPECTED}"))

    threads, modules = json.loads(project.run("worker.py"))

    assert {"delivery-listener", "delivery-mailer"} <= set(threads)
    assert "delivery" in modules
    project.assert_neutral(*threads, *modules)
    assert not {"quart", "sqlalchemy", "pydantic", "click", "fastapi"} & {name.partition(".")[0] for name in modules}


def test_what_goes_to_stderr_has_the_folders_name(project: Project) -> None:
    project.add("worker.py", PROGRAM)
    # A directory stands where the log file belongs.
    (project.place / "logs" / "worker.log").mkdir(parents=True)
    process = project.start("worker.py")

    _, complained = process.communicate(timeout=60)

    assert complained.startswith("delivery: ")
    assert "quartblog" not in complained
