"""Subject and text -> a finished message -> the bytes that every mail server accepts."""

from __future__ import annotations

import email.utils
import re
from email.charset import Charset
from email.headerregistry import Address, AddressHeader, Group, UnstructuredHeader
from email.message import EmailMessage
from email.policy import EmailPolicy
from typing import TYPE_CHECKING, Self

from ..text.escaping import block, one_line, shortened
from .addresses import ascii_host, split_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from email.policy import Policy

    from ..options import MailOptions

LINE = 76
"""Characters of a header line with encoded words at most (RFC 2047)."""

_UTF8 = Charset("utf-8")
# Words that stay readable in the raw mail. RFC 5322 allows 998 characters a line.
_WORD = re.compile(r"(?:(?!=\?)[!-~]){1,900}")
_ATOM = re.compile(r"(?:(?!=\?)[\w!#$%&'*+/=?^`{|}~-]){1,60}", re.ASCII)
# Group 1 is a line break that continues a header, so it stays.
_LINE_BREAK = re.compile(rb"(\r\n[ \t])|[\r\n]+")


class Header(str):
    """A finished header: EmailPolicy does not parse a value with a `name`, and calls its `fold` for the lines."""

    __slots__ = ("addresses", "name", "words")

    name: str
    words: tuple[str, ...]
    addresses: tuple[Address, ...]

    def __new__(
        cls, text: str, name: str = "", words: tuple[str, ...] = (), addresses: tuple[Address, ...] = ()
    ) -> Self:
        """`text` is the value for readers in Python; `words` are its encoded form, which `fold` breaks into lines."""
        header = super().__new__(cls, text)
        header.name, header.words, header.addresses = name, words, addresses
        return header

    def fold(self, *, policy: Policy) -> str:
        """Return the header as lines."""
        lines = [f"{self.name}:"]
        for number, word in enumerate(self.words):
            if number and len(lines[-1]) + len(word) >= LINE:
                lines.append("")
            lines[-1] += f" {word}"
        return policy.linesep.join((*lines, ""))


def text_header(name: str, line: str) -> Header:
    """Return a header of free text. ASCII stays readable, unless it looks like an encoded word."""
    return Header(line, name, tuple(_words(line, _WORD, LINE - len(name) - 2)))


def address_header(name: str, addresses: Sequence[Address]) -> Header:
    """Return a header of addresses. Their display names may be any text; their domains are written in ASCII."""
    words: list[str] = []
    for address in addresses:
        shown = list(_words(one_line(address.display_name), _ATOM, LINE - len(name) - 2))
        bare = one_line(_bare(address))
        words += [*shown, f"<{bare}>," if shown else f"{bare},"]
    written = " ".join(words).removesuffix(",").split(" ")
    return Header(one_line(", ".join(map(str, addresses))), name, tuple(written), tuple(addresses))


class WirePolicy(EmailPolicy):
    """Writes bytes for SMTP. Headers of other code follow the same rules, and none becomes two headers."""

    def fold_binary(self, name: str, value: str) -> bytes:
        """Return the header as lines, whichever code made it."""
        header = self.header_fetch_parse(name, value)
        if isinstance(header, UnstructuredHeader):
            header = text_header(name, " ".join(str(header).splitlines()))
        elif not isinstance(header, Header) and isinstance(header, AddressHeader) and not str(header).isascii():
            header = self.header_factory(name, [_group_in_ascii(group) for group in header.groups])
        lines = super().fold_binary(name, header).removesuffix(b"\r\n")
        # `email` writes structured headers, such as a file's name, in which it may have decoded a line break.
        return _LINE_BREAK.sub(lambda found: found[1] or b" ", lines) + b"\r\n"


def _words(text: str, plain: re.Pattern[str], room: int) -> Iterator[str]:
    """Yield the words of the text. All from the first to the last that is not plain are encoded together."""
    words = text.split(" ")
    odd = [place for place, word in enumerate(words) if not plain.fullmatch(word)]
    if odd and "  " in f" {text} ":  # A mail program may drop repeated blanks between plain words.
        odd = [0, len(words) - 1]
    first, last = (odd[0], odd[-1] + 1) if odd else (0, 0)
    yield from words[:first]
    yield from _encoded(" ".join(words[first:last]), max(room, 40))
    yield from words[last:]


