"""One test for each rule, named after it: a value just inside the limit and one just outside."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.catalogue import Model, catalogue
from omni_batch.catalogue.tokens import PromptEstimate, estimate_prompt
from omni_batch.doubts import Doubt
from omni_batch.providers.dialects import DIALECTS
from omni_batch.requests.fingerprint import fingerprint
from omni_batch.requests.rules.context import RuleContext, Violation
from omni_batch.requests.validate import ALL_RULES, RULES_OF_CONFIG, Rule, Verdict, judge
from omni_batch.types import Frames, Media, MediaKind, Message, Part, Request

FLASH, TURBO, PLUS = "qwen3-omni-flash", "qwen-omni-turbo", "qwen3.5-omni-plus"
NEWEST, CAPTIONER, TEXT = "qwen3.8-omni-flash", "qwen3-omni-30b-a3b-captioner", "qwen3.5-plus"
UNKNOWN = "somebody-elses-omni"
MIB = 2**20

IMAGE = Media("image", "photo.jpg", path=Path("photo.jpg"), format="jpeg", probed=True)
IMAGE = replace(IMAGE, size_bytes=40_000, width_px=640, height_px=480)
AUDIO = Media("audio", "talk.mp3", path=Path("talk.mp3"), format="mp3", probed=True)
AUDIO = replace(AUDIO, size_bytes=40_000, duration_s=10.0, has_sound=True)
VIDEO = Media("video", "film.mp4", path=Path("film.mp4"), format="mp4", probed=True)
VIDEO = replace(VIDEO, size_bytes=40_000, duration_s=10.0, width_px=1280, height_px=720)
VIDEO = replace(VIDEO, frames_per_s=30.0)
LINK = Media("image", "https://h/i.jpg", url="https://h/i.jpg")

REMEDY = re.compile(
    r"\b(convert|crop|cut|enlarge|end|give|leave|lower|make|move|remove|send|set|shorten|split|use)\b"
)


def user(*parts: Part) -> Message:
    return Message("user", parts)


def ask(*parts: Part, model: str = FLASH, **changes: Any) -> Request:
    request = Request(model=model, messages=(user(*parts),), modality="text")
    return replace(request, **changes)


def verdict(
    request: Request,
    *,
    dialect: str = "dashscope",
    model: Model | None = None,
    estimate: PromptEstimate | None = None,
    laws: Sequence[Rule] = ALL_RULES,
    **others: Any,
) -> Verdict:
    known = model or catalogue().model(request.model)
    estimate = estimate or estimate_prompt(request, (known or catalogue()).tokens)
    speaks = known is None or known.audio_out
    server = DIALECTS[dialect]
    context = RuleContext(request, known, estimate, server, can_speak=speaks, **others)
    return judge(context, laws)


def judged(request: Request, **others: Any) -> tuple[Violation, ...]:
    found = verdict(request, **others).violations
    for violation in found:
        assert REMEDY.search(violation.message), violation.message
    return found


def rules(request: Request, **others: Any) -> set[str]:
    return {violation.rule for violation in judged(request, **others)}


def the_one(request: Request, **others: Any) -> str:
    """The message of the only violation."""
    (found,) = judged(request, **others)
    return found.message


def warned(request: Request, **others: Any) -> tuple[str, ...]:
    return tuple(doubt.message for doubt in verdict(request, **others).doubts)


# --- limits of single media ---

BOUNDS: list[tuple[str, str, Media, dict[str, Any], dict[str, Any], str]] = [
    ("image-too-small", FLASH, IMAGE, {"width_px": 11}, {"width_px": 10}, "10 px"),
    ("image-too-small", FLASH, IMAGE, {"height_px": 11}, {"height_px": 10}, "11 px"),
    ("image-too-large", FLASH, IMAGE, {"size_bytes": 10 * MIB}, {"size_bytes": 10 * MIB + 1},
     "10,485,761"),
    ("audio-too-long", FLASH, AUDIO, {"duration_s": 1200.0}, {"duration_s": 1200.5}, "1,200.5 s"),
    ("audio-too-long", TURBO, AUDIO, {"duration_s": 180.0}, {"duration_s": 180.1}, "180.1 s"),
    ("audio-too-long", PLUS, AUDIO, {"duration_s": 10_800.0}, {"duration_s": 10_801.0}, "10,801 s"),
    ("audio-too-large", FLASH, AUDIO, {"size_bytes": 100 * MIB}, {"size_bytes": 100 * MIB + 1},
     "104,857,601"),
    ("video-too-short", FLASH, VIDEO, {"duration_s": 2.0}, {"duration_s": 1.9}, "1.9 s"),
    ("video-too-long", FLASH, VIDEO, {"duration_s": 150.0}, {"duration_s": 150.1}, "150.1 s"),
    ("video-too-long", TURBO, VIDEO, {"duration_s": 40.0}, {"duration_s": 40.1}, "40.1 s"),
    ("video-too-large", FLASH, VIDEO, {"size_bytes": 256 * MIB}, {"size_bytes": 256 * MIB + 1},
     "268,435,457"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "model", "media", "inside", "outside", "value"), BOUNDS)
def test_a_limit_of_a_medium(
    rule: str, model: str, media: Media, inside: Any, outside: Any, value: str
) -> None:
    assert judged(ask(replace(media, **inside), model=model)) == ()
    (found,) = judged(ask(replace(media, **outside), model=model))
    assert found.rule == rule
    assert value in found.message
    assert media.reference in found.message
    assert model in found.message


def test_image_too_narrow() -> None:
    assert judged(ask(replace(IMAGE, width_px=4000, height_px=20))) == ()
    message = the_one(ask(replace(IMAGE, width_px=20, height_px=4010)))
    assert "200.5 to 1" in message
    assert "200 to 1 at most" in message


def test_a_frame_is_an_image_too() -> None:
    small = replace(IMAGE, width_px=10, reference="frame-2.jpg")
    assert "frame-2.jpg" in the_one(ask(Frames((IMAGE, small))))


def test_a_medium_written_out_is_named_in_short() -> None:
    uri = "data:image/png;base64," + "A" * 1000
    message = the_one(ask(replace(IMAGE, reference=uri, url=uri, path=None, width_px=5)))
    assert len(message) < 250


def test_url_form() -> None:
    for url in ("https://h/i", "http://h/i", "oss://k/i", "HTTPS://h/i"):
        assert judged(ask(replace(LINK, url=url))) == ()
    assert "ftp://h/i" in the_one(ask(replace(LINK, reference="ftp://h/i", url="ftp://h/i")))


def test_data_uri_form() -> None:
    assert judged(ask(replace(LINK, url="data:image/png;base64,AAAA"))) == ()
    assert judged(ask(replace(AUDIO, url="data:;base64,AAAA"))) == ()
    assert rules(ask(replace(LINK, url="data:image/png,AAAA"))) == {"data-uri-form"}


def test_data_uri_too_large() -> None:
    head = "data:image/png;base64,"
    fits = head + "A" * (10 * MIB - len(head))
    assert judged(ask(replace(LINK, url=fits))) == ()
    message = the_one(ask(replace(LINK, url=fits + "A")))
    assert "10,485,761" in message
    assert rules(ask(replace(LINK, url=fits + "A"), model=UNKNOWN)) == {"data-uri-too-large"}
    assert judged(ask(replace(LINK, url=fits + "A"), model=UNKNOWN), dialect="vllm") == ()


# --- what stands together ---


def test_no_user_turn() -> None:
    for messages in ((), (Message("system", ("s",)),), (Message("assistant", ("a",)),)):
        assert rules(ask(messages=messages)) == {"no-user-turn"}


def test_last_turn_not_users() -> None:
    talk = (user("a"), Message("assistant", ("b",)), user("c"))
    assert judged(ask(messages=talk)) == ()
    assert "assistant's" in the_one(ask(messages=talk[:2]))


def test_empty_turn() -> None:
    message = the_one(ask(messages=(user("a"), Message("assistant", ()), user("c"))))
    assert "turn 2 of the assistant" in message


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_media_not_in_user_turn(role: Any) -> None:
    message = the_one(ask(messages=(user("a"), Message(role, ("b", IMAGE)), user("c"))))
    assert f"turn 2 of the {role} contains photo.jpg" in message


def test_prompt_not_taken_and_turns_not_taken() -> None:
    assert judged(ask(AUDIO, model=CAPTIONER)) == ()
    assert judged(ask("", AUDIO, model=CAPTIONER)) == ()
    assert "'Listen'" in the_one(ask(AUDIO, "Listen", model=CAPTIONER))
    primed = ask(messages=(Message("system", ("s",)), user(AUDIO)), model=CAPTIONER)
    assert "2 turns" in the_one(primed)


def test_kind_not_taken() -> None:
    assert rules(ask(IMAGE, model=CAPTIONER)) == {"kind-not-taken"}
    flash = catalogue().model(FLASH)
    assert flash is not None
    text_only = msgspec.structs.replace(flash, inputs=("text",))
    assert judged(ask("Hello"), model=text_only) == ()
    for part, kind in ((IMAGE, "image"), (AUDIO, "audio"), (Frames((IMAGE,) * 4), "frames")):
        assert f"is {kind}; {FLASH} takes text:" in the_one(ask(part), model=text_only)


FORMS = [
    ("dashscope", {"image", "audio", "video", "frames"}),
    ("vllm", {"image", "audio", "video"}),
    ("sglang-omni", {"image", "audio", "video"}),
    ("openai", {"image", "audio"}),
]


@pytest.mark.parametrize(("dialect", "taken"), FORMS)
def test_no_form_for_kind(dialect: str, taken: set[str]) -> None:
    parts: dict[str, Part] = {
        "image": IMAGE,
        "audio": AUDIO,
        "video": VIDEO,
        "frames": Frames((IMAGE, IMAGE)),
    }
    for kind, part in parts.items():
        found = rules(ask(part, model=UNKNOWN), dialect=dialect)
        assert found == (set() if kind in taken else {"no-form-for-kind"})


def test_one_media_kind() -> None:
    for model in (FLASH, TURBO):
        assert judged(ask(IMAGE, "and", IMAGE, model=model)) == ()
        message = the_one(ask(IMAGE, "and", AUDIO, model=model))
        assert "image, audio" in message
    assert judged(ask(IMAGE, AUDIO, VIDEO, model=PLUS)) == ()
    earlier = (user(IMAGE), Message("assistant", ("a",)), user(AUDIO))
    assert judged(ask(messages=earlier)) == ()


def test_audio_files() -> None:
    assert judged(ask(AUDIO)) == ()
    assert "contains 2 audio inputs" in the_one(ask(AUDIO, AUDIO))
    links = [replace(AUDIO, path=None, url="https://h/a.mp3", duration_s=None)] * 2049
    assert rules(ask(*links[:2048], model=PLUS)) == set()
    assert rules(ask(*links, model=PLUS)) == {"audio-files"}


def test_video_files() -> None:
    frames = Frames((IMAGE,) * 4)
    assert "contains 2 video inputs" in the_one(ask(VIDEO, VIDEO))
    assert "contains 2 video inputs" in the_one(ask(frames, frames))
    assert judged(ask(VIDEO, VIDEO, model=PLUS)) == ()


def test_earlier_turns_hold_files_of_their_own() -> None:
    talk = (user(AUDIO), Message("assistant", ("a",)), user(AUDIO))
    assert judged(ask(messages=talk)) == ()


@pytest.mark.parametrize(("model", "least", "most"), [(FLASH, 2, 128), (TURBO, 4, 80)])
def test_frames_too_few_and_frames_too_many(model: str, least: int, most: int) -> None:
    for count in (least, most):
        assert judged(ask(Frames((LINK,) * count), model=model)) == ()
    few = the_one(ask(Frames((LINK,) * (least - 1)), model=model))
    many = the_one(ask(Frames((LINK,) * (most + 1)), model=model))
    assert f"the list of {least - 1} frames" in few
    assert f"the list of {most + 1} frames" in many


def test_base64_files() -> None:
    many = [replace(IMAGE, width_px=32, height_px=32)] * 251
    assert rules(ask(*many[:250], model=PLUS)) == set()
    assert "251 media" in the_one(ask(*many, model=PLUS))
    assert judged(ask(*many, model=PLUS), files_inline=False) == ()
    assert judged(ask(*many[:250], LINK, model=PLUS)) == ()
    written = replace(LINK, url="data:image/png;base64,AAAA")
    assert rules(ask(*many[:250], written, model=PLUS), files_inline=True) == {"base64-files"}


# --- length of the prompt ---


def film(duration_s: float) -> Media:
    return replace(VIDEO, duration_s=duration_s, has_sound=True)


def test_input_too_long_while_thinking() -> None:
    """By the rules of the guide: 720p with sound is over the cap of thinking from 23 s on."""
    assert judged(ask(film(22.0), "What?"), thinking=True) == ()
    message = the_one(ask(film(23.0), "What?"), thinking=True)
    assert "video 16,102, audio 288" in message
    assert "16,384 at most while it thinks (49,152 without)" in message
    assert "set request.thinking: false" in message
    assert "shorter or smaller video" in message
    assert judged(ask(film(23.0), "What?")) == ()
    assert judged(ask(film(150.0), "What?")) == ()


def test_input_too_long_without_thinking_names_what_is_longest() -> None:
    crowd = [IMAGE] * 200
    message = the_one(ask(*crowd))
    assert "60,4" in message
    assert message.endswith("49,152 at most: send fewer or smaller images")
    both = the_one(ask(*crowd), thinking=True)
    assert "request.thinking" not in both  # it would not help


def test_input_too_long_by_text() -> None:
    per_token = 4
    surely = int(49_152 * per_token / 0.6)
    assert judged(ask("x" * (surely - 200))) == ()
    assert rules(ask("x" * (surely + 200))) == {"input-too-long"}


def test_a_text_that_may_fit_is_a_warning() -> None:
    request = ask("x" * 49_152 * 5)
    assert judged(request) == ()
    assert any("49,152" in warning and "guess" in warning for warning in warned(request))


def test_what_is_too_long_by_guessed_sizes_is_a_warning() -> None:
    request = ask(*[LINK] * 100)
    assert judged(request) == ()
    assert any("guess" in warning for warning in warned(request))
    assert judged(ask(*[IMAGE] * 200, media_options={"max_pixels": 9}, model=NEWEST)) == ()


def capped(tokens: int) -> Model:
    flash = catalogue().model(FLASH)
    assert flash is not None
    return msgspec.structs.replace(flash, max_input_tokens=tokens)


def test_input_too_long_by_one_token() -> None:
    request = ask(*[IMAGE] * 200)
    images, template = 200 * 302, 15
    surely = images + int(template * 0.6)
    assert judged(request, model=capped(surely)) == ()
    assert rules(request, model=capped(surely - 1)) == {"input-too-long"}
    for tokens, unsure in ((images + template, 0), (images + template - 1, 1), (surely, 1)):
        assert len(warned(request, model=capped(tokens))) == unsure


@pytest.mark.parametrize("name", ["width_px", "height_px", "duration_s", "frames_per_s"])
def test_a_video_that_is_measured_in_part_is_a_guess(name: str) -> None:
    whole = replace(film(149.0), reference="whole")
    assert rules(ask(whole), model=capped(5_000)) == {"input-too-long"}
    unknown: dict[str, Any] = {name: None}
    assert judged(ask(replace(whole, **unknown)), model=capped(5_000)) == ()


def test_the_estimate_is_believed_where_it_is_small() -> None:
    assert judged(ask(*[IMAGE] * 200), estimate=PromptEstimate(text=20)) == ()


# --- wishes ---

SPEECH: dict[str, Any] = {"wants_audio": True, "voice": "Cherry"}


def test_speech_with_thinking() -> None:
    assert judged(ask("Hi", **SPEECH)) == ()
    assert rules(ask("Hi", **SPEECH), thinking=True) == {"speech-with-thinking"}


def test_speech_not_offered() -> None:
    assert rules(ask("Hi", model=NEWEST, **SPEECH)) == {"speech-not-offered"}


def test_speech_not_served() -> None:
    assert rules(ask("Hi", model=UNKNOWN, **SPEECH), dialect="vllm") == {"speech-not-served"}
    assert judged(ask("Hi", model=UNKNOWN, **SPEECH), dialect="vllm-omni") == ()


def test_voice_missing() -> None:
    assert rules(ask("Hi", wants_audio=True, model=UNKNOWN)) == {"voice-missing"}
    assert judged(ask("Hi", wants_audio=True, model=UNKNOWN), dialect="vllm-omni") == ()


def test_thinking_not_offered() -> None:
    assert rules(ask("Hi", model=TURBO), thinking=True) == {"thinking-not-offered"}
    assert judged(ask("Hi", model=FLASH), thinking=True) == ()
    assert judged(ask("Hi", model=UNKNOWN), thinking=True) == ()


@pytest.mark.parametrize(("model", "most"), [(FLASH, 16_384), (TURBO, 2_048), (NEWEST, 131_072)])
def test_max_tokens_too_large(model: str, most: int) -> None:
    assert judged(ask("Hi", model=model, options={"max_tokens": most})) == ()
    message = the_one(ask("Hi", model=model, options={"max_tokens": most + 1}))
    assert f"{most + 1:,}" in message


def test_thinking_budget_too_large() -> None:
    options = {"thinking_budget": 32_768}
    assert judged(ask("Hi", options=options), thinking=True) == ()
    message = the_one(ask("Hi", options={"thinking_budget": 32_769}), thinking=True)
    assert "32,769" in message


@pytest.mark.parametrize("name", ["fps", "min_pixels", "max_pixels", "total_pixels"])
def test_option_not_taken_beside_media(name: str) -> None:
    options: dict[str, Any] = {"media_options": {name: 2}}
    assert judged(ask(VIDEO, model=NEWEST, **options)) == ()
    assert f"request.{name} is 2" in the_one(ask(VIDEO, **options))
    assert judged(ask(AUDIO, **options)) == ()  # it would not be sent
    assert judged(ask(VIDEO, model=UNKNOWN, **options)) == ()


def test_option_not_taken() -> None:
    for name in ("enable_search", "vl_high_resolution_images", "use_multichannel"):
        assert rules(ask("Hi", options={name: True})) == {"option-not-taken"}
        assert judged(ask("Hi", options={name: False})) == ()
        assert judged(ask("Hi", model=NEWEST, options={name: True})) == ()
    assert judged(ask("Hi", options={"temperature": 0.5, "anything": 1})) == ()


@pytest.mark.parametrize("name", ["n", "best_of", "num_return_sequences"])
@pytest.mark.parametrize("model", [FLASH, UNKNOWN])
def test_several_answers(name: str, model: str) -> None:
    for count in (2, 0, "3", 2.0):
        assert f"request.extra.{name} is {count!r}" in the_one(
            ask("Hi", model=model, options={name: count})
        )
    for one in (1, 1.0, "1", None):
        assert judged(ask("Hi", model=model, options={name: one})) == ()


# --- what a server has no place for ---

SERVERS = tuple(sorted(DIALECTS))
VIDEO_OF_TWO = replace(VIDEO, options=(("fps", 2.0),))


def test_an_option_of_one_medium_is_held_against_the_model_and_the_server() -> None:
    assert judged(ask(VIDEO_OF_TWO, model=NEWEST)) == ()
    assert the_one(ask(VIDEO_OF_TWO)).startswith("fps of film.mp4 is 2.0, but")
    refused = the_one(ask(VIDEO_OF_TWO, model=UNKNOWN), dialect="vllm")
    assert refused == (
        "vllm servers don't take fps of film.mp4: use request.extra.media_io_kwargs in its place, "
        "or remove it"
    )


def test_an_option_of_one_medium_counts_in_the_estimate_and_the_fingerprint() -> None:
    small = replace(IMAGE, options=(("max_pixels", 32 * 32 * 4),))
    tokens = catalogue().tokens
    assert estimate_prompt(ask(small), tokens).image < estimate_prompt(ask(IMAGE), tokens).image
    assert fingerprint(ask(small), "e") != fingerprint(ask(IMAGE), "e")
    frames = Frames((IMAGE, IMAGE), (("fps", 1.0),))
    assert fingerprint(ask(frames), "e") != fingerprint(ask(Frames((IMAGE, IMAGE))), "e")


def test_detail_is_sent_where_it_may_be_read() -> None:
    blurred = replace(IMAGE, options=(("detail", "low"),))
    assert judged(ask(blurred, model=UNKNOWN), dialect="openai") == ()
    assert warned(ask(blurred, model=UNKNOWN), dialect="openai") == ()
    (doubt,) = warned(ask(blurred))
    assert "detail of photo.jpg is sent, but dashscope servers are not known to read it" in doubt
    assert rules(ask(blurred, model=UNKNOWN), dialect="sglang-omni") == {"option-not-served"}


def test_options_of_a_request_hold_for_all_its_videos() -> None:
    both = ask(VIDEO_OF_TWO, VIDEO_OF_TWO, model=UNKNOWN)
    assert judged(both, dialect="sglang-omni") == ()
    mixed = ask(VIDEO_OF_TWO, VIDEO, model=UNKNOWN)
    assert "fps is 2.0 for film.mp4 and None for" in the_one(mixed, dialect="sglang-omni")
    pixels = ask(IMAGE, model=UNKNOWN, media_options={"max_pixels": 5_000})
    assert "no max_pixels for image" in the_one(pixels, dialect="sglang-omni")


def test_what_the_row_says_of_a_format_is_held_against_the_content() -> None:
    said = replace(AUDIO, options=(("format", "wav"),))
    (doubt,) = warned(ask(said))
    assert doubt == "talk.mp3 is mp3 by its content, but the row says wav; it is sent as mp3"
    assert warned(ask(replace(AUDIO, options=(("format", "mp3"),)))) == ()
    behind_url = replace(said, path=None, url="https://h/talk.mp3", probed=False)
    assert warned(ask(behind_url)) == ()


def test_media_of_earlier_turns_keep_their_turn_or_the_row_says_so() -> None:
    turns = (user(IMAGE, "This?"), Message("assistant", ("A cat.",)), user("And now?"))
    request = ask("x", model=UNKNOWN, messages=turns)
    (doubt,) = warned(request, dialect="sglang-omni")
    assert "photo.jpg belongs to an earlier turn" in doubt
    assert warned(request, dialect="vllm") == ()


def test_a_switch_that_is_not_sent_is_said() -> None:
    off = ask("Hi", model=UNKNOWN, thinking=False)
    for dialect in ("sglang-omni", "openai"):
        assert judged(off, dialect=dialect) == ()
        (doubt,) = warned(off, dialect=dialect)
        assert doubt.startswith("request.thinking is not sent")
    for dialect in ("dashscope", "vllm", "vllm-omni", "litellm"):
        assert warned(off, dialect=dialect) == ()


def test_a_voice_goes_where_it_is_read() -> None:
    named = ask("Hi", model=UNKNOWN, **SPEECH)
    default = replace(named, voice_is_default=True)
    assert judged(named, dialect="vllm-omni") == ()
    assert warned(named, dialect="vllm-omni") == ()
    assert "Cherry is asked for" in the_one(named, dialect="sglang-omni")
    for dialect in ("vllm-omni", "sglang-omni"):
        assert judged(default, dialect=dialect) == ()
        (doubt,) = warned(default, dialect=dialect)
        assert "Cherry, the catalogue's default, is not sent" in doubt
    for dialect in ("dashscope", "litellm", "openai"):
        assert warned(default, dialect=dialect) == ()


def test_a_role_that_goes_as_a_first_turn_is_said() -> None:
    (doubt,) = warned(ask("Hi", model=TURBO, role_as_turns=True))
    assert "it is sent as a first turn of the user" in doubt


# --- warnings ---


def test_a_size_that_nobody_knows_is_said_with_what_it_counts_as() -> None:
    assert (
        warned(
            ask(IMAGE),
        )
        == ()
    )
    assert warned(ask(LINK, LINK)) == (
        "https://h/i.jpg and 1 more: the size is unknown and counted as 1280 x 720 px",
    )
    film = Media("video", "https://h/v.mp4", url="https://h/v.mp4")
    assert warned(ask(film))[0].endswith("counted as 1280 x 720 px and 10 s")
    assert warned(ask(replace(film, width_px=64, height_px=48)))[0].endswith("counted as 10 s")


def test_an_unknown_voice_is_a_warning_with_the_nearest_known_one() -> None:
    assert warned(ask("Hi", **SPEECH)) == ()
    for asked, nearest in (("cherry", "Cherry"), ("Eldrik Sage", "Eldric Sage")):
        request = ask("Hi", wants_audio=True, voice=asked)
        assert judged(request) == ()
        (warning,) = warned(request)
        assert f"did you mean {nearest}?" in warning
    (far,) = warned(ask("Hi", wants_audio=True, voice="xyz"))
    assert "try Cherry" in far
    (clone,) = warned(ask("Hi", model=PLUS, **SPEECH))
    assert "cloned" in clone


def test_a_voice_without_speech_is_said() -> None:
    (doubt,) = warned(ask("Hi", voice="Cherry"))
    assert doubt.startswith("voice Cherry is not sent, as text alone is asked for")


def test_an_undocumented_container_is_a_warning() -> None:
    aac, heic = replace(AUDIO, format="aac"), replace(IMAGE, format="heic")
    for media in (AUDIO, aac, VIDEO, replace(VIDEO, format="mkv"), IMAGE, heic):
        assert warned(ask(media)) == ()
    webm, film = replace(AUDIO, format="webm"), replace(VIDEO, format="ts")
    for media in (webm, film, replace(IMAGE, format="gif"), replace(IMAGE, format="avif")):
        assert judged(ask(media)) == ()
        (warning,) = warned(ask(media))
        assert f"is {media.format}; qwen3-omni-flash is documented for" in warning
    linked = replace(VIDEO, path=None, url="https://h/film", format="mp3", probed=False)
    assert warned(ask(linked)) == ()


def test_above_4k_two_formats_of_images_are_documented() -> None:
    phone = replace(IMAGE, width_px=4032, height_px=3024)
    assert warned(ask(phone)) == ()
    (warning,) = warned(ask(replace(phone, format="heic")))
    assert "4032 x 3024 pixels as heic; above 4K the vendor documents jpeg, png" in warning
    assert warned(ask(replace(phone, format="heic", width_px=1008, height_px=756))) == ()


@pytest.mark.parametrize(
    ("media", "limit"),
    [
        (replace(VIDEO, duration_s=1.96), "2 s at least"),
        (replace(VIDEO, duration_s=150.04), "150 s at most"),
        (replace(AUDIO, duration_s=1200.06), "1,200 s at most"),
    ],
)
def test_a_length_beyond_its_limit_by_a_hair_is_sent_and_doubted(media: Media, limit: str) -> None:
    assert judged(ask(media)) == ()
    (warning,) = warned(ask(media))
    assert limit in warning
    assert "measured to 0.1 s" in warning


@pytest.mark.parametrize("media", [AUDIO, VIDEO])
def test_a_length_that_is_a_guess_refuses_nothing(media: Media) -> None:
    long = replace(media, duration_s=9_000.0)
    assert f"{media.kind}-too-long" in rules(ask(long))
    guessed = replace(long, duration_guessed=True)
    assert judged(ask(guessed, thinking=True)) == ()
    assert any("9,000 s" in text and "is a guess" in text for text in warned(ask(guessed)))


def test_a_video_is_judged_by_its_pictures_and_its_sound_is_doubted() -> None:
    assert warned(ask(replace(VIDEO, sound_s=10.5))) == ()
    (warning,) = warned(ask(replace(VIDEO, sound_s=30.0)))
    assert "film.mp4 last 10 s, its sound 30 s: each is counted by its own length" in warning
    loud = ask(replace(VIDEO, duration_s=140.0, sound_s=160.0))
    assert judged(loud) == ()
    assert "takes 150 s at most, perhaps of both" in warned(loud)[0]


def test_the_pictures_of_a_video_have_a_shape_too() -> None:
    assert judged(ask(replace(VIDEO, width_px=2000, height_px=10))) == ()
    assert "204 to 1" in the_one(ask(replace(VIDEO, width_px=2040, height_px=10)))


def test_what_was_odd_about_a_medium_is_said_in_its_row() -> None:
    doubt = Doubt("image-damaged", "photo.jpg has no end mark")
    assert verdict(ask(replace(IMAGE, doubts=(doubt,)))).doubts == (doubt,)


def test_a_server_that_takes_some_formats_is_asked_for_no_other() -> None:
    openai: dict[str, Any] = {"dialect": "openai", "model": None}
    flac = replace(AUDIO, format="flac")
    message = the_one(ask(flac, model=UNKNOWN), **openai)
    assert message == "talk.mp3 is flac; openai servers take wav, mp3: convert it to wav"
    assert judged(ask(AUDIO, model=UNKNOWN), **openai) == ()
    photo = replace(IMAGE, format="heic")
    assert "png, jpeg, gif, webp: convert it to png" in the_one(ask(photo, model=UNKNOWN), **openai)
    unseen = replace(flac, path=None, url="https://h/a.flac", probed=False)
    assert judged(ask(unseen, model=UNKNOWN), **openai) == ()
    assert any("nobody looked" in text for text in warned(ask(unseen, model=UNKNOWN), **openai))


def test_a_limit_that_the_catalogue_is_not_sure_of_refuses_nothing() -> None:
    long = ask(replace(VIDEO, duration_s=3_700.0), model=NEWEST)
    assert judged(long) == ()
    assert any("3,700 s" in warning and "not sure" in warning for warning in warned(long))
    photo = ask(IMAGE, model=TEXT)
    assert judged(photo) == ()
    assert any("photo.jpg is image" in warning for warning in warned(photo))


# --- all together ---

EACH = [
    ("no-user-turn", ask(messages=()), {}),
    ("image-too-small", ask(replace(IMAGE, width_px=1)), {}),
    ("image-too-narrow", ask(replace(IMAGE, width_px=9_000, height_px=11)), {}),
    ("image-too-large", ask(replace(IMAGE, size_bytes=10**8)), {}),
    ("audio-too-long", ask(replace(AUDIO, duration_s=1e4)), {}),
    ("audio-too-large", ask(replace(AUDIO, size_bytes=10**9)), {}),
    ("video-too-short", ask(replace(VIDEO, duration_s=0.5)), {}),
    ("video-too-long", ask(replace(VIDEO, duration_s=1e3)), {}),
    ("video-too-large", ask(replace(VIDEO, size_bytes=10**10)), {}),
    ("one-media-kind", ask(IMAGE, AUDIO), {}),
    ("audio-files", ask(AUDIO, AUDIO), {}),
    ("frames-too-few", ask(Frames((IMAGE,))), {}),
    ("frames-too-many", ask(Frames((IMAGE,) * 129)), {}),
    ("input-too-long", ask(film(60)), {"thinking": True}),
    ("speech-not-offered", ask("Hi", model=NEWEST, **SPEECH), {}),
    ("empty-turn", ask(), {}),
    ("last-turn-not-users", ask(messages=(user("a"), Message("assistant", ("b",)))), {}),
    ("media-not-in-user-turn", ask(messages=(Message("system", (IMAGE,)), user("a"))), {}),
    ("turns-not-taken", ask(messages=(user(AUDIO), user(AUDIO)), model=CAPTIONER), {}),
    ("prompt-not-taken", ask(AUDIO, "Listen", model=CAPTIONER), {}),
    ("kind-not-taken", ask(VIDEO, model=CAPTIONER), {}),
    ("no-form-for-kind", ask(VIDEO, model=UNKNOWN), {"dialect": "openai"}),
    ("video-files", ask(VIDEO, VIDEO), {}),
    ("base64-files", ask(*[IMAGE] * 251, model=PLUS), {}),
    ("video-too-narrow", ask(replace(VIDEO, width_px=2040, height_px=10)), {}),
    ("format-not-taken", ask(replace(AUDIO, format="ogg"), model=UNKNOWN), {"dialect": "openai"}),
    ("url-form", ask(replace(LINK, url="ftp://h/i")), {}),
    ("data-uri-form", ask(replace(LINK, url="data:,AAAA")), {}),
    ("data-uri-too-large", ask(replace(LINK, url="data:;base64," + "A" * 10 * MIB)), {}),
    ("speech-with-thinking", ask("Hi", **SPEECH), {"thinking": True}),
    ("speech-not-served", ask("Hi", model=UNKNOWN, **SPEECH), {"dialect": "vllm"}),
    ("voice-missing", ask("Hi", model=UNKNOWN, wants_audio=True), {}),
    ("thinking-not-offered", ask("Hi", model=TURBO), {"thinking": True}),
    ("max-tokens-too-large", ask("Hi", options={"max_tokens": 10**6}), {}),
    ("thinking-budget-too-large", ask("Hi", options={"thinking_budget": 10**6}), {}),
    ("option-not-taken", ask("Hi", options={"enable_search": True}), {}),
    ("several-answers", ask("Hi", options={"n": 2}), {}),
    (
        "option-not-served",
        ask("Hi", options={"top_k": 3}),
        {"dialect": "openai", "laws": RULES_OF_CONFIG},
    ),
    (
        "options-not-shared",
        ask(replace(VIDEO, options=(("fps", 1.0),)), VIDEO, model=UNKNOWN),
        {"dialect": "sglang-omni"},
    ),
    ("voice-not-served", ask("Hi", model=UNKNOWN, **SPEECH), {"dialect": "sglang-omni"}),
    ("thinking-not-served", ask("Hi", model=UNKNOWN, thinking=True), {"dialect": "openai"}),
]


@pytest.mark.parametrize(("rule", "request_", "others"), EACH)
def test_one_violation_of_each(rule: str, request_: Request, others: Any) -> None:
    assert rule in rules(request_, **others)


def test_the_list_of_each_is_whole() -> None:
    folder = Path(__file__).parents[2] / "omni_batch" / "requests" / "rules"
    sources = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    named = set(re.findall(r'"([a-z0-9]+(?:-[a-z0-9]+)+)"', sources))
    doubts = set(re.findall(r'Doubt\(\s*"([a-z0-9-]+)"', sources)) | set(SERVERS)
    assert named - doubts <= {rule for rule, *_ in EACH}


def test_all_violations_are_told_and_not_the_first_only() -> None:
    bad = ask(
        replace(IMAGE, width_px=1, size_bytes=10**8),
        replace(AUDIO, duration_s=1e4),
        wants_audio=True,
        voice="Cherry",
        options={"max_tokens": 10**6, "enable_search": True},
    )
    assert {
        *("image-too-small", "image-too-narrow", "image-too-large", "audio-too-long"),
        *("one-media-kind", "speech-with-thinking", "max-tokens-too-large", "option-not-taken"),
    } <= rules(bad, thinking=True)


def test_an_unknown_model_has_no_limits() -> None:
    huge = replace(VIDEO, duration_s=1e6, size_bytes=10**12)
    tiny = replace(IMAGE, width_px=1)
    options = {"max_tokens": 10**9, "enable_search": True}
    request = ask(huge, huge, tiny, "x" * 10**6, model=UNKNOWN, options=options)
    assert judged(request) == ()
    assert warned(request) == ()


@pytest.mark.parametrize("kind", ["image", "audio", "video"])
@pytest.mark.parametrize("model", [FLASH, TURBO, PLUS, NEWEST])
def test_unknown_sizes_refuse_nothing(kind: MediaKind, model: str) -> None:
    linked = Media(kind, "https://h/m", url="https://h/m", format="mp3")
    assert judged(ask(linked, "What?", model=model)) == ()
    nothing = Media(kind, "m", path=Path("m"), format="jpeg")
    assert judged(ask(nothing, "What?", model=model)) == ()


ANY_NUMBER = st.none() | st.integers(-5, 10**9) | st.sampled_from([10**12, 0])
ANY_FLOAT = st.none() | st.floats()
ANY_MEDIA = st.builds(
    Media,
    kind=st.sampled_from(["image", "audio", "video"]),
    reference=st.text(max_size=20),
    url=st.none() | st.text(max_size=20) | st.just("data:;base64,AAAA"),
    path=st.none() | st.just(Path("p")),
    format=st.text(max_size=4),
    size_bytes=ANY_NUMBER,
    width_px=ANY_NUMBER,
    height_px=ANY_NUMBER,
    duration_s=ANY_FLOAT,
    frames_per_s=ANY_FLOAT,
    has_sound=st.booleans(),
)
ANY_PART = (
    st.text(max_size=20) | ANY_MEDIA | st.builds(Frames, st.lists(ANY_MEDIA, max_size=3).map(tuple))
)
ANY_MESSAGE = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant"]),
    parts=st.lists(ANY_PART, max_size=3).map(tuple),
)
ANY_REQUEST = st.builds(
    Request,
    model=st.sampled_from([FLASH, TURBO, PLUS, NEWEST, CAPTIONER, TEXT, UNKNOWN]),
    messages=st.lists(ANY_MESSAGE, max_size=3).map(tuple),
    modality=st.just("text"),
    wants_audio=st.booleans(),
    voice=st.none() | st.text(max_size=8),
    options=st.dictionaries(
        st.sampled_from(["max_tokens", "thinking_budget", "enable_search", "x"]),
        st.none() | st.integers() | st.text(max_size=3) | st.floats(),
    ),
    media_options=st.dictionaries(st.sampled_from(["fps", "max_pixels", "x"]), st.floats()),
)


@given(ANY_REQUEST, st.integers(0, 10**6), st.booleans(), st.sampled_from(sorted(DIALECTS)))
def test_whatever_the_media_say_nothing_is_raised(
    request_: Request, tokens: int, thinking: bool, dialect: str
) -> None:
    estimate = PromptEstimate(text=tokens)
    for violation in judged(request_, dialect=dialect, thinking=thinking, estimate=estimate):
        assert violation.rule == violation.rule.lower().replace("_", "-")


# --- voices and thinking, as the vendor's editions have them ---


@pytest.mark.parametrize(("kind", "part"), [("image", IMAGE), ("audio", AUDIO), ("video", VIDEO)])
def test_thinking_with_media(kind: str, part: Media) -> None:
    (doubt,) = verdict(ask("Why?", part), thinking=True).doubts
    assert doubt.rule == "thinking-with-media"
    assert f"thinks about {kind}" in doubt.message
    assert "request.thinking: false" in doubt.message
    assert verdict(ask("Why?", part)).doubts == ()
    assert verdict(ask("Why?"), thinking=True).doubts == ()
    assert verdict(ask("Why?", part, model=NEWEST), thinking=True).doubts == ()


def test_voice_of_one_edition() -> None:
    spoken: dict[str, Any] = {"wants_audio": True, "voice": "Serena"}
    (doubt,) = verdict(ask("Hi", **spoken)).doubts
    assert doubt.rule == "voice-of-one-edition"
    assert "one of the 17" in doubt.message
    assert verdict(ask("Hi", model=f"{FLASH}-2025-12-01", **spoken)).doubts == ()
    assert verdict(ask("Hi", model=TURBO, **spoken)).doubts == ()
    (unused,) = verdict(ask("Hi", voice="Serena")).doubts
    assert unused.rule == "voice-without-speech"


def test_limits_that_nobody_states_refuse_nothing() -> None:
    open_weights = "qwen2.5-omni-7b"
    long = replace(AUDIO, duration_s=181.0)
    assert rules(ask("Hi", long, model=TURBO)) == {"audio-too-long"}
    found = verdict(ask("Hi", long, model=open_weights))
    assert found.violations == ()
    assert [doubt.rule for doubt in found.doubts] == ["audio-too-long"]
    three = Frames((IMAGE,) * 3)
    assert rules(ask("Hi", three, model=TURBO)) == {"frames-too-few"}
    assert verdict(ask("Hi", three, model=open_weights)).violations == ()


def test_a_prompt_that_is_too_long_by_token_rules_nobody_states_is_a_warning() -> None:
    large = replace(IMAGE, width_px=4000, height_px=3000)
    assert rules(ask("Hi", *[large] * 39, model=TURBO)) == {"input-too-long"}
    found = verdict(ask("Hi", *[large] * 39, model="qwen2.5-omni-7b"))
    assert found.violations == ()
    assert [doubt.rule for doubt in found.doubts] == ["input-too-long"]
