"""Counts in messages."""

from quartblog.delivery.text import counted


def test_one_thing_is_not_many() -> None:
    assert (counted(1, "mail"), counted(0, "mail"), counted(12, "mail")) == ("1 mail", "0 mails", "12 mails")
    assert counted(2, "try", "tries") == "2 tries"
