"""The text of an answer: pieces, repetitions, halves of characters, thoughts. Pure."""

import re
import unicodedata
from collections.abc import Iterator

from omni_batch.doubts import Doubt

_MOST_UTF8_BYTES = 4  # of a character
_SURE_PIECES = 4
"""So many pieces, each beginning with all before it, are no accident …"""
_SURE_BYTES = 12
_SURE_SIGNS = 5
"""… unless they draw a line: of so few different signs."""
_LIKELY_SIGNS = 4
_REPEATED = "answer-repeated"
_OPENING = re.compile(r"\s*<(think|thinking|thought|reasoning)>", re.IGNORECASE)
_CLOSING = re.compile(r"</(think|thinking|thought|reasoning)>", re.IGNORECASE)
_CLOSING_LINE = re.compile(_CLOSING.pattern + r"[ \t]*\r?\n", re.IGNORECASE)
_LEADING_CLOSING = re.compile(r"\s*</(think|thinking|thought|reasoning)>\s*", re.IGNORECASE)
_INVISIBLE = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})
_LOOKED_AT_CHARS = 1_000


class AnswerText:
    """One text of an answer, in UTF-8: a list of its pieces would take seventy bytes for each."""

    def __init__(self) -> None:
        self._utf8 = bytearray()
        self._pieces = 0
        self._before: bytes | None = b""  # the last piece, while each begins with all before it
        self._cumulative = False
        self._doubts: dict[str, Doubt] = {}

    def __bool__(self) -> bool:
        return bool(self._utf8)

    def beginning(self, most_chars: int) -> str:
        """Its first characters."""
        return self._utf8[: most_chars * _MOST_UTF8_BYTES].decode(errors="ignore")[:most_chars]

    def add(self, piece: str, *, is_last: bool = False) -> None:
        """Take in the next piece.

        Args:
            is_last: it came with the end, where some servers repeat the whole.
        """
        data = piece.encode("utf-8", "surrogatepass")
        if is_last and self._pieces > 1 and data == self._utf8:
            self._doubt("the last frame repeated the whole answer; it is kept once")
            return
        self._pieces += 1
        if self._cumulative and data.startswith(self._utf8):
            self._utf8[:] = data
            return
        self._utf8 += data
        if self._before is not None:
            self._look_for_repetition(data)

    def add_whole(self, whole: str, *, is_last: bool) -> None:
        """Take in a text that should hold all that came before, and may hold more."""
        data = whole.encode("utf-8", "surrogatepass")
        if data.startswith(self._utf8):
            self._utf8[:] = data
        elif not is_last and not self._cumulative:
            self._utf8 += data  # of servers that call their pieces messages
        elif data.strip() != self._utf8.strip():
            self._doubt("the last frame holds another answer than the pieces; the pieces are kept")

    def _look_for_repetition(self, data: bytes) -> None:
        before = self._before or b""
        if not data.startswith(before) or len(data) == len(before):
            self._before = None
            return
        self._before = data
        sure = len(data) >= _SURE_BYTES and len(set(data)) >= _SURE_SIGNS
        if self._pieces >= _SURE_PIECES and sure:
            self._utf8[:], self._before, self._cumulative = data, None, True
            self._doubt("each piece of the answer repeated all before it; it is kept once")

    def _doubt(self, message: str) -> None:
        self._doubts[_REPEATED] = Doubt(_REPEATED, message)

    def doubts(self) -> Iterator[Doubt]:
        """What was guessed while it came."""
        yield from self._doubts.values()
        if self._pieces > 1 and self._before and len(set(self._before)) >= _LIKELY_SIGNS:
            message = (
                "each piece of the answer begins with the one before it: it may stand there twice"
            )
            yield Doubt(_REPEATED, message)

    def decoded(self) -> tuple[str, bool]:
        """All of it, and whether half a character had to be replaced.

        The two halves of a character beyond U+FFFF may come in two pieces, each escaped by itself.
        """
        try:
            return self._utf8.decode(), False
        except UnicodeDecodeError:
            halves = self._utf8.decode("utf-8", "surrogatepass").encode(
                "utf-16-le", "surrogatepass"
            )
            try:
                return halves.decode("utf-16-le"), False
            except UnicodeDecodeError:
                return halves.decode("utf-16-le", "replace"), True


def split_thought(
    text: str, reasoning: str, *, asked_for: bool, closing_only: bool
) -> tuple[str, str, list[Doubt]]:
    """The answer and the thought, where a server left both in the text.

    Only at its very beginning: a text may talk about the tags later on.

    Args:
        asked_for: the request asks for thinking, so that a thought in tags is no surprise.
        closing_only: the server's template may open the tag, so that only the closing one arrives.
    """
    answer, thoughts = _take_thoughts(text, has_reasoning=bool(reasoning))
    if answer is text and _OPENING.match(text):
        message = "the text begins with a thought that does not end; it was left where it is"
        return text, reasoning, [Doubt("thought-unclosed", message)]
    guessed = answer is text and closing_only and not reasoning
    if guessed and (found := (_CLOSING if asked_for else _CLOSING_LINE).search(text)):
        answer, thoughts = text[found.end() :].lstrip(), [text[: found.start()]]
    thought = "\n".join(part for part in map(str.strip, thoughts) if part)
    if thought and thought != reasoning.strip():
        reasoning = f"{reasoning}\n{thought}" if reasoning else thought
    doubts = []
    if thought and (guessed or not asked_for):
        message = "a thought stood before the answer in the text; it was moved to `reasoning`"
        doubts.append(Doubt("thought-split", message))
    return answer, reasoning, doubts


def _take_thoughts(text: str, *, has_reasoning: bool) -> tuple[str, list[str]]:
    """The text without the blocks at its beginning, and what they held."""
    answer, thoughts = text, []
    while opening := _OPENING.match(answer):
        tag = re.escape(opening[1])
        closing = re.compile(f"</{tag}>", re.IGNORECASE).search(answer, opening.end())
        if closing is None:
            break
        thoughts.append(answer[opening.end() : closing.start()])
        answer = answer[closing.end() :].lstrip()
    if has_reasoning and (leading := _LEADING_CLOSING.match(answer)):
        answer = answer[leading.end() :]  # a parser took the thought and left its tag
    return answer, thoughts


def is_blank(text: str) -> bool:
    """True where nothing can be seen: blanks, line ends, signs of no width."""
    seen = text[:_LOOKED_AT_CHARS]
    invisible = all(char.isspace() or unicodedata.category(char) in _INVISIBLE for char in seen)
    return invisible and (len(seen) == len(text) or is_blank(text[_LOOKED_AT_CHARS:]))
