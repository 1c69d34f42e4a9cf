"""Secrets out of texts that others wrote: messages of the service, URLs, exceptions. Pure.

What a secret looks like, not what it is: keys as the services give them out, logins and signatures
in URLs. The key in use is cut out by who knows it, in `endpoints/`.
"""

import re
from urllib.parse import unquote

MASK = "…"
_KEY = re.compile(r"\b(sk-|bearer +)[\w*.~+/=-]{8,}", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^\s/?#@]{1,500}@")
_PARAMETER = re.compile(r"(?<=[?&;])([^=&;\s#\"'<>]{1,80})=[^&;\s#\"'<>]+")
_SECRET_NAME = re.compile(
    r"sig(nature)?$|token|secret|passw|credential|auth|api-?_?key|key-?id$|^(key|policy|pwd)$",
    re.IGNORECASE,
)
"""Of AWS, Google, Azure, Alibaba and their like: `X-Amz-Signature`, `sig`, `OSSAccessKeyId`, …"""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")
"""Control characters, signs that turn the writing around, and lone halves of characters."""


def redacted(text: str) -> str:
    """The text without keys, and without the logins and signatures of URLs in it."""
    if "://" in text:
        text = _LOGIN.sub(f"{MASK}@", text)
    if "=" in text:
        text = _PARAMETER.sub(_parameter, text)
    return _KEY.sub(rf"\1{MASK}", text)


def one_line(text: str) -> str:
    """Redacted, and without control characters: nothing that a terminal would obey."""
    return redacted(" ".join(_CONTROLS.sub(" ", text).split()))


def is_data_uri(reference: str) -> bool:
    """A medium that is written out in the manifest itself."""
    return reference.startswith("data:")


def is_url(reference: str) -> bool:
    """A medium that the service fetches itself."""
    return reference.startswith(("http://", "https://", "oss://"))


def display_name(reference: str) -> str:
    """As tables and messages show it: data URIs cut short, URLs without their secrets."""
    if not is_data_uri(reference):
        return redacted(reference)
    return f"{reference[:40]}… ({len(reference)} characters)"


def _parameter(match: re.Match[str]) -> str:
    secret = _SECRET_NAME.search(unquote(match[1]))
    return f"{match[1]}={MASK}" if secret else match[0]
