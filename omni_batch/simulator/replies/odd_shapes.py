"""Whole replies in shapes that servers and gateways were seen to give them."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from omni_batch.simulator.option_values import REASONING_KEYS
from omni_batch.simulator.replies import odd_speech
from omni_batch.simulator.replies.frames import DONE, Ending, Frame, Stream, payload, sse

Frames = Sequence[Frame]


def shaped(stream: Stream, kind: str | None) -> Ending:
    """The frames of a good stream as a fault has them, and how the stream ends."""
    if kind == "no_done":
        return stream.frames[:-1], "close"
    if kind == "no_done_stall":
        return stream.frames[:-1], "stall"
    change = _SHAPES.get(kind or "")
    return (tuple(change(stream.frames)) if change else stream.frames), "close"


def _each_choice(change: Callable[[dict[str, Any]], None]) -> Callable[[Frames], Iterator[Frame]]:
    """Change the first choice of every frame that has one."""

    def changed(frames: Frames) -> Iterator[Frame]:
        for frame in frames:
            yield _with_choice(frame, change)

    return changed


def _with_choice(frame: Frame, change: Callable[[dict[str, Any]], None]) -> Frame:
    if frame.data == DONE:
        return frame
    chunk: dict[str, Any] = payload(frame)
    if chunk["choices"]:
        change(chunk["choices"][0])
    return sse(chunk, frame.sound_s)


def _part(choice: dict[str, Any]) -> None:
    if words := choice["delta"].get("content"):
        choice["delta"]["content"] = [{"type": "text", "text": words}]


def _thinking(frames: Frames) -> Iterator[Frame]:
    """Reasoning as a part of the content; where there was none, a thought comes first."""
    first, *rest = (_with_choice(frame, _thinking_part) for frame in frames)
    yield first
    if not any(_THINKING in frame.data for frame in rest):
        delta = {"content": [_thought("The user wants one plain sentence.")]}
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        yield sse({**payload(first), "choices": [choice]})
    yield from rest


_THINKING = b'"type":"thinking"'


def _thought(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


def _thinking_part(choice: dict[str, Any]) -> None:
    delta = choice["delta"]
    found = [delta.pop(key, None) for key in REASONING_KEYS]
    if text := next(filter(None, found), None):
        delta["content"] = [_thought(text)]
    else:
        _part(choice)


def _null_as_text(choice: dict[str, Any]) -> None:
    choice["finish_reason"] = choice.get("finish_reason") or "null"


def _upper(choice: dict[str, Any]) -> None:
    if reason := choice.get("finish_reason"):
        choice["finish_reason"] = reason.upper()


def _max_tokens(choice: dict[str, Any]) -> None:
    if choice.get("finish_reason"):
        choice["finish_reason"] = "MAX_TOKENS"


def _refuse(choice: dict[str, Any]) -> None:
    delta = choice["delta"]
    delta.pop("audio", None)
    if words := delta.get("content"):
        delta |= {"content": None, "refusal": words}


def _repeat_whole(frames: Frames) -> Iterator[Frame]:
    """The finish frame holds a message with all that the deltas brought (one-api issue 2406)."""
    deltas = [choice["delta"] for frame in frames for choice in _choices(frame)]
    message: dict[str, Any] = {"role": "assistant"}
    message["content"] = "".join(delta.get("content") or "" for delta in deltas)
    sounds = [delta["audio"] for delta in deltas if "audio" in delta]
    if sounds:
        data = "".join(sound.get("data", "") for sound in sounds)
        message["audio"] = {**sounds[0], "data": data}

    def repeat(choice: dict[str, Any]) -> None:
        if choice.get("finish_reason"):
            choice["message"] = message

    return (_with_choice(frame, repeat) for frame in frames)


def _choices(frame: Frame) -> list[dict[str, Any]]:
    chunk: dict[str, Any] = {} if frame.data == DONE else payload(frame)
    return list(chunk.get("choices", []))


def _no_usage(frames: Frames) -> Iterator[Frame]:
    """Every usage says zero."""
    for frame in frames:
        chunk: dict[str, Any] = {} if frame.data == DONE else payload(frame)
        yield sse({**chunk, "usage": _ZERO}, frame.sound_s) if chunk.get("usage") else frame


_ZERO = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def _no_usage_last(frames: Frames) -> Iterator[Frame]:
    *before, last, done = frames
    yield from (*before, last)
    yield sse({**payload(last), "choices": [], "usage": _ZERO})
    yield done


def _in_pairs(frames: Frames) -> Iterator[Frame]:
    """Two objects behind one `data:`, and [DONE] alone."""
    chunks = frames[:-1]
    for first, second in zip_longest(chunks[::2], chunks[1::2]):
        line = first.data.rstrip()
        rest = second.data.removeprefix(b"data: ").rstrip() if second else b""
        yield replace(first, data=line + rest + b"\n\n")
    yield frames[-1]


def _in_lines(frames: Frames) -> Iterator[Frame]:
    return (replace(frame, data=frame.data.replace(b"\n\n", b"\n")) for frame in frames)


def _pinged(frames: Frames) -> Iterator[Frame]:
    for frame in frames:
        yield Frame(b"event: ping\ndata: 2026-11-26 09:30:00.000000+00:00\n\n")
        yield frame


def _smiling(frames: Frames) -> Iterator[Frame]:
    """An emoji after the first frame, cut between the two units that UTF-16 needs for it."""
    first, *rest = frames
    yield first
    for half in ("\ud83d", "\ude00"):
        delta = {"index": 0, "delta": {"content": half}, "finish_reason": None}
        chunk = json.dumps({**payload(first), "choices": [delta]})  # escapes what UTF-8 can't hold
        yield Frame(f"data: {chunk}\n\n".encode())
    yield from rest


_SHAPES: Mapping[str, Callable[[Frames], Iterable[Frame]]] = {
    "two_in_one": _in_pairs,
    "one_newline": _in_lines,
    "pings": _pinged,
    "split_emoji": _smiling,
    "content_parts": _each_choice(_part),
    "thinking_parts": _thinking,
    "finish_null": _each_choice(_null_as_text),
    "finish_upper": _each_choice(_upper),
    "finish_max_tokens": _each_choice(_max_tokens),
    "repeated_whole": _repeat_whole,
    "usage_zero": _no_usage,
    "usage_zero_last": _no_usage_last,
    "refusal": _each_choice(_refuse),
    "speech_mp3": odd_speech.as_mp3,
    "speech_stereo": odd_speech.as_stereo,
    "speech_bare": _each_choice(odd_speech.bare),
}
"""Kind of fault to what it makes of the frames of a good stream."""
