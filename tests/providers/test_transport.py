"""How a medium is transported: a table of laws."""

from dataclasses import replace
from pathlib import Path

import pytest

from omni_batch.config import MediaConfig
from omni_batch.errors import MediaError
from omni_batch.providers.dialect import Dialect
from omni_batch.providers.dialects import DIALECTS
from omni_batch.providers.transport import (
    Transport,
    choose_transport,
    choose_transports,
    encoded_bytes,
    largest_file_bytes,
)
from omni_batch.types import Media

SMALL = Media("image", "a.jpg", path=Path("a.jpg"), size_bytes=7_000_000)
LARGE = replace(SMALL, size_bytes=8_000_000)
URL = Media("image", "https://x/a.jpg", url="https://x/a.jpg")
HEARD = Media("audio", "https://x/a.mp3", url="https://x/a.mp3")
WRITTEN_OUT = Media("image", "data:", url="data:image/png;base64,AAAA")
UPLOADED = Media("image", "oss://a", url="oss://a")


@pytest.mark.parametrize(
    ("dialect", "transport", "media", "chosen"),
    [
        ("dashscope", "auto", SMALL, "inline"),
        ("dashscope", "auto", LARGE, "upload"),
        ("dashscope", "upload", SMALL, "upload"),
        ("dashscope", "inline", SMALL, "inline"),
        ("dashscope", "auto", URL, "url"),
        ("dashscope", "url", URL, "url"),
        ("dashscope", "inline", URL, "download"),
        ("dashscope", "auto", WRITTEN_OUT, "url"),
        ("dashscope", "inline", WRITTEN_OUT, "url"),
        ("dashscope", "auto", UPLOADED, "url"),
        ("vllm", "auto", LARGE, "inline"),
        ("openai", "auto", URL, "url"),
        ("openai", "auto", HEARD, "download"),
    ],
)
def test_every_medium_has_its_transport(
    dialect: str, transport: str, media: Media, chosen: Transport
) -> None:
    config = MediaConfig.model_validate({"transport": transport})
    assert choose_transport(media, config, DIALECTS[dialect]) == chosen


@pytest.mark.parametrize(
    ("dialect", "transport", "media", "hint"),
    [
        ("dashscope", "url", SMALL, "give its URL"),
        ("dashscope", "inline", LARGE, "10,666,732 bytes inline; the cap is 10,485,760"),
        ("litellm", "auto", LARGE, "or make it smaller"),
        ("vllm", "auto", UPLOADED, "can.t be resolved by vllm"),
    ],
)
def test_a_medium_without_a_transport_is_refused(
    dialect: str, transport: str, media: Media, hint: str
) -> None:
    config = MediaConfig.model_validate({"transport": transport})
    with pytest.raises(MediaError, match=hint):
        choose_transport(media, config, DIALECTS[dialect])


def test_a_file_that_may_be_read_always_has_a_transport() -> None:
    for dialect in DIALECTS.values():
        for transport in ("auto", "inline"):
            config = MediaConfig.model_validate({"transport": transport})
            largest = replace(SMALL, size_bytes=largest_file_bytes(config, dialect))
            assert choose_transport(largest, config, dialect) in ("inline", "upload")


@pytest.mark.parametrize("dialect", [d for d in DIALECTS.values() if d.inline_max_bytes])
def test_the_largest_file_is_the_largest_that_the_cap_takes(dialect: Dialect) -> None:
    largest = replace(
        SMALL, size_bytes=largest_file_bytes(MediaConfig(transport="inline"), dialect)
    )
    larger = replace(largest, size_bytes=(largest.size_bytes or 0) + 1)
    assert dialect.inline_max_bytes is not None
    assert encoded_bytes(largest) <= dialect.inline_max_bytes < encoded_bytes(larger)


@pytest.mark.parametrize(
    ("transport", "media", "chosen"),
    [
        ("auto", URL, "download"),
        ("auto", replace(URL, url="http://x/a.jpg"), "download"),
        ("auto", UPLOADED, "url"),
        ("auto", WRITTEN_OUT, "url"),
        ("auto", SMALL, "upload"),
        ("url", URL, "url"),
    ],
)
def test_what_the_server_could_not_fetch_is_fetched_by_us(
    transport: str, media: Media, chosen: Transport
) -> None:
    config, dialect = MediaConfig.model_validate({"transport": transport}), DIALECTS["dashscope"]
    assert choose_transports([media], config, dialect, unreachable=True) == (chosen,)


def test_encoded_bytes_leave_room_for_the_head_of_a_data_uri() -> None:
    sizes = {encoded_bytes(replace(SMALL, size_bytes=size)) for size in (1, 2, 3)}
    assert sizes == {4 + 64}
    assert encoded_bytes(replace(SMALL, size_bytes=0)) == 64
    assert len("data:video/x-matroska;base64,") <= 64


def test_no_data_uri_is_longer_than_the_cap_of_the_service() -> None:
    """10,485,760 bytes of base64 alone would pass it by the length of their head."""
    edge = replace(SMALL, size_bytes=10_485_760 // 4 * 3)
    assert choose_transport(edge, MediaConfig(), DIALECTS["dashscope"]) == "upload"


def test_many_files_that_are_too_much_together_are_uploaded_largest_first() -> None:
    third, half = replace(SMALL, size_bytes=2_500_000), replace(SMALL, size_bytes=3_500_000)
    dialect, config = DIALECTS["dashscope"], MediaConfig()
    assert choose_transports([third, half, URL], config, dialect) == (
        "inline",
        "inline",
        "url",
    )
    assert choose_transports([third, half, third], config, dialect) == (
        "inline",
        "upload",
        "inline",
    )
    assert choose_transports([third] * 3, MediaConfig(max_body_bytes=1), dialect) == ("upload",) * 3
    assert choose_transports([SMALL] * 9, config, DIALECTS["vllm"]) == ("inline",) * 9


def test_a_body_may_be_as_large_as_its_bound() -> None:
    total, dialect = 2 * encoded_bytes(SMALL), DIALECTS["dashscope"]
    fits, does_not = MediaConfig(max_body_bytes=total), MediaConfig(max_body_bytes=total - 1)
    assert choose_transports([SMALL] * 2, fits, dialect) == ("inline", "inline")
    assert sorted(choose_transports([SMALL] * 2, does_not, dialect)) == ["inline", "upload"]


def test_an_upload_takes_files_of_one_gibibyte() -> None:
    """Of temporary storage (Model Studio, 2026)."""
    for transport in ("auto", "upload"):
        config = MediaConfig(transport=transport)
        assert largest_file_bytes(config, DIALECTS["dashscope"]) == 1024**3
