"""Cells as people and their tools write them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.errors import ManifestError
from omni_batch.requests.manifest.cells import (
    is_blank,
    item_id,
    kept,
    reference,
    references,
    shown_value,
    text,
)

JPEG = b"\xff\xd8\xff\xe0"
WRITTEN = "data:;base64,/9j/4A=="


@pytest.mark.parametrize(
    "value", [None, "", " ", "\u00a0", "\t\r\n", "\u200b", "\ufeff", [], float("nan")]
)
def test_blank_cells_are_empty(value: Any) -> None:
    assert is_blank(value)
    assert text(value) is None
    assert item_id(value) is None
    assert references(value, splits=True) == ((), False)
    assert reference(value) is None


@pytest.mark.parametrize("value", ["x", " x", "0", 0, False, 0.0, "nan", "null", [""], {}])
def test_other_cells_are_not(value: Any) -> None:
    assert not is_blank(value)


@pytest.mark.parametrize(
    ("value", "splits", "expected"),
    [
        ("a.jpg|b.jpg", True, ("a.jpg", "b.jpg")),
        ("a.jpg | b.jpg", True, ("a.jpg", "b.jpg")),
        ("a.jpg|b.jpg", False, ("a.jpg|b.jpg",)),
        ('["a.jpg", "b.jpg"]', True, ("a.jpg", "b.jpg")),
        ('["https://h/a?f=1|2"]', True, ("https://h/a?f=1|2",)),
        ("['a.jpg', 'b.jpg']", True, ("a.jpg", "b.jpg")),
        ("['it\\'s.jpg',]", True, ("it's.jpg",)),
        ('["a.jpg"]', False, ("a.jpg",)),
        ("[1]", True, ("[1]",)),
        ("[draft] a.jpg", True, ("[draft] a.jpg",)),
        ("a.jpg ", True, ("a.jpg ",)),
        ("\na.jpg\r\n", True, ("a.jpg",)),
        (" https://h/a.jpg\n", False, ("https://h/a.jpg",)),
        (["a.jpg", "b.jpg"], False, ("a.jpg", "b.jpg")),
        (JPEG, False, (WRITTEN,)),
        ([JPEG, JPEG], False, (WRITTEN, WRITTEN)),
        ({"bytes": JPEG, "path": "a.jpg"}, False, (WRITTEN,)),
        ({"bytes": None, "path": "a.jpg"}, False, ("a.jpg",)),
        ({"bytes": b"", "path": "a.jpg"}, False, ("a.jpg",)),
        ([{"bytes": JPEG, "path": None}, {"bytes": None, "path": "b"}], False, (WRITTEN, "b")),
        ({"url": "https://h/a.jpg"}, False, ("https://h/a.jpg",)),
    ],
)  # fmt: skip
def test_references_in_all_their_forms(value: Any, splits: bool, expected: tuple[str, ...]) -> None:
    assert references(value, splits=splits) == (expected, False)


@pytest.mark.parametrize(
    "value", ["a.jpg|", "|a.jpg", "|a.jpg|  |", ["a.jpg", None], ["", "a.jpg"], '["a.jpg", null]']
)
def test_empty_entries_are_left_out_and_said(value: Any) -> None:
    assert references(value, splits=True) == (("a.jpg",), True)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (7, "is 7; expected references"),
        ([["a.jpg"]], "expected references"),
        ("['a.jpg' 'b.jpg']", r'write a\.jpg\|b\.jpg or \["a\.jpg", "b\.jpg"\]'),
        ("['a.jpg', 7]", "not a list of references"),
        ({"bytes": None, "path": None}, "expected bytes or a path in it"),
        ({"path": None, "array": [0.1], "sampling_rate": 16000}, "is a decoded recording"),
        (bytes(13_000_000), "has 13,000,000 bytes; 12,582,912 at most: give a file or a URL"),
    ],
)  # fmt: skip
def test_other_cells_of_media_are_refused(value: Any, said: str) -> None:
    with pytest.raises(ManifestError, match=said):
        references(value, splits=True)


def test_a_recording_may_stand_in_a_list_alone() -> None:
    assert reference(["a.wav"]) == reference('["a.wav"]') == "a.wav"
    assert reference({"bytes": None, "path": "a|b.wav"}) == "a|b.wav"
    with pytest.raises(ManifestError, match="contains 2 references; it takes one"):
        reference(["a.wav", "b.wav"])


@pytest.mark.parametrize(
    ("value", "expected"), [(7, "7"), (7.0, "7"), ("7.0", "7.0"), ("007", "007")]
)
def test_whole_numbers_are_ids(value: Any, expected: str) -> None:
    assert item_id(value) == expected


@pytest.mark.parametrize("value", [True, 7.5, 1e20, float("inf"), b"x", ["a"]])
def test_other_values_are_no_ids(value: Any) -> None:
    with pytest.raises(ManifestError, match="expected a text or a whole number"):
        item_id(value)


@pytest.mark.parametrize(
    ("value", "expected", "change"),
    [
        (bytes(5_242_880), "<5,242,880 bytes>", "binary"),
        ([b"ab"], ["<2 bytes>"], "binary"),
        ({"bytes": b"a", "path": "x"}, {"bytes": "<1 bytes>", "path": "x"}, "binary"),
        (WRITTEN, "<4 bytes>", "binary"),
        ("data:image/png;base64,AA==", "data:image/png;base64,AA==", None),
        (float("inf"), None, "infinite"),
        ({"x": [float("-inf")]}, {"x": [None]}, "infinite"),
        (float("nan"), None, None),
        (["a", 1, None], ["a", 1, None], None),
    ],
)
def test_binary_and_infinity_are_not_carried_along(value: Any, expected: Any, change: Any) -> None:
    assert kept(value) == (expected, change)


@given(st.binary(max_size=40))
def test_no_bytes_are_shown(data: bytes) -> None:
    assert shown_value({"bytes": data}) == f"{{'bytes': '<{len(data)} bytes>'}}"
    assert shown_value(data) == f"<{len(data)} bytes>"
