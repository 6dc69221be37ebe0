"""Mail settings that pass one by one and cannot work together stop the start."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from quartblog.app import create_app
from quartblog.errors.exceptions import SettingsError
from quartblog.settings import Settings
from quartblog.settings.options import mail_options
from quartblog.settings.sections import Site
from tests.support.processes import ROOT

AUTHORITY = ROOT / "tests" / "delivery" / "certificates" / "authority.pem"


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

    with pytest.raises(SettingsError, match=r"^\[mail\]: 'nobody' is not a mail address"):
        create_app(broken)


def test_no_server_is_no_mail_and_no_problem() -> None:
    assert mail_options(settings(server="", admins=[])) is None


@pytest.mark.parametrize(
    ("public_url", "name"),
    [
        ("https://blog.example.org:8443", "blog.example.org"),
        ("https://博客.example", "xn--9krq6q.example"),
        ("http://127.0.0.1:5000", ""),
        ("https://[2001:db8::1]", ""),
        ("http://localhost:5000", ""),
        ("http://blog.", ""),
    ],
)
def test_the_mail_server_is_greeted_with_the_public_name(public_url: str, name: str) -> None:
    site = Site(public_url=public_url)
    own, told = (
        mail_options(one.model_copy(update={"site": site})) for one in (settings(), settings(local_hostname="a"))
    )

    assert own is not None
    assert told is not None
    assert (own.local_hostname, told.local_hostname) == (name, "a")


def test_the_title_of_subjects_and_the_authority_are_settings() -> None:
    options = mail_options(settings(subject="errors", ca_file=AUTHORITY))

    assert options is not None
    assert (options.title, options.ca_file) == ("errors", AUTHORITY)


def test_the_defaults_are_the_title_of_the_original_and_the_authorities_of_the_system() -> None:
    options = mail_options(settings())

    assert options is not None
    assert (options.title, options.ca_file) == ("博客异常", None)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_file_without_certificates_stops_the_start(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "authority.pem"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(ValidationError, match=r"mail\.ca_file[\s\S]*must be a file of certificates in PEM"):
        settings(ca_file=file)
