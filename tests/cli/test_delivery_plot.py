"""Numbers over time as a picture."""

from quartblog.cli.plot import HEIGHT, plot


def test_the_highest_number_reaches_the_top_and_half_of_it_the_middle() -> None:
    lines = plot([(0.0, 0), (1.0, 500), (2.0, 1000), (3.0, 1000)], 40).splitlines()

    assert len(lines) == HEIGHT + 1
    assert lines[0].startswith("1,000 │")
    assert lines[HEIGHT - 1].startswith("    0 │")
    assert "█" in lines[0]
    assert lines[0].index("█") > lines[HEIGHT // 2].index("█")
    assert lines[-1].endswith("3.0 s")


def test_the_picture_is_as_wide_as_it_may_be() -> None:
    for width in (40, 100):
        assert max(map(len, plot([(0.0, 3), (9.0, 9)], width).splitlines())) == width


def test_a_short_peak_is_not_lost_between_two_columns() -> None:
    samples = [(number / 1000, 0) for number in range(10_000)]
    samples[5003] = (5.003, 70)

    assert "█" in plot(samples, 30).splitlines()[0]


def test_one_record_among_thousands_is_still_seen() -> None:
    assert "▁" in plot([(0.0, 1), (1.0, 10_000)], 40).splitlines()[HEIGHT - 1]


def test_plain_ascii_is_enough() -> None:
    picture = plot([(0.0, 1), (1.0, 5), (2.0, 10)], 40, ascii_only=True)

    assert picture.isascii()
    assert "#" in picture.splitlines()[0]


def test_an_empty_queue_is_a_flat_line() -> None:
    for samples in ([], [(0.0, 0)], [(0.0, 0), (5.0, 0)]):
        lines = plot(samples, 40).splitlines()
        assert [line.strip("0 │") for line in lines[:-1]] == [""] * HEIGHT
