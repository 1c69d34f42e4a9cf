"""Replies that are whole or paid for, in the forms that servers and gateways give them."""

import base64
import io
import json
import socket
from typing import Any

import av
import httpx
import pytest

from omni_batch.simulator import Simulator, reply
from tests.simulator import sim_media as media
from tests.simulator.sim_client import (
    CLIENT,
    HEADERS,
    PATIENCE_S,
    SPEECH,
    body,
    deltas,
    events,
    finish_reason,
    pcm,
    post,
    refusal,
    text,
)
from tests.simulator.sim_dialects import Start

PROMPT = "one two three four five six seven eight nine ten"
SAID = f'You wrote: "{PROMPT}"'
BASE64_OF_RIFF = "UklGR"


def struck(sim: Simulator, kind: str, content: Any = PROMPT, **changes: Any) -> httpx.Response:
    sim.script(reply.fault(kind))
    return post(sim, body(content, **changes))


def chunks(
    sim: Simulator, kind: str, content: Any = PROMPT, **changes: Any
) -> list[dict[str, Any]]:
    response = struck(sim, kind, content, **changes)
    assert response.status_code == 200, response.text
    return events(response.text)


def contents(stream: list[dict[str, Any]]) -> list[Any]:
    return [delta["content"] for delta in deltas(stream) if delta.get("content")]


# --- the end ---


def test_the_end_mark_may_be_missing(sim: Simulator) -> None:
    *_, last, end = struck(sim, "no_done").text.split("\n\n")
    assert end == ""
    assert json.loads(last.removeprefix("data: "))["usage"]["total_tokens"] > 0


def test_silence_may_come_for_the_end_mark(sim: Simulator) -> None:
    sim.script(reply.fault("no_done_stall"))
    url, received = f"{sim.base_url}/chat/completions", b""
    with CLIENT.stream("POST", url, json=body(PROMPT), headers=HEADERS, timeout=0.3) as response:
        pieces = response.iter_raw()
        while b'"total_tokens":' not in received:
            received += next(pieces)
        with pytest.raises(httpx.ReadTimeout):
            next(pieces)
    assert b'"finish_reason":"stop"' in received
    assert b"[DONE]" not in received


