"""The long way for events that are not in the documented shape. Pure.

Whatever an answer is wrapped in, it has been paid for. So members of wrong types, joined events,
lists of parts and whole messages are read; what carries nothing of an answer is passed over. Only
what may carry a part of it and can't be read fails the reply.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from omni_batch.doubts import Doubt
from omni_batch.errors import OmniBatchError, StreamError, UnsupportedReply
from omni_batch.stream.finish_reasons import finish_reason
from omni_batch.stream.sse import DONE, Event
from omni_batch.stream.usage import read_usage
from omni_batch.text import one_line
from omni_batch.types import Chunk

ID_CHARS = 200
_QUOTED_CHARS = 120
_MAX_DIGITS = 300
_SIGNS_OF_LIFE = frozenset({"ping", "pong", "heartbeat", "keepalive", "keep-alive", "keep_alive"})
_ENDS = frozenset({DONE.decode(), "DONE", "[END]"})
_BETWEEN = re.compile(r"(?:[\s,\x1e\ufeff]|data:)*")
_CONTENT_SIGNS = ('"choices"', '"delta"', '"content"')
_REASONING = ("reasoning_content", "reasoning", "thinking")
_TEXT_PARTS = frozenset({None, "text", "output_text", "input_text"})
_THOUGHT_PARTS = frozenset({"thinking", "reasoning", "reasoning_text", "thought", "summary_text"})
_OTHER_PROTOCOLS = ("delta", "output", "content", "response", "candidates", "generated_text")
_NO_FAULT = frozenset({"", "0", "200", "ok", "success"})
OTHER_PROTOCOL = "event-of-other-protocol"
PASSED_OVER = "event-passed-over"

Words = Callable[[bytes], bytes]
"""Makes what the service said fit to be shown."""
ErrorOf = Callable[[bytes], OmniBatchError]
"""Makes an error of what the service says went wrong."""


def decode_any(event: Event, error_of: ErrorOf, words: Words) -> list[Chunk]:
    """The chunks of any event: none of a sign of life, several of a joined one.

    Raises:
        StreamError: it may hold a part of the answer, and can't be read.
        UnsupportedReply: it holds one in a form that is not understood.
    """
    name = event.name.lower()
    if name in _SIGNS_OF_LIFE:
        return []
    if "error" in name:
        return [Chunk(error=error_of(event.data))]
    try:
        text = event.data.decode()
    except UnicodeDecodeError:
        raise _no_chunk(event.data, words) from None
    named = name not in ("", "message")
    try:
        return list(_Reader(error_of, words, named=named).chunks(text))
    except RecursionError:  # parts of parts of parts …
        raise _no_chunk(event.data, words) from None


def _no_chunk(payload: bytes, words: Words) -> StreamError:
    return StreamError(f"the service sent an event that is not a chunk: {quoted(payload, words)}")


def quoted(payload: bytes, words: Words) -> str:
    """The beginning of what the service sent, fit for a message."""
    return repr(
        one_line(words(payload[: 8 * _QUOTED_CHARS]).decode(errors="replace"))[:_QUOTED_CHARS]
    )


class _Reader:
    """Reads one event's text."""

    def __init__(self, error_of: ErrorOf, words: Words, *, named: bool) -> None:
        self._error_of, self._words, self._named = error_of, words, named

    def chunks(self, text: str) -> Iterator[Chunk]:
        """All of its JSON values, one after the other."""
        position = _after(text, 0)
        while position < len(text):
            rest = text[position:].strip() if text[position] not in '{["' else ""
            if text.startswith(DONE.decode(), position) or rest in _ENDS:
                yield Chunk(done=True)
                return
            try:
                if rest:
                    raise ValueError("bare words")
                tree, end = _decoder.raw_decode(text, position)
            except (ValueError, RecursionError):
                yield from self._bare(text[position:])
                return
            yield from self._value(tree, text[position:end])
            position = _after(text, end)

    def _bare(self, text: str) -> Iterator[Chunk]:
        """What is no JSON: words between chunks, or a chunk that was damaged."""
        if self._named:
            damaged = any(sign in text for sign in _CONTENT_SIGNS)
        else:
            damaged = any(sign in text for sign in '{}[]"')
        if damaged:
            raise _no_chunk(_bytes(text), self._words)
        if not self._named and text.strip() != "null":
            yield self._passed_over(text)

    def _passed_over(self, text: str) -> Chunk:
        message = "the service sent an event that is no part of an answer and was passed over: "
        return Chunk(doubts=(Doubt(PASSED_OVER, message + quoted(_bytes(text), self._words)),))

    def _value(self, tree: Any, text: str) -> Iterator[Chunk]:
        match tree:
            case dict():
                yield from self._object(tree, text)
            case list():
                for each in tree:
                    yield from self._value(each, json.dumps(each))
            case str() if tree.strip() in _ENDS:
                yield Chunk(done=True)
            case str() if tree.lstrip().startswith("{"):
                yield from self.chunks(tree)
            case str():
                yield from self._bare(tree)

    def _object(self, tree: dict[str, Any], text: str) -> Iterator[Chunk]:
        if says_error(tree):
            yield Chunk(error=self._error_of(_bytes(text)))
            return
        wrapped = tree.get("data")
        if tree.get("choices") is None and isinstance(wrapped, dict) and "choices" in wrapped:
            tree = wrapped
        usage, doubts = read_usage(tree.get("usage"))
        said_id = tree.get("id")
        frame = Chunk(
            usage=usage,
            doubts=doubts,
            response_id=said_id[:ID_CHARS] if isinstance(said_id, str) and said_id else None,
        )
        yield from self._choices(tree, frame, text)

    def _choices(self, tree: dict[str, Any], frame: Chunk, text: str) -> Iterator[Chunk]:
        choices, others = _first_answer(tree.get("choices"))
        if others:
            message = "the server sent several answers; only the first is kept"
            yield Chunk(doubts=(Doubt("several-answers", message),))
        if not choices:
            yield frame
            yield from self._no_answer(tree, text)
        for choice in choices:
            if isinstance(error := choice.get("error"), dict) and not _is_blank(error):
                yield Chunk(error=self._error_of(json.dumps({"error": error}).encode()))
            yield _read_choice(choice, frame, is_sound=tree.get("modality") == "audio")
            frame = Chunk()

    def _no_answer(self, tree: dict[str, Any], text: str) -> Iterator[Chunk]:
        if any(tree.get(name) for name in _OTHER_PROTOCOLS):
            message = (
                "the server sent events of another protocol, which hold no `choices`; is "
                "endpoint.base_url its OpenAI-compatible address? "
                f"{quoted(_bytes(text), self._words)}"
            )
            yield Chunk(doubts=(Doubt(OTHER_PROTOCOL, message),))
        elif any(tree.get(name) for name in ("message", "msg", "status")) and not self._named:
            yield self._passed_over(text)


