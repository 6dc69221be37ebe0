"""Which pages are for everybody; the others send to sign in first. A new page must choose."""

from quart import Quart

from quartblog.auth.visitor import required_user
from tests.support.browsing import FROM_OURSELVES, Visitor

REHEARSAL = ("/errors/rehearsal", "/errors/rehearsal/", "/errors/rehearsal/<path:below>")
FOR_EVERYBODY = {
    ("/", "GET"),
    ("/hello", "GET"),
    ("/login", "GET"),
    ("/login", "POST"),
    ("/logout", "GET"),
    ("/logout", "POST"),
    ("/register", "GET"),
    ("/register", "POST"),
    ("/user/info/<username>", "GET"),
    # By a single-use key: tests/operations/test_entrance.py.
    ("/operations/enter", "GET"),
    ("/operations/enter", "POST"),
    ("/healthz", "GET"),
    ("/readyz", "GET"),
    # For a token or for this machine, see tests/operations/test_metrics.py; no account is asked for.
    ("/metrics", "GET"),
    ("/static/<path:filename>", "GET"),
    *((rule, method) for rule in REHEARSAL for method in ("GET", "POST", "PUT", "PATCH", "DELETE")),
}
GROUPS, GROUP = "/operations/errors", "/operations/errors/<int:group_id>"
# A group that is only in memory has a negative number.
READ = "/operations/errors/<int(signed=True):group_id>"
FOR_MEMBERS = {
    *(("/", "POST"), ("/user/edit", "GET"), ("/user/edit", "POST")),
    *(("/account", "GET"), ("/account/password", "POST"), ("/account/sessions", "POST")),
    # And of these only for administrators: tests/operations/test_error_groups.py.
    ("/operations", "GET"),
    *((GROUPS, "GET"), (GROUPS, "POST"), (READ, "GET"), (GROUP, "POST"), (f"{READ}.md", "GET")),
    *(("/operations/delivery", "GET"), ("/operations/delivery", "POST")),
}


async def test_a_page_is_for_everybody_or_sends_to_sign_in(app: Quart, visitor: Visitor) -> None:
    asked = []
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            if (rule.rule, method) in FOR_EVERYBODY:
                continue
            path = rule.rule.replace(READ, f"{GROUPS}/1").replace(GROUP, f"{GROUPS}/1")
            answer = await visitor.send(method, path, headers=FROM_OURSELVES)
            assert answer.status == 302, (
                f"{method} {rule} is for everybody: add it to FOR_EVERYBODY or require a sign-in"
            )
            assert answer.location.startswith("/login")
            asked.append((rule.rule, method))

    assert set(asked) == FOR_MEMBERS, "add the page to FOR_MEMBERS, or remove it there"


async def test_a_client_that_wants_json_is_told_401(visitor: Visitor) -> None:
    answer = await visitor.get("/user/edit", Accept="application/json")

    assert answer.status == 401
    assert "请登录后访问此页面" in answer.text


async def test_a_view_that_needs_somebody_sends_to_sign_in_by_itself(app: Quart, visitor: Visitor) -> None:
    @app.get("/mine")
    async def mine() -> str:
        return (await required_user()).username

    assert (await visitor.get("/mine")).location == "/login?next=/mine"
