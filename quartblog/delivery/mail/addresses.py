"""What people type as an address or host -> what SMTP and DNS take."""

import ipaddress
import re
import unicodedata

_ONE = r"[^\s<>@,;:\"]+@[^\s<>@,;:\"]+"
_LONGEST_HOST = 253
_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?")
_DOT = re.compile("[\u3002\uff0e\uff61]")
_IN_A_LABEL = {"Ll", "Lo", "Lm", "Mn", "Mc", "Nd"}
_ADDRESS = re.compile(rf'(?:"?(?P<name>[^<>"]*?)"?\s*<(?P<inside>{_ONE})>|(?P<bare>{_ONE}))')


def split_address(address: str) -> tuple[str, str] | None:
    """Display name, possibly empty, and bare address; None if it is not exactly one address."""
    match = _ADDRESS.fullmatch(address) if address.isprintable() else None
    return (match["name"] or "", match["inside"] or match["bare"]) if match else None


def bare_address(address: str) -> str:
    """The address as an envelope takes it, its domain in ASCII; any other text stays as it is."""
    parts = split_address(address)
    if parts is None:
        return address
    user, _, domain = parts[1].rpartition("@")
    return f"{user}@{ascii_host(domain) or domain}"


def ascii_host(name: str) -> str | None:
    """The domain as DNS has it, None for a text that cannot be one: `bücher.example` is `xn--bcher-kva.example`.

    As IDNA 2008 has it, with the mapping of UTS 46 as far as people type it: small letters, full-width forms and dots.
    The standard library's codec follows IDNA 2003, where `straße.example` becomes another domain, `strasse.example`.
    """
    if not name.isascii():
        name = unicodedata.normalize("NFKC", _DOT.sub(".", name).lower()).lower()
        name = ".".join(map(_ascii_label, name.split(".")))
    return name if len(name) <= _LONGEST_HOST and _HOST.fullmatch(name) else None


def _ascii_label(label: str) -> str:
    if label.isascii():
        return label
    if not all(unicodedata.category(character) in _IN_A_LABEL for character in label.replace("-", "")):
        return label  # The caller refuses it, because it is not ASCII.
    return f"xn--{label.encode('punycode').decode('ascii')}"


def is_loopback(host: str) -> bool:
    """Whether the name or address means this machine, without a look-up."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
