"""Each mistake gets the status, the code and the words that the service has for it."""

import base64
import json
from typing import Any

import pytest

from omni_batch.simulator import Simulator, SimulatorOptions
from tests.simulator import sim_media as media
from tests.simulator.sim_client import HEADERS, SPEECH, ask, body, post, refusal, text

URL = "https://example.com/a"
THINK = {"enable_thinking": True}


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "You didn't provide an API key"),
        ({"authorization": "Basic sk-test"}, "You didn't provide an API key"),
        ({"authorization": "Bearer nonsense"}, "Incorrect API key provided"),
    ],
)
def test_a_bad_key_is_401(sim: Simulator, headers: dict[str, str], said: str) -> None:
    status, code, message = refusal(post(sim, body(), headers=headers))
    assert (status, code) == (401, "invalid_api_key")
    assert said in message


def test_only_the_one_key_is_good_when_it_is_named() -> None:
    with Simulator(SimulatorOptions(api_key="sk-mine")) as sim:
        assert post(sim, body()).status_code == 401
        assert post(sim, body(), headers={"authorization": "Bearer sk-mine"}).status_code == 200


def test_an_unknown_model_is_404(sim: Simulator) -> None:
    status, code, message = refusal(post(sim, body(model="qwen-omni-max")))
    assert (status, code) == (404, "model_not_found")
    assert "`qwen-omni-max` does not exist" in message


def test_the_body_of_an_error_names_its_request(sim: Simulator) -> None:
    response = post(sim, body(temperature=2))
    whole = response.json()
    assert whole["request_id"] == response.headers["x-request-id"]
    assert whole["error"] == {
        "code": "invalid_parameter_error",
        "param": None,
        "message": "<400> InternalError.Algo.InvalidParameter: Temperature should be in [0.0, 2.0)",
        "type": "invalid_request_error",
    }


PARAMETERS: list[tuple[dict[str, Any], str]] = [
    ({"stream": False, "stream_options": None}, "only support stream mode"),
    ({"stream": None, "stream_options": None}, "only support stream mode"),
    ({"model": None}, "you must provide a model"),
    ({"model": "qwen3-omni-flash-realtime"}, "current user api does not support http call."),
    ({"temperature": 2}, "Temperature should be in [0.0, 2.0)"),
    ({"temperature": -0.1}, "Temperature should be in [0.0, 2.0)"),
    ({"temperature": "hot"}, "'temperature' must be Float"),
    ({"temperature": True}, "'temperature' must be Float"),
    ({"top_p": 0}, "Range of top_p should be (0.0, 1.0]"),
    ({"top_p": 1.1}, "Range of top_p should be (0.0, 1.0]"),
    ({"top_k": -1}, "Parameter top_k be greater than or equal to 0"),
    ({"top_k": 1.5}, "'top_k' must be Integer"),
    ({"presence_penalty": 2.1}, "Presence_penalty should be in [-2.0, 2.0]"),
    ({"repetition_penalty": 0}, "Repetition_penalty should be greater than 0.0"),
    ({"n": 5}, "Range of n should be [1, 4]"),
    ({"seed": -1}, "-1 is lesser than the minimum of 0 - 'seed'"),
    ({"seed": 2**31}, "2147483648 is greater than the maximum of 2147483647 - 'seed'"),
    ({"max_tokens": 0}, "Range of max_tokens should be [1, 16384]"),
    ({"max_tokens": 16385}, "Range of max_tokens should be [1, 16384]"),
    ({"model": "qwen-omni-turbo", "max_tokens": 2049}, "max_tokens should be [1, 2048]"),
    ({"stop": {"a": 1}}, "'stop' must be String or List"),
    ({"enable_thinking": "yes"}, "'enable_thinking' must be Boolean"),
    ({"stream_options": [1]}, "'stream_options' must be Object"),
    ({"enable_search": True}, "This model does not support enable_search."),
    ({"model": "qwen-omni-turbo", **THINK}, "does not support enable_thinking"),
    ({**THINK, "thinking_budget": 0}, "thinking_budget parameter must be a positive integer"),
    ({**THINK, "thinking_budget": 32769}, "and not greater than 32768"),
    ({**THINK, "thinking_budget": 1, "reasoning_effort": "low"}, "cannot be used together"),
    ({**THINK, **SPEECH}, "'audio' output is not supported when enable_thinking is true"),
    (
        {"model": "qwen-plus", **THINK, "stream": None, "stream_options": None},
        "parameter.enable_thinking only support stream call",
    ),
    ({"model": "qwen-plus", "stream": None}, "only allowed when 'stream' is enabled"),
    ({"model": "qwen3.8-omni-flash", **SPEECH}, "does not support the modalities"),
    ({"modalities": "audio"}, "Input should be a valid list: parameters.modalities"),
    ({"modalities": ["smell"]}, "Input should be 'text' or 'audio': parameters.modalities"),
    ({"modalities": ["text", "audio"]}, "Field required: parameters.audio"),
    ({**SPEECH, "audio": {"voice": "Cherry", "format": "pcm16"}}, "Input should be 'wav'"),
    ({**SPEECH, "audio": {"voice": "cherry"}}, "The requested voice 'cherry' is not supported."),
    (
        {**SPEECH, "model": "qwen-omni-turbo", "audio": {"voice": "Kiki"}},
        "Input should be 'Cherry', 'Serena', 'Ethan' or 'Chelsie': parameters.audio.voice",
    ),
    (
        {**SPEECH, "model": "qwen3.5-omni-plus", "audio": {"voice": "Cherry"}},
        "The requested voice 'Cherry' is not supported.",
    ),
    ({"response_format": {"type": "json_object"}}, "must contain the word 'json'"),
    (
        {"response_format": {"type": "json_object"}, **THINK},
        "Json mode response is not supported when enable_thinking is true",
    ),
]