def _encoded(text: str, room: int) -> Iterator[str]:
    """Yield the text as encoded words of at most `room` characters, none of which splits a character."""
    while text:
        size = room
        while len(word := _UTF8.header_encode(text[:size])) > room:
            size = max(1, min(size - 1, size * room // len(word)))
        yield word
        text = text[size:]


def _bare(address: Address) -> str:
    """Return the address as a header holds it."""
    address = _in_ascii(address)
    if "=?" not in address.username:
        return address.addr_spec
    # Some mail programs decode an encoded word here too. The backslash prevents that and changes nothing else.
    quoted = email.utils.quote(address.username).replace("=?", r"=\?")
    return f'"{quoted}"@{address.domain}'


def _in_ascii(address: Address) -> Address:
    """Return the same address; only its local part may need SMTPUTF8."""
    return Address(address.display_name, address.username, ascii_host(address.domain) or address.domain)


def _group_in_ascii(group: Group) -> Group:
    return Group(group.display_name, map(_in_ascii, group.addresses))


SUBJECT_LIMIT = 200
"""Characters of the subject at most, because an exception type's name may be of any length."""

_WIRE = WirePolicy(linesep="\r\n", cte_type="7bit")


def new_message(  # noqa: PLR0913  keywords, each one part of the message
    options: MailOptions,
    subject: str,
    text: str,
    *,
    html: str | None = None,
    to: Sequence[str] | None = None,
    conversations: Sequence[str] | None = None,
) -> EmailMessage:
    """Return a message from the sender to the admins, or to `to`. No text can add a header or fail to encode.

    Addresses whose local part is not ASCII are left out of To if others are in it; `send` mails to them all the same.
    `html` is the text as an HTML document; the caller has escaped the texts in it. `conversations` marks an error
    report: mail programs can filter reports by List-Id, and show those that share one of these names together.
    """
    message = EmailMessage()
    message["Subject"] = text_header("Subject", shortened(one_line(subject), SUBJECT_LIMIT))
    sender = _address(options.sender)
    message["From"] = address_header("From", [sender])
    readers = [_address(recipient) for recipient in to or options.admins]
    # One address that is not ASCII would make the mail unfit for many servers, for all recipients.
    message["To"] = address_header("To", [reader for reader in readers if reader.username.isascii()] or readers)
    message["Date"] = email.utils.localtime()
    # A domain is given: make_msgid would look up this host's name, which can take seconds.
    domain = ascii_host(sender.domain) or "localhost"
    number = email.utils.make_msgid(domain=domain)
    message["Message-ID"] = Header(number, "Message-ID", (number,))
    message["Auto-Submitted"] = "auto-generated"
    # Exchange ignores Auto-Submitted and would answer with out-of-office notes and receipts.
    message["X-Auto-Response-Suppress"] = "All"
    if conversations is not None:
        message["List-Id"] = _list_id(options, domain)
        if conversations:
            numbers = tuple(f"<{name}@{domain}>" for name in conversations)
            message["References"] = Header(" ".join(numbers), "References", numbers)
    # ASCII stays readable in the raw mail, for an operator who has only that.
    message.set_content(block(text), charset="utf-8", cte="quoted-printable")
    if html is not None:
        message.add_alternative(block(html), subtype="html", charset="utf-8", cte="quoted-printable")
    return message


def wire_form(message: EmailMessage) -> bytes:
    """Return the bytes of the message: 7 bit, unless an address in its headers needs SMTPUTF8."""
    addresses = [address for header in message.values() for address in getattr(header, "addresses", ())]
    return message.as_bytes(policy=_WIRE.clone(utf8=not all(_bare(address).isascii() for address in addresses)))


def _list_id(options: MailOptions, domain: str) -> Header:
    """Return the header of RFC 2919: the site's name, and an identifier that does not depend on the name."""
    host = options.local_hostname if "." in options.local_hostname else domain
    number = f"<errors.{ascii_host(host) or domain}>"
    name = "List-Id"
    words = (*_words(one_line(options.site), _ATOM, LINE - len(name) - 2), number)
    return Header(f"{one_line(options.site)} {number}", name, words)


def _address(text: str) -> Address:
    name, bare = split_address(text) or ("", text)
    user, _, domain = bare.rpartition("@")
    return Address(name, user, domain)
