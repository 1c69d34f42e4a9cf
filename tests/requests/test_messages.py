"""What a row asks: earlier turns, own media, own prompt."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.errors import ManifestError
from omni_batch.requests.messages import messages_of
from omni_batch.text import display_name, is_data_uri, is_url
from omni_batch.types import Frames, Item, Media, Message, media_of

IMAGE, AUDIO, VIDEO = Media("image", "i"), Media("audio", "a"), Media("video", "v")


def item(**columns: Any) -> Item:
    return Item("one", 0, **columns)


def parts_of(content: object) -> tuple[object, ...]:
    """One user turn written in `messages`, as parts."""
    messages = json.dumps([{"role": "user", "content": content}])
    (turn,) = messages_of(item(messages=messages), None)
    return turn.parts


def test_a_rows_own_turn_holds_media_first_and_then_the_text() -> None:
    own = item(prompt="Why?", image=("i", "j"), audio="a", video="v", frames=("f", "g"))
    frames = Frames((Media("image", "f"), Media("image", "g")))
    assert messages_of(own, None) == (
        Message("user", (IMAGE, Media("image", "j"), AUDIO, VIDEO, frames, "Why?")),
    )


def test_a_rows_own_prompt_beats_the_configs() -> None:
    assert messages_of(item(prompt="mine"), "theirs") == (Message("user", ("mine",)),)
    assert messages_of(item(), "theirs") == (Message("user", ("theirs",)),)


def test_media_need_no_text() -> None:
    assert messages_of(item(audio="a"), None) == (Message("user", (AUDIO,)),)
    assert messages_of(item(audio="a", prompt=""), "theirs") == (Message("user", (AUDIO,)),)


@pytest.mark.parametrize("columns", [{}, {"prompt": ""}, {"messages": "[]"}, {"messages": ""}])
def test_a_row_with_nothing_to_send_is_refused(columns: dict[str, str]) -> None:
    with pytest.raises(ManifestError, match="the row has nothing to send"):
        messages_of(item(**columns), None)


EARLIER = json.dumps(
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"audio": "a"}, {"text": "Who?"}]},
        {"role": "assistant", "content": "Ann."},
    ]
)
EARLIER_TURNS = (
    Message("system", ("Be brief.",)),
    Message("user", (AUDIO, "Who?")),
    Message("assistant", ("Ann.",)),
)


def test_earlier_turns_come_before_the_rows_own() -> None:
    own = item(messages=EARLIER, prompt="And now?")
    assert messages_of(own, None) == (*EARLIER_TURNS, Message("user", ("And now?",)))


def test_a_row_of_messages_alone_gets_no_prompt_from_the_config() -> None:
    asked = '[{"role": "user", "content": "What is this?"}]'
    assert messages_of(item(messages=asked), "theirs") == (Message("user", ("What is this?",)),)


def test_messages_alone_must_end_with_the_user() -> None:
    with pytest.raises(ManifestError, match="end with a turn of the assistant"):
        messages_of(item(messages=EARLIER), "theirs")


def test_a_row_of_messages_and_media_does() -> None:
    turns = messages_of(item(messages=EARLIER, image=("i",)), "theirs")
    assert turns == (*EARLIER_TURNS, Message("user", (IMAGE, "theirs")))


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("hi", ("hi",)),
        (["hi", "ho"], ("hi", "ho")),
        ({"text": "hi"}, ("hi",)),
        ([{"image": "i"}], (IMAGE,)),
        ([{"audio": "a"}], (AUDIO,)),
        ([{"video": "v"}], (VIDEO,)),
        ([{"frames": ["i", "i"]}], (Frames((IMAGE, IMAGE)),)),
        ([{"type": "text", "text": "hi"}], ("hi",)),
        ([{"type": "image_url", "image_url": {"url": "i"}}], (IMAGE,)),
        ([{"type": "input_audio", "input_audio": {"data": "a"}}], (AUDIO,)),
        ([{"type": "audio_url", "audio_url": {"url": "a"}}], (AUDIO,)),
        ([{"type": "video_url", "video_url": {"url": "v"}}], (VIDEO,)),
        ([{"type": "video", "video": ["i", "i"]}], (Frames((IMAGE, IMAGE)),)),
        ([{"image": "i"}, "hi", {"audio": "a"}], (IMAGE, "hi", AUDIO)),
    ],
)
def test_a_part_may_be_written_short_or_as_on_the_wire(content: object, parts: object) -> None:
    assert parts_of(content) == parts


@pytest.mark.parametrize(
    "content",
    [
        None,
        7,
        [None],
        [["hi"]],
        [{}],
        [{"image": 3}],
        [{"image_url": "i"}],
        [{"frames": "i"}],
        [{"frames": []}],
        [{"type": "video", "video": []}],
        [{"type": "file", "file": "x"}],
    ],
)
def test_what_is_no_part_is_refused_with_its_turn(content: object) -> None:
    with pytest.raises(ManifestError, match=r"turn 1: .* is not a part; write a text"):
        parts_of(content)


FEW_PIXELS = (("max_pixels", 5_000),)


@pytest.mark.parametrize(
    ("part", "options"),
    [
        ({"image": "i", "max_pixels": 5_000}, FEW_PIXELS),
        ({"type": "image_url", "image_url": {"url": "i"}, "max_pixels": 5_000}, FEW_PIXELS),
        ({"type": "image_url", "image_url": {"url": "i", "max_pixels": 5_000}}, FEW_PIXELS),
        ({"image_url": {"url": "i", "detail": "low"}}, (("detail", "low"),)),
        ({"image": "i", "detail": "low"}, (("detail", "low"),)),
        ({"image": "i", "detail": None}, ()),
        ({"video": "v", "fps": 2}, (("fps", 2.0),)),
        ({"video_url": {"url": "v"}, "fps": 1, "min_pixels": 4_096},
         (("fps", 1.0), ("min_pixels", 4_096))),
        ({"video": "v", "total_pixels": 9}, (("total_pixels", 9),)),
        ({"frames": ["i", "i"], "fps": 0.5}, (("fps", 0.5),)),
        ({"type": "video", "video": ["i", "i"], "fps": 0.5}, (("fps", 0.5),)),
        ({"input_audio": {"data": "a", "format": "mp3"}}, (("format", "mp3"),)),
    ],
)  # fmt: skip
def test_what_stands_beside_a_medium_is_kept(part: object, options: object) -> None:
    (found,) = parts_of([part])
    assert isinstance(found, Media | Frames)
    assert found.options == options


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ({"image": "i", "cache_control": {"type": "ephemeral"}}, "cache_control"),
        ({"image_url": {"url": "i", "resize": 1}}, "resize"),
        ({"text": "hi", "image": "i"}, "image"),
        ({"image": "i", "audio": "a"}, "audio"),
        ({"text": "hi", "max_pixels": 5_000}, "max_pixels"),
        ({"image": "i", "fps": 2}, "fps"),
        ({"audio": "a", "fps": 2}, "fps"),
        ({"video": "v", "detail": "low"}, "detail"),
        ({"image": "i", "format": "png"}, "format"),
        ({"image": "i", "detail": 7}, "detail is '7'; give a text"),
        ({"video": "v", "fps": 50}, "fps = 50"),
        ({"video": "v", "fps": "fast"}, "fps = 'fast'"),
        ({"image": "i", "max_pixels": 1}, "max_pixels = 1"),
        ({"image_url": {"url": "i", "detail": "low"}, "detail": "high"}, "keep one"),
    ],
)
def test_what_would_not_be_sent_is_refused_by_name(part: object, named: str) -> None:
    with pytest.raises(ManifestError, match="messages, turn 1: .*" + named):
        parts_of([part])


@pytest.mark.parametrize("name", ["images", "image", "audio", "tool_calls", "reasoning_content"])
def test_a_turn_holds_a_role_and_content(name: str) -> None:
    turn = {"role": "user", "content": "Hi", name: ["x.png"], "refusal": None}
    with pytest.raises(ManifestError, match=f"turn 1: {name} would not be sent"):
        messages_of(item(messages=json.dumps([turn])), None)


@pytest.mark.parametrize("role", [None, "tool", "User", 3])
def test_an_unknown_role_is_refused(role: object) -> None:
    messages = json.dumps([{"role": "user", "content": "x"}, {"role": role, "content": "x"}])
    with pytest.raises(ManifestError, match=r"turn 2: role .*; use system, user or assistant"):
        messages_of(item(messages=messages), None)


@pytest.mark.parametrize("messages", ["hello", "{}", "[1]", '["hi"]', '[{"role":"user"', "null"])
def test_messages_that_are_no_list_of_turns_are_refused(messages: str) -> None:
    with pytest.raises(ManifestError, match="not a JSON list of turns"):
        messages_of(item(messages=messages), "x")


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "text", "image", "frames", "video"]), inner
        )
    ),
    max_leaves=10,
)


@given(st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": JSON})) | JSON)
def test_no_messages_break_it(messages: object) -> None:
    try:
        turns = messages_of(item(messages=json.dumps(messages)), "x")
    except ManifestError:
        return
    assert turns
    media_of(turns)


def test_references_are_all_media_in_their_order() -> None:
    frames = Frames((Media("image", "f"), Media("image", "g")))
    turns = [Message("user", (AUDIO, "text", frames)), Message("user", (IMAGE,))]
    assert media_of(turns) == (AUDIO, *frames.images, IMAGE)


@pytest.mark.parametrize(
    ("columns", "modality", "media"),
    [
        ({"prompt": "x"}, "text", ()),
        ({"frames": ("f", "g")}, "frames", ("f", "g")),
        ({"video": "v", "frames": ("f",)}, "video", ("v", "f")),
        ({"audio": "a", "video": "v"}, "audio", ("a", "v")),
        ({"image": ("i", "j"), "audio": "a", "frames": ("f",)}, "image", ("i", "j", "a", "f")),
    ],
)
def test_a_row_names_its_own_media(columns: Any, modality: str, media: tuple[str, ...]) -> None:
    row = item(**columns)
    assert (row.modality(), row.references()) == (modality, media)


@pytest.mark.parametrize(
    ("reference", "url", "data"),
    [
        ("https://example.org/a.mp3", True, False),
        ("http://example.org/a.mp3", True, False),
        ("oss://bucket/a.mp3", True, False),
        ("data:;base64,AAAA", False, True),
        ("a/b.mp3", False, False),
        ("https.mp3", False, False),
    ],
)
def test_a_reference_shows_what_it_is(reference: str, url: bool, data: bool) -> None:
    assert (is_url(reference), is_data_uri(reference)) == (url, data)


def test_a_data_uri_is_named_by_its_beginning() -> None:
    assert display_name("a/b.mp3") == "a/b.mp3"
    name = display_name("data:audio/mpeg;base64," + "A" * 5000)
    assert name == "data:audio/mpeg;base64,AAAAAAAAAAAAAAAAA… (5023 characters)"
