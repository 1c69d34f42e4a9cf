"""Item + media → Request."""

from typing import Any

import pytest

from omni_batch.catalogue import catalogue
from omni_batch.config import RequestConfig
from omni_batch.requests.build import build_request
from omni_batch.requests.request_options import REQUEST_OPTIONS
from omni_batch.types import Frames, Item, Media, Message, Request

IMAGE, SOUND = Media("image", "i", sha256="1"), Media("audio", "a", sha256="2")
HELLO = Message("user", ("Hello",))
SPOKEN: dict[str, Any] = {"modalities": ("text", "audio")}


def build(
    *turns: Message, model: str = "qwen3-omni-flash", item: Item | None = None, **config: Any
) -> Request:
    return build_request(
        item or Item("one", 0),
        turns or (HELLO,),
        RequestConfig(**config),
        model,
        catalogue().model(model),
    )


def test_turns_take_their_loaded_media() -> None:
    named, loaded = Media("image", "i"), Media("image", "i", sha256="1")
    turn = Message("user", (named, "What?", Frames((named, named))))
    assert turn.with_media({named: loaded}) == (
        Message("user", (loaded, "What?", Frames((loaded, loaded))))
    )


@pytest.mark.parametrize(
    ("parts", "modality"),
    [
        (("text",), "text"),
        ((IMAGE, "text"), "image"),
        (("text", SOUND), "audio"),
        ((Media("video", "v"),), "video"),
        ((Frames((IMAGE,)), "text"), "frames"),
        ((SOUND, IMAGE), "audio"),
    ],
)
def test_the_modality_is_what_the_last_turn_holds_first(parts: Any, modality: str) -> None:
    turns = [Message("user", (SOUND,)), Message("user", parts)]
    request = build_request(Item("one", 0), turns, RequestConfig(), "m", None)
    assert request.modality == modality


def test_an_alias_goes_over_the_wire_as_it_was_given() -> None:
    alias = "qwen3-omni-flash-2025-12-01"
    assert build(model=alias, **SPOKEN).model == alias
    assert build(model="never-heard-of", voice="X", **SPOKEN).model == "never-heard-of"


def test_only_sampling_that_was_set_is_sent() -> None:
    assert build().options == {}
    everything: dict[str, Any] = {
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 0,
        "presence_penalty": -1.0,
        "repetition_penalty": 1.05,
        "max_tokens": 9,
        "seed": 0,
    }
    assert build(**everything).options == everything


# --- The system message ---


def test_the_system_message_comes_first_and_a_rows_own_wins() -> None:
    assert build(system="theirs").messages[0] == Message("system", ("theirs",))
    own = build(system="theirs", item=Item("one", 0, system="mine"))
    assert own.messages == (Message("system", ("mine",)), Message("user", ("Hello",)))


def test_an_empty_system_cell_means_none() -> None:
    assert len(build(system="theirs", item=Item("one", 0, system="")).messages) == 1


def test_a_model_that_ignores_it_while_speaking_is_primed_by_a_first_exchange() -> None:
    assert build(model="qwen-omni-turbo", system="You are a cook.", **SPOKEN).messages == (
        Message("user", ("You are a cook.",)),
        Message("assistant", ("Understood.",)),
        Message("user", ("Hello",)),
    )


@pytest.mark.parametrize(
    ("model", "config"),
    [
        ("qwen-omni-turbo", {}),  # it says nothing aloud
        ("qwen3-omni-flash", SPOKEN),
        ("never-heard-of", {**SPOKEN, "voice": "X"}),
    ],
)
def test_all_others_get_a_system_message(model: str, config: dict[str, Any]) -> None:
    request = build(model=model, system="You are a cook.", **config)
    assert request.messages[0] == Message("system", ("You are a cook.",))


# --- Voice and thinking ---


@pytest.mark.parametrize(
    ("row", "config", "expected"),
    [("Ethan", "Serena", "Ethan"), (None, "Serena", "Serena"), (None, None, "Cherry")],
)
def test_the_voice_is_the_rows_then_the_configs_then_the_models(
    row: str | None, config: str | None, expected: str
) -> None:
    assert build(item=Item("one", 0, voice=row), voice=config, **SPOKEN).voice == expected


def test_without_speech_only_a_rows_own_voice_is_remembered_to_be_doubted() -> None:
    request = build(item=Item("one", 0, voice="Ethan"), voice="Serena")
    assert (request.wants_audio, request.voice) == (False, "Ethan")
    assert (build(voice="Serena").voice, build().voice) == (None, None)


def test_a_voice_is_the_users_or_the_catalogues() -> None:
    assert build(**SPOKEN).voice_is_default
    assert not build(voice="Serena", **SPOKEN).voice_is_default
    assert not build(item=Item("one", 0, voice="Ethan"), **SPOKEN).voice_is_default


def test_a_role_in_messages_goes_as_a_first_turn_too_and_is_accepted_in_its_language() -> None:
    request = build(model="qwen-omni-turbo", system="你是厨师。", **SPOKEN)
    assert request.messages[:2] == (
        Message("user", ("你是厨师。",)),
        Message("assistant", ("好的。",)),
    )
    assert request.role_as_turns
    assert not build(model="qwen-omni-turbo", system="You are a cook.").role_as_turns


def test_an_option_of_media_in_extra_goes_beside_them() -> None:
    request = build(extra={"fps": 2, "min_p": 0.5})
    assert (request.options, request.media_options) == ({"min_p": 0.5}, {"fps": 2})


@pytest.mark.parametrize(
    ("model", "wanted", "said"),
    [
        ("qwen3-omni-flash", False, None),
        ("qwen3-omni-flash", True, True),
        ("qwen3.8-omni-flash", False, False),
        ("qwen3.8-omni-flash", True, None),
        ("qwen-omni-turbo", False, None),
        ("qwen3-omni-flash", None, None),
        ("never-heard-of", False, False),
        ("never-heard-of", None, None),
        ("never-heard-of", True, True),
    ],
)
def test_thinking_is_said_only_where_it_differs_from_the_models_default(
    model: str, wanted: bool | None, said: bool | None
) -> None:
    assert build(model=model, thinking=wanted).thinking is said


def test_a_response_format_in_extra_is_the_user_s_own_word() -> None:
    ours, own = {"type": "json_schema"}, {"type": "json_object"}
    config = RequestConfig(extra={"response_format": own})
    item, turns = Item("one", 0), (HELLO,)
    plain = build_request(item, turns, RequestConfig(), "m", None, None, ours)
    given = build_request(item, turns, config, "m", None, None, ours)
    assert (plain.response_format, given.response_format) == (ours, None)
    assert given.options == {"response_format": own}


def test_every_option_is_in_the_table_once() -> None:
    others = {"system", "prompt", "examples", "modalities", "voice", "spoken_rows", "thinking"}
    others |= {"extra"}
    keys = RequestConfig.model_fields.keys() - others
    only_extra = {"enable_thinking", "preserve_thinking", "search_options", "tools", "tool_choice"}
    assert REQUEST_OPTIONS.keys() == keys | only_extra | {"detail"}  # of an image in `messages`
    listed = {name for model in catalogue().models.values() for name in model.parameters}
    assert listed == {name for name, option in REQUEST_OPTIONS.items() if option.of_some_models}
