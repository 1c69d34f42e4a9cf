"""The order of frames, their headers, and the ways they are put on the wire."""

import json
import random

import httpx
import pytest

from omni_batch.simulator import FRAMINGS, Simulator, SimulatorOptions
from omni_batch.simulator.replies.frames import Frame
from omni_batch.simulator.replies.writes import to_writes
from tests.simulator.sim_client import (
    HEADERS,
    SPEECH,
    ask,
    body,
    deltas,
    events,
    finish_reason,
    pcm,
    post,
    text,
    usage,
)

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen"


def test_a_text_reply_opens_with_the_role_and_ends_with_finish_usage_done(sim: Simulator) -> None:
    chunks = ask(sim)
    first, *middle, last = deltas(chunks)
    assert first == {"content": "", "role": "assistant"}
    assert all(list(delta) == ["content"] and delta["content"] for delta in middle)
    assert (last, finish_reason(chunks)) == ({"content": ""}, "stop")
    assert text(chunks) == 'You wrote: "hello there"'
    assert usage(chunks)["completion_tokens_details"] == {"text_tokens": 6}


def test_text_arrives_in_pieces_of_one_to_three_words(sim: Simulator) -> None:
    pieces = [delta["content"] for delta in deltas(ask(sim, LONG)) if delta["content"]]
    assert max(len(piece.split()) for piece in pieces) == 3
    assert len(pieces) > 5


def test_without_include_usage_there_is_no_usage_anywhere(sim: Simulator) -> None:
    for options in (None, {"include_usage": False}):
        chunks = ask(sim, stream_options=options)
        assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
        assert chunks[-1]["choices"]


def test_speech_follows_text_and_precedes_the_finish(sim: Simulator) -> None:
    kinds = ["audio" if "audio" in delta else "text" for delta in deltas(ask(sim, LONG, **SPEECH))]
    first, last = kinds.index("audio"), len(kinds) - 1 - kinds[::-1].index("audio")
    assert kinds[: first + 1].count("text") > 3
    assert "text" in kinds[first:last]
    assert last == len(kinds) - 2


def test_speech_changes_no_word(sim: Simulator) -> None:
    assert text(ask(sim, LONG, **SPEECH)) == text(ask(sim, LONG))


def test_an_audio_frame_carries_nothing_but_audio(sim: Simulator) -> None:
    chunks = ask(sim, **SPEECH)
    chunk = next(chunk for chunk in chunks if "audio" in json.dumps(chunk))
    assert list(chunk["choices"][0]["delta"]) == ["audio"]
    audio = chunk["choices"][0]["delta"]["audio"]
    assert audio["id"].removeprefix("audio_") == chunk["id"].removeprefix("chatcmpl-")
    assert audio["expires_at"] == chunk["created"]


def test_older_models_put_spoken_words_into_the_transcript(sim: Simulator) -> None:
    chunks = ask(sim, model="qwen-omni-turbo", **SPEECH)
    words = [delta["audio"].get("transcript", "") for delta in deltas(chunks) if "audio" in delta]
    assert ("".join(words), text(chunks)) == ('You wrote: "hello there"', "")
    assert text(ask(sim, model="qwen-omni-turbo")) == 'You wrote: "hello there"'


def test_thinking_comes_first_and_content_is_null_meanwhile(sim: Simulator) -> None:
    chunks = ask(sim, enable_thinking=True)
    first, *middle, last = deltas(chunks)
    assert first == {"content": None, "role": "assistant", "reasoning_content": ""}
    thoughts = [delta for delta in middle if "reasoning_content" in delta]
    assert middle[: len(thoughts)] == thoughts
    assert all(delta["content"] is None and delta["reasoning_content"] for delta in thoughts)
    assert last == {"content": "", "reasoning_content": None}
    assert text(chunks) == 'You wrote: "hello there"'


@pytest.mark.parametrize(
    ("model", "inclusive"), [("qwen3-omni-flash", 0), ("qwen3.8-omni-flash", 1)]
)
def test_text_tokens_include_reasoning_on_newer_models(
    sim: Simulator, model: str, inclusive: int
) -> None:
    used = usage(ask(sim, model=model, enable_thinking=True))
    details = used["completion_tokens_details"]
    extra = 0 if inclusive else details["reasoning_tokens"]
    assert details["reasoning_tokens"] > 0
    assert details["text_tokens"] + extra == used["completion_tokens"]


