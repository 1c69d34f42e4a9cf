"""Texts for people: secrets cut out, one line, short names, and "did you mean". Pure.

A secret is recognised by its looks: keys as the services issue them, logins and signatures in URLs.
The key in use is cut out by `providers/api_key.py`, which knows it.
"""

import difflib
import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

MASK = "…"
BLANKS = " \t\r\n\f\v\u00a0\u2007\u202f\u3000\u200b\u200c\u200d\u2060\ufeff"
"""What stands around names unseen: blanks of all widths, none included."""
_NAME_CHARS = 200
_KEY = re.compile(r"\b(sk-|bearer +)[\w*.~+/=-]{8,}", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^\s/?#@]{1,500}@")
_PARAMETER = re.compile(r"(?<=[?&;])([^=&;\s#\"'<>]{1,80})=[^&;\s#\"'<>]+")
_SECRET_NAME = re.compile(
    r"sig(nature)?$|token|secret|passw|credential|auth|api-?_?key|key-?id$|^(key|policy|pwd)$",
    re.IGNORECASE,
)
"""Of AWS, Google, Azure, Alibaba and their like: `X-Amz-Signature`, `sig`, `OSSAccessKeyId`, …"""
_CONTROLS = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+"
)
"""Control characters, signs that turn the writing around, and lone halves of characters."""


def redacted(text: str) -> str:
    """The text without keys, and without the logins and signatures of URLs in it."""
    if "://" in text:
        text = _LOGIN.sub(f"{MASK}@", text)
    if "=" in text:
        text = _PARAMETER.sub(_parameter, text)
    return _KEY.sub(rf"\1{MASK}", text)


def host_of(url: str) -> str:
    """A URL as far as it can't be a secret: `https://hooks.example.org:8443/…`."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{MASK}"


def one_line(text: str) -> str:
    """Redacted, and without control characters: nothing that a terminal would obey."""
    return redacted(" ".join(_CONTROLS.sub(" ", text).split()))


def visible(text: str) -> str:
    """The text with an escape in place of each control character but the line feed."""
    return _CONTROLS.sub(_escapes, text) if not text.isprintable() else text


def _escapes(match: re.Match[str]) -> str:
    return "".join(sign if sign == "\n" else repr(sign)[1:-1] for sign in match[0])


def is_data_uri(reference: str) -> bool:
    """A medium that is written out in the manifest itself."""
    return _beginning(reference).startswith("data:")


def is_url(reference: str) -> bool:
    """A medium that the service fetches itself. Schemes have no case (RFC 3986)."""
    return _beginning(reference).startswith(("http://", "https://", "oss://"))


def _beginning(reference: str) -> str:
    return reference[:40].lstrip(BLANKS)[:8].lower()


def shown_whole(reference: str) -> str:
    """As tables show it: data URIs cut short, URLs without their secrets."""
    if not is_data_uri(reference):
        return redacted(reference)
    return f"{reference[:40]}… ({len(reference)} characters)"


def display_name(reference: str) -> str:
    """As messages show it: as tables do, and cut short where it is longer than a line or two."""
    name = shown_whole(reference)
    if len(name) <= _NAME_CHARS:
        return name
    return f"{name[: _NAME_CHARS // 2]}…{name[-_NAME_CHARS // 4 :]} ({len(name):,} characters)"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like a misspelt one, in any case; None if none comes close."""
    by_letters = {other.casefold(): other for other in known}
    close = difflib.get_close_matches(name.casefold(), by_letters, n=1)
    return by_letters[close[0]] if close else None


def nearest_zone(name: str, known: Iterable[str]) -> str | None:
    """The time zone that a misspelt name means; None if none comes close."""
    # People leave out the continent: `berlin` is like Europe/Berlin, not like Merlin.
    by_city = {zone.rpartition("/")[2]: zone for zone in sorted(known)}
    city = nearest(name.rpartition("/")[2], by_city)
    return by_city[city] if city else nearest(name, by_city.values())


def did_you_mean(name: str, known: Iterable[str], what: str = "known") -> str:
    """The end of a message about an unknown name: the nearest one, or all there are."""
    known = list(known)
    close = nearest(name, known)
    return f"did you mean {close}?" if close else f"{what}: {', '.join(known)}"


def _parameter(match: re.Match[str]) -> str:
    secret = _SECRET_NAME.search(unquote(match[1]))
    return f"{match[1]}={MASK}" if secret else match[0]


def markdown_text(value: object) -> str:
    """One line of Markdown that is neither markup nor the end of a table's cell."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(str(value).split()))
