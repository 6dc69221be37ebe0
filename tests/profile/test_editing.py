"""Editing one's own profile."""

from quartblog.models import User
from tests.support.browsing import SignIn


async def test_a_taken_username_is_explained_beside_the_field(ada: User, grace: User, sign_in: SignIn) -> None:
    page = await (await sign_in(grace)).submit("/user/edit", username="Ada", about_me="typed")

    assert page.status == 200
    assert page.errors_beside("username") == "请使用其他用户名"
    assert (page.value_of("username"), page.value_of("about_me")) == ("Ada", "typed")
