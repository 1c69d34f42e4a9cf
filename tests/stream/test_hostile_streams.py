"""No stream makes the pure path crash, hang, grow, or take a part of an answer for the whole."""

import json
import random
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_batch.errors import OmniBatchError, StreamError
from omni_batch.stream import assemble
from omni_batch.stream.assemble import Assembler
from omni_batch.stream.pcm import PcmDecoder
from omni_batch.stream.reply import ReplyDecoder
from omni_batch.stream.service_errors import classify, parse_error_body
from omni_batch.stream.sse import SseDecoder
from omni_batch.text import one_line
from omni_batch.types import Chunk
from tests.benchmarks.streams import Score, judge
from tests.support.hostile import GARBAGE, make_stream, read
from tests.support.replies import chunk_of, chunks_of, events

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
DELTA = st.fixed_dictionaries(
    {},
    optional={
        "content": JSON | st.text(),
        "reasoning_content": JSON | st.text(),
        "audio": JSON | st.fixed_dictionaries({}, optional={"data": JSON, "transcript": JSON}),
    },
)
CHOICE = st.fixed_dictionaries({}, optional={"delta": DELTA | JSON, "finish_reason": JSON})
FRAME = st.fixed_dictionaries(
    {},
    optional={
        "choices": st.lists(CHOICE | JSON, max_size=2) | JSON,
        "usage": JSON
        | st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens"]), JSON),
        "id": JSON,
        "error": JSON,
        "modality": st.sampled_from(["audio", "text"]) | JSON,
    },
)


@settings(max_examples=200)
@given(st.randoms(use_true_random=False))
def test_the_maker_of_a_stream_and_its_reader_agree(rng: random.Random) -> None:
    stream, pieces = make_stream(rng)
    try:
        response, sound_bytes = read(pieces, wants_audio=stream.wants_audio)
    except OmniBatchError:
        assert stream.truth != "whole"
        return
    assert stream.truth != "broken"
    if stream.truth == "whole":
        assert (response.text, sound_bytes) == (stream.text, 2 * stream.samples)


def test_two_thousand_streams_of_the_benchmark() -> None:
    score = Score()
    for seed in range(2_000):
        judge(seed, score)
    assert not score.wrong, score.examples
    assert len(score.outcomes) >= 7


def test_the_benchmark_would_see_a_false_success(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Assembler, "_check_end", lambda self, ending: "stop")
    score = Score()
    for seed in range(200):
        judge(seed, score)
    assert any(name.startswith("false success") for name in score.wrong)


@settings(max_examples=300)
@given(st.lists(FRAME, max_size=4), st.booleans())
def test_any_json_in_any_member_is_a_chunk_or_an_error(frames: list[object], speech: bool) -> None:
    assembler = Assembler(wants_audio=speech)
    try:
        for chunk in chunks_of(events(*map(json.dumps, frames))):
            assembler.feed(chunk)
        assembler.finish()
    except OmniBatchError:
        return
    assert "finish_reason" in json.dumps(frames)


@given(st.binary(max_size=60))
def test_any_bytes_as_an_error_body_are_an_error(body: bytes) -> None:
    for status in (200, 302, 400, 401, 429, 500):
        assert classify(status, body).http_status == status


@given(st.text(max_size=30))
def test_any_retry_after_is_a_wait_of_two_minutes_at_most(value: str) -> None:
    for name in ("retry-after", "retry-after-ms"):
        wait_s = classify(429, b"", {name: value}).retry_after_s
        assert wait_s is None or 0 <= wait_s <= 120


@pytest.mark.parametrize("garbage", [*GARBAGE, 1e300, -1.5, "NaN"])
def test_senseless_usage_costs_no_answer(garbage: object) -> None:
    members = ("prompt_tokens", "completion_tokens", "total_tokens")
    for usage in (garbage, dict.fromkeys(members, garbage)):
        chunk = chunk_of(json.dumps({"choices": [], "usage": usage}))
        assert chunk.usage is None or chunk.usage.prompt_tokens >= 0


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9" * 10_000])
def test_a_number_that_is_none_loses_the_bill_and_not_the_answer(number: bytes) -> None:
    frame = b'{"choices":[{"delta":{"content":"hi"}}],"usage":{"prompt_tokens":%s}}' % number
    chunk = chunk_of(frame)
    assert (chunk.text, chunk.usage) == ("hi", None)