def test_the_newest_model_thinks_unless_told_otherwise(sim: Simulator) -> None:
    def thinks(**changes: object) -> bool:
        chunks = ask(sim, model="qwen3.8-omni-flash", **changes)
        return any("reasoning_content" in delta for delta in deltas(chunks))

    assert (thinks(), thinks(enable_thinking=False)) == (True, False)


def test_plain_models_answer_without_a_stream(sim: Simulator) -> None:
    reply = post(sim, body(model="qwen-plus", stream=None, stream_options=None)).json()
    assert reply["object"] == "chat.completion"
    message = {"role": "assistant", "content": 'You wrote: "hello there"'}
    assert reply["choices"][0]["message"] == message
    assert reply["usage"]["total_tokens"] == 15 + 6


def test_headers_are_those_of_recorded_traffic(sim: Simulator) -> None:
    response = post(sim, body())
    assert response.headers["content-type"] == "text/event-stream;charset=UTF-8"
    assert response.headers["x-dashscope-call-gateway"] == "true"
    assert "content-length" not in response.headers
    chunk = events(response.text)[0]
    assert chunk["id"] == f"chatcmpl-{response.headers['x-request-id']}"


def test_models_are_listed_and_the_root_tells_health(sim: Simulator) -> None:
    models = httpx.get(f"{sim.base_url}/models", headers=HEADERS).json()["data"]
    assert {"id": "qwen3-omni-flash", "object": "model", "created": 0, "owned_by": "qwen"} in models
    assert httpx.get(sim.base_url.split("/compatible")[0]).json()["status"] == "ok"
    assert httpx.get(f"{sim.base_url}/nothing").status_code == 404


@pytest.mark.parametrize("framing", FRAMINGS)
def test_framing_changes_bytes_but_not_events(sim: Simulator, framing: str) -> None:
    with Simulator(SimulatorOptions(framing=framing)) as framed:
        response = post(framed, body(LONG + " \u4f60\u597d", **SPEECH))
    expected = ask(sim, LONG + " \u4f60\u597d", **SPEECH)
    chunks = events(response.text)
    assert (text(chunks), pcm(chunks)) == (text(expected), pcm(expected))
    assert usage(chunks) == usage(expected)
    assert (b"\r\n\r\n" in response.content) == (framing == "crlf")
    assert (b"\n: " in response.content) == (framing == "comments")


def test_tiny_writes_arrive_in_tiny_pieces() -> None:
    with (
        Simulator(SimulatorOptions(framing="tiny")) as sim,
        httpx.stream("POST", f"{sim.base_url}/chat/completions", json=body(), headers=HEADERS) as r,
    ):
        sizes = [len(piece) for piece in r.iter_raw()]
    assert max(sizes) <= 7


def test_the_first_frame_goes_out_on_its_own() -> None:
    frames = [Frame(b"data: %d\n\n" % number) for number in range(9)]
    writes = to_writes(frames, SimulatorOptions(), random.Random(0))
    assert [write.data for write in writes] == [
        frames[0].data,
        b"".join(frame.data for frame in frames[1:]),
    ]


def test_shuffled_keys_differ_between_frames_and_mean_the_same(sim: Simulator) -> None:
    with Simulator(SimulatorOptions(shuffle_keys=True)) as shuffling:
        chunks = ask(shuffling, LONG, **SPEECH)
    assert len({tuple(chunk) for chunk in chunks}) > 3
    expected = ask(sim, LONG, **SPEECH)
    assert (text(chunks), pcm(chunks)) == (text(expected), pcm(expected))


def test_pace_is_kept() -> None:
    options = SimulatorOptions(first_chunk_s=0.05, chunk_interval_s=0.01)
    with Simulator(options) as sim:
        response = post(sim, body())
    frames = response.text.count("data: ")
    assert response.elapsed.total_seconds() >= 0.05 + 0.01 * (frames - 1)


def test_in_real_time_sound_takes_as_long_as_it_plays() -> None:
    with Simulator(SimulatorOptions(realtime=True, audio_chunk_bytes=960)) as sim:
        response = post(sim, body("a", max_tokens=1, **SPEECH))
    seconds = len(pcm(events(response.text))) / 48_000
    assert 0.2 < seconds - 0.02 <= response.elapsed.total_seconds()
