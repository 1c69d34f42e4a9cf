"""From bytes to a Response: an answer is whole or it is an error.

The streams in tests/streams have invented values in the documented shapes.
"""

import math
import struct
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_batch.doubts import Doubt
from omni_batch.errors import (
    AbnormalFinish,
    AccountError,
    ContentRefused,
    OmniBatchError,
    RateLimited,
    Rejected,
    SpeechMissing,
    StreamError,
    Unavailable,
)
from omni_batch.stream import assemble
from omni_batch.stream.assemble import Assembler
from omni_batch.stream.chunks import decode
from omni_batch.stream.sse import SseDecoder
from omni_batch.types import Chunk, Response, Speech, Usage

STREAMS = Path(__file__).parents[1] / "streams"
SOUND = b"".join(struct.pack("<h", int(9000 * math.sin(i / 5))) for i in range(240))
END = b"data: [DONE]"


class Recorded(NamedTuple):
    name: str
    sound: bytes = b""

    @property
    def data(self) -> bytes:
        return (STREAMS / f"{self.name}.sse").read_bytes()


RECORDED = [
    Recorded("text"),
    Recorded("nulls"),
    Recorded("thinking"),
    Recorded("speech", SOUND),
    Recorded("transcript", SOUND),
    Recorded("wav_pieces", SOUND),
]
EACH = pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded.name)


def read(*pieces: bytes, wants_audio: bool = False) -> tuple[Response, bytes]:
    """The whole chain, as the client joins it."""
    sse, assembler = SseDecoder(), Assembler(wants_audio=wants_audio)
    payloads = [payload for piece in pieces for payload in sse.feed(piece)]
    chunks = [*map(decode, payloads), *([Chunk(done=True)] if sse.close() else [])]
    sound = b"".join(map(assembler.feed, chunks))
    response, last = assembler.finish()
    return response, sound + last


def stream(*payloads: str) -> bytes:
    return b"".join(f"data: {payload}\n\n".encode() for payload in payloads)


def ended(reason: str, *before: str) -> bytes:
    end = f'{{"choices":[{{"delta":{{}},"finish_reason":"{reason}"}}]}}'
    return stream(*before, end, "[DONE]")


# --- What the recorded streams say ---


def test_a_text_stream() -> None:
    response, sound = read(Recorded("text").data)
    assert (response, sound) == (
        Response(
            text='Hello, 世界 "é"\n',
            reasoning=None,
            finish_reason="stop",
            usage=Usage(11, 9, 20, prompt_text_tokens=11, completion_text_tokens=9),
            speech=None,
            response_id="chatcmpl-3f1c6f0a-0000-4b6e-9a54-5d1f6a2b7c01",
        ),
        b"",
    )


def test_a_thinking_stream() -> None:
    response, _ = read(Recorded("thinking").data)
    assert (response.text, response.reasoning) == ("Answer", "Hmm, so.")
    usage = response.usage
    assert usage
    assert (usage.completion_text_tokens, usage.reasoning_tokens) == (168, 195)


def test_a_spoken_stream() -> None:
    response, sound = read(Recorded("speech", SOUND).data, wants_audio=True)
    assert (response.text, sound) == ("Good morning.", SOUND)
    assert (response.speech, response.doubts) == (Speech(240, 24_000), ())


def test_nulls_and_absent_members_mean_nothing() -> None:
    response, _ = read(Recorded("nulls").data)
    assert (response.text, response.finish_reason) == ("Yes", "length")
    assert response.usage == Usage(21, 1, 22, cached_tokens=0)  # it came with the finish_reason
    assert response.doubts == (
        Doubt(
            "reply-at-output-limit", "the reply was cut at the output limit (finish_reason length)"
        ),
    )


def test_transcripts_are_the_text_when_no_other_came() -> None:
    assert read(Recorded("transcript").data, wants_audio=True)[0].text == "Good day."


def test_the_text_is_never_doubled_by_transcripts() -> None:
    both = '{"choices":[{"delta":{"content":"%s","audio":{"transcript":"%s"}}}]}'
    assert read(ended("stop", both % ("", "Go"), both % ("Good", "od")))[0].text == "Good"


def test_a_wav_header_in_every_piece_names_the_rate() -> None:
    response, sound = read(Recorded("wav_pieces").data, wants_audio=True)
    assert (response.speech, sound) == (Speech(240, 16_000), SOUND)


# --- Laws ---


@EACH
@settings(max_examples=30)
@given(data=st.data())
def test_any_split_of_the_bytes_gives_the_same_reply(
    recorded: Recorded, data: st.DataObject
) -> None:
    stream = recorded.data
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(*pieces) == read(stream)
    assert read(stream)[1] == recorded.sound


@EACH
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_any_piece_size_gives_the_same_reply(recorded: Recorded, size: int) -> None:
    stream = recorded.data
    pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert read(*pieces) == read(stream)


@EACH
def test_a_stream_that_breaks_off_anywhere_is_no_success(recorded: Recorded) -> None:
    stream = recorded.data
    whole = stream.index(END) + len(END)
    for length in range(whole):
        with pytest.raises(StreamError):
            read(stream[:length])
    for length in range(whole, len(stream) + 1):
        assert read(stream[:length]) == read(stream)


