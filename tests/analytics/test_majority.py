"""The view `majority`: what more than half of an item's samples say, field by field."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_batch.analytics.sql import RunDatabase
from omni_batch.store import RunDir
from tests.support.written_runs import Written, write_run

SCHEMA = {
    "type": "object",
    "properties": {
        "kind": {"type": "string", "enum": ["cat", "dog", "cup"]},
        "count": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "box": {"type": "object", "properties": {'it\'s "odd"': {"type": "boolean"}}},
    },
}


def sampled(item: str, *annotations: Any, variant: str | None = None) -> list[Written]:
    """A row for each sample; None is one that failed."""
    return [
        Written(
            item,
            None if annotation is None else "said",
            annotation,
            columns={"sample": number, "variant": variant},
        )
        for number, annotation in enumerate(annotations, 1)
    ]


def written(folder: Path, rows: list[Written], times: int, **more: Any) -> RunDir:
    return write_run(folder, rows, items=len(rows), times=times, schema=SCHEMA, **more)


def majority(*runs: RunDir) -> list[dict[str, Any]]:
    with RunDatabase() as database:
        database.add(runs)
        return list(database.rows("select * from majority order by run_id, row_number"))


def of_field(folder: Path, *kinds: str | None) -> Any:
    """The majority of one item's labels."""
    rows = sampled("a", *({"kind": kind} for kind in kinds))
    (row,) = majority(written(folder, rows, len(rows)))
    return row["annotation"]["kind"]


@pytest.mark.parametrize(
    ("kinds", "decided"),
    [
        (("cat", "cat", "dog"), "cat"),
        (("cat", "dog"), None),
        (("cat", "cat", "dog", "cup"), None),
        (("cat", "cat", "dog", "cup", "cat"), "cat"),
        (("cat", "cat", None, None, None), "cat"),
        (("cat", None), "cat"),
        ((None, None), None),
    ],
)
def test_more_than_half_of_those_with_a_value_decide(
    tmp_path: Path, kinds: tuple[str | None, ...], decided: str | None
) -> None:
    assert of_field(tmp_path / "run", *kinds) == decided


_KIND = st.sampled_from(["cat", "dog", "cup", None])


@settings(max_examples=5)
@given(items=st.lists(st.lists(_KIND, min_size=5, max_size=5), min_size=20, max_size=60))
def test_a_majority_is_what_counting_says(
    tmp_path_factory: pytest.TempPathFactory, items: list[list[str | None]]
) -> None:
    rows = [
        row
        for number, kinds in enumerate(items)
        for row in sampled(f"item-{number}", *({"kind": kind} for kind in kinds))
    ]
    found = majority(written(tmp_path_factory.mktemp("run") / "run", rows, 5))
    for kinds, row in zip(items, found, strict=True):
        votes = Counter(kind for kind in kinds if kind is not None)
        decided = [kind for kind, count in votes.items() if 2 * count > votes.total()]
        assert row["annotation"]["kind"] == next(iter(decided), None)


def test_each_field_is_voted_on_by_itself(tmp_path: Path) -> None:
    odd = 'it\'s "odd"'
    rows = sampled(
        "a",
        {"kind": "cat", "count": 1, "tags": ["x", "y"], "box": {odd: True}},
        {"kind": "cat", "count": 2, "tags": ["x", "y"], "box": None},
        {"kind": "dog", "count": 3, "tags": [], "box": {odd: None}},
    )
    (row,) = majority(written(tmp_path / "run", rows, 3))
    assert row["annotation"] == {
        "kind": "cat",
        "count": None,
        "tags": ["x", "y"],
        "box": {odd: True},
    }


def test_failed_samples_do_not_vote(tmp_path: Path) -> None:
    rows = [*sampled("a", {"kind": "cat"}, None, None), *sampled("b", None, None, None)]
    decided, undecided = majority(written(tmp_path / "run", rows, 3))
    assert (decided["samples"], decided["answers"]) == (3, 1)
    assert (decided["annotation"]["kind"], decided["text"]) == ("cat", "said")
    assert (undecided["item_id"], undecided["answers"], undecided["text"]) == ("b", 0, None)
    assert undecided["annotation"]["kind"] is None


def test_each_variant_has_a_majority_of_its_own(tmp_path: Path) -> None:
    rows = [
        *sampled("a", {"kind": "cat"}, {"kind": "cat"}, variant="terse"),
        *sampled("a", {"kind": "dog"}, {"kind": "dog"}, variant="long"),
    ]
    found = majority(written(tmp_path / "run", rows, 4))
    assert [(row["variant"], row["annotation"]["kind"]) for row in found] == [
        ("terse", "cat"),
        ("long", "dog"),
    ]


def test_without_samples_each_answer_is_its_own_majority(tmp_path: Path) -> None:
    rows = [Written("a", "one"), Written("b", None)]
    found = majority(write_run(tmp_path / "run", rows, items=2))
    assert [(row["item_id"], row["samples"], row["text"]) for row in found] == [
        ("a", 1, "one"),
        ("b", 1, None),
    ]
    assert all(row["annotation"] is None for row in found)


def test_runs_of_several_schemas_meet_as_json(tmp_path: Path) -> None:
    typed = written(tmp_path / "typed", sampled("a", {"kind": "cat"}), 1)
    plain = write_run(tmp_path / "plain", [Written("a", "one")], items=1)
    without, whole = majority(typed, plain)
    assert without["annotation"] is None
    assert whole["annotation"].startswith('{"kind":"cat"')


def test_a_run_in_progress_shows_the_majority_so_far(tmp_path: Path) -> None:
    rows = sampled("a", {"kind": "cat"}, {"kind": "cat"}, {"kind": "dog"})
    (row,) = majority(written(tmp_path / "run", rows, 3, unfinished_shards=1))
    assert row["annotation"]["kind"] == "cat"
