"""Two texts, word by word. Pure."""

import re
from difflib import SequenceMatcher

from omni_batch.analytics.compare.facts import Segment

_MOST_WORDS = 1000  # the comparison of two texts takes time by the square of it
# Chinese, Japanese and Korean write no spaces between words: there each character is one.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|(?:(?![{_CJK}])\w)+|\s+|[^\w\s]")


def word_diff(left: str, right: str) -> list[Segment]:
    """The segments of both texts in order; of long texts the first 1,000 words."""
    before, after = _words(left), _words(right)
    segments: list[Segment] = []
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for operation, a, a_end, b, b_end in matcher.get_opcodes():
        old, new = "".join(before[a:a_end]), "".join(after[b:b_end])
        if operation == "equal":
            segments.append(Segment("same", old))
        else:
            segments += [Segment("left", old)] if old else []
            segments += [Segment("right", new)] if new else []
    return segments


def _words(text: str) -> list[str]:
    words = _WORD.findall(text)
    return words if len(words) <= _MOST_WORDS else [*words[:_MOST_WORDS], "…"]