def _after(text: str, position: int) -> int:
    found = _BETWEEN.match(text, position)
    return found.end() if found else position


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= _MAX_DIGITS else float("inf")


# Texts may hold line feeds that their sender did not escape, and halves of an emoji that it did.
_decoder = json.JSONDecoder(strict=False, parse_int=_integer)


# --- errors ---


def says_error(tree: dict[str, Any]) -> bool:
    """True for an error in any of the forms that servers send inside a stream."""
    if any(not _is_blank(tree.get(name)) for name in ("error", "errors")):
        return True
    if tree.get("choices") is not None:
        return False
    kinds = " ".join(str(tree.get(name))[:100].lower() for name in ("object", "type", "status"))
    words = [tree.get(name) for name in ("message", "msg", "error_msg", "error_message")]
    said = any(not _is_blank(word) for word in words)
    coded = str(tree.get("code") or tree.get("error_code") or "").lower() not in _NO_FAULT
    named = "error" in kinds or "exception" in kinds
    return bool(said and (coded or named)) or not _is_blank(tree.get("detail"))


def _is_blank(value: Any) -> bool:
    """Gateways send `{"message": "", "code": null}` where nothing went wrong."""
    if isinstance(value, dict | list):
        return not any(value.values() if isinstance(value, dict) else value)
    return not value


# --- choices ---


