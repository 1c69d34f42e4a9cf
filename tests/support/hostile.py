"""Streams as a service might send them, whole, broken and malicious; who made one knows which."""

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import pybase64

from omni_batch.stream.assemble import Assembler
from omni_batch.stream.reply import ReplyDecoder
from omni_batch.types import Response

Truth = Literal["whole", "broken", "either"]
"""whole: must be understood; broken: must never be; either: nobody can tell, but it is no crash."""
WORDS = ("Hel", "lo", " ", "世界", "\n", '"q"', "\\", "é", "😀", "{", "data: ", "[DONE]", "\u2028")
GARBAGE: tuple[Any, ...] = (
    *(None, True, -1, 0.5, 10**30, -(2**63), 2**64, "7", "", [], [1], {}, {"a": []}),
)
RAW_GARBAGE = (b"NaN", b"Infinity", b"1e999", b"9" * 10_000, b"-0", b"1E400", b'"\\ud800"')


@dataclass
class Stream:
    """Events in order, and what they amount to."""

    wants_audio: bool
    events: list[bytes] = field(default_factory=list)
    text: str = ""
    samples: int = 0
    truth: Truth = "whole"
    after_end: bytes = b""
    cut: Literal["nowhere", "before the reason", "behind the reason"] = "nowhere"
    mutation: str = "none"


def make_stream(rng: random.Random) -> tuple[Stream, list[bytes]]:
    """A stream, most often damaged, and its bytes as the network may cut them."""
    stream = _whole(rng)
    if rng.random() < 0.8:
        mutate = rng.choice(_MUTATIONS)
        stream.mutation = mutate.__name__.strip("_")
        mutate(stream, rng)
    return stream, list(_network(_bytes(stream, rng), rng))


def read(pieces: list[bytes], *, wants_audio: bool) -> tuple[Response, int]:
    """The pure path as the client joins it; the answer and the bytes of its sound."""
    decoder, assembler = ReplyDecoder(), Assembler(wants_audio=wants_audio)
    sound_bytes = 0
    for piece in pieces:
        for chunk in decoder.feed(piece):
            sound_bytes += len(assembler.feed(chunk))
        if decoder.done:
            break
    else:
        sound_bytes += sum(len(assembler.feed(chunk)) for chunk in decoder.end())
    response, last = assembler.finish("broken" if decoder.torn else "orderly")
    return response, sound_bytes + len(last)


# --- whole streams ---


def _whole(rng: random.Random) -> Stream:
    stream = Stream(wants_audio=rng.random() < 0.4)
    stream.events.append(_frame(rng, {"content": "", "role": "assistant"}))
    if rng.random() < 0.2:
        stream.events += [_frame(rng, {"content": None, "reasoning_content": "Hm"})] * 2
    for _ in range(rng.randint(0, 5)):
        word = rng.choice(WORDS)
        stream.text += word
        stream.events.append(_frame(rng, {"content": word}))
    if stream.wants_audio:
        _speak(stream, rng)
    stream.events.append(_frame(rng, {"content": ""}, rng.choice(("stop", "length"))))
    stream.events.append(_usage({"prompt_tokens": 11, "completion_tokens": 9}))
    stream.events.append(b"[DONE]")
    return stream


def _speak(stream: Stream, rng: random.Random) -> None:
    sound = rng.randbytes(2 * rng.randint(1, 60))
    if sound[0] in b"RIFF"[:1]:  # could be the beginning of a header
        sound = b"\0" + sound[1:]
    stream.samples = len(sound) // 2
    for piece in _base64(sound, rng):
        stream.events.append(_frame(rng, {"audio": {"data": piece, "id": "audio_x"}}))


def _base64(sound: bytes, rng: random.Random) -> Iterator[str]:
    """Each piece apart with its padding, or one text cut anywhere."""
    if rng.random() < 0.5:
        for start in range(0, len(sound), 33):
            yield pybase64.b64encode(sound[start : start + 33]).decode()
        return
    text = pybase64.b64encode(sound).decode()
    step = rng.randint(1, 50)
    for start in range(0, len(text), step):
        yield text[start : start + step]


def _frame(rng: random.Random, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"delta": delta, "finish_reason": finish_reason, "index": 0, "logprobs": None}
    tree = {"choices": [choice], "usage": None, "id": "chatcmpl-x", "created": 1}
    if rng.random() < 0.5:
        tree = dict(reversed(tree.items()))
    return json.dumps(tree, ensure_ascii=rng.random() < 0.5).encode()


def _usage(members: Any) -> bytes:
    return json.dumps({"choices": [], "usage": members}).encode()


# --- harmless oddities: the stream stays whole ---


def _odd_usage(stream: Stream, rng: random.Random) -> None:
    names = ("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details")
    members: Any = {name: rng.choice(GARBAGE) for name in names}
    stream.events[-2] = _usage(rng.choice((members, rng.choice(GARBAGE))))