@pytest.mark.parametrize("member", [b"x", b"error", b"choices", b"usage", b"id"])
@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_json_of_any_depth_is_no_crash(member: bytes, depth: int) -> None:
    """How deep a decoder follows depends on Python: from 3.12 on a thousand levels are read."""
    try:
        chunks = ReplyDecoder().feed(events(b'{"%s":%s%s}' % (member, b"[" * depth, b"]" * depth)))
    except StreamError as error:
        assert "not a chunk" in str(error)  # noqa: PT017  either is right
    else:
        assert (not any(chunk.text for chunk in chunks), depth) == (True, 1_000)


@pytest.mark.parametrize(
    ("reasons", "ending"),
    [
        (("stop", "stop"), "stop"),
        (("length", "stop"), "length"),
        (("stop", "length"), "length"),
        (("content_filter", "stop"), "content_refused"),
        (("stop", "content_filter"), "content_refused"),
        (("error", "length"), "abnormal_finish"),
    ],
)
def test_of_two_finish_reasons_the_graver_counts(reasons: tuple[str, ...], ending: str) -> None:
    assembler = Assembler(wants_audio=False)
    for reason in reasons:
        assembler.feed(Chunk(text="a", finish_reason=reason))
    assembler.feed(Chunk(done=True))
    assert _ending(assembler) == ending


def _ending(assembler: Assembler) -> str:
    try:
        return assembler.finish()[0].finish_reason
    except OmniBatchError as exc:
        return exc.kind


# --- bounds ---


@contextmanager
def room(most_bytes: int) -> Iterator[None]:
    """Fails if more memory than that was taken on the way."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most_bytes
    finally:
        tracemalloc.stop()


def test_data_lines_without_end_are_bounded_even_when_they_hold_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("omni_batch.stream.sse.MAX_EVENT_BYTES", 10_000)
    decoder = SseDecoder()
    with pytest.raises(StreamError, match="exceeds 10000 bytes"):
        list(map(decoder.feed, [b"data:\n"] * 10_000))


def test_a_line_that_comes_byte_by_byte_takes_its_own_room_only() -> None:
    decoder = SseDecoder()
    with room(1_000_000):
        for _ in range(100_000):
            decoder.feed(b"x")


def test_text_in_small_pieces_takes_its_own_room_only() -> None:
    assembler = Assembler(wants_audio=False)
    with room(2_000_000):
        for number in range(100_000):
            assembler.feed(Chunk(text=chr(0x4E00 + number % 20_000)))


@pytest.mark.parametrize("member", ["text", "reasoning", "transcript"])
def test_text_without_end_is_no_answer(member: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "MAX_TEXT_CHARS", 100)
    assembler, only = Assembler(wants_audio=False), dict[str, Any]({member: "a"})
    with pytest.raises(StreamError, match="100 characters without an end"):
        list(map(assembler.feed, [Chunk(**only)] * 101))


def test_sound_without_end_is_no_answer_at_any_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "MAX_AUDIO_BYTES", 1000)
    assembler = Assembler(wants_audio=True)
    with pytest.raises(StreamError, match="1000 bytes without an end"):
        list(map(assembler.feed, [Chunk(audio_base64="AAAA")] * 400))


@pytest.mark.parametrize("text", ["AA=" * 300_000, "A A\n" * 300_000, "=" * 900_000])
def test_odd_base64_takes_no_room_of_its_own(text: str) -> None:
    decoder = PcmDecoder()
    with room(5_000_000):
        decoder.feed(text)


@pytest.mark.parametrize("sign", ["<", "< ", "?a=", "://", "sk-", "bearer ", "download", "{", "&"])
def test_no_error_body_keeps_a_reader_busy(sign: str) -> None:
    begun_s = time.process_time()
    body = (sign * 65_536)[:65_536].encode()
    said = parse_error_body(body)
    assert len(said.message) <= 600
    long = b'{"error":{"code":"%s","message":"%s"}}' % (body, body)
    error = classify(400, long if b"{" not in body else body)
    assert len(str(error)) < 1000
    assert time.process_time() - begun_s < 1


def test_what_a_terminal_would_obey_is_not_passed_on() -> None:
    said = str(
        classify(400, b'{"error":{"code":"\\u001b[2J","message":"a\\u001b]0;x\\u0007\\nb\\u202e"}}')
    )
    assert said.isprintable()
    assert one_line("a\x00b\r\nc\ud800") == "a b c"