@pytest.mark.parametrize(("changes", "said"), PARAMETERS)
def test_a_bad_parameter_is_400(sim: Simulator, changes: dict[str, Any], said: str) -> None:
    status, _, message = refusal(post(sim, body(**changes)))
    assert (status, said in message) == (400, True), message


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0, "top_p": 1, "top_k": 0, "presence_penalty": -2, "seed": 0, "n": 1},
        {"temperature": 1.99, "repetition_penalty": 0.1, "max_tokens": 16384, "seed": 2**31 - 1},
        {"temperature": None, "top_k": None, "unknown": 1, "enable_thinking": False},
        {**THINK, "thinking_budget": 32768},
        {**SPEECH, "model": "qwen3.5-omni-plus", "audio": {"voice": "Li Cassian"}},
        {"audio": {"voice": "Nobody"}},
    ],
)
def test_the_edges_of_each_range_are_good(sim: Simulator, changes: dict[str, Any]) -> None:
    assert text(ask(sim, **changes)) == 'You wrote: "hello there"'


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"model": "qwen-omni-turbo", **THINK}, "InvalidParameter.NotSupportEnableThinking"),
        ({**SPEECH, "audio": {"voice": "x"}}, "invalid_value"),
        ({"top_p": 7}, "invalid_parameter_error"),
    ],
)
def test_codes(sim: Simulator, changes: dict[str, Any], code: str) -> None:
    assert refusal(post(sim, body(**changes)))[1] == code