def _impossible_usage(stream: Stream, rng: random.Random) -> None:
    number = rng.choice((b"1e999", b"1E400", b"9" * 10_000, b"-0", b"-1e999", b"0.1"))
    stream.events[-2] = b'{"choices":[],"usage":{"prompt_tokens":%s}}' % number


def _usage_twice(stream: Stream, rng: random.Random) -> None:
    stream.events.insert(-1, _usage({"prompt_tokens": 12, "completion_tokens": 10}))


def _frames_after_the_end(stream: Stream, rng: random.Random) -> None:
    stream.after_end = rng.choice(
        (b"data: " + _frame(rng, {"content": "more"}) + b"\n\n", b"data: {broken\n\n", b"\xff\0")
    )


def _comments(stream: Stream, rng: random.Random) -> None:
    place = rng.randrange(len(stream.events))
    stream.events[place] = b"\n: keep-alive\n\n\nevent: x\ndata: " + stream.events[place]


def _unknown_members(stream: Stream, rng: random.Random) -> None:
    tree = {"choices": [], "later": {"x": [1, None]}, "systm_fingerprint": "", "object": 5}
    stream.events.insert(-1, json.dumps(tree).encode())


def _duplicate_keys(stream: Stream, rng: random.Random) -> None:
    stream.events.insert(1, b'{"choices":[],"choices":[{"delta":{"content":"","content":""}}]}')


def _two_finish_frames(stream: Stream, rng: random.Random) -> None:
    stream.events.insert(-1, _frame(rng, {}, rng.choice(("stop", "length"))))


def _no_end_mark(stream: Stream, rng: random.Random) -> None:
    stream.events.pop()


def _cut_behind_the_reason(stream: Stream, rng: random.Random) -> None:
    """A text that says why it ended is whole; of speech the bill may be torn."""
    stream.cut = "behind the reason"
    stream.truth = "either" if stream.wants_audio else "whole"


def _no_part_of_it(stream: Stream, rng: random.Random) -> None:
    payloads = (b"null", b"[]", b"7", b'"x"', b"{}{}", b"<html>", b'{"choices":7}', b"ping")
    stream.events.insert(rng.randrange(len(stream.events)), rng.choice(payloads))


def _other_framing(stream: Stream, rng: random.Random) -> None:
    """Two events in one, or one JSON text beside the other."""
    place = rng.randrange(len(stream.events) - 1)
    joint = rng.choice((b"", b" ", b"data: "))
    stream.events[place : place + 2] = [joint.join(stream.events[place : place + 2])]


def _the_whole_again(stream: Stream, rng: random.Random) -> None:
    message = {"message": {"role": "assistant", "content": stream.text}, "finish_reason": "stop"}
    stream.events.insert(-2, json.dumps({"choices": [message]}).encode())


# --- damage: never a success ---


def _cut(stream: Stream, rng: random.Random) -> None:
    stream.truth, stream.cut = "broken", "before the reason"


def _no_finish(stream: Stream, rng: random.Random) -> None:
    stream.truth = "broken"
    del stream.events[-3]


def _error_inside(stream: Stream, rng: random.Random) -> None:
    stream.truth = "broken"
    code: Any = rng.choice(("data_inspection_failed", "limit_requests", 502, None, [], "x" * 999))
    message: Any = rng.choice(("no", "<" * 5000, "\x1b[31m", {"a": 1}, None, 5, "sk-0123456789abc"))
    place = rng.randrange(len(stream.events))
    if not code and not message:  # a gateway's form without an error in it
        message = "no"
    error = json.dumps({"error": {"code": code, "message": message}}).encode()
    stream.events.insert(place, error)


def _wrong_finish(stream: Stream, rng: random.Random) -> None:
    stream.truth = "broken"
    reason = rng.choice(("content_filter", "tool_calls", "error", "x" * 9999))
    frame = _frame(rng, {}, reason)
    stream.events.insert(rng.choice((-3, -2, -1)), frame)


def _no_chunk(stream: Stream, rng: random.Random) -> None:
    stream.truth = "broken"
    payloads = (b"{", b'{"choices":[{"delta":{"con', b"{}{", b'"x', b"\xff", b'tent":"lo"}}]}')
    stream.events.insert(rng.randrange(len(stream.events)), rng.choice(payloads))


def _wrong_type(stream: Stream, rng: random.Random) -> None:
    stream.truth = "either"
    wrong = rng.choice((b"7", b"[]", b'{"a":1}', b"true", b'"\xff"', b'"\\ud800"', *RAW_GARBAGE))
    shape = rng.choice(
        (
            b'{"choices":%s}',
            b'{"choices":[{"delta":{"content":%s}}]}',
            b'{"choices":[{"delta":{"reasoning_content":%s}}]}',
            b'{"choices":[{"delta":{"audio":{"data":%s}}}]}',
            b'{"choices":[{"delta":{"audio":{"transcript":%s}}}]}',
            b'{"choices":[{"finish_reason":%s}]}',
        )
    )
    if wrong == b"[]" and shape == b'{"choices":%s}':
        wrong = b"{}"
    stream.events.insert(rng.randrange(len(stream.events)), shape % wrong)


