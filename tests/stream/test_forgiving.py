"""Odd shapes of chunks: read where nothing can be mistaken, refused once where it can."""

import json
from typing import Any

import pytest

from omni_batch.errors import ContentRefused, OmniBatchError, StreamError, UnsupportedReply
from omni_batch.types import Chunk, Response, Usage
from tests.support.replies import chunk_of, chunks_of, events, read_reply

STOP = '{"choices":[{"delta":{},"finish_reason":"stop"}]}'
HELLO = '{"choices":[{"delta":{"content":"Hello"}}]}'


def delta(**members: Any) -> str:
    return json.dumps({"choices": [{"delta": members}]})


def said(*payloads: str) -> Response:
    return read_reply(events(*payloads, STOP))[0]


def rules(response: Response) -> list[str]:
    return [doubt.rule for doubt in response.doubts if doubt.rule != "usage-missing"]


TEXT_PART = {"type": "text", "text": "Hello"}


@pytest.mark.parametrize(
    ("content", "text", "reasoning"),
    [
        ([TEXT_PART], "Hello", ""),
        ([{"type": "output_text", "text": "Hel"}, {"type": "text", "text": "lo"}], "Hello", ""),
        (["Hel", "lo"], "Hello", ""),
        ([{"text": "Hello"}], "Hello", ""),
        (TEXT_PART, "Hello", ""),
        ([{"type": "text", "text": {"value": "Hello"}}], "Hello", ""),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}], "", "hm"),
        ([{"type": "thinking", "thinking": "hm"}, TEXT_PART], "Hello", "hm"),
        ([{"type": "reasoning", "summary": [{"text": "hm"}]}, TEXT_PART], "Hello", "hm"),
        (7, "7", ""),
        ([], "", ""),
        ({}, "", ""),
        (False, "", ""),
    ],
)
def test_content_may_come_in_parts(content: Any, text: str, reasoning: str) -> None:
    chunk = chunk_of(delta(content=content))
    assert (chunk.text, chunk.reasoning) == (text, reasoning)


@pytest.mark.parametrize(
    "members",
    [
        {"content": 0.5},
        {"content": True},
        {"content": {"a": 1}},
        {"content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"audio": 7},
        {"audio": {"data": 7}},
    ],
)
def test_a_part_that_is_not_understood_is_asked_for_once(members: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedReply, match="not asked for again") as caught:
        chunk_of(delta(**members))
    assert not caught.value.retryable


@pytest.mark.parametrize("audio", ["AAAA", {"data": "AAAA"}, [{"data": "AA"}, {"data": "AA"}]])
def test_sound_may_come_without_its_object(audio: Any) -> None:
    assert chunk_of(delta(audio=audio)).audio_base64 == "AAAA"


@pytest.mark.parametrize("nothing", [[], {}, "", None, False])
def test_an_empty_member_of_any_type_is_none(nothing: Any) -> None:
    members = dict.fromkeys(("content", "reasoning_content", "audio", "refusal"), nothing)
    assert chunk_of(delta(**members)) == Chunk()
    tree = {"choices": [{"delta": nothing, "message": nothing, "finish_reason": nothing}]}
    assert chunk_of(json.dumps(tree | {"error": nothing, "usage": nothing})) == Chunk()


def test_a_wrong_type_of_one_member_loses_none_of_the_others() -> None:
    tree = {
        "choices": [{"delta": {"content": "Hi", "reasoning": 7}, "index": "0", "logprobs": [1]}],
        "id": 5,
        "modality": ["text"],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
    assert chunk_of(json.dumps(tree)) == Chunk(text="Hi", usage=Usage(1, 2, 3))


def test_the_text_of_an_older_api_is_text() -> None:
    assert chunk_of('{"choices":[{"text":"Hi","index":0}]}').text == "Hi"


def test_numbers_that_json_does_not_know_do_no_harm() -> None:
    assert chunk_of('{"choices":[{"delta":{"content":"Hi"},"logprobs":-Infinity}],"x":NaN}').text


# --- joined and wrapped events ---


@pytest.mark.parametrize("joint", ["", " ", "\n", "data: ", "\x1e", ","])
def test_several_chunks_in_one_event_are_all_read(joint: str) -> None:
    assert said(joint.join([HELLO, delta(content="!")])).text == "Hello!"
    assert said(joint.join([HELLO, STOP, "[DONE]"])).text == "Hello"


def test_a_list_of_chunks_and_a_chunk_as_text_are_read() -> None:
    assert said(f"[{HELLO},{HELLO}]").text == "HelloHello"
    assert said(json.dumps(HELLO)).text == "Hello"
    assert said(f'{{"data":{HELLO}}}').text == "Hello"


WHOLE = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 9},
}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("blanks", ["", "\n", "\r\n \n", "\ufeff"])
def test_a_whole_reply_in_place_of_a_stream_is_taken(blanks: str, indent: int | None) -> None:
    body = (blanks + json.dumps(WHOLE, indent=indent)).encode()
    for size in (1, 7, len(body)):
        pieces = [body[i : i + size] for i in range(0, len(body), size)]
        response, _ = read_reply(*pieces)
        assert (response.text, response.usage) == ("Hello", Usage(11, 9, 20))