def _first_answer(choices: Any) -> tuple[list[dict[str, Any]], bool]:
    """The parts of choice 0, and whether there were others."""
    if isinstance(choices, dict):  # what a list becomes in some languages
        choices = [choices] if {"delta", "message", "text"} & choices.keys() else choices.values()
    elif not isinstance(choices, list):
        choices = []
    found = []
    others = False
    for choice in choices:
        if isinstance(choice, str) and choice:
            raise _not_understood("choices", choice)
        if isinstance(choice, dict):
            is_first = str(choice.get("index") or 0) in ("0", "0.0")
            found += [choice] if is_first else []
            others = others or not is_first
    return found, others


def _read_choice(choice: dict[str, Any], frame: Chunk, *, is_sound: bool) -> Chunk:
    piece = _Piece(is_sound=is_sound)
    piece.read(choice.get("delta"))
    whole = False
    if piece.is_empty:
        piece.read(choice.get("message"))
        whole = not piece.is_empty
    if piece.is_empty:
        piece.content(choice.get("text"))
    reason = choice.get("finish_reason")
    if isinstance(reason, dict):
        reason = reason.get("type")
    return frame._replace(
        text=piece.text,
        transcript=piece.transcript,
        reasoning=piece.reasoning,
        audio_base64=piece.audio_base64,
        refusal=piece.refusal,
        whole=whole,
        finish_reason=finish_reason(str(reason)) if reason else None,
    )


class _Piece:
    """What one delta, or message, holds, whatever the types of its members."""

    def __init__(self, *, is_sound: bool) -> None:
        self._is_sound = is_sound
        self.text = self.transcript = self.reasoning = self.audio_base64 = self.refusal = ""

    @property
    def is_empty(self) -> bool:
        """True where nothing of an answer was found."""
        parts = (self.text, self.transcript, self.reasoning, self.audio_base64, self.refusal)
        return not any(parts)

    def read(self, delta: Any) -> None:
        """Take in a delta or a message."""
        if not isinstance(delta, dict):
            self.content(delta)
            return
        self.content(delta.get("content"))
        found = (words for name in _REASONING if (words := _words(delta.get(name))))
        self.reasoning += next(found, "")
        self.refusal += _words(delta.get("refusal"))
        self._audio(delta.get("audio"))

    def content(self, content: Any) -> None:
        """Take in text: as it is, in parts, or in parts of parts.

        Raises:
            UnsupportedReply: it is there and is neither.
        """
        match content:
            case str() if self._is_sound:
                self.audio_base64 += content
            case str():
                self.text += content
            case list():
                for part in content:
                    self.content(part)
            case dict():
                self._part(content)
            case int() if not isinstance(content, bool):  # of a gateway that reads JSON in texts
                self.text += str(content)
            case None | False:
                pass
            case _:
                raise _not_understood("content", content)

    def _part(self, part: dict[str, Any]) -> None:
        kind = part.get("type")
        if kind in _TEXT_PARTS and "text" in part:
            text = part["text"]
            self.content(text.get("value") if isinstance(text, dict) else text)
        elif kind in _THOUGHT_PARTS:
            names = ("thinking", "reasoning", "text", "content", "summary")
            self.reasoning += next((w for name in names if (w := _words(part.get(name)))), "")
        elif kind == "refusal":
            self.refusal += _words(part.get("refusal"))
        elif kind in ("audio", "output_audio"):
            self._audio(part.get("audio") or part)
        elif part:
            raise _not_understood("content", part)

    def _audio(self, audio: Any) -> None:
        match audio:
            case str():
                self.audio_base64 += audio
            case list():
                for part in audio:
                    self._audio(part)
            case dict():
                self.transcript += _words(audio.get("transcript"))
                self._audio(audio.get("data"))
            case None | False:
                pass
            case _:
                raise _not_understood("audio", audio)


def _words(value: Any) -> str:
    """All texts in it, in their order; what is no text is left out."""
    match value:
        case str():
            return value
        case list():
            return "".join(map(_words, value))
        case dict():
            names = ("text", "thinking", "reasoning", "content", "value")
            return next((words for name in names if (words := _words(value.get(name)))), "")
    return ""


def _not_understood(member: str, value: Any) -> UnsupportedReply:
    match value:
        case dict():
            kind = f"an object with the members {', '.join(map(str, value))[:80]}"
        case str():
            kind = "a text"
        case _:
            kind = "a number or boolean"
    return UnsupportedReply(
        f"`{member}` of the reply is {kind}, which is no form of an answer that is known; "
        "the next reply would be the same, so it is not asked for again"
    )
