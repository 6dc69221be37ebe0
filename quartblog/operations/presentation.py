"""Values of the outbox -> what the templates of the operations pages show: words, times, charts, texts of strangers."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from babel.dates import format_timedelta
from markupsafe import Markup, escape
from quart import Quart

from quartblog.delivery import Details
from quartblog.delivery.tools import REDACTED, block, one_line
from quartblog.operations.charts import Bar, chart, delays
from quartblog.web.i18n import N_, _, age, locale

DAYS = 30
WRITTEN = "%Y-%m-%d %H:%M:%S UTC"
"""Times as the log writes them with `[logging] utc`."""

# What the outbox says of mails and groups.
_WORDS = {
    "waiting": N_("等待"),
    "sent": N_("已发送"),
    "dead": N_("失败"),
    "resolved": N_("已解决"),
    "muted": N_("已静音"),
    "reopened": N_("已重新打开"),
    "noted": N_("备注"),
    "happened again": N_("再次发生"),
    "was unmuted": N_("静音结束"),
    "again": N_("再次发生"),
}


def several_lines(text: str) -> Markup:
    """Return a text of several lines for a page; what redaction has hidden in it looks different from the rest."""
    hidden = Markup("<i>{}</i>").format(REDACTED)
    return hidden.join(escape(part) for part in block(text).split(REDACTED))


def clipped(text: str, most: int) -> str:
    """Return the beginning of a text on one line that takes a page at most so many bytes, and an ellipsis."""
    shown = text = one_line(text)
    while (takes := len(escape(shown).encode())) > most:
        # At least one character less, so that this ends.
        shown = shown[: min(len(shown) - 1, len(shown) * most // takes)]
    return shown if shown == text else f"{shown}…"


def in_words(state: str) -> str:
    """Return a state of a mail, or what happened to a group, in the reader's language."""
    return _(_WORDS.get(state, state))


def init_app(app: Quart) -> None:
    """Give the templates of these pages what they need."""
    app.jinja_env.globals.update(
        day_chart=_day_chart, hour_chart=_hour_chart, delays=delays, exactly=_exactly, moments=moments
    )
    app.jinja_env.filters.update(line=one_line, block=several_lines, clipped=clipped)
    app.jinja_env.filters.update(in_words=in_words, span=_span, merged=_merged, milliseconds=_milliseconds)


def moments(at: float) -> datetime:
    """Return the datetime of epoch seconds."""
    return datetime.fromtimestamp(at, UTC)


def _merged(asked: dict[str, str], **more: str) -> dict[str, str]:
    return asked | more


def _span(seconds: float | None) -> str:
    """Return a time span in the reader's language."""
    return format_timedelta(timedelta(seconds=seconds or 0), locale="zh" if locale() == "zh" else "en")


def _milliseconds(value: float) -> str:
    """Return a delay without an exponent: mail that waits for its server takes minutes."""
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _exactly(at: float) -> Markup:
    """Return epoch seconds for a page: in full, as in the log, and how long ago they are for a pointer."""
    when = moments(at)
    exact, ago = when.isoformat(timespec="seconds"), age(when)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(exact, ago, f"{when:{WRITTEN}}")


def _hour_chart(hours: Sequence[int]) -> Markup:
    """Draw the last 24 hours of a group."""
    total, most = f"{sum(hours):,}", f"{max(hours, default=0):,}"
    words = _("最近 24 小时 %(sum)s 次，一小时最多 %(most)s 次", sum=total, most=most)
    return chart([Bar(count) for count in hours], words)


def _day_chart(details: Details) -> Markup:
    """Draw the last 30 days of a group, today last, with a caption."""
    today = datetime.now(UTC).date()
    counts = dict.fromkeys((today - timedelta(days=back) for back in range(DAYS - 1, -1, -1)), 0)
    for hour, count in details.hours.items():
        day = datetime.fromtimestamp(hour * 3_600, UTC).date()
        if day in counts:
            counts[day] += count
    busiest = max(counts, key=lambda day: counts[day])
    total, most = f"{sum(counts.values()):,}", f"{counts[busiest]:,}"
    words = _("最近 30 天 %(sum)s 次，最多的一天是 %(day)s，%(most)s 次", sum=total, day=busiest.isoformat(), most=most)
    bars = [Bar(count, f"{day.isoformat()}: {count:,}") for day, count in counts.items()]
    drawn = chart(bars, words, width=12, height=64)
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(drawn, words)
