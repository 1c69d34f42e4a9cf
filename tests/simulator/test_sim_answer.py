"""What is said: proof that the input arrived, and JSON where JSON is asked for."""

import json
from typing import Any

import pytest

from omni_batch.simulator import Simulator
from tests.simulator import sim_media as media
from tests.simulator.sim_client import ask, finish_reason, text, usage

IMAGE = media.image("https://example.com/640x480.png")


def test_a_prompt_beside_media_is_echoed(sim: Simulator) -> None:
    said = text(ask(sim, [IMAGE, {"type": "text", "text": "What is it?"}]))
    assert said == 'An image of 640 x 480 pixels. You asked: "What is it?"'


def test_a_long_prompt_is_cut_short(sim: Simulator) -> None:
    said = text(ask(sim, " ".join(f"w{number}" for number in range(50))))
    assert said == 'You wrote: "w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11\u2026"'


def test_later_turns_say_which_they_are(sim: Simulator) -> None:
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [IMAGE]},
        {"role": "assistant", "content": [{"type": "text", "text": "An image."}]},
        {"role": "user", "content": "And now?"},
    ]
    said = text(ask(sim, messages=turns))
    assert said == 'You wrote: "And now?" This is turn 2 of our conversation.'


def test_the_same_request_gets_the_same_answer(sim: Simulator) -> None:
    assert text(ask(sim, [IMAGE])) == text(ask(sim, [IMAGE]))


def test_max_tokens_cuts_the_reply_and_says_so(sim: Simulator) -> None:
    whole = ask(sim, "a rather long prompt with many words in it")
    cut = ask(sim, "a rather long prompt with many words in it", max_tokens=5)
    assert text(whole).startswith(text(cut))
    assert 0 < len(text(cut)) < len(text(whole))
    assert (finish_reason(cut), finish_reason(whole)) == ("length", "stop")
    assert usage(cut)["completion_tokens"] <= 5


@pytest.mark.parametrize("stop", ["three", ["nothing", "three"]])
def test_stop_words_end_the_reply(sim: Simulator, stop: Any) -> None:
    chunks = ask(sim, "one two three four", stop=stop)
    assert (text(chunks), finish_reason(chunks)) == ('You wrote: "one two ', "stop")


def test_json_is_answered_where_it_is_asked_for(sim: Simulator) -> None:
    said = json.loads(text(ask(sim, [IMAGE, {"type": "text", "text": "Answer as JSON only."}])))
    assert said["description"].startswith("An image of 640 x 480 pixels.")
    assert said["facts"] == [{"width_px": 640, "height_px": 480, "colours": []}]


def test_a_schema_in_the_prompt_is_obeyed(sim: Simulator) -> None:
    schema = {
        "type": "object",
        "properties": {
            "caption": {"type": "string", "maxLength": 20},
            "score": {"type": "number", "minimum": 3, "maximum": 5},
            "tags": {"type": "array", "items": {"enum": ["day", "night"]}, "minItems": 2},
            "light": {"$ref": "#/$defs/Light"},
            "sure": {"type": ["boolean", "null"]},
            "either": {"anyOf": [{"type": "integer", "maximum": 0}, {"type": "null"}]},
        },
        "$defs": {"Light": {"type": "object", "properties": {"kind": {"const": "sun"}}}},
    }
    said = json.loads(text(ask(sim, f"Reply in JSON by this schema: {json.dumps(schema)}")))
    assert list(said) == list(schema["properties"])
    assert 0 < len(said["caption"]) <= 20
    assert 3 <= said["score"] <= 5
    assert said["either"] in (0, None)
    assert said["sure"] is True
    assert len(said["tags"]) == 2
    assert set(said["tags"]) <= {"day", "night"}
    assert said["light"] == {"kind": "sun"}


def test_a_schema_in_the_system_message_counts_too(sim: Simulator) -> None:
    schema = {"properties": {"caption": {"type": "string"}}}
    turns = [
        {"role": "system", "content": f"Answer in JSON: {json.dumps(schema)}"},
        {"role": "user", "content": "Describe it."},
    ]
    assert json.loads(text(ask(sim, messages=turns))) == {"caption": 'You wrote: "Describe it."'}


def test_an_endless_schema_ends(sim: Simulator) -> None:
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    said = text(ask(sim, f"JSON: {json.dumps(schema)}"))
    assert said.count("next") > 3
    json.loads(said)
