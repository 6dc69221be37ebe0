"""Exception -> its texts that expose a canary, a value that no record may show."""

import traceback
from collections.abc import Iterator

CANARY = "ada@canary.example"
NUMBER = 987654321987


def exposed(error: BaseException) -> list[str]:
    """Return each text of the exception, of its chain and of their attributes that holds a canary."""
    return [text for text in _texts(error) if CANARY in text or str(NUMBER) in text]


def _texts(error: BaseException) -> Iterator[str]:
    yield "".join(traceback.format_exception(error))
    for link in _chain(error):
        yield f"{type(link)!r}: {link!r} {link}"
        for name in dir(link):
            if not name.startswith("__") and not callable(value := getattr(link, name, None)):
                yield f"{type(link)!r}.{name}: {value!r}"


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        link = waiting.pop()
        if isinstance(link, BaseException) and link not in links:
            links.append(link)
            waiting += [link.__cause__, link.__context__, getattr(link, "orig", None)]
    return links
