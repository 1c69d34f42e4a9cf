"""What a report says of typed answers: their values, what broke the schema, their samples."""

import asyncio
import json
import math
from collections.abc import Sequence
from itertools import permutations, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import omni_batch
from omni_batch.analytics.report.collect import collect
from omni_batch.analytics.report.facts import FieldFigures, TypedAnswers, ValueCount
from omni_batch.analytics.report.typed import typed_answers
from omni_batch.analytics.sql import RunDatabase
from omni_batch.cli.main import app
from omni_batch.errors import AnnotationError
from omni_batch.simulator import Simulator, reply
from omni_batch.store import RunDir
from tests.conftest import MakeConfig, prompts
from tests.support.written_runs import Written, write_run

ANIMALS = {"enum": ["cat", "dog", "bird"]}


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def typed(run: RunDir) -> TypedAnswers:
    with RunDatabase() as database:
        (record,) = database.add([run])
        found = typed_answers(database, record)
    assert found is not None
    return found


def of_values(folder: Path, kind: dict[str, Any], values: Sequence[Any]) -> FieldFigures:
    """The figures of one field with these values, None being a missing one."""
    rows = [Written(f"i{n}", annotation={"f": value}) for n, value in enumerate(values)]
    (found,) = typed(write_run(folder / "run", rows, items=len(rows), schema=schema(f=kind))).fields
    return found


def counts(found: FieldFigures) -> dict[str, int]:
    return {each.value: each.rows for each in found.values}


# --- what fields hold ---


def test_labels_are_counted_and_what_is_missing_apart(tmp_path: Path) -> None:
    found = of_values(tmp_path, ANIMALS, ["dog", None, "dog", "cat", "dog"])
    assert (found.field, found.kind, found.rows, found.missing) == ("f", "label", 4, 1)
    assert found.values == (
        ValueCount("dog", 3, 0.75),
        ValueCount("cat", 1, 0.25),
        ValueCount("bird", 0, 0.0),
    )


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ({"type": "boolean"}, [True, False, True], {"true": 2, "false": 1}),
        ({"enum": [3, 1, 2]}, [1, 2, 1], {"3": 0, "1": 2, "2": 1}),
        ({"enum": [0.5, 1.0]}, [1.0, 0.5, 1.0], {"0.5": 1, "1": 2}),
        (ANIMALS, [None, None], {"cat": 0, "dog": 0, "bird": 0}),
        ({"type": "string"}, ["x", "None", "None", None, "x"], {"None": 2, "x": 2}),
        ({"type": "string"}, ["one caption", "another"], {}),
        (
            {"type": "array", "items": {"type": "string"}},
            [["a", "b"], ["a", "a"], [], None],
            {"a": 2, "b": 1},
        ),
        ({"type": "array", "items": {"type": "number"}}, [[1.0, 0.5], [1.0]], {"1": 2, "0.5": 1}),
    ],
)
def test_values_are_named_as_the_schema_names_them(
    tmp_path: Path, kind: dict[str, Any], values: list[Any], expected: dict[str, int]
) -> None:
    assert counts(of_values(tmp_path, kind, values)) == expected


def test_of_many_elements_the_most_frequent_are_listed(tmp_path: Path) -> None:
    lists = [[str(number), "all"] for number in range(30)]
    found = of_values(tmp_path, {"type": "array", "items": {"type": "string"}}, lists)
    assert found.values[0] == ValueCount("all", 30, 1.0)
    assert (len(found.values), found.different, found.other_values) == (20, 31, 11)


def test_numbers_have_a_spread(tmp_path: Path) -> None:
    found = of_values(tmp_path, {"type": "integer"}, [1, 2, 3, 4, 10, None])
    assert (found.rows, found.missing, found.values) == (5, 1, ())
    spread = found.spread
    assert spread is not None
    assert (spread.least, spread.median, spread.largest, spread.mean) == (1, 3, 10, 4)
    assert spread.deviation == pytest.approx(math.sqrt(50 / 4))
    assert (spread.p25, spread.p75) == (2, 4)
    one = of_values(tmp_path / "one", {"type": "number"}, [0.5]).spread
    assert one is not None
    assert (one.mean, one.deviation) == (0.5, None)


def test_numbers_that_have_no_sum_stop_no_report(tmp_path: Path) -> None:
    spread = of_values(tmp_path, {"type": "number"}, [1.7e308, 1.7e308]).spread
    assert spread is not None
    assert (spread.mean, spread.largest) == (None, 1.7e308)


