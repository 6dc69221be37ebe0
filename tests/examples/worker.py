"""A program without a web server: each job is a piece of work with an error id of its own."""

import asyncio
import logging
from pathlib import Path

from delivery import Delivery, FileOptions, MailOptions, OutboxOptions, scope

FILE = FileOptions(path=Path("logs/worker.log"))
OUTBOX = OutboxOptions(path=Path("logs/outbox.sqlite3"))
MAIL = MailOptions(server="localhost", sender="worker@example.org", admins=("ada@example.org",), site="Thumbnails")
logger = logging.getLogger("thumbnails")


async def shrink(picture):
    with scope(route="job shrink") as job:
        # A customer chose the name: no record shows it.
        job.hide(lambda: [picture])
        logger.info("Shrinking %s", picture)
        try:
            await asyncio.to_thread(Path(picture).read_bytes)
        except OSError:
            logger.exception("The job failed")


async def main():
    await asyncio.gather(shrink("ada-on-holiday.jpg"), shrink("grace-at-home.png"))


if __name__ == "__main__":
    with Delivery(file=FILE, outbox=OUTBOX, mail=MAIL) as delivery:
        asyncio.run(main())
        # A program that ends soon waits for its mail; otherwise the mail leaves when the program runs again.
        delivery.drain(mail=True)
