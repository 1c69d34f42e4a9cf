"""A bill that is no larger than the text explains says that the media were not read."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.errors import MediaIgnored
from omni_batch.progress.spending.media_bill import (
    MEDIA_NOT_BILLED,
    ROWS_THAT_STOP,
    MediaBills,
    bill_doubts,
    media_were_billed,
)
from omni_batch.types import (
    Answer,
    Attempt,
    Frames,
    Item,
    Media,
    Message,
    Part,
    Request,
    Response,
    Result,
    Usage,
)

PICTURE = Media("image", "a.png", path=Path("a.png"), width_px=500, height_px=340)
SOUND = Media("audio", "a.wav", path=Path("a.wav"), duration_s=6.0)
CLIP = Media("video", "a.mp4", path=Path("a.mp4"), width_px=320, height_px=240, duration_s=4.0)
SOMEWHERE = Media("image", "https://example.com/a.jpg", url="https://example.com/a.jpg")


def request(*parts: Part) -> Request:
    return Request("m", (Message("user", (*parts, "What is it?")),), "image")


def bill(prompt_tokens: int, **details: int) -> Usage:
    return Usage(prompt_tokens, 5, prompt_tokens + 5, **details)


@pytest.mark.parametrize("part", [PICTURE, SOUND, CLIP, Frames((PICTURE, PICTURE))])
def test_a_bill_of_the_text_alone_is_noticed(part: Part) -> None:
    asked = request(part)
    assert media_were_billed(asked, 196, 18, bill(13)) is False
    assert media_were_billed(asked, 196, 18, bill(13, prompt_text_tokens=13)) is False
    assert media_were_billed(asked, 196, 18, bill(193)) is True


@pytest.mark.parametrize("tokens", [64, 85, 160, 231, 1000])
def test_a_server_may_count_media_by_rules_of_its_own(tokens: int) -> None:
    assert media_were_billed(request(PICTURE), 196, 18, bill(15 + tokens)) is True


@pytest.mark.parametrize("kind", ["image", "audio", "video"])
def test_details_that_name_media_are_believed(kind: str) -> None:
    usage = bill(13, **{f"prompt_{kind}_tokens": 4})
    assert media_were_billed(request(PICTURE), 196, 18, usage) is True


def test_media_that_could_hide_in_the_error_of_the_text_are_not_judged() -> None:
    assert media_were_billed(request(PICTURE), 2066, 2000, bill(1500)) is None


def test_without_media_there_is_nothing_to_judge() -> None:
    assert media_were_billed(request(), 18, 18, bill(13)) is None
    assert media_were_billed(request(), 18, 18, bill(13, prompt_image_tokens=4)) is None


@pytest.mark.parametrize(
    ("media", "billed", "judged"),
    [
        (131, 10, None),  # 1.2 times 100 tokens of text and 12 are needed
        (132, 10, False),
        (132, 114, False),  # up to 1.1 times the text and 4
        (132, 115, True),
    ],
)
def test_where_the_lines_are(media: int, billed: int, judged: bool | None) -> None:
    assert media_were_billed(request(PICTURE), 100 + media, 100, bill(billed)) is judged


def test_a_length_that_is_guessed_is_no_measure() -> None:
    guessed = Media("audio", "a.mp3", path=Path("a.mp3"), duration_s=6.0, duration_guessed=True)
    assert media_were_billed(request(guessed), 900, 100, bill(95)) is True
    assert media_were_billed(request(SOUND), 900, 100, bill(95)) is False
    assert media_were_billed(request(guessed, SOUND), 900, 100, bill(90)) is False


def test_media_of_unknown_size_are_doubted_only_where_the_bill_is_below_the_text() -> None:
    asked = request(SOMEWHERE)
    assert media_were_billed(asked, 900, 100, bill(80)) is False
    assert media_were_billed(asked, 900, 100, bill(100)) is True


def test_the_row_says_both_numbers() -> None:
    (doubt,) = bill_doubts(request(PICTURE), 196, 18, bill(13))
    assert doubt.rule == MEDIA_NOT_BILLED
    assert "13 prompt tokens were billed where 196 were expected, 178 of them" in doubt.message
    assert list(bill_doubts(request(PICTURE), 196, 18, bill(193))) == []
    assert list(bill_doubts(request(PICTURE), 196, 18, None)) == []


@given(
    text=st.integers(16, 3000),
    error=st.floats(0.7, 1.3),
    media=st.integers(60, 20_000),
    of_the_vendor=st.floats(1 / 3, 3),
)
def test_no_server_that_reads_the_media_is_accused(
    text: int, error: float, media: int, of_the_vendor: float
) -> None:
    billed = bill(round(text * error + media * of_the_vendor))
    assert media_were_billed(request(PICTURE), text + media, text, billed) is not False


# --- several rows ---


def row(prompt_tokens: int, endpoint: str = "a", part: Part = PICTURE) -> Result:
    when = datetime(2026, 1, 2, tzinfo=UTC)
    usage = bill(prompt_tokens)
    return Result(
        Item("x", 0),
        when,
        1.0,
        attempts=(Attempt(1, when, 1.0, endpoint=endpoint, usage=usage),),
        request=request(part),
        answer=Answer(Response("A cat.", None, "stop", usage, None, None), None),
        estimated_prompt_tokens=196,
        estimated_text_tokens=18,
    )


IGNORED, READ = row(13), row(193)


def taken_in(*rows: Result) -> None:
    bills = MediaBills()
    for one in rows:
        bills.item_ended(one)


def test_several_such_rows_stop_the_run() -> None:
    taken_in(*[IGNORED] * (ROWS_THAT_STOP - 1))
    with pytest.raises(MediaIgnored, match="endpoint a billed no tokens for the media of 5 rows"):
        taken_in(*[IGNORED] * ROWS_THAT_STOP)


def test_a_row_without_a_bill_says_nothing() -> None:
    unbilled = replace(IGNORED, answer=None)
    taken_in(*[unbilled] * 50)


def test_only_rows_that_were_sent_are_judged() -> None:
    taken_in(*[replace(IGNORED, attempts=())] * 50)
    taken_in(*[replace(IGNORED, reused_from="run-0")] * 50)
    taken_in(*[replace(IGNORED, request=None)] * 50)


def test_one_row_whose_media_were_billed_clears_its_endpoint() -> None:
    taken_in(*[IGNORED] * 4, READ, *[IGNORED] * 50)


def test_another_endpoint_is_not_cleared_by_it() -> None:
    with pytest.raises(MediaIgnored, match="endpoint b"):
        taken_in(READ, *[row(13, "b")] * ROWS_THAT_STOP)
