"""From bytes to a Response: an answer is whole or it is an error.

The streams in tests/streams have invented values in the documented shapes.
"""

import math
import re
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
from omni_batch.stream.assemble import Assembler, Ending
from omni_batch.types import Chunk, Response, Speech, Usage
from tests.support.replies import chunks_of, events, read_reply

STREAMS = Path(__file__).parents[1] / "streams"
SOUND = b"".join(struct.pack("<h", int(9000 * math.sin(i / 5))) for i in range(240))


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


read = read_reply


def stream(*payloads: str) -> bytes:
    return events(*payloads)


def rules(response: Response) -> list[str]:
    return [doubt.rule for doubt in response.doubts]


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
@pytest.mark.parametrize("ending", ["orderly", "broken", "silent"])
def test_a_stream_that_breaks_off_before_its_reason_is_no_success(
    recorded: Recorded, ending: Ending
) -> None:
    stream, spoken = recorded.data, bool(recorded.sound)
    reason = re.search(rb'"finish_reason": ?"', stream)
    assert reason is not None
    for length in range(stream.index(b"}", reason.end())):
        with pytest.raises(StreamError):
            read(stream[:length], ending=ending, wants_audio=spoken)


# --- The end of an answer ---

TEXT = '{"choices":[{"delta":{"content":"Hello"}}]}'
SPEECH = '{"choices":[{"delta":{"audio":{"data":"AAAAAAAA"}}}]}'
STOP = '{"choices":[{"delta":{},"finish_reason":"stop"}]}'
BILL = '{"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":9}}'
STOP_WITH_BILL = (
    '{"choices":[{"delta":{},"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":11,"completion_tokens":9}}'
)


@pytest.mark.parametrize("ending", ["orderly", "torn", "silent", "broken"])
@pytest.mark.parametrize("end", [(STOP, BILL), (STOP_WITH_BILL,), (STOP, BILL, "[DONE]")])
@pytest.mark.parametrize("spoken", [False, True])
def test_a_reason_and_a_bill_make_an_answer_whole(
    spoken: bool, end: tuple[str, ...], ending: Ending
) -> None:
    before = (TEXT, SPEECH) if spoken else (TEXT,)
    response, _ = read(events(*before, *end), wants_audio=spoken, ending=ending)
    assert (response.text, response.usage) == ("Hello", Usage(11, 9, 20))
    assert response.doubts == ()


@pytest.mark.parametrize("ending", ["orderly", "torn", "silent", "broken"])
def test_a_text_that_says_why_it_ended_is_whole_without_a_bill(ending: Ending) -> None:
    response, _ = read(events(TEXT, STOP), ending=ending)
    assert response.text == "Hello"
    assert rules(response) == ["usage-missing"]


def test_speech_that_ends_in_order_behind_its_reason_is_whole_without_a_bill() -> None:
    response, sound = read(events(TEXT, SPEECH, STOP), wants_audio=True)
    assert (response.text, len(sound)) == ("Hello", 6)


@pytest.mark.parametrize("ending", ["torn", "silent", "broken"])
def test_speech_without_a_bill_that_breaks_off_behind_a_reason_may_be_cut(ending: Ending) -> None:
    """Servers that speak give the reason of the text before the last of the sound."""
    with pytest.raises(StreamError, match="may be cut"):
        read(events(TEXT, SPEECH, STOP), wants_audio=True, ending=ending)


def test_speech_behind_the_reason_of_the_text_needs_an_end_of_its_own() -> None:
    with pytest.raises(StreamError, match="may be cut"):
        read(events(TEXT, STOP, SPEECH), wants_audio=True)
    for end in (STOP, BILL, "[DONE]"):
        assert read(events(TEXT, STOP, SPEECH, end), wants_audio=True)[0].text == "Hello"


def test_a_last_event_without_its_line_end_counts() -> None:
    data = events(TEXT, STOP_WITH_BILL)
    assert read(data.rstrip()) == read(data)


@pytest.mark.parametrize(
    ("payloads", "spoken", "within_s"),
    [
        ((TEXT,), False, None),
        ((TEXT, BILL), False, None),
        ((TEXT, STOP), False, 10.0),
        ((TEXT, STOP, BILL), False, 1.0),
        ((TEXT, STOP_WITH_BILL), False, 1.0),
        ((TEXT, SPEECH, STOP), True, None),
        ((TEXT, SPEECH, STOP, BILL), True, 10.0),
        ((TEXT, STOP_WITH_BILL, SPEECH), True, None),
    ],
)
def test_the_end_mark_is_not_waited_for_longer_than_it_is_worth(
    payloads: tuple[str, ...], spoken: bool, within_s: float | None
) -> None:
    assembler = Assembler(wants_audio=spoken)
    for chunk in chunks_of(events(*payloads)):
        assembler.feed(chunk)
    assert assembler.ends_within_s == within_s


def test_behind_a_gateway_that_makes_up_ends_only_a_real_bill_is_one() -> None:
    vouched = BILL.replace("}}", ',"prompt_tokens_details":{"text_tokens":11}}}')
    assert read(events(TEXT, STOP, vouched, "[DONE]"), bill_proves_end=True)[0].text == "Hello"
    for made_up in ((STOP, BILL, "[DONE]"), (STOP, "[DONE]"), (STOP_WITH_BILL,)):
        with pytest.raises(StreamError, match="made up the end of a reply that was cut"):
            read(events(TEXT, *made_up), bill_proves_end=True)


# --- Ends that are none ---


@pytest.mark.parametrize("reason", ["error", "tool_calls", "timeout", "5"])
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


@pytest.mark.parametrize("payload", ["{", '{"choices":[{"delta":{"con', 'tent":"lo"}}]}', '"Hel'])
def test_an_event_that_may_be_a_part_of_the_answer_and_is_no_chunk_is_a_stream_error(
    payload: str,
) -> None:
    with pytest.raises(StreamError, match="not a chunk") as caught:
        read(ended("stop", payload))
    assert caught.value.retryable


@pytest.mark.parametrize("payload", ["hello", "17", '"text"', "2024-04-27 01:35:43", "OK 1/2"])
def test_an_event_that_is_no_part_of_an_answer_is_passed_over_and_said(payload: str) -> None:
    response, _ = read(ended("stop", TEXT, payload))
    assert response.text == "Hello"
    assert rules(response)[0] == "event-passed-over"
    assert payload.strip('"') in response.doubts[0].message


@pytest.mark.parametrize("payload", ["null", "[]", "{}", "{}{}", '{"choices":{}}', '{"choices":7}'])
def test_an_event_of_nothing_is_nothing(payload: str) -> None:
    response, _ = read(ended("stop", TEXT, payload))
    assert (response.text, rules(response)) == ("Hello", ["usage-missing"])


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
        Doubt("usage-missing", "the service sent no readable usage; tokens and cost are unknown"),
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
