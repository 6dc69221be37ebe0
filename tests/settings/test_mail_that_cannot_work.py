"""Mail settings that pass one by one and cannot work together stop the start."""

import pytest
from pydantic import ValidationError

from quartblog.app import create_app
from quartblog.errors.exceptions import SettingsError
from quartblog.settings import Settings
from quartblog.settings.options import mail_options


def settings(**mail: object) -> Settings:
    usable: dict[str, object] = {"server": "127.0.0.1", "admins": ["ada@example.org"]}
    return Settings.model_validate({"mail": {**usable, **mail}, "security": {"secret_key": "k" * 40}})


@pytest.mark.parametrize(
    ("mail", "named"),
    [
        pytest.param({"server": "localhost.localdomain", "username": "ada"}, "username", id="plain_login"),
        pytest.param({"admins": ["ops:x@example.org"]}, "admins", id="an_address_with_a_colon"),
    ],
)
def test_the_settings_refuse_what_the_delivery_would(mail: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=rf"mail\.{named}"):
        settings(**mail)


def test_the_start_names_the_section_should_the_delivery_refuse_more() -> None:
    passed = settings()
    broken = passed.model_copy(update={"mail": passed.mail.model_copy(update={"admins": ("nobody",)})})

    with pytest.raises(SettingsError, match=r"^\[mail\]: 'nobody' is no mail address"):
        create_app(broken)


def test_no_server_is_no_mail_and_no_problem() -> None:
    assert mail_options(settings(server="", admins=[])) is None
