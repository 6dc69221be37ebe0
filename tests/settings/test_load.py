"""Which source wins, and what each may say."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from quartblog.errors.exceptions import SettingsError
from quartblog.settings import Settings, load_outbox, load_settings
from quartblog.settings.load import load as load_with_origins

Load = Callable[..., Settings]


def test_settings_built_by_hand_read_neither_file_nor_environment(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("config.toml").write_text('[site]\nname = "from the file"')
    monkeypatch.setenv("QUARTBLOG_SITE__NAME", "from the environment")

    assert Settings().site.name == "微博"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().site.name = "another"


def test_without_a_file_every_value_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert load_settings(None, {}) == Settings()


def test_the_real_environment_is_read_unless_another_is_given(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUARTBLOG_SITE__NAME", "from the environment")

    assert load_settings(Path("/dev/null")).site.name == "from the environment"


def test_the_file_in_the_working_directory_is_read(load: Load) -> None:
    assert load("[logging]\nbackup_count = 3").logging.backup_count == 3


def test_a_variable_wins_over_the_original_variable_and_that_over_the_file(load: Load) -> None:
    config = '[mail]\nserver = "file"\nport = 1\ntimeout = 3.0\nadmins = ["ops@example.org"]'

    mail = load(config, MAIL_SERVER="original", MAIL_PORT="2", QUARTBLOG_MAIL__SERVER="ours").mail

    assert (mail.server, mail.port, mail.timeout) == ("ours", 2, 3.0)


def test_one_section_may_come_from_several_sources(load: Load) -> None:
    logging = load('[logging]\nlevel = "ERROR"', QUARTBLOG_LOGGING__COMPRESS="true").logging

    assert (logging.level, logging.compress) == ("ERROR", True)


def test_the_originals_mail_variables_work(load: Load) -> None:
    mail = load(
        MAIL_SERVER="smtp.example.org",
        MAIL_PORT="587",
        MAIL_USE_TLS="1",
        MAIL_USERNAME="blog",
        MAIL_PASSWORD="secret",
        MAIL_ADMINS="a@example.org, b@example.org",
    ).mail

    assert (mail.server, mail.port, mail.tls, mail.username) == ("smtp.example.org", 587, "starttls", "blog")
    assert mail.password.get_secret_value() == "secret"
    assert mail.admins == ("a@example.org", "b@example.org")


@pytest.mark.parametrize("value", ["0", "false", "No", "off"])
def test_mail_use_tls_can_be_switched_off(load: Load, value: str) -> None:
    assert load('[mail]\ntls = "implicit"', MAIL_USE_TLS=value).mail.tls == "none"


def test_an_empty_original_variable_counts_as_not_set(load: Load) -> None:
    assert load("[mail]\nport = 2525", MAIL_PORT="").mail.port == 2525


@pytest.mark.parametrize("text", ["a@example.org,b@example.org", '["a@example.org", "b@example.org"]'])
def test_a_list_in_a_variable_is_comma_separated_or_json(load: Load, text: str) -> None:
    assert load(QUARTBLOG_MAIL__ADMINS=text).mail.admins == ("a@example.org", "b@example.org")


def test_an_empty_variable_is_an_empty_list(load: Load) -> None:
    assert load('[security]\nallowed_hosts = ["a.example.org"]', QUARTBLOG_SECURITY__ALLOWED_HOSTS="") == Settings()


def test_a_named_file_is_read_instead_of_the_one_in_the_working_directory(load: Load) -> None:
    Path("argument.toml").write_text('[site]\nname = "argument"')
    Path("variable.toml").write_text('[site]\nname = "variable"')
    load('[site]\nname = "working directory"')

    environ = {"QUARTBLOG_CONFIG": "variable.toml"}

    assert load_settings(None, environ).site.name == "variable"
    assert load_settings(Path("argument.toml"), environ).site.name == "argument"
    assert load_settings(None, {"QUARTBLOG_CONFIG": ""}).site.name == "working directory"


@pytest.mark.parametrize("environ", [{"QUARTBLOG_CONFIG": "missing.toml"}, {}])
def test_a_named_file_that_does_not_exist_is_an_error(environ: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"^missing\.toml: no such file$"):
        load_settings(None if environ else Path("missing.toml"), environ)


def test_broken_toml_is_told_with_file_and_line(load: Load) -> None:
    with pytest.raises(SettingsError, match=r"^config\.toml: is not TOML: .*line 2"):
        load("[site]\nname = nothing")


@pytest.mark.parametrize(
    "twice",
    [
        "[delivery]\nroutes = []\n[[delivery.routes]]",
        "[mail]\nport = 25\n[mail]",
        "[mail]\nport = 25\nport = 26\n",
    ],
)
def test_what_stands_twice_in_toml_is_told_as_that(load: Load, twice: str) -> None:
    with pytest.raises(SettingsError, match=r"is not TOML: .*at line 3.*; the file defines it twice$"):
        load(twice)


def test_a_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes('[site]\nname = "微博"'.encode("gbk"))

    with pytest.raises(SettingsError, match="is not UTF-8 at byte 17"):
        load_settings(path, {})


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load_settings(tmp_path, {})


def test_each_value_knows_where_it_came_from(load: Load) -> None:
    load('[site]\nname = "x"\n[mail]\nport = 26\nadmins = ["ops@example.org"]')
    environ = {"MAIL_SERVER": "localhost", "QUARTBLOG_MAIL__PORT": "27"}

    origins = load_with_origins(None, environ).origins

    assert origins == {
        ("site", "name"): "config.toml",
        ("mail", "admins"): "config.toml",
        ("mail", "server"): "MAIL_SERVER",
        ("mail", "port"): "QUARTBLOG_MAIL__PORT",
    }


@pytest.mark.parametrize(
    ("config", "secure"),
    [
        ("", False),
        ('[site]\npublic_url = "https://blog.example.org"', True),
        ('[site]\npublic_url = "https://blog.example.org"\n[security]\ncookie_secure = false', False),
        ("[security]\ncookie_secure = true", True),
        ('[security]\ncookie_secure = "auto"', False),
    ],
)
def test_cookies_are_secure_where_told_or_else_where_the_site_is_https(load: Load, config: str, secure: bool) -> None:  # noqa: FBT001
    assert load(config).secure_cookies is secure


def test_the_first_admin_writes_where_no_sender_is_set(load: Load) -> None:
    config = '[mail]\nserver = "localhost"\nadmins = ["a@example.org", "b@example.org"]\nsender = ""'

    assert load(config).mail.sender == "a@example.org"
    assert load(config, QUARTBLOG_MAIL__SENDER="blog@example.org").mail.sender == "blog@example.org"


def test_a_closing_slash_is_taken_off_the_public_address(load: Load) -> None:
    assert (
        load('[site]\npublic_url = "https://blog.example.org:8443/"').site.public_url == "https://blog.example.org:8443"
    )


def test_variables_that_kubernetes_makes_for_a_service_are_left_alone(load: Load) -> None:
    environ = {"QUARTBLOG_PORT": "tcp://10.0.0.1:80", "QUARTBLOG_SERVICE_HOST": "10.0.0.1"}

    assert load(**environ) == Settings()


def test_the_outbox_is_known_whatever_is_wrong_with_the_others(load: Load) -> None:
    with pytest.raises(SettingsError):
        load('[mail]\nport = 0\n[delivery]\noutbox = "o.db"\nqueue_size = "many"\n[nonsense]\n')

    assert load_outbox(environ={}) == Path("o.db")
    assert load_outbox(environ={"QUARTBLOG_DELIVERY__OUTBOX": "other.db"}) == Path("other.db")
    assert load_outbox(environ={"QUARTBLOG_MAIL": "x"}) == Path("o.db")
    with pytest.raises(SettingsError, match="outbox"):
        load_outbox(environ={"QUARTBLOG_DELIVERY__OUTBOX": "/"})
