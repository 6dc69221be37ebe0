"""Mail settings that pass one by one and cannot work together stop the start."""

import pytest

from quartblog.app import create_app, mail_options
from quartblog.errors.exceptions import SettingsError
from quartblog.settings import Settings


def settings(**mail: object) -> Settings:
    usable: dict[str, object] = {"server": "127.0.0.1", "admins": ["ada@example.org"]}
    return Settings.model_validate({"mail": {**usable, **mail}, "security": {"secret_key": "k" * 40}})


@pytest.mark.parametrize(
    "mail",
    [
        pytest.param({"server": "localhost.localdomain", "username": "ada", "password": "x"}, id="plain_login"),
        pytest.param({"admins": ["ops:x@example.org"]}, id="an_address_with_a_colon"),
    ],
)
def test_the_start_is_refused_with_the_reason(mail: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"\[mail\]: "):
        create_app(settings(**mail))


def test_no_server_is_no_mail_and_no_problem() -> None:
    assert mail_options(settings(server="", admins=[])) is None
