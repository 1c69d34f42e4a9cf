"""Same fingerprint, same question."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from omni_batch.requests.fingerprint import fingerprint
from omni_batch.types import Frames, Media, Message, Part, Request

FILE = Media("image", "a.png", path=Path("a.png"), sha256="1" * 64, width_px=10)
LINK = Media("image", "https://example.org/a", url="https://example.org/a")
OTHER_LINK = replace(LINK, url="https://example.org/b")


def ask(*parts: Part, **members: Any) -> Request:
    return Request("m", (Message("user", parts or ("Hi",)),), "text", **members)


def of(*parts: Part, **members: Any) -> str:
    return fingerprint(ask(*parts, **members), "there")


def test_it_is_a_sha_256_that_stands_for_ever() -> None:
    assert of() == "98c17290894b741821f7e4f0cad48b102f210783da71bdd6ef6b0695942cd5fc"


def test_everything_that_decides_the_answer_is_in_it() -> None:
    request = ask()
    different = [
        fingerprint(request, "elsewhere"),
        fingerprint(replace(request, model="n"), "there"),
        fingerprint(replace(request, messages=(Message("system", ("Hi",)),)), "there"),
        fingerprint(replace(request, messages=request.messages * 2), "there"),
        of("Ho"),
        of("Hi", FILE),
        of(FILE, "Hi"),
        of("Hi", replace(FILE, sha256="2" * 64)),
        of("Hi", replace(FILE, kind="video")),
        of("Hi", LINK),
        of("Hi", OTHER_LINK),
        of("Hi", Frames((FILE, LINK))),
        of("Hi", Frames((LINK, FILE))),
        of("Hi", Frames((FILE, OTHER_LINK))),
        of("Hi", Frames((replace(FILE, sha256="2" * 64), LINK))),
        of("Hi", FILE, LINK),
        of(wants_audio=True),
        of(wants_audio=True, voice="Cherry"),
        of(thinking=True),
        of(thinking=False),
        of(options={"seed": 1}),
        of(options={"seed": 2}),
        of(response_format={"type": "json_schema"}),
    ]
    assert len({of(), *different}) == 1 + len(different)


@pytest.mark.parametrize(
    "other",
    [
        replace(FILE, reference="copy.png", path=Path("copy.png")),
        replace(FILE, mime_type="image/png", width_px=None),
    ],
)
def test_a_file_counts_by_its_content_alone(other: Media) -> None:
    assert of(other) == of(FILE)


def test_the_order_of_sampling_means_nothing() -> None:
    assert of(options={"seed": 1, "top_k": 2}) == of(options={"top_k": 2, "seed": 1})


def test_the_modality_is_derived_and_adds_nothing() -> None:
    assert fingerprint(replace(ask(), modality="image"), "there") == of()
