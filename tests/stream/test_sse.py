"""The event-stream parser: WHATWG's format, however the network cuts it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.errors import StreamError
from omni_batch.stream.sse import Event, SseDecoder

LINE = st.binary(max_size=12).filter(lambda line: not set(line) & set(b"\r\n"))
PAYLOAD = st.lists(LINE, min_size=1, max_size=3).map(b"\n".join)
NOISE = st.sampled_from([b": keep-alive", b":", b"event: x", b"id: 7", b"retry: 1", b"datum: no"])
ENDING = st.sampled_from([b"\n", b"\r\n", b"\r"])
WHOLE = b'\xef\xbb\xbf: hi\r\ndata: {"a":1}\r\n\r\nid:1\ndata:two\ndata: lines\n\ndata: [DONE]\n\n'


def payloads(*pieces: bytes) -> list[bytes]:
    decoder = SseDecoder()
    return [event.data for piece in pieces for event in decoder.feed(piece)]


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """An event stream, and the payloads in it."""
    end = draw(ENDING)
    lines, events = [], draw(st.lists(PAYLOAD, max_size=5))
    for payload in events:
        lines += draw(st.lists(NOISE, max_size=2))
        # Without the space, a payload that begins with one would lose it.
        lines += [b"data: " + line for line in payload.split(b"\n")] + [b""]
    # A last CR could be half of CRLF, so it counts only when a byte comes after it.
    return end.join([*lines, b": the end", b""]) + b":", events


@given(streams(), st.data())
def test_any_split_of_the_bytes_gives_the_same_payloads(
    stream: tuple[bytes, list[bytes]], data: st.DataObject
) -> None:
    text, events = stream
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    events = [event for event in events if event]  # an empty one is a sign of life, no more
    assert payloads(*pieces) == events
    assert payloads(*(text[i : i + 1] for i in range(len(text)))) == events


@given(st.binary(max_size=200))
def test_no_bytes_break_it(data: bytes) -> None:
    assert payloads(data) == payloads(*(data[i : i + 1] for i in range(len(data))))


@pytest.mark.parametrize("cut", range(len(WHOLE) + 1))
def test_every_cut_of_one_stream_gives_its_payloads(cut: int) -> None:
    assert payloads(WHOLE[:cut], WHOLE[cut:]) == [b'{"a":1}', b"two\nlines", b"[DONE]"]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: x\n\n", [b"x"]),
        (b"data:x\n\n", [b"x"]),
        (b"data:  x \n\n", [b" x "]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a\r\n\r\n", [b"a"]),
        (b"data: a\r\rdata: b\r\r\n", [b"a", b"b"]),
        (b"\xef\xbb\xbfdata: x\n\n", [b"x"]),
        (b"data: \xef\xbb\xbfx\n\n", [b"\xef\xbb\xbfx"]),
        (b": comment\n\n\n\ndata: x\n\n", [b"x"]),
        (b"event: error\nid: 3\ndata: x\nretry: 5\n\n", [b"x"]),
        (b"data: x\x0b\x0c\xc2\x85\n\n", [b"x\x0b\x0c\xc2\x85"]),
        (b"data: never ended\n", []),
        (b"", []),
    ],
)
def test_lines_become_events(stream: bytes, expected: list[bytes]) -> None:
    assert payloads(stream) == expected


def test_a_cr_at_the_end_waits_for_one_more_byte_and_no_longer() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: x\r\r") == []
    assert decoder.feed(b":") == [Event(b"x")]


@pytest.mark.parametrize(
    ("stream", "last"),
    [
        (b"data: [DONE]", b"[DONE]"),
        (b"data:[DONE]\n", b"[DONE]"),
        (b"data: [DONE]\r", b"[DONE]"),
        (b"data: [DONE]\r\n", b"[DONE]"),
        (b'data: {"a":1}', b'{"a":1}'),
        (b"data: [DON", b"[DON"),
        (b'{"a":1}', b'{"a":1}'),
        (b'{\n  "a": 1\n}', b'{\n"a": 1\n}'),
    ],
)
def test_what_lacks_its_line_end_or_blank_line_is_an_event_when_the_bytes_end(
    stream: bytes, last: bytes
) -> None:
    decoder = SseDecoder()
    assert [event.data for event in [*decoder.feed(stream), *decoder.close()]] == [last]


@pytest.mark.parametrize("stream", [b"", b": [DONE]", b"hello", b"id: 7", b"event: x"])
def test_what_is_no_event_is_none_at_the_end_either(stream: bytes) -> None:
    decoder = SseDecoder()
    assert decoder.feed(stream) + decoder.close() == []


# --- What servers send in place of the format ---


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b'data: {"a":1}\ndata: {"b":2}\ndata: [DONE]\n\n', [b'{"a":1}', b'{"b":2}', b"[DONE]"]),
        (b'{"a":1}\n{"b":"}{"}\n[DONE]\n', [b'{"a":1}', b'{"b":"}{"}', b"[DONE]"]),
        (b'{"a":1}\n\n{"b":2}\n\n', [b'{"a":1}', b'{"b":2}']),
        (b'data: {"a":\ndata: 1}\n\n', [b'{"a":\n1}']),  # one JSON text in two lines
        (b'data: {"a":\n  1}\n\n', [b'{"a":\n1}']),
        (b'data: {"a":1}\n\n{"error":"x"}\n', [b'{"a":1}', b'{"error":"x"}']),
    ],
)
def test_json_without_its_frame_is_an_event_each(stream: bytes, expected: list[bytes]) -> None:
    for size in (1, 3, len(stream)):
        pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert payloads(*pieces) == expected


def test_a_byte_order_mark_is_one_at_the_beginning_only() -> None:
    mark = b"\xef\xbb\xbf"
    found = SseDecoder().feed(mark + b"data: 1\n\n" + mark + b"data: 2\n\ndata: 3\n\n")
    assert [event.data for event in found] == [b"1", b"3"]


def test_an_event_has_the_name_that_stands_before_it() -> None:
    stream = b"event:ping\ndata: 1\n\ndata: 2\n\nevent: x\ndata: 3\nevent: y\ndata: 4\n\n"
    found = [(event.name, event.data) for event in SseDecoder().feed(stream)]
    assert found == [("ping", b"1"), ("", b"2"), ("x", b"3"), ("y", b"4")]


@pytest.mark.parametrize("piece", [b"data: 0123456789\n", b"0123456789"])
def test_an_event_that_never_ends_is_refused(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omni_batch.stream.sse.MAX_EVENT_BYTES", 100)
    decoder = SseDecoder()
    with pytest.raises(StreamError, match="exceeds 100 bytes"):
        list(map(decoder.feed, [piece] * 20))


def test_an_event_may_be_as_large_as_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omni_batch.stream.sse.MAX_EVENT_BYTES", 100)
    for line in (b"data:" + b"x" * 95, b"data:" + b"x" * 46 + b"\n" + b"data:" + b"x" * 44):
        decoder = SseDecoder()
        assert decoder.feed(line) == []
        with pytest.raises(StreamError, match="exceeds 100 bytes"):
            decoder.feed(b"y")


def test_many_events_together_may_be_larger_than_one_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("omni_batch.stream.sse.MAX_EVENT_BYTES", 100)
    assert len(SseDecoder().feed(b"data: 0123456789\n\n" * 50)) == 50


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("before", ["", "  ", "\n\n"])
def test_a_whole_json_is_seen_coming_until_it_has_come(indent: int | None, before: str) -> None:
    decoder = SseDecoder()
    assert not decoder.holds_bare_json
    data = before + json.dumps({"choices": [{"message": {"content": "Hello"}}]}, indent=indent)
    for place, sign in enumerate(data):
        assert decoder.feed(sign.encode()) == []
        assert decoder.holds_bare_json is (place >= len(before)), place
    (event,) = decoder.close()
    assert json.loads(event.data) == json.loads(data)
    assert not decoder.holds_bare_json


def test_events_are_no_bare_json() -> None:
    decoder = SseDecoder()
    for piece in (b"data: {", b'"a": 1', b"}"):
        decoder.feed(piece)
        assert not decoder.holds_bare_json