# --- Ends that are none ---


@pytest.mark.parametrize("reason", ["error", "tool_calls", "STOP", "timeout", " "])
def test_an_unknown_finish_reason_is_no_success(reason: str) -> None:
    with pytest.raises(AbnormalFinish, match="finish_reason"):
        read(ended(reason))


def test_a_reply_that_moderation_ended_is_refused_content() -> None:
    with pytest.raises(ContentRefused):
        read(ended("content_filter", '{"choices":[{"delta":{"content":"Well, "}}]}'))


@pytest.mark.parametrize("data", [b"", stream("[DONE]"), b"\n\n", b": hello\n\n"])
def test_an_empty_stream_is_no_success(data: bytes) -> None:
    with pytest.raises(StreamError, match="without a finish_reason"):
        read(data)


def test_speech_that_was_asked_for_and_did_not_come_is_missing() -> None:
    with pytest.raises(SpeechMissing):
        read(Recorded("text").data, wants_audio=True)


def test_an_end_mark_with_blanks_around_it_counts() -> None:
    assert read(ended("stop").replace(b"[DONE]", b" [DONE] "))[0].finish_reason == "stop"


@pytest.mark.parametrize(
    "payload",
    ["hello", "{", "[]", "17", '"text"', '{"choices":{}}', '{"choices":[{"finish_reason":5}]}'],
)
def test_an_event_that_is_no_chunk_is_a_stream_error(payload: str) -> None:
    with pytest.raises(StreamError, match="not a chunk"):
        read(ended("stop", payload))


def test_bytes_that_are_no_utf_8_are_a_stream_error() -> None:
    with pytest.raises(StreamError, match="not a chunk"):
        read(b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n')


# --- Errors inside a stream ---


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ('{"error":{"code":"data_inspection_failed","message":"Output data …"}}', ContentRefused),
        ('{"error":{"code":502,"message":"Upstream: inappropriate content."}}', ContentRefused),
        ('{"error":{"code":400,"message":"Voice \'x\' is not supported"}}', Rejected),
        ('{"error":{"code":null,"message":"Voice \'x\' is not supported"}}', Rejected),
        ('{"error":{"code":"invalid_value","message":"The requested voice …"}}', Rejected),
        ('{"error":{"code":"internal_error","message":"inference internal error."}}', Unavailable),
        ('{"error":{"code":"limit_requests","message":"too many"}}', RateLimited),
        ('{"error":{"code":429,"message":"slow down"}}', RateLimited),
        ('{"error":{"code":"invalid_api_key","message":"Incorrect API key"}}', AccountError),
        ('{"error":{"code":401,"message":"who?"}}', AccountError),
        ('{"error":"broken"}', Unavailable),
        ('{"code":"Arrearage","message":"Access denied …","request_id":"r"}', AccountError),
    ],
)
def test_an_error_inside_the_stream_is_raised(payload: str, error: type[OmniBatchError]) -> None:
    with pytest.raises(error) as caught:
        read(ended("stop", '{"choices":[{"delta":{"content":"so far"}}]}', payload))
    assert type(caught.value) is error


def test_an_error_midway_beats_the_text_before_it() -> None:
    with pytest.raises(ContentRefused, match="Output data may contain"):
        read(Recorded("error_midway").data)


# --- Doubts and bounds ---


def test_a_reply_without_usage_succeeds_with_a_warning() -> None:
    response, _ = read(ended("stop", '{"choices":[{"delta":{"content":"x"}}],"usage":"?"}'))
    assert response.usage is None
    assert response.doubts == (
        Doubt("usage-missing", "the service sent no usage; tokens and cost are unknown"),
    )


@pytest.mark.parametrize(("seconds", "doubtful"), [(10, False), (12.9, False), (13.1, True)])
def test_speech_much_longer_or_shorter_than_billed_is_doubted(
    seconds: float, doubtful: bool
) -> None:
    assembler = Assembler(wants_audio=True, audio_tokens_per_s=12.5)
    samples = "AAAA" * int(seconds * 24_000 * 2 / 3)  # three bytes each
    usage = Usage(1, 125, 126, completion_audio_tokens=125)  # ten seconds
    assembler.feed(Chunk(audio_base64=samples, finish_reason="stop", usage=usage, done=True))
    assert bool(assembler.finish()[0].doubts) is doubtful


def test_speech_without_a_bill_is_not_doubted() -> None:
    assembler = Assembler(wants_audio=True, audio_tokens_per_s=12.5)
    assembler.feed(
        Chunk(audio_base64="AAAAAAAA", finish_reason="stop", usage=Usage(1, 1, 2), done=True)
    )
    assert assembler.finish()[0].doubts == ()


@pytest.mark.parametrize(
    ("bound", "endless"),
    [("MAX_TEXT_CHARS", Chunk(reasoning="x" * 20)), ("MAX_AUDIO_S", Chunk(audio_base64="A" * 800))],
)
def test_a_reply_without_end_is_cut_short(
    monkeypatch: pytest.MonkeyPatch, bound: str, endless: Chunk
) -> None:
    monkeypatch.setattr(assemble, bound, 0.1)
    feed = partial(map, Assembler(wants_audio=True).feed)
    with pytest.raises(StreamError, match="without an end"):
        list(feed([endless] * 20))
