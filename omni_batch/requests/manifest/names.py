"""Names of columns: which are read, which were surely meant, which come suspiciously near. Pure."""

import re
import unicodedata
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import get_args

from omni_batch.config import Target

TARGETS: tuple[Target, ...] = get_args(Target)
"""Columns with a meaning, besides the id; all others are free."""
ID_COLUMN = "item_id"
UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
"""Signs without width: spaces, joiners, the mark of byte order, the soft hyphen."""
INDEX_NAMES = ("", "Unnamed: 0", "__index_level_0__")
"""What pandas calls a row's number: in CSV, read back from CSV, in Parquet."""
_UNSEEN = re.compile(f"[{UNSEEN}]")
_SEPARATORS = re.compile(rf"[\s_.\-{UNSEEN}]+")
_WORDS: dict[Target, str] = {
    "image": "images?|imgs?|pictures?|pics?|photos?|jpe?gs?|pngs?",
    "audio": "audios?|wavs?|wave?forms?|mp3|flacs?|sounds?|speech|recordings?",
    "video": "videos?|vids?|clips?|movies?|films?|mp4",
    "frames": "frames?",
}
"""What people call the media of each column."""
_MAY_BE_TEXT = r"(?:speech|sounds?|clips?|recordings?|photos?|pictures?|pics?|movies?|films?)\d*"
_PLACES = "urls?|uris?|f?paths?|files?|src|media|medium|attachments?|assets?"
_BESIDE = "names?|links?|hrefs?|refs?|references?|locations?|base64|b64|bytes|data|inputs?|list|in"
_MEDIA = re.compile("|".join(f"(?P<{target}>{words})" for target, words in _WORDS.items()))
_OF_MEDIA = re.compile(rf"(?:(?:{'|'.join(_WORDS.values())}|{_PLACES}|{_BESIDE})\d*)+")
_OF_PLACES = re.compile(
    rf"(?:(?:{_PLACES}|{_BESIDE})\d*)*(?:{_PLACES})(?:(?:{_PLACES}|{_BESIDE})\d*)*"
)
_OF_FILES = re.compile(r"file(?:names?|paths?|urls?|uris?)|(?:names?|paths?)files?|fpaths?")
_TURNS = re.compile("messages?|conversations?|dialog(?:ue)?s?|chats?|turns")
_LONG_ENOUGH = 5  # letters, for one slip to be a slip
_LONGEST = 60  # letters of a name that is looked into


class Grade(IntEnum):
    """How sure it is that a column of this name holds media."""

    ANY = 0
    """An ordinary name: only what looks like a medium is one."""
    PLACE = 1
    """`url`, `path`, `photo`: addresses are media."""
    FILE = 2
    """`file_name`: whatever does not end like another kind of file."""
    SURE = 3
    """`images`, `audio_path`, `vidoe`: whatever it holds."""


@dataclass(frozen=True, slots=True)
class NearMiss:
    """What a name comes near to."""

    grade: Grade
    target: Target | None = None
    """The column that was meant; None for any medium."""
    is_numbered: bool = False
    """`image_2`: one of several."""


def cleaned(name: str) -> str:
    """The name without blanks around it and without signs that nobody sees."""
    return _UNSEEN.sub("", name).strip()


def canonical(name: str) -> str:
    """What two names share that differ only in case, blanks, `_`, `-` and unseen signs."""
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", name).casefold())


@lru_cache(maxsize=1024)
def near_miss(name: str) -> NearMiss:
    """What the name of a column that nothing reads may have been meant for."""
    plain = canonical(name)
    if len(plain) > _LONGEST:
        return NearMiss(Grade.ANY)
    for target in TARGETS:
        if plain in (target, f"{target}s", target.removesuffix("s")) or _one_slip(plain, target):
            return NearMiss(Grade.SURE, target, is_numbered=plain[-1].isdigit())
    if _TURNS.fullmatch(plain):
        return NearMiss(Grade.SURE, "messages")
    if (medium := _MEDIA.search(plain)) and _OF_MEDIA.fullmatch(plain):
        grade = Grade.PLACE if re.fullmatch(_MAY_BE_TEXT, plain) else Grade.SURE
        return NearMiss(grade, _target(str(medium.lastgroup)), is_numbered=plain[-1].isdigit())
    if _OF_FILES.fullmatch(plain):
        return NearMiss(Grade.FILE)
    return NearMiss(Grade.PLACE if _OF_PLACES.fullmatch(plain) else Grade.ANY)


def shown(name: str) -> str:
    """The name as YAML takes it, unseen signs made visible."""
    if re.fullmatch(r"[^\W\d][\w-]*", name):
        return name
    return '"' + "".join(_visible(sign) for sign in name) + '"'


def _visible(sign: str) -> str:
    if sign in '"\\':
        return f"\\{sign}"
    return sign if sign.isprintable() else f"\\u{ord(sign):04x}"


def _target(name: str) -> Target:
    return next(target for target in TARGETS if target == name)


def _one_slip(name: str, known: str) -> bool:
    """Whether one letter was left out, doubled, changed, or two changed places."""
    if len(known) < _LONG_ENOUGH or abs(len(name) - len(known)) > 1 or name == known:
        return False
    start = next((n for n, (a, b) in enumerate(zip(name, known, strict=False)) if a != b), -1)
    if start < 0:  # one goes on where the other ends
        return True
    ends = {
        (name[start + 1 :], known[start + 1 :]),
        (name[start:], known[start + 1 :]),
        (name[start + 1 :], known[start:]),
        (name[start + 2 :], known[start + 2 :]) if _swapped(name, known, start) else ("", "-"),
    }
    return any(one == other for one, other in ends)


def _swapped(name: str, known: str, at: int) -> bool:
    return name[at : at + 2] == known[at : at + 2][::-1]
