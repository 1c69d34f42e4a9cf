"""What a reference names: an object of a store, a member of an archive. To the letter. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

from omni_batch.text import BLANKS

SCHEMES = ("s3", "gs", "oss", "hf")
"""Of stores that are read with the user's own credentials."""
_STORES = tuple(f"{scheme}://" for scheme in SCHEMES)
_WEB = ("http://", "https://")
_MEMBER = "!/"
_SERVICE_BUCKETS = "dashscope-"
"""How the buckets of Model Studio's temporary storage begin: `oss://dashscope-instant/…` is a
reference that the service alone resolves."""


@dataclass(frozen=True, slots=True)
class Address:
    """An object, or what several begin with."""

    scheme: str
    bucket: str
    """Of `hf://` it is empty: the whole path is the key."""
    key: str
    """As the store has it: no sign of it is decoded or left out."""

    @classmethod
    def of(cls, reference: str) -> "Address":
        """The address that a reference of a store is."""
        scheme, _, rest = reference.lstrip(BLANKS).partition("://")
        bucket, _, key = ("", "", rest) if scheme.lower() == "hf" else rest.partition("/")
        return cls(scheme.lower(), bucket, key)

    def __str__(self) -> str:
        slash = "/" if self.bucket else ""
        return f"{self.scheme}://{self.bucket}{slash}{self.key}"


def is_store(reference: str) -> bool:
    """Whether a reference names an object that is read with the user's own credentials."""
    if "://" not in reference[:40]:
        return False
    start = reference[:60].lstrip(BLANKS).lower()
    return start.startswith(_STORES) and not start.startswith(f"oss://{_SERVICE_BUCKETS}")


def is_web(reference: str) -> bool:
    """Whether it is an http(s) URL."""
    return reference[:40].lstrip(BLANKS)[:8].lower().startswith(_WEB)


def is_remote(reference: str) -> bool:
    """Whether it lies elsewhere, and may have others beside it."""
    return is_store(reference) or is_web(reference)


def folder_of(reference: str) -> str | None:
    """What references of a remote manifest start with; None for a file here."""
    if not is_remote(reference):
        return None
    plain = reference.partition("?")[0] if is_web(reference) else reference
    return plain[: plain.rfind("/", plain.index("://") + 3) + 1] or f"{plain}/"


def beside(folder: str, reference: str) -> str | None:
    """The address of a relative reference; None where it leads out of the folder."""
    plain = reference.removeprefix("./")
    if ".." in plain.split("/"):
        return None
    return f"{folder}{quote(plain)}" if is_web(folder) else f"{folder}{plain}"


def member_splits(reference: str) -> Iterator[tuple[str, str]]:
    """Each way to read a reference as an archive and the name of a member in it."""
    place = reference.find(_MEMBER)
    while place > 0:
        yield reference[:place], reference[place + len(_MEMBER) :]
        place = reference.find(_MEMBER, place + 1)
