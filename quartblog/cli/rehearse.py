"""`quartblog delivery rehearse`: settings -> an error storm -> figures, and advice on the settings."""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from quartblog.cli.invocation import Finite
from quartblog.cli.output import count, json_option, print_json, table
from quartblog.cli.plot import draws_blocks, peaks, plot
from quartblog.delivery import MailOptions
from quartblog.rehearsal.rehearsal import Stage, rehearse
from quartblog.rehearsal.report import AT_RISK, SHARE, Plan, suggestions
from quartblog.rehearsal.storm import FRAMES
from quartblog.settings.options import file_options, mail_options, mailing_options, queue_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quartblog.cli.invocation import Invocation
    from quartblog.delivery import Percentiles
    from quartblog.rehearsal.report import Rehearsed, Suggestion
    from quartblog.settings import Settings

_NOBODY = MailOptions(server="localhost", sender="rehearsal@localhost", admins=("rehearsal@localhost",))
_TIMES = ("call", "to_file", "to_mail")
_SLICES = 100
# Below this share of the planned rate, the report says that the machine was too slow.
REACHED = 0.95
_UNITS = ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms"), (float("inf"), 1.0, "s"))


@click.command("rehearse")
@click.option(
    "--rate", type=Finite(1, 100_000), default=100, show_default=True, help="Failing requests a second in one worker."
)
@click.option("--distinct", type=click.IntRange(1, 200), default=5, show_default=True, help="Kinds of failure.")
@click.option(
    "--seconds", type=Finite(0.1, 3600), default=5, show_default=True, help="Duration of the storm in seconds."
)
@click.option(
    "--smtp-delay",
    type=Finite(0, 600),
    default=0.5,
    show_default=True,
    help="Seconds the mail server needs for each mail.",
)
@click.option(
    "--smtp-down",
    type=Finite(0, 600),
    default=0,
    show_default=True,
    help="Seconds from the start in which the mail server refuses connections.",
)
@click.option(
    "--window-seconds",
    type=Finite(0.01, 1e9),
    help="Another window_seconds than the one in the settings.  [default: [delivery] window_seconds]",
)
@click.option("--ascii", "ascii_only", is_flag=True, help="Draw with ASCII characters; the default in a pipe.")
@json_option
@click.pass_obj
def command(
    invocation: Invocation, /, *, window_seconds: float | None, ascii_only: bool, as_data: bool, **storm: Any
) -> None:
    """Simulate an error storm, and suggest better settings.

    The storm runs through the real pipeline with the current settings. Each failing request logs an INFO record and an
    ERROR with a traceback. Log file and outbox are temporary and the mail server is private, so the command changes no
    file of the site and mails nobody.

    Each worker has a queue of its own, and a rehearsal is one worker. Its rate is the failing requests a second of the
    whole site / workers: 2,000 a second on 4 workers are --rate 500. The queue_size that it suggests is the one of each
    worker.

    At the end it sends the remaining digests at once. To test a window, let the storm last longer than
    --window-seconds: `mails` counts those that left before the end.

    With --json, all times are in seconds. Exits 0 even if the queue refused records.

    \b
    Example:
      quartblog delivery rehearse --rate 500 --distinct 20 --seconds 10
      quartblog delivery rehearse --smtp-delay 2 --smtp-down 30
      quartblog delivery rehearse --seconds 60 --window-seconds 20
      quartblog delivery rehearse --ascii > before.txt
      QUARTBLOG_DELIVERY__QUEUE_SIZE=1000 quartblog delivery rehearse --rate 5000 --json | jq .refused
    """
    stage = _stage(invocation.settings(), window_seconds)
    plan = Plan(**storm)
    if not as_data:
        click.echo(f"Rehearsing for about {plan.seconds:g} s; warnings until then belong to the rehearsal", err=True)
    try:
        rehearsed = rehearse(stage, plan)
    except OSError as error:
        raise click.ClickException(f"cannot start the rehearsal: {error}") from error
    advice = list(suggestions(rehearsed, stage.queue, stage.mail, stage.mailing))
    if as_data:
        print_json(_data(rehearsed, advice))
    else:
        click.echo(as_text(rehearsed, advice, ascii_only=ascii_only or not draws_blocks()))


def _stage(settings: Settings, window_seconds: float | None) -> Stage:
    mailing = mailing_options(settings)
    return Stage(
        queue=queue_options(settings),
        file=file_options(settings),
        mail=mail_options(settings) or _NOBODY,
        mailing=mailing if window_seconds is None else replace(mailing, window_seconds=window_seconds),
    )


