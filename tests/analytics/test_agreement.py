"""How far two sides agree on typed answers, held against what other people's software says."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch.analytics import dealt
from omni_batch.analytics.agreement import Agreement, Comparer, LabelTally, cohens_kappa
from omni_batch.analytics.truth import compare_with_truth
from omni_batch.annotation.shape import read_shape
from omni_batch.errors import ConfigError
from tests.support.written_runs import Written, write_run

ANIMALS = {"enum": ["cat", "dog", "bird"]}


def compared(schema: Any, left: list[Any], right: list[Any]) -> list[Agreement]:
    shape = read_shape({"type": "object", "properties": {"field": schema}})
    comparer = Comparer(shape, shape)
    for a, b in zip(left, right, strict=True):
        comparer.add(None if a is None else {"field": a}, None if b is None else {"field": b})
    return comparer.agreements()


@pytest.mark.parametrize(
    ("table", "kappa"),
    [
        # Both from the article on Cohen's kappa in Wikipedia, read 2026-11.
        ([[20, 5], [10, 15]], 0.4),
        ([[45, 15], [25, 15]], 0.1304),
        ([[25, 35], [5, 35]], 0.2593),
        ([[10, 0], [0, 10]], 1.0),
        ([[0, 10], [10, 0]], -1.0),
        ([[25, 25], [25, 25]], 0.0),
        ([[10, 0], [0, 0]], None),
    ],
)
def test_kappa_has_its_known_values(table: list[list[int]], kappa: float | None) -> None:
    pairs = {(a, b): count for a, row in enumerate(table) for b, count in enumerate(row)}
    found = cohens_kappa(pairs)
    assert found == (None if kappa is None else pytest.approx(kappa, abs=5e-5))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1))
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    from sklearn.metrics import cohen_kappa_score

    left, right = zip(*pairs, strict=True)
    found = cohens_kappa(Counter(pairs))
    if found is None:
        assert len({*left, *right}) == 1
    else:
        assert found == pytest.approx(cohen_kappa_score(left, right), abs=1e-9)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abcd")), min_size=1))
def test_figures_of_classes_are_those_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    from sklearn.metrics import precision_recall_fscore_support

    tally = LabelTally()
    for true, said in pairs:
        tally.add(true, said)
    classes = list(tally.classes())
    truths, answers = zip(*pairs, strict=True)
    expected = precision_recall_fscore_support(
        truths, answers, labels=[each.label for each in classes], zero_division=0
    )
    for each, precision, recall, f1, support in zip(classes, *expected, strict=True):
        assert (each.precision or 0, each.recall or 0) == pytest.approx((precision, recall))
        assert (each.f1, each.support) == pytest.approx((f1, support))
        assert (each.precision is None) == (each.label not in answers)
        assert (each.recall is None) == (each.label not in truths)


def test_pairs_with_a_missing_side_do_not_count() -> None:
    (found,) = compared(ANIMALS, ["cat", None, "dog", "dog"], ["cat", "dog", None, "bird"])
    assert (found.items, found.agreed) == (2, 1)
    (nothing,) = compared(ANIMALS, ["cat", None], [None, "dog"])
    assert (nothing.items, nothing.kappa) == (0, None)


def test_one_label_only_defines_no_kappa_and_a_constant_side_gives_0() -> None:
    (same,) = compared(ANIMALS, ["cat"] * 3, ["cat"] * 3)
    (constant,) = compared(ANIMALS, ["cat"] * 4, ["cat", "dog"] * 2)
    (swapped,) = compared(ANIMALS, ["cat", "dog"] * 2, ["dog", "cat"] * 2)
    assert (same.kappa, constant.kappa, swapped.kappa) == (None, 0.0, -1.0)


def test_what_a_field_is_decides_how_it_is_compared() -> None:
    (truths,) = compared({"type": "boolean"}, [True, False, True, True], [True, False, False, True])
    assert truths.kappa == pytest.approx(0.5)
    (levels,) = compared({"enum": [1, 2, 3, 5]}, [1, 2, 3, 3, 2, 1, 5], [1, 2, 3, 2, 2, 1, 1])
    assert levels.kappa == pytest.approx(0.6)
    (numbers,) = compared({"type": "number"}, [1, 2, 3, 4.5], [1.5, 2, 2, 4.5])
    assert (numbers.mean_error, numbers.mean_absolute_error) == (-0.125, 0.375)
    strings = {"type": "array", "items": {"type": "string"}}
    (lists,) = compared(strings, [["a", "b"], ["a"], []], [["b", "a", "a"], ["b"], []])
    assert lists.jaccard == pytest.approx(2 / 3)


def test_free_texts_are_labels_only_where_they_are_few() -> None:
    text = {"type": "string"}
    assert compared(text, ["x", "y"] * 2, ["x", "y"] * 2)[0].agreed == 4
    assert compared(text, ["a caption", "another"], ["a third", "a fourth"]) == []
    many = [str(number) for number in range(30)] * 3
    assert compared(text, many, many) == []


def test_the_text_none_is_a_label() -> None:
    (found,) = compared({"type": "string"}, ["None", "None"], ["None", None])
    assert (found.items, found.agreed) == (1, 1)


# --- against a truth ---

SCHEMA = {
    "type": "object",
    "properties": {
        "label": ANIMALS,
        "box": {"type": "object", "properties": {"w": {"type": "number"}}},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}


@pytest.fixture
def run(tmp_path: Path) -> Any:
    rows = [
        Written("a", annotation={"label": "cat", "box": {"w": 1.5}, "tags": None}),
        Written("b", annotation={"label": "bird", "box": {"w": 2.0}, "tags": None}),
        Written("c", annotation={"label": "dog", "box": None, "tags": None}),
        Written("d", None),
    ]
    return write_run(tmp_path / "run", rows, items=4, schema=SCHEMA)


def truth(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text(text)
    return path


def test_labels_are_held_against_a_truth(run: Any, tmp_path: Path) -> None:
    path = truth(tmp_path, "item_id,label\na,cat\nb,cat\nc,dog\nd,dog\nz,dog\n")
    found = compare_with_truth(run, path, "label")
    assert (found.items, found.without_answer) == (3, 2)
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.classes is not None
    assert found.classes["cat"].recall == 0.5
    assert (found.classes["bird"].precision, found.classes["bird"].recall) == (0, None)


def test_numbers_are_held_against_a_truth_of_another_name(run: Any, tmp_path: Path) -> None:
    path = truth(tmp_path, "item_id,width\na,1\nb,3\nc,1\n")
    found = compare_with_truth(run, path, "box.w", "width")
    assert (found.items, found.mean_error, found.mean_absolute_error) == (2, -0.25, 0.75)


def test_a_truth_is_held_against_a_run_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever order its rows are; items without a truth, and truths without an item."""
    rows = [Written(f"item-{n}", annotation={"label": "cat", "box": None}) for n in range(50)]
    run = write_run(tmp_path / "run", rows, items=50, schema=SCHEMA)
    lines = [f"item-{n},{'cat' if n % 3 else 'dog'}" for n in reversed(range(10, 70))]
    path = truth(tmp_path, "\n".join(["item_id,label", *lines]))
    whole = compare_with_truth(run, path, "label")
    assert (whole.items, whole.without_answer, whole.without_truth) == (40, 20, 10)
    assert whole.accuracy == 27 / 40
    monkeypatch.setattr(dealt, "_PIECE_ROWS", 7)
    assert compare_with_truth(run, path, "label") == whole


@pytest.mark.parametrize(
    ("table", "field", "says"),
    [
        ("item_id,label\na,cat\n", "lable", "did you mean label"),
        ("item_id,kind\na,cat\n", "label", "no column 'label'"),
        ("id,label\na,cat\n", "label", "no column 'item_id'"),
        ("item_id,label\nx,cat\n", "label", "no item_id in common"),
        ("item_id,label\na,cat\na,dog\n", "label", "'a' has two different truths"),
        ("item_id,box.w\na,wide\n", "box.w", "'wide' is not a number"),
        ("item_id,tags\na,x\n", "tags", "can't be held against a list"),
        ("", "label", "it has none"),
    ],
)
def test_a_truth_that_does_not_match_is_refused(
    run: Any, tmp_path: Path, table: str, field: str, says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        compare_with_truth(run, truth(tmp_path, table), field)
    assert says in str(caught.value)