def test_a_proxy_makes_up_an_end_for_what_was_cut(sim: Simulator) -> None:
    stream = chunks(sim, "made_up_end")
    assert finish_reason(stream) == "stop"
    assert SAID.startswith(text(stream))
    assert text(stream) != SAID
    usage = stream[-1]["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert set(usage) == {"prompt_tokens", "completion_tokens", "total_tokens"}


def test_a_proxy_renames_the_mark_of_a_partial_reply(sim: Simulator) -> None:
    response = struck(sim, "partial_proxied")
    assert response.headers["llm_provider-x-dashscope-partialresponse"] == "true"
    assert "x-dashscope-partialresponse" not in response.headers
    assert text(events(response.text)) == SAID[: len(SAID) // 2]


def test_an_error_event_may_hold_a_message_alone(sim: Simulator) -> None:
    response = struck(sim, "bare_error")
    event, data, *rest = response.text.split("\n\n")[-2].split("\n")
    assert (event, rest) == ("event: error", [])
    assert json.loads(data.removeprefix("data: "))["message"] == "upstream timed out"
    assert "[DONE]" not in response.text
    assert 'finish_reason":"' not in response.text


# --- the head ---


@pytest.mark.parametrize(
    ("kind", "status", "header", "value"),
    [
        ("sse_as_json", 200, "content-type", "application/json"),
        ("status_201", 201, "content-type", "text/event-stream;charset=UTF-8"),
        ("encoding_none", 200, "content-encoding", "none"),
        ("past_reset", 200, "x-ratelimit-remaining-requests", "0"),
        ("past_reset", 200, "x-ratelimit-reset-requests", "1741305600"),
        ("gzip", 200, "content-encoding", "gzip"),
    ],
)
def test_the_head_may_be_odd_above_a_good_stream(
    sim: Simulator, kind: str, status: int, header: str, value: str
) -> None:
    response = struck(sim, kind)
    assert (response.status_code, response.headers[header]) == (status, value)
    assert text(events(response.text)) == SAID


@pytest.mark.parametrize(("kind", "start"), [("gzip", b"\x1f\x8b"), ("stale_gzip", b"data: {")])
def test_a_body_is_packed_or_only_said_to_be(sim: Simulator, kind: str, start: bytes) -> None:
    sim.script(reply.fault(kind))
    url = f"{sim.base_url}/chat/completions"
    with CLIENT.stream("POST", url, json=body(PROMPT), headers=HEADERS) as response:
        assert response.headers["content-encoding"] == "gzip"
        assert b"".join(response.iter_raw()).startswith(start)


def by_socket(sim: Simulator, kind: str) -> bytes:
    """All bytes of the answer up to the end of the connection, which the client keeps open."""
    sim.script(reply.fault(kind))
    content = json.dumps(body(PROMPT)).encode()
    url = httpx.URL(f"{sim.base_url}/chat/completions")
    head = f"POST {url.path} HTTP/1.1\r\nhost: {url.host}\r\nauthorization: Bearer sk-x\r\n"
    with socket.create_connection((url.host, url.port or 80), timeout=PATIENCE_S) as connection:
        connection.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
        return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_a_length_may_be_stated_beside_chunks(sim: Simulator) -> None:
    head, _, chunked = by_socket(sim, "length_and_chunks").partition(b"\r\n\r\n")
    assert b"content-length: 5000" in head
    assert b"transfer-encoding: chunked" in head
    assert chunked.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert text(events(struck(sim, "length_and_chunks").text)) == SAID


def test_a_connection_may_be_closed_behind_an_error(sim: Simulator) -> None:
    head, _, content = by_socket(sim, "error_500_closed").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 500")
    assert b"connection: close" not in head.lower()
    assert json.loads(content)["error"]["code"] == "internal_error"


def test_one_json_may_come_for_a_stream(sim: Simulator) -> None:
    response = struck(sim, "whole_json")
    whole = response.json()
    assert response.headers["content-type"] == "application/json"
    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["message"]["content"] == SAID
    assert whole["usage"]["total_tokens"] > 0


def test_a_whole_answer_may_have_an_odd_head_too(sim: Simulator) -> None:
    response = struck(sim, "status_201", model="qwen-plus", stream=None, stream_options=None)
    assert (response.status_code, response.json()["object"]) == (201, "chat.completion")


# --- framing ---


def test_two_objects_may_share_an_event(sim: Simulator) -> None:
    *lines, done, end = struck(sim, "two_in_one").text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    found: list[Any] = []
    for line in lines:
        rest = line.removeprefix("data: ")
        while rest:
            chunk, used = json.JSONDecoder().raw_decode(rest)
            found, rest = [*found, chunk], rest[used:]
    assert len(found) in (2 * len(lines), 2 * len(lines) - 1)
    assert text(found) == SAID


def test_events_may_be_a_line_apart(sim: Simulator) -> None:
    response = struck(sim, "one_newline")
    assert "\n\n" not in response.text
    assert text(events(response.text)) == SAID


def test_pings_may_hold_what_is_no_json(sim: Simulator) -> None:
    blocks = struck(sim, "pings").text.split("\n\n")
    assert blocks[0::2][0].startswith("event: ping\ndata: 2026-")
    assert text(events("\n".join(blocks[1::2]))) == SAID


def test_an_emoji_may_be_cut_in_two(sim: Simulator) -> None:
    response = struck(sim, "split_emoji")
    assert "\\ud83d" in response.text
    stream = events(response.text)
    said = text(stream).encode("utf-16", "surrogatepass").decode("utf-16")
    assert said == f"\N{GRINNING FACE}{SAID}"
    assert contents(stream)[:2] == ["\ud83d", "\ude00"]


# --- shape ---


def test_content_may_come_in_parts(sim: Simulator) -> None:
    parts = [part for content in contents(chunks(sim, "content_parts")) for part in content]
    assert {part["type"] for part in parts} == {"text"}
    assert "".join(part["text"] for part in parts) == SAID


@pytest.mark.parametrize("changes", [{}, {"enable_thinking": True}])
def test_thoughts_may_be_parts_of_the_content(sim: Simulator, changes: Any) -> None:
    stream = chunks(sim, "thinking_parts", **changes)
    parts = [part for content in contents(stream) for part in content]
    assert parts[0]["type"] == "thinking"
    thought = "".join(part["thinking"][0]["text"] for part in parts if part["type"] == "thinking")
    assert thought.startswith("The user")
    assert "".join(part["text"] for part in parts if part["type"] == "text") == SAID
    assert not any("reasoning_content" in delta for delta in deltas(stream))


@pytest.mark.parametrize(("kind", "opening"), [("think_tags", "<think>\n"), ("think_end", "")])
@pytest.mark.parametrize("dialect", ["dashscope", "vllm"])
def test_thoughts_may_stand_in_the_text(
    start: Start, dialect: str, kind: str, opening: str
) -> None:
    said = text(chunks(start(dialect), kind))
    thought, answer = said.split("\n</think>\n\n")
    assert answer == SAID
    assert thought.startswith(f"{opening}The user")
    assert said.count("<think>") == (1 if opening else 0)


@pytest.mark.parametrize(
    ("kind", "changes", "running", "ended"),
    [
        ("finish_null", {}, "null", "stop"),
        ("finish_upper", {}, None, "STOP"),
        ("finish_upper", {"max_tokens": 2}, None, "LENGTH"),
        ("finish_max_tokens", {}, None, "MAX_TOKENS"),
    ],
)
def test_finish_reasons_have_other_spellings(
    sim: Simulator, kind: str, changes: Any, running: str | None, ended: str
) -> None:
    stream = chunks(sim, kind, **changes)
    reasons = [choice["finish_reason"] for chunk in stream for choice in chunk["choices"]]
    assert (set(reasons[:-1]), reasons[-1]) == ({running}, ended)


def test_the_last_frame_may_repeat_the_whole(sim: Simulator) -> None:
    stream = chunks(sim, "repeated_whole", **SPEECH)
    choice = stream[-2]["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["content"] == text(stream) == SAID
    assert base64.b64decode(choice["message"]["audio"]["data"]) == pcm(stream)


@pytest.mark.parametrize("kind", ["usage_zero", "usage_zero_last"])
def test_a_usage_may_be_all_zero(sim: Simulator, kind: str) -> None:
    totals = [c["usage"]["total_tokens"] for c in chunks(sim, kind) if c["usage"]]
    assert totals[-1] == 0
    assert len(totals) == (2 if kind == "usage_zero_last" else 1)
    assert all(totals[:-1])


# --- answers that are none ---


def test_an_answer_may_be_empty(sim: Simulator) -> None:
    stream = chunks(sim, "empty_answer", **SPEECH)
    assert (text(stream), pcm(stream), finish_reason(stream)) == ("", b"", "stop")
    assert stream[-1]["usage"]["completion_tokens"] == 0
    assert stream[-1]["usage"]["prompt_tokens"] > 0


def test_a_model_may_refuse(sim: Simulator) -> None:
    stream = chunks(sim, "refusal", **SPEECH)
    assert (text(stream), pcm(stream), finish_reason(stream)) == ("", b"", "stop")
    assert "".join(delta.get("refusal") or "" for delta in deltas(stream)) == SAID


@pytest.mark.parametrize("dialect", ["dashscope", "vllm", "openai"])
def test_media_may_be_ignored(start: Start, dialect: str) -> None:
    sim, content = start(dialect), [media.image(media.uri(media.jpeg(640, 480)))]
    blind, seen = chunks(sim, "media_ignored", content), events(post(sim, body(content)).text)
    assert text(seen).startswith("An image of 640 x 480")
    assert "image" not in text(blind)
    before, after = (stream[-1]["usage"]["prompt_tokens"] for stream in (seen, blind))
    assert before - after == 302


# --- speech ---


def spoken(stream: list[dict[str, Any]]) -> list[str]:
    return [delta["audio"]["data"] for delta in deltas(stream) if delta.get("audio")]


def test_speech_may_be_an_mp3(sim: Simulator) -> None:
    usual = pcm(events(post(sim, body(PROMPT, **SPEECH)).text))
    stream = chunks(sim, "speech_mp3", **SPEECH)
    mp3 = b"".join(map(base64.b64decode, spoken(stream)))
    assert mp3[:3] == b"ID3"
    with av.open(io.BytesIO(mp3), "r") as container:
        seconds = sum(float(frame.samples) for frame in container.decode(audio=0)) / 24_000
    assert abs(seconds - len(usual) / 48_000) < 0.1


@pytest.mark.parametrize("options", [{}, {"wav_headers": "every"}, {"base64_cut": "torn"}])
def test_speech_may_be_in_stereo(start: Start, options: Any) -> None:
    sim = start("dashscope", **options)
    usual = spoken(events(post(sim, body(PROMPT, **SPEECH)).text))
    first, *rest = spoken(chunks(sim, "speech_stereo", **SPEECH))
    wav = base64.b64decode(first[:72])
    assert wav[:4] == b"RIFF"
    channels, rate_hz = int.from_bytes(wav[22:24], "little"), int.from_bytes(wav[24:28], "little")
    assert (channels, rate_hz) == (2, 24_000)
    assert len(rest) == len(usual) - 1
    assert rest == usual[1:] or options == {"wav_headers": "every"}
    assert all(piece.startswith(BASE64_OF_RIFF) for piece in rest) == ("wav_headers" in options)


def test_speech_may_be_a_bare_string(sim: Simulator) -> None:
    usual = spoken(events(post(sim, body(PROMPT, **SPEECH)).text))
    stream = chunks(sim, "speech_bare", **SPEECH)
    assert [delta["audio"] for delta in deltas(stream) if "audio" in delta] == usual


# --- refusals ---


@pytest.mark.parametrize(
    ("kind", "status", "code", "said"),
    [
        ("error_409", 409, "conflict", "overloaded"),
        ("no_money", 402, "invalid_request_error", "Insufficient Balance"),
        ("no_user_quota", 403, "insufficient_user_quota", "quota is not enough"),
        ("no_budget", 429, "budget_exceeded", "Budget has been exceeded!"),
        ("no_budget_400", 400, "budget_exceeded", "Budget has been exceeded!"),
    ],
)
def test_gateways_refuse_in_words_of_their_own(
    sim: Simulator, kind: str, status: int, code: str, said: str
) -> None:
    refused = refusal(struck(sim, kind))
    assert refused[:2] == (status, code)
    assert said in refused[2]


@pytest.mark.parametrize("kind", ["content_parts", "repeated_whole", "usage_zero", "two_in_one"])
@pytest.mark.parametrize("dialect", ["vllm", "vllm-omni", "sglang-omni", "openai"])
def test_every_dialect_has_odd_replies(start: Start, dialect: str, kind: str) -> None:
    audio = {"audio": {"voice": "Ethan", "format": "pcm16"}}
    response = struck(start(dialect), kind, modalities=["text", "audio"], **audio)
    assert response.status_code == 200
    assert response.text.endswith("data: [DONE]\n\n")