def _deep(stream: Stream, rng: random.Random) -> None:
    depth = rng.choice((1_500, 100_000)) if rng.random() < 0.05 else 1_500
    # How deep is too deep depends on the room that the interpreter's stack has left.
    stream.truth = "broken" if depth == 100_000 else "either"
    shape = rng.choice((b'{"x":%s}', b'{"error":%s}', b'{"choices":%s}', b"%s"))
    stream.events.insert(0, shape % (b"[" * depth + b"]" * depth))


def _no_base64(stream: Stream, rng: random.Random) -> None:
    stream.truth = "broken"
    garbage = rng.choice(("!!!!", "AAA\0", "é", "A=", "-_-_", "AAAA====A=", "🎵"))
    stream.events.insert(-3, _frame(rng, {"audio": {"data": garbage}}))
    stream.events.insert(-3, _frame(rng, {"audio": {"data": "AAAA"}}))


def _lying_wav(stream: Stream, rng: random.Random) -> None:
    stream.truth = "broken"
    header = rng.choice(
        (
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0\x80\xbb\0\0\0\0\0\0\x04\0\x10\0data",
            b"RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\xff\x01\0\x01\0\x80\xbb\0\0" + b"\0" * 8,
            b"RIFF\0\0\0\0WAVE",
            b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 600,
        )
    )
    stream.wants_audio = True
    stream.events = [e for e in stream.events if b'"audio"' not in e]
    sound = pybase64.b64encode(header).decode()
    stream.events.insert(-3, _frame(rng, {"audio": {"data": sound}}))


def _speechless(stream: Stream, rng: random.Random) -> None:
    stream.truth, stream.wants_audio = "broken", True
    stream.events = [e for e in stream.events if b'"audio"' not in e]
    if rng.random() < 0.5:  # half a sample is no speech
        stream.events.insert(-3, _frame(rng, {"audio": {"data": "AA=="}}))


# --- noise: nobody can tell ---


def _noise(stream: Stream, rng: random.Random) -> None:
    stream.truth = "either"
    place = rng.randrange(len(stream.events))
    event = bytearray(stream.events[place])
    for _ in range(rng.randint(1, 8)):
        event[rng.randrange(len(event))] = rng.randrange(256)
    stream.events[place] = bytes(event)


def _shuffled(stream: Stream, rng: random.Random) -> None:
    stream.truth = "either"
    rng.shuffle(stream.events)


def _long_line(stream: Stream, rng: random.Random) -> None:
    stream.truth = "either"
    size = 1_000_000 if rng.random() < 0.01 else 5_000
    stream.events.insert(0, rng.choice((b"x", b"=", b"[", b"data:", b"\r", b"<")) * size)


_MUTATIONS: tuple[Callable[[Stream, random.Random], None], ...] = (
    *(_odd_usage, _impossible_usage, _usage_twice, _frames_after_the_end, _comments),
    *(_unknown_members, _duplicate_keys, _two_finish_frames, _no_end_mark, _no_part_of_it),
    *(_cut_behind_the_reason, _other_framing, _the_whole_again),
    *(_cut, _cut, _no_finish, _error_inside, _wrong_finish, _no_chunk, _wrong_type),
    *(_deep, _no_base64, _lying_wav, _speechless),
    *(_noise, _noise, _shuffled, _long_line),
)


# --- the wire ---


def _bytes(stream: Stream, rng: random.Random) -> bytes:
    end = rng.choice((b"\n", b"\n", b"\r\n", b"\r"))
    lines = [b"data: " + event.replace(b"\n", end) + end + end for event in stream.events]
    data = (b"\xef\xbb\xbf" if rng.random() < 0.1 else b"") + b"".join(lines)
    if stream.cut != "nowhere":
        reason = re.search(rb'"finish_reason": "[a-z]+"', data)
        assert reason is not None
        # The reason's event is whole with the brace that closes it.
        whole = data.index(b"\n" if end != b"\r" else b"\r", reason.end())
        whole = len(data[:whole].rstrip())
        return data[
            : rng.randrange(whole) if "before" in stream.cut else rng.randint(whole, len(data))
        ]
    return data + stream.after_end


def _network(data: bytes, rng: random.Random) -> Iterator[bytes]:
    most = rng.choice((10_000_000, 500, 7 if len(data) < 2000 else 500))
    place = 0
    while place < len(data):
        step = rng.randint(1, most)
        yield data[place : place + step]
        place += step