def _user(*parts: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


MESSAGES: list[tuple[Any, int, str]] = [
    ([], 400, "[] is too short"),
    ("hello", 400, "Required body invalid"),
    (["hello"], 400, "Required body invalid"),
    ([{"role": "user"}], 400, "The content field is a required field."),
    ([{"role": "robot", "content": "x"}], 400, "'robot' is not one of"),
    ([{"role": "system", "content": "x"}], 400, "do not contain elements with the role of user"),
    (
        [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}],
        500,
        "list index out of range",
    ),
    (_user(), 400, "[Unexpected item type in content]"),
    (_user("x"), 400, "[Unexpected item type in content]"),
    (_user({"type": "smell"}), 400, "[Unexpected item type in content]"),
    (_user({"type": "text"}), 400, "[Unexpected item type in content]"),
    (_user({"type": "image_url", "image_url": URL}), 400, "[Unexpected item type in content]"),
    (_user({"type": "video", "video": URL}), 400, "[Unexpected item type in content]"),
    (
        [{"role": "system", "content": [media.image(URL)]}, *_user({"type": "text", "text": "x"})],
        400,
        "[Unexpected item type in content]",
    ),
    (_user(media.audio(base64.b64encode(b"RIFF").decode())), 400, "does not appear to be valid"),
    (_user(media.image("file:///a.png")), 400, "The provided URL does not appear to be valid."),
    (_user(media.image("oss://bucket/a.png")), 400, "does not appear to be valid"),
    (_user(media.image("data:image/png,xx")), 400, "does not appear to be valid"),
    (_user(media.image(URL), media.audio(URL)), 400, "only one modality"),
    (_user(media.audio(URL), media.audio(URL)), 400, "audio inputs should not be greater than 1"),
    (_user(media.video(URL), media.video(URL)), 400, "video inputs should not be greater than 1"),
    (_user(media.frames([URL])), 400, "the range of sequence images shoule be (2, 128)."),
    (_user(media.frames([URL] * 129)), 400, "the range of sequence images shoule be (2, 128)."),
    (_user(media.video(URL, fps=11)), 400, "Range of fps should be [0.1, 10.0]"),
    (_user({"type": "text", "text": "word " * 60_000}), 400, "length should be [1, 49152]"),
]


@pytest.mark.parametrize(("messages", "status", "said"), MESSAGES)
def test_bad_messages(sim: Simulator, messages: Any, status: int, said: str) -> None:
    got, _, message = refusal(post(sim, body(messages=messages)))
    assert (got, said in message) == (status, True), message


def test_a_body_that_is_no_json_object_is_400(sim: Simulator) -> None:
    for content in (b"{", b"[1]", b""):
        response = post(sim, None, content=content)
        assert refusal(response)[0] == 400
        assert "Required body invalid" in refusal(response)[2]


def test_missing_messages_are_named(sim: Simulator) -> None:
    assert "'messages'" in refusal(post(sim, body(messages=None)))[2]


def test_thinking_takes_a_shorter_input(sim: Simulator) -> None:
    content = "word " * 20_000
    assert post(sim, body(content)).status_code == 200
    assert "should be [1, 16384]" in refusal(post(sim, body(content, **THINK)))[2]


def test_media_for_a_text_model_are_refused(sim: Simulator) -> None:
    request = body([media.image(URL)], model="qwen-plus")
    assert "does not support image input" in refusal(post(sim, request))[2]


def test_newer_models_take_several_kinds_at_once(sim: Simulator) -> None:
    parts = [media.image(URL), media.audio(URL), media.audio(URL + "b")]
    assert "An image of" in text(ask(sim, parts, model="qwen3.5-omni-plus"))


def test_oss_references_need_their_header(sim: Simulator) -> None:
    headers = {**HEADERS, "X-DashScope-OssResourceResolve": "enable"}
    request = body([media.image("oss://bucket/a.png")])
    assert post(sim, request, headers=headers).status_code == 200


def test_forbidden_input_is_a_400_whose_body_is_framed(sim: Simulator) -> None:
    response = post(sim, body("please, forbidden-input"))
    assert response.status_code == 400
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.startswith("data: {")
    assert response.text.endswith("\n\n")
    error = json.loads(response.text.removeprefix("data: "))["error"]
    assert error["code"] == "data_inspection_failed"
    assert error["message"] == "Input text data may contain inappropriate content."


def test_forbidden_output_stops_inside_the_stream(sim: Simulator) -> None:
    response = post(sim, body("some words and then forbidden-output follows them"))
    frames = [json.loads(line[6:]) for line in response.text.split("\n\n")[:-2]]
    assert response.status_code == 200
    assert frames[1]["choices"][0]["delta"]["content"]
    assert frames[-1]["error"]["message"] == "Output data may contain inappropriate content."