def test_a_whole_reply_that_breaks_off_is_none() -> None:
    body = json.dumps(WHOLE).encode()
    for end in range(len(body)):
        with pytest.raises(StreamError):
            read_reply(body[:end])


def test_lines_of_json_are_a_stream() -> None:
    for joint in ("\n", "\r\n", "\n\n", ""):
        body = joint.join([HELLO, delta(content="!"), STOP]).encode()
        assert read_reply(body)[0].text == "Hello!"


# --- names of events ---


@pytest.mark.parametrize("name", ["ping", "PING", "heartbeat", "keepalive"])
@pytest.mark.parametrize("data", ["2024-04-27 01:35:43", "{", '{"code":1,"message":"x"}', "[DONE]"])
def test_a_sign_of_life_is_passed_over_whatever_it_holds(name: str, data: str) -> None:
    stream = events(HELLO) + f"event: {name}\ndata: {data}\n\n".encode() + events(STOP)
    response, _ = read_reply(stream)
    assert (response.text, rules(response)) == ("Hello", [])


def test_an_event_of_any_other_name_is_read_and_passed_over_where_it_is_no_chunk() -> None:
    stream = f"event: chunk\ndata: {HELLO}\n\nevent: meta\ndata: took {{3}} s\n\n".encode()
    response, _ = read_reply(stream + events(STOP))
    assert (response.text, rules(response)) == ("Hello", [])


def test_a_damaged_chunk_is_no_less_damaged_for_the_name_of_its_event() -> None:
    with pytest.raises(StreamError, match="not a chunk"):
        read_reply(b'event: chunk\ndata: {"choices":[{"delta":{"con\n\n' + events(STOP))


# --- errors in all their forms ---


@pytest.mark.parametrize(
    "event",
    [
        'event: error\ndata: {"message":"it broke","type":"server_error"}',
        'event: error\ndata: {"detail":"it broke"}',
        "event: error\ndata: it broke",
        'event: error\ndata: {"error":"it broke"}',
        'data: {"error":{"message":"it broke"}}',
        'data: {"detail":"it broke"}',
        'data: {"object":"error","message":"it broke"}',
        'data: {"type":"server_error","message":"it broke"}',
        'data: {"choices":[{"delta":{"content":""},"error":{"message":"it broke"}}]}',
        '{"error":{"message":"it broke"}}',
        '{\n  "error": {\n    "message": "it broke"\n  }\n}',
    ],
)
def test_an_error_is_told_in_its_own_words(event: str) -> None:
    with pytest.raises(OmniBatchError, match="it broke") as caught:
        read_reply(events(HELLO) + event.encode() + b"\n\n")
    assert caught.value.retryable


@pytest.mark.parametrize(
    "blank",
    ['"error":{"message":"","type":"","code":null}', '"error":false', '"error":[]', '"error":""'],
)
def test_an_error_that_says_nothing_is_none(blank: str) -> None:
    assert said(f"{HELLO[:-1]},{blank}}}").text == "Hello"


def test_the_last_words_of_a_stream_that_was_cut_are_told() -> None:
    with pytest.raises(StreamError, match=r"without a finish_reason.*going down"):
        read_reply(events(HELLO, '{"message":"going down"}'))
    with pytest.raises(StreamError, match=r"no event of a stream.*Bad gateway"):
        read_reply(b"Bad gateway")


