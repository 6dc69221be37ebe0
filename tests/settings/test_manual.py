"""config.toml is the operator's manual: it and the types agree. A change of it counts once it is added to Git."""

import re
import tomllib
from pathlib import Path

import pytest

from quartblog.settings import Settings, load_settings
from quartblog.settings.sources import known_keys
from tests.support.processes import tracked

MANUAL = tracked("config.toml")


def test_the_manual_holds_every_key_in_the_order_of_the_contract() -> None:
    values = tomllib.loads(MANUAL)

    written = [(section, key) for section, keys in values.items() for key in keys]

    assert set(written) == set(known_keys())
    assert list(values) == list(Settings.model_fields)


def test_every_value_in_the_manual_is_the_default(tmp_path: Path) -> None:
    copy = tmp_path / "config.toml"
    copy.write_text(MANUAL, "utf-8")

    assert load_settings(copy, {}) == Settings()


@pytest.mark.parametrize(("section", "key"), known_keys())
def test_every_key_is_explained_in_the_line_above_it(section: str, key: str) -> None:
    content = MANUAL.partition(f"\n[{section}]\n")[2].partition("\n[")[0]

    assert re.search(rf"^# \S.{{20,118}}[.)]\n{key} = ", content, re.MULTILINE)


@pytest.mark.parametrize(
    "key", ["pool_timeout", "timeout", "batch_seconds", "window_seconds", "retry_min", "retry_max", "retry_for"]
)
def test_a_time_is_explained_with_its_unit(key: str) -> None:
    line = re.search(rf"^# (.*)\n{key} = ", MANUAL, re.MULTILINE)

    assert line is not None
    assert "seconds" in line[1].lower()