def as_text(done: Rehearsed, advice: list[Suggestion], *, ascii_only: bool) -> str:
    """Return the results, the queue over time and the advice."""
    return "\n".join(_lines(done, advice, ascii_only=ascii_only))


def _lines(done: Rehearsed, advice: list[Suggestion], *, ascii_only: bool) -> Iterator[str]:
    plan = done.plan
    yield (
        f"{count(done.offered.get('ERROR', 0), 'failure')} of {count(plan.distinct, 'kind')} in {done.lasted:.1f} s:"
        f" {done.failures_per_second:,.0f} of the planned {plan.rate:,.0f} a second"
    )
    away = f", refuses connections for the first {plan.smtp_down:g} s" if plan.smtp_down else ""
    yield f"Mail server: takes {plan.smtp_delay:g} s per mail{away}\n"
    levels = [*done.offered, *(level for level in done.refused if level not in done.offered)]
    rows = (("offered", done.offered), ("accepted", done.accepted), ("refused", done.refused))
    cells = [(name, *(f"{numbers.get(level, 0):,}" for level in levels)) for name, numbers in rows]
    yield table([("", *levels), *cells], right=frozenset(range(1, len(levels) + 1)))
    yield ""
    yield table(list(_facts(done)))
    yield "\nRecords in the queue over time:"
    yield plot(done.depths, shutil.get_terminal_size().columns, ascii_only=ascii_only)
    if done.failures_per_second < REACHED * plan.rate:
        yield f"\nThis machine reached only {done.failures_per_second:,.0f} a second; the results hold for that rate."
    yield (
        "\nNo setting is too small for this storm."
        if not advice
        else "\nToo small for this storm, in your settings file:"
    )
    for section in dict.fromkeys(found.section for found in advice):
        yield f"  [{section}]"
        yield from (f"  {found.key} = {found.value}  # {found.why}" for found in advice if found.section == section)
    yield f"\n{SHARE}"


def _facts(done: Rehearsed) -> Iterator[tuple[str, str]]:
    yield "queue peak", f"{done.high_water:,} of {done.size:,} ({done.high_water / done.size:.1%})"
    yield "log call", f"{_shown(done.call)}: a request's cost of logging an ERROR with {FRAMES} frames"
    yield "to the file", f"{_shown(done.to_file)}: until file and outbox have a record"
    kinds = f"{done.kinds_in_time} of {count(done.plan.distinct, 'kind')}"
    yield "to a mail", f"{_shown(done.to_mail)}: until the inbox has the first mail about a kind ({kinds})"
    accepted = done.accepted.get("ERROR", 0)
    agrees = "all" if done.counted == accepted else f"{done.counted:,} of"
    left = [
        (done.held, "error", "held back by mails_per_hour"),
        (done.waiting, "mail", "waiting"),
        (done.dead, "mail", "dead"),
    ]
    more = "".join(f"; {count(number, what)} {fate}" for number, what, fate in left if number)
    tries, errors = count(done.tries, "try", "tries"), count(accepted, "error")
    before = f"{done.in_time:,} before the end"
    yield "mails", f"{done.mails:,} in {tries}, {before}, counting {agrees} {errors}{more}"
    longest = max(AT_RISK, done.to_file.p99_ms / 1000 if done.to_file else 0.0)
    yield (
        "worst case",
        f"kill -9 loses the records of the last {_time(longest)}: up to {done.at_risk:,} in such a storm",
    )


def _shown(found: Percentiles | None) -> str:
    return "never" if found is None else f"median {_time(found.median_ms / 1000)}, p99 {_time(found.p99_ms / 1000)}"


def _time(seconds: float) -> str:
    _, factor, unit = next(step for step in _UNITS if seconds < step[0])
    return f"{seconds * factor:.3g} {unit}"


def _in_seconds(found: Percentiles | None) -> dict[str, float] | None:
    return None if found is None else {"median": found.median_ms / 1000, "p99": found.p99_ms / 1000}


def _data(done: Rehearsed, advice: list[Suggestion]) -> dict[str, Any]:
    """Return every figure for JSON, with times in seconds."""
    return asdict(done) | {
        **{name: _in_seconds(getattr(done, name)) for name in _TIMES},
        "depths": {"slice": done.depths[-1][0] / _SLICES, "peaks": peaks(done.depths, _SLICES)},
        "offered": dict(done.offered),
        "accepted": done.accepted,
        "failures_per_second": done.failures_per_second,
        "at_risk": done.at_risk,
        "suggestions": [found._asdict() for found in advice],
    }
