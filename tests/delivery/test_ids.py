"""The error id."""

from quartblog.delivery.context import ALPHABET, new_error_id


def test_an_error_id_is_twelve_characters_that_can_be_read_out() -> None:
    characters = "".join(new_error_id() for _ in range(2_000))

    assert len(characters) == 2_000 * 12
    assert set(characters) == set(ALPHABET)
    assert not set("ilou") & set(ALPHABET)
    assert ALPHABET.lower() == ALPHABET


def test_two_error_ids_differ() -> None:
    assert len({new_error_id() for _ in range(10_000)}) == 10_000
