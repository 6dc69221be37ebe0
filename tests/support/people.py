"""Empty site -> a site with accounts and full pages."""

from tests.support.client import PASSWORD, Client
from tests.support.processes import Server
from tests.support.troubles import trouble

ADMIN = "ops"


def populate(site: Server) -> str:
    """Add an account called `taken`, and one with the longest texts and more posts than a page shows.

    Add an administrator, and errors. Return the name of the second account.
    """
    appoint(site)
    trouble(site.folder)
    site.client().register("taken")
    name = "w" * 64
    visitor = site.client()
    visitor.register(name)
    visitor.sign_in(name)
    link = "https://example.org/" + "path/" * 24
    for body in [*map(str, range(25)), "一行\n两行\n\n四行", "x" * 140, link, "字" * 140]:
        _save(visitor, "/", body=body)
    _save(visitor, "/user/edit", username=name, about_me="y" * 140)
    return name


def appoint(site: Server) -> None:
    """Add the administrator ADMIN."""
    site.run("user", "create", ADMIN, "--email", "ops@example.org", "--admin", "--password-stdin", typed=PASSWORD)


def _save(visitor: Client, path: str, **fields: str) -> None:
    answer = visitor.submit(path, **fields)
    assert answer.status == 302, answer.text
