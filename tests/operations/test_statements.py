"""What the pages of errors cost the outbox: as many statements with a thousand groups as with none."""

from collections.abc import Iterator

import pytest

from quartblog.delivery import Outbox
from quartblog.settings import Settings
from tests.support.browsing import Visitor
from tests.support.failures import an_event
from tests.support.outbox_statements import noted

# The statements of each page. Four of them check the file, begin and commit; a group takes two such transactions.
COSTS = {
    "": 7,
    "?order=count": 7,
    "?q=the+edit+failed": 7,
    "?q=nowhere+at+all": 7,
    "an id": 7,
    "a group": 17,
}


@pytest.fixture
def sent(settings: Settings) -> Iterator[list[str]]:
    """The statements that pages have sent to the outbox."""
    with noted(settings.delivery.outbox) as seen:
        yield seen


# In this order, so that the statements of each connection of the app are noted.
async def test_more_groups_take_no_more_statements(sent: list[str], outbox: Outbox, admin: Visitor) -> None:
    async def cost(path: str, status: int = 200) -> int:
        sent.clear()
        assert (await admin.get(path)).status == status
        return len(sent)

    costs: dict[str, set[int]] = {}
    for first, groups in ((0, 0), (0, 60), (60, 1_000)):
        outbox.record([an_event(f"{number:016}", error_id=f"{number:012}") for number in range(first, groups)])
        assert outbox.totals().open_groups == groups
        for path in list(COSTS)[:4]:
            costs.setdefault(path, set()).add(await cost(f"/operations/errors{path}"))
        for number in range(0, groups, max(1, groups // 3)):
            found = outbox.group(f"{number:012}")
            assert found is not None
            costs.setdefault("an id", set()).add(await cost(f"/operations/errors?q={number:012}", 302))
            costs.setdefault("a group", set()).add(await cost(f"/operations/errors/{found.id}"))

    assert costs == {page: {needed} for page, needed in COSTS.items()}, sent