def test_fields_of_objects_are_fields_and_names_are_taken_to_the_letter(tmp_path: Path) -> None:
    """DuckDB takes `Label` for `label`."""
    kinds = schema(Label=ANIMALS, label=ANIMALS, box=schema(**{"it's": {"type": "boolean"}}))
    annotations = [
        {"Label": "cat", "label": "dog", "box": {"it's": True}},
        {"Label": "cat", "label": "dog", "box": None},
    ]
    rows = [Written(f"i{n}", annotation=each) for n, each in enumerate(annotations)]
    found = typed(write_run(tmp_path / "run", rows, items=2, schema=kinds)).fields
    assert [each.field for each in found] == ["Label", "label", "box.it's"]
    assert [each.values[0] for each in found] == [
        ValueCount("cat", 2, 1.0),
        ValueCount("dog", 2, 1.0),
        ValueCount("true", 1, 1.0),
    ]
    assert found[2].missing == 1


def test_an_answer_that_is_no_object_is_one_field(tmp_path: Path) -> None:
    rows = [Written("a", annotation="cat"), Written("b", annotation="cat")]
    (found,) = typed(write_run(tmp_path / "run", rows, items=2, schema=ANIMALS)).fields
    assert (found.field, counts(found)) == ("annotation", {"cat": 2, "dog": 0, "bird": 0})


def test_a_run_without_a_schema_has_no_typed_answers(tmp_path: Path) -> None:
    assert collect(write_run(tmp_path / "run", [Written("a")], items=1)).annotation is None


# --- what broke the schema ---


def broken(item_id: str, message: str) -> Written:
    return Written(item_id, None, error=AnnotationError(message))


def test_violations_are_counted_by_the_first_place_at_fault(tmp_path: Path) -> None:
    kinds = schema(
        label=ANIMALS,
        objects={"type": "array", "items": schema(w={"type": "integer"})},
        **{"a.b": {"type": "boolean"}},
    )
    rows = [
        Written("fine", annotation={"label": "cat", "objects": [], "a.b": None}),
        broken("a", "objects.0.w: 'wide' is not a whole number"),
        broken("b", "objects.12.w: is null, which the schema does not allow"),
        broken("c", "label: 'lion' is not one of cat, dog, bird"),
        broken("d", "there is no JSON in the answer"),
        broken("e", '{"why": 1} is not valid'),
        broken("f", "a.b: 'maybe' is not true or false"),
        Written("g", None, message="label: not of the schema"),
    ]
    found = typed(write_run(tmp_path / "run", rows, items=len(rows), schema=kinds))
    assert (found.rows, found.failed) == (1, 6)
    assert {each.path: each.rows for each in found.violations} == {
        "objects[].w": 2,
        "": 2,
        "a.b": 1,
        "label": 1,
    }
    (first,) = (each for each in found.violations if each.path == "objects[].w")
    assert (first.item_id, first.message) == ("a", "objects.0.w: 'wide' is not a whole number")


def test_rows_that_were_asked_again_are_counted(
    make_config: MakeConfig, simulator: Simulator
) -> None:
    """A failed request that is sent again is none of them."""
    lion, cat = (reply.text(json.dumps({"label": label})) for label in ("lion", "cat"))
    simulator.script(cat, lion, cat, lion, lion, reply.fault("error_503"), cat)
    config = make_config(
        prompts(4),
        annotation={"json_schema": schema(label=ANIMALS)},
        quota={"max_in_flight": 1},
    )
    record = asyncio.run(omni_batch.run_batch(config)).record
    found = typed(RunDir(Path(config.output) / record.run_id))
    assert (found.rows, found.failed, found.asked_again, found.mended) == (3, 1, 2, 1)


# --- samples ---


def sampled(folder: Path, units: Sequence[Sequence[Any]], kind: dict[str, Any]) -> FieldFigures:
    """The figures of one field whose samples are these: a list of values for each item."""
    rows = [
        Written(f"i{n}", annotation={"f": value}, columns={"sample": sample})
        for n, values in enumerate(units)
        for sample, value in enumerate(values, start=1)
    ]
    (found,) = typed(write_run(folder / "run", rows, items=len(rows), schema=schema(f=kind))).fields
    return found


def transposed(*raters: Sequence[Any]) -> list[tuple[Any, ...]]:
    return list(zip(*raters, strict=True))


_: Any = None
# The example of the article on Krippendorff's alpha in Wikipedia, read 2026-11: three coders.
CODERS = transposed(
    [_, _, _, _, _, 3, 4, 1, 2, 1, 1, 3, 3, _, 3],
    [1, _, 2, 1, 3, 3, 4, 3, _, _, _, _, _, _, _],
    [_, _, 2, 1, 3, 4, 4, _, 2, 1, 1, 3, 3, _, 4],
)


@pytest.mark.parametrize(
    ("kind", "alpha"),
    [({"enum": [1, 2, 3, 4]}, 0.691), ({"type": "integer"}, 0.811)],
)
def test_alpha_has_its_known_values(tmp_path: Path, kind: dict[str, Any], alpha: float) -> None:
    found = sampled(tmp_path, CODERS, kind)
    assert found.items == 12
    assert found.alpha == pytest.approx(alpha, abs=5e-4)


