"""Where in a text the answer is: candidates by their brackets, never by fences or words.

Thinking holds no answer: what ends before the last closing mark of thinking, or begins behind an
opening one that nothing closes, is a draft. A mark within a candidate is part of its texts.
"""

import re
from dataclasses import dataclass, replace
from typing import Any

from omni_batch.annotation.json_text import Parsed, Unreadable, parse_at, parse_whole

_TAG = r"(?:think|thinking|thought|thoughts|reasoning|analysis|scratchpad)"
_CLOSING = re.compile(rf"[<\[◁]/{_TAG}[>\]▷]", re.IGNORECASE)
_OPENING = re.compile(rf"[<\[◁]{_TAG}[>\]▷]", re.IGNORECASE)
_FENCED = re.compile(r"\s*(`{3,}|~{3,})[ \t]*\w*\s(.*?)\s*\1\s*", re.DOTALL)
_BRACKET = re.compile(r"[{\[｛［]")
_ANY_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[{\[｛［}\]｝］]', re.DOTALL)
_CLOSES = {"{": "}", "[": "]", "｛": "｝", "［": "］"}
_MOST_BRACKETS = 20_000
_SHOWN = 40
_FAR = 64
"""Characters behind a bracket of prose; what fails farther away was read far, and is not again."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One candidate, as `json_text` reads it, and whether it was JSON to the letter."""

    value: Any
    strict: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What a text holds.

    Attributes:
        trees: all candidates.
        is_open: a value begins that the text does not end.
        damage: the text where the first value that can't be read goes wrong.
    """

    trees: tuple[Tree, ...]
    is_open: bool = False
    damage: str = ""


def find(text: str) -> Found:
    """All values that a text may give as its answer, drafts in its thinking left out."""
    text = text.strip().strip("\ufeff").strip()
    for inner in (text, _without_fence(text)):
        try:
            return Found((Tree(parse_whole(inner), strict=True),))
        except Unreadable:
            continue
    return _outside_of_thinking(text)


def _without_fence(text: str) -> str:
    match = _FENCED.fullmatch(text)
    return match[2] if match else ""


def _outside_of_thinking(text: str) -> Found:
    closing = _last_end(_CLOSING, text)
    behind = _scan(text, closing)
    if not closing and not _OPENING.search(text):
        return _found(behind)
    if closing and behind.spans:
        return _found(behind)
    return _found(_not_in_thinking(text, closing))


@dataclass(frozen=True, slots=True)
class _Scan:
    """Beginnings and values of all candidates; the rest as of `Found`."""

    spans: tuple[tuple[int, Parsed], ...]
    is_open: bool = False
    damage: str = ""


def _found(scan: _Scan) -> Found:
    trees = tuple(Tree(parsed.value, parsed.strict) for _, parsed in scan.spans)
    return Found(trees, scan.is_open, scan.damage)


def _not_in_thinking(text: str, closing: int) -> _Scan:
    """Of the whole text: what encloses the last closing mark, or begins before an open one."""
    scan = _scan(text, 0)
    opening = _OPENING.search(text)
    last = opening.start() if opening and not closing else len(text)
    spans = tuple(
        (start, parsed) for start, parsed in scan.spans if start < last and parsed.end > closing
    )
    return replace(scan, spans=spans)


def _last_end(pattern: re.Pattern[str], text: str) -> int:
    return max((match.end() for match in pattern.finditer(text)), default=0)


def _scan(text: str, position: int) -> _Scan:
    spans: list[tuple[int, Parsed]] = []
    damage = ""
    for _ in range(_MOST_BRACKETS):
        if not (match := _BRACKET.search(text, position)):
            break
        try:
            parsed = parse_at(text, match.start())
        except Unreadable as exc:
            if exc.is_open and exc.began:
                return _Scan(tuple(spans), is_open=True)
            damage = damage or (text[exc.position : exc.position + _SHOWN] if exc.began else "")
            position = _behind(text, match.start(), exc)
            continue
        spans.append((match.start(), parsed))
        position = parsed.end
    return _Scan(tuple(spans), damage=damage)


def _behind(text: str, start: int, exc: Unreadable) -> int:
    """Where to look next: behind all of a damaged value, so that no part of it counts as one."""
    if not exc.began:
        return exc.position if exc.position > start + _FAR else start + 1
    expected: list[str] = []
    for match in _ANY_BRACKET.finditer(text, start):
        sign = match[0]
        if sign in _CLOSES:
            expected.append(_CLOSES[sign])
        elif len(sign) == 1 and expected:
            expected.pop()
            if not expected:
                return match.end()
    return len(text)