def test_a_page_is_no_stream() -> None:
    for start in (b"<!doctype html>", b"\n\n <html>", b"\xef\xbb\xbf<p>"):
        with pytest.raises(StreamError, match="a page, not with a stream"):
            chunks_of(start)


@pytest.mark.parametrize(
    "event",
    [
        '{"type":"response.output_text.delta","delta":"Hel"}',
        '{"type":"content_block_delta","delta":{"text":"Hel"}}',
        '{"output":{"text":"Hel"}}',
        '{"candidates":[{"content":{"parts":[{"text":"Hel"}]}}]}',
    ],
)
def test_another_protocol_is_named_and_not_asked_for_again(event: str) -> None:
    with pytest.raises(UnsupportedReply, match="another protocol"):
        read_reply(events(event, event))


# --- answers that come twice, or are none ---


def message(text: str, **members: Any) -> str:
    choice = {"message": {"content": text} | members, "finish_reason": "stop"}
    return json.dumps({"choices": [choice]})


def test_a_last_frame_that_repeats_the_whole_is_not_added() -> None:
    pieces = (delta(content="Hel"), delta(content="lo"))
    assert said(*pieces, message("Hello")).text == "Hello"
    assert said(*pieces, message("Hello, world")).text == "Hello, world"
    response = said(*pieces, message("Bonjour"))
    assert (response.text, rules(response)) == ("Hello", ["answer-repeated"])
    last = json.dumps({"choices": [{"delta": {"content": "Hello"}, "finish_reason": "stop"}]})
    response = said(*pieces, last)
    assert (response.text, rules(response)) == ("Hello", ["answer-repeated"])


def test_speech_that_a_last_frame_repeats_is_not_added() -> None:
    stream = events(delta(content="Hi", audio={"data": "AAAAAAAA"}))
    stream += events(message("Hi", audio={"data": "AAAAAAAA"}))
    assert len(read_reply(stream, wants_audio=True)[1]) == 6


def test_pieces_that_are_called_messages_are_joined() -> None:
    pieces = [json.dumps({"choices": [{"message": {"content": word}}]}) for word in ("Hel", "lo")]
    assert said(*pieces).text == "Hello"


def test_of_several_answers_the_first_is_kept() -> None:
    other = '{"choices":[{"index":1,"delta":{"content":"Bonjour"},"finish_reason":"length"}]}'
    both = '{"choices":[{"index":1,"delta":{"content":"x"}},{"index":0,"delta":{"content":"!"}}]}'
    response = said(other, HELLO, other, both)
    assert (response.text, response.finish_reason) == ("Hello!", "stop")
    assert rules(response) == ["several-answers"]


@pytest.mark.parametrize("words", ["I can't.", [{"type": "text", "text": "I can't."}]])
def test_a_refusal_is_told_in_the_models_words(words: Any) -> None:
    with pytest.raises(ContentRefused, match="refused: I can't"):
        said(delta(content=None, refusal=words))
    with pytest.raises(ContentRefused, match="refused: I can't"):
        said(message("", refusal=words))


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b\ufeff", "\u00a0" * 2000])
def test_an_empty_answer_is_said(text: str) -> None:
    response = said(delta(content=text))
    assert rules(response) == ["answer-empty"]


def test_thinking_that_took_the_whole_limit_is_said() -> None:
    length = STOP.replace("stop", "length")
    response, _ = read_reply(events(delta(reasoning_content="hm"), length))
    assert "thinking took the whole output limit" in response.doubts[0].message


# --- halves of characters ---


@pytest.mark.parametrize(
    ("pieces", "text", "found"),
    [
        ((r"Hi \ud83d", r"\ude00!"), "Hi 😀!", []),
        ((r"\ud83d", "", r"\ude00"), "😀", []),
        ((r"Hi \ud83d",), "Hi �", ["half-character"]),
        ((r"\ude00 Hi",), "� Hi", ["half-character"]),
        ((r"\ud83d", "x", r"\ude00"), "�x�", ["half-character"]),
        ((r"é\ud83d", r"\ude00", "世"), "é😀世", []),
    ],
)
def test_halves_of_a_character_are_joined(
    pieces: tuple[str, ...], text: str, found: list[str]
) -> None:
    response = said(*(HELLO.replace("Hello", piece) for piece in pieces))
    assert (response.text, rules(response)) == (text, found)
