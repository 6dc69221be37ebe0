"""A server's answer -> whether a later try can help: by its code, its enhanced code (RFC 3463), and its words.

The enhanced code follows the code, or stands anywhere behind a "#", as qmail writes it. A first digit of 4 means later,
and 5 means never. The exceptions, all with a first digit of 5:

    enhanced code          meaning                                              what follows
    4.x.x                  the two codes contradict each other                  tried again
    5.2.2                  the mailbox is full                                  tried again
    5.3.1  5.3.2           the server is full, or takes no mail now             tried again
    5.4.2  5.4.3  5.4.5    connection or directory fails, congestion; at        tried again
                           Google 5.4.5 is the daily limit of a sender
    5.5.3                  too many recipients in one mail                      tried again
    5.7.28                 a flood of mail                                      tried again
    5.2.121  5.2.122       the recipient's limit an hour, at Microsoft          tried again
    5.2.3  5.3.4           the mail is too big                                  sent shortened
    5.x.0  5.2.1  5.4.6    several meanings                                     by the words: sent shortened
    5.7.1  5.7.100-999                                                          where they name a size, tried
    none                                                                        again where a limit, a rate or
                                                                                "later"

RFC 3463 itself calls most of these "useful only as a persistent transient error". The code 552 without an enhanced code
means a full mailbox as the answer to a recipient, and a mail that is too big otherwise. 5.4.1 is not an exception,
because Microsoft gives it to recipients that do not exist.
"""

from __future__ import annotations

import re

LIMIT_EXCEEDED = 552
"""The reply code that means either a full mailbox or a mail that is too big."""

_PASSING = {"2.2", "3.1", "3.2", "4.2", "4.3", "4.5", "5.3", "7.28", "2.121", "2.122"}
_TOO_BIG = {"2.3", "3.4"}
_VAGUE = re.compile(r"\d+\.0|2\.1|4\.6|7\.1|7\.[1-9]\d\d")
# Chinese has no blanks between words, so there is no \b.
_PASSING_WORDS = re.compile(
    r"\b(rate|limit|quota|throttl|too (many|much|fast|often|frequent|soon)|frequency|excessive|exceed|flood|later|busy"
    r"|temporar|overload|gr[ae]ylist|mailbox[^.]* full|per (second|minute|hour|day))"
    r"|限制|上限|限额|配额|超[过出限]|频[率繁]|[过太][多快]|[稍随]后|稍候|[暂临]时|繁忙|[再重]试|已满|空间不足",
    re.IGNORECASE,
)
_FULL_WORDS = re.compile(r"\b(quota|mailbox|storage|full)\b|配额|空间|容量|已满", re.IGNORECASE)
_SIZE_WORDS = re.compile(r"\b(size|too (big|large))\b|邮件大小|[过太]大", re.IGNORECASE)
# At the start, or marked as by qmail, "(#5.1.1)": other numbers with dots are versions and IP addresses.
_ENHANCED = re.compile(r"(?:\A|#)([245])\.(\d{1,3}\.\d{1,3})(?!\w|\.\d)", re.ASCII)
_REPLY = re.compile(r"(\d{3})[ -]?(.*)", re.DOTALL)


def is_final(answer: str, *, to_recipient: bool = True) -> bool:
    """Return whether no later try helps, after an answer such as "550 5.1.1 no such user".

    With `to_recipient` the answer is to RCPT, about one recipient; without, it is about the whole mail.
    """
    code, words = _parts(answer)
    if not 500 <= code < 600:
        return False
    enhanced = _ENHANCED.search(words)
    if enhanced is not None and (enhanced[1] == "4" or enhanced[2] in _PASSING):
        return False
    if enhanced is not None and not _VAGUE.fullmatch(enhanced[2]):
        return True
    if enhanced is None and code == LIMIT_EXCEEDED:
        return not to_recipient and is_too_big(answer)
    if is_too_big(answer):
        return True
    return _PASSING_WORDS.search(words) is None


def is_too_big(answer: str) -> bool:
    """Return whether the answer means that the server would accept a shorter mail."""
    code, words = _parts(answer)
    if code < 500:
        return False
    enhanced = _ENHANCED.search(words)
    if enhanced is not None and not _VAGUE.fullmatch(enhanced[2]):
        return enhanced[2] in _TOO_BIG
    if enhanced is None and code == LIMIT_EXCEEDED:
        return _FULL_WORDS.search(words) is None
    return _SIZE_WORDS.search(words) is not None


def as_text(words: str) -> str:
    """Return what the server said, which was read as UTF-8: servers in China also answer in GB 18030."""
    try:
        words.encode()
    except UnicodeEncodeError:
        return words.encode(errors="surrogateescape").decode("gb18030", errors="backslashreplace")
    return words


def _parts(answer: str) -> tuple[int, str]:
    reply = _REPLY.match(answer)
    return (int(reply[1]), reply[2]) if reply else (0, answer)
