"""Two texts side by side: what one has that the other has not, word by word."""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

_MOST_WORDS = 1000  # the comparison takes time by the square of it
# Chinese, Japanese and Korean write no spaces between words: there each character is one.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|(?:(?![{_CJK}])\w)+|\s+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text."""

    kind: Literal["same", "left", "right"]
    """In both texts, or in one of them only."""
    text: str


def word_diff(left: str, right: str) -> list[Segment]:
    """The segments of both texts in order; of long texts the first 1,000 words."""
    before, after = _words(left), _words(right)
    segments: list[Segment] = []
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for kind, a, a_end, b, b_end in matcher.get_opcodes():
        if kind == "equal":
            segments.append(Segment("same", "".join(before[a:a_end])))
            continue
        if a < a_end:
            segments.append(Segment("left", "".join(before[a:a_end])))
        if b < b_end:
            segments.append(Segment("right", "".join(after[b:b_end])))
    return segments


def _words(text: str) -> list[str]:
    words = _WORD.findall(text)
    return words if len(words) <= _MOST_WORDS else [*words[:_MOST_WORDS], "…"]