@pytest.mark.parametrize(
    ("units", "items", "alpha"),
    [
        ([["cat", "cat"], ["dog", "dog"]], 2, 1.0),
        ([["cat", "dog"], ["dog", "cat"]], 2, -0.5),
        ([["cat", "cat", "cat"], ["cat", "cat", "dog"]], 2, 0.0),
        ([["cat", "cat"], ["cat", None], ["dog"]], 1, None),
        ([["cat", None], [None, "dog"]], 0, None),
    ],
)
def test_what_alpha_is_not_defined_for_is_null(
    tmp_path: Path, units: Any, items: int, alpha: float | None
) -> None:
    found = sampled(tmp_path, units, ANIMALS)
    assert (found.items, found.alpha) == (items, same(alpha))


def by_pairs(units: Sequence[Sequence[Any]], distance: Any) -> float | None:
    """Krippendorff's definition, pair by pair."""
    shared = [[v for v in unit if v is not None] for unit in units]
    shared = [unit for unit in shared if len(unit) >= 2]
    values = [value for unit in shared for value in unit]
    if not values:
        return None
    observed = sum(
        distance(a, b) / (len(unit) - 1) for unit in shared for a, b in permutations(unit, 2)
    ) / len(values)
    pairs = len(values) * (len(values) - 1)
    expected = sum(distance(a, b) for a, b in permutations(values, 2)) / pairs
    return 1 - observed / expected if expected else None


UNITS = st.lists(
    st.lists(st.sampled_from([None, 1, 2, 3, 7]), min_size=1, max_size=4), min_size=1, max_size=12
)


@settings(max_examples=15)
@given(UNITS)
def test_alpha_is_what_its_definition_says(units: list[list[int | None]]) -> None:
    kinds = schema(label={"enum": [1, 2, 3, 7]}, number={"type": "number"})
    rows = [
        Written(f"i{n}", annotation={"label": value, "number": value}, columns={"sample": sample})
        for n, values in enumerate(units)
        for sample, value in enumerate(values, start=1)
    ]
    with TemporaryDirectory() as folder:
        run = write_run(Path(folder) / "run", rows, items=len(rows), schema=kinds)
        label, number = (each.alpha for each in typed(run).fields)
    assert label == same(by_pairs(units, lambda a, b: a != b))
    assert number == same(by_pairs(units, lambda a, b: (a - b) ** 2))


def same(value: float | None) -> Any:
    return None if value is None else pytest.approx(value, abs=1e-9)


def test_variants_are_questions_of_their_own_and_lists_have_no_alpha(tmp_path: Path) -> None:
    kinds = schema(label=ANIMALS, tags={"type": "array", "items": {"type": "string"}})
    said = {"short": "cat", "long": "dog"}
    rows = [
        Written(
            "a",
            annotation={"label": said[variant], "tags": ["x"]},
            columns={"variant": variant, "sample": sample},
        )
        for variant, sample in product(said, (1, 2))
    ]
    label, tags = typed(write_run(tmp_path / "run", rows, items=4, schema=kinds)).fields
    assert (label.items, label.alpha) == (2, 1.0)
    assert (tags.items, tags.alpha) == (None, None)


def test_without_samples_there_is_no_alpha(tmp_path: Path) -> None:
    found = of_values(tmp_path, ANIMALS, ["cat", "dog"])
    assert (found.items, found.alpha) == (None, None)


# --- the command ---


def test_terminal_and_json_say_the_same(tmp_path: Path) -> None:
    rows = [
        Written(f"i{n}", annotation={"label": label}, columns={"sample": sample})
        for n, labels in enumerate((("cat", "cat"), ("dog", "dog")))
        for sample, label in enumerate(labels, start=1)
    ]
    rows.append(broken("bad", "label: 'lion' is not one of cat, dog, bird"))
    run = write_run(tmp_path / "run", rows, items=5, schema=schema(label=ANIMALS))
    done = CliRunner().invoke(app, ["report", str(run.root), "--json"])
    annotation = json.loads(done.stdout)["annotation"]
    (label,) = annotation["fields"]
    assert (label["field"], label["items"], label["alpha"]) == ("label", 2, 1.0)
    assert label["values"][0] == {"value": "cat", "rows": 2, "share": 0.5}
    assert annotation["violations"][0]["path"] == "label"
    shown = CliRunner().invoke(app, ["report", str(run.root)], env={"COLUMNS": "80"}).stdout
    assert "typed answers: 4 fit the schema, 1 do not; no row was asked again" in shown
    assert "cat 50.0 %, dog 50.0 %" in shown
    assert "1.000" in shown
    assert "1 x broken first at label" in shown
    assert max(map(len, shown.splitlines()[:-1])) <= 80
