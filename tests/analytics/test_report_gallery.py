"""The list of items in a report: within its budget, and inside media.roots."""

import json
import shutil
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.analytics.report import write_report
from omni_batch.analytics.report.cells import shortened
from omni_batch.analytics.report.gallery import FIELDS, Gallery, make_gallery
from omni_batch.analytics.report.thumbnails import Thumbnails, thumbnail
from omni_batch.store.record import read_record
from tests.benchmarks.report_runs import synthetic_run
from tests.conftest import SAMPLE, read_table
from tests.support.written_runs import Written, write_run


def test_large_runs_list_failures_first_within_a_budget_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("MOST_RECORDS", 300), ("FAILED_FIRST", 100), ("PACKED_BYTES", 30_000)):
        monkeypatch.setattr(f"omni_batch.analytics.report.gallery._{name}", value)
    monkeypatch.setattr("omni_batch.analytics.report.gallery._PACK_RECORDS", 50)
    directory = synthetic_run(tmp_path, 800)
    gallery = make_gallery(directory, read_record(directory.record))
    records = [record for pack in gallery.packs for record in json.loads(zlib.decompress(pack))]
    ids = {record[FIELDS.index("id")] for record in records}
    failed = {row["item_id"] for row in read_table(directory.root) if row["status"] == "failed"}
    assert failed <= ids
    assert (gallery.seen, gallery.records) == (800, len(records))
    assert 150 < gallery.records <= 300
    assert sum(map(len, gallery.packs)) < 1.1 * 30_000
    assert max(len(record[FIELDS.index("answer")] or "") for record in records) > 60
    page, _ = write_report(directory)
    assert f"{gallery.records} of 800 items are listed here" in page.read_text()


def test_nothing_outside_the_roots_is_linked_or_decoded(tmp_path: Path) -> None:
    (tmp_path / "base" / "in").mkdir(parents=True)
    for name in ("secret.jpg", "base/in/photo.jpg"):
        shutil.copy(SAMPLE / "photos" / "coffee.jpg", tmp_path / name)
    (tmp_path / "base" / "in" / "way-out.jpg").symlink_to(tmp_path / "secret.jpg")
    outside = (
        *("../secret.jpg", str(tmp_path / "secret.jpg"), "in/way-out.jpg", "in/../../secret.jpg"),
        *("in/gone.jpg", "in", "in/..", "oss://bucket/photo.jpg", "javascript:alert(1)"),
    )
    references = ["in/photo.jpg", "https://example.com/photo.jpg", *outside]
    rows = [
        Written(f"i{n}", columns={"image": (reference,)}) for n, reference in enumerate(references)
    ]
    run = write_run(
        tmp_path / "runs" / "one",
        rows,
        items=len(rows),
        base_folder=tmp_path / "base",
        media_roots=["in"],
    )
    gallery = make_gallery(run, read_record(run.record))
    photo, web, *others = [media for (media,) in members(gallery, "media")]
    assert photo[2:] == ["../../base/in/photo.jpg", 0]
    assert web[2:] == ["https://example.com/photo.jpg", None]
    assert [medium[2:] for medium in others] == [[None, None]] * len(outside)
    assert len(gallery.thumbnails.pictures) == 1


def test_a_report_needs_no_media_folder(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run",
        [Written("a", columns={"image": ("photo.jpg",)})],
        items=1,
        media_roots=["gone"],
    )
    (media,) = members(make_gallery(run, read_record(run.record)), "media")
    assert media == [["image", "photo.jpg", None, None]]


def members(gallery: Gallery, name: str) -> list[Any]:
    records = [record for pack in gallery.packs for record in json.loads(zlib.decompress(pack))]
    return [record[FIELDS.index(name)] for record in records]


def test_thumbnails_keep_to_their_budget_and_survive_broken_files() -> None:
    photos = sorted((SAMPLE / "photos").iterdir())
    thumbnails = Thumbnails(budget_bytes=20_000)
    numbers = [thumbnails.number(path, "image", make=True) for path in (*photos, *photos)]
    assert 0 < sum(map(len, thumbnails.pictures)) <= 20_000
    assert numbers[: len(photos)] == numbers[len(photos) :]
    assert thumbnail(SAMPLE / "photos" / "broken-photo.jpg", "image") is None
    assert (thumbnail(SAMPLE / "video" / "espresso.mp4", "video") or b"").startswith(b"\xff\xd8")


@given(st.text(max_size=80), st.integers(4, 100))
def test_a_text_is_cut_between_characters(text: str, most_bytes: int) -> None:
    cut = shortened(text, most_bytes)
    assert len(cut.encode("utf-8", "replace")) <= most_bytes + len("…".encode())
    assert cut == text or cut.endswith("…")


def test_typed_answers_are_cells_of_texts(tmp_path: Path) -> None:
    """By their names, whatever the type; those of two cases are two."""
    kinds = {
        "Label": {"enum": ["cat", "dog"]},
        "label": {"enum": ["cat", "dog"]},
        "sure": {"type": "boolean"},
        "count": {"type": "integer"},
        "score": {"type": "number"},
        "day": {"type": "string", "format": "date"},
        "box": {"type": "object", "properties": {"w": {"enum": [0.5, 1.0]}}},
        "tags": {"type": "array", "items": {"type": "string"}},
        "parts": {
            "type": "array",
            "items": {"type": "object", "properties": {"of": {"type": "number"}}},
        },
        "by_name": {"type": "object", "additionalProperties": {"type": "integer"}},
    }
    answer = {
        "Label": "cat", "label": "dog", "sure": True, "count": 2**53 + 1, "score": 0.25,
        "day": "2026-03-01", "box": {"w": 1.0}, "tags": [str(n) for n in range(22)],
        "parts": [{"of": 2.0}], "by_name": [{"key": "a", "value": 1}],
    }  # fmt: skip
    rows = [
        Written("a", annotation=answer),
        Written("b", annotation=dict.fromkeys(kinds)),
        Written("c", None),
    ]
    schema = {"type": "object", "properties": kinds}
    run = write_run(tmp_path / "run", rows, items=3, schema=schema)
    first, empty, failed = members(make_gallery(run, read_record(run.record)), "cells")
    assert first == [
        "cat", "dog", "true", "9007199254740993", "0.25", "2026-03-01", "1",
        [*(str(n) for n in range(20)), "… and 2 more"], ['{"of":2.0}'], ['{"key":"a","value":1}'],
    ]  # fmt: skip
    assert (empty, failed) == ([None] * len(kinds), None)


def test_an_answer_without_room_is_its_cells_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omni_batch.analytics.report.gallery._TEXT_BYTES", (60, 80))
    schema = {"type": "object", "properties": {"note": {"type": "string"}}}
    rows = [Written(note, note, {"note": note}) for note in ("short", "long " * 40)]
    run = write_run(tmp_path / "run", rows, items=2, schema=schema)
    gallery = make_gallery(run, read_record(run.record))
    assert members(gallery, "answer") == ["short", None]
    assert len(members(gallery, "cells")[1][0]) <= 81


def test_answers_to_one_question_are_all_listed_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("MOST_RECORDS", 300), ("FAILED_FIRST", 0)):
        monkeypatch.setattr(f"omni_batch.analytics.report.gallery._{name}", value)
    directory = synthetic_run(tmp_path, 800, samples=4)
    gallery = make_gallery(directory, read_record(directory.record))
    listed = Counter(members(gallery, "id"))
    assert 50 < gallery.records <= 300
    assert set(listed.values()) == {4}
