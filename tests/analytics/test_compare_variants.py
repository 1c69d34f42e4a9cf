"""The variants of one run against each other, against other runs, and against the truth."""

import json
from pathlib import Path
from typing import Any

import pytest

from omni_batch.analytics.compare import compare_runs, compare_variants
from omni_batch.analytics.disagreements import find_disagreements
from omni_batch.analytics.truth import compare_with_truth
from omni_batch.errors import ConfigError
from omni_batch.store import RunDir
from tests.cli.test_cli import omni_batch
from tests.conftest import write_csv
from tests.support.written_runs import Written, write_run

SCHEMA = {"type": "object", "properties": {"kind": {"type": "string", "enum": ["cat", "dog"]}}}
TERSE, LONG = {"a": "cat", "b": "dog", "c": "cat"}, {"a": "cat", "b": "cat", "c": None}


def command(run: RunDir, *arguments: str) -> Any:
    return omni_batch("compare", str(run.root), *arguments, cwd=run.root.parent)


def row(item: str, kind: str | None, variant: str | None = None, **more: Any) -> Written:
    columns = {"variant": variant, "sample": more.pop("sample", None)}
    text = kind and f"a {kind}"
    return Written(item, text, kind and {"kind": kind}, columns=columns, **more)


def matrix(folder: Path, names: tuple[str, ...] = ("terse", "long")) -> RunDir:
    """Items a, b and c; the last variant is dearer and failed on c."""
    rows = [
        row(item, kinds[item], name, cost=0.002 if kinds is LONG else 0.001)
        for item in "abc"
        for name in names
        for kinds in [LONG if name == names[-1] else TERSE]
    ]
    variants = {name: {"model": "qwen3.5-omni-plus"} if name == names[-1] else {} for name in names}
    return write_run(
        *(folder, rows),
        items=len(rows),
        times=len(names),
        schema=SCHEMA,
        config={"variants": variants},
    )


def alone(folder: Path, kinds: dict[str, Any], cost: float) -> RunDir:
    rows = [row(item, kind, cost=cost) for item, kind in kinds.items()]
    return write_run(folder, rows, items=len(rows), schema=SCHEMA)


def test_two_variants_are_compared_as_two_runs_are(tmp_path: Path) -> None:
    (found,) = compare_variants(matrix(tmp_path / "run")).pairs
    runs = alone(tmp_path / "a", TERSE, 0.001), alone(tmp_path / "b", LONG, 0.002)
    expected = compare_runs(*runs)
    assert found.agreement == expected.agreement
    assert found.agreement[0].kappa is not None
    assert (found.both, found.status_changed, found.text_changed) == (3, 1, 1)
    assert found.text_changes == expected.text_changes
    assert found.status_changes == expected.status_changes
    for side, other in ((found.left, expected.left), (found.right, expected.right)):
        assert (side.counts, side.cost_median) == (other.counts, other.cost_median)
    assert (found.left.variant, found.right.variant) == ("terse", "long")
    assert (found.left.model, found.right.model) == ("qwen3-omni-flash", "qwen3.5-omni-plus")


def test_items_on_which_two_variants_disagree_are_found(tmp_path: Path) -> None:
    """c has no answer from one of them, which is no disagreement."""
    run = matrix(tmp_path / "run")
    found = find_disagreements(run, run, ["kind"], tmp_path, ("terse", "long"))
    (item,) = found.items
    assert (found.fields, item.item_id, item.answer) == ({"kind": 1}, "b", "")
    (line,) = item.lines
    assert (line.left, line.right, line.differs) == ("dog", "cat", True)


def test_of_several_variants_each_two_are_compared(tmp_path: Path) -> None:
    found = compare_variants(matrix(tmp_path / "run", ("x", "y", "z")))
    assert [side.variant for side in found.variants] == ["x", "y", "z"]
    pairs = [(pair.left.variant, pair.right.variant) for pair in found.pairs]
    assert pairs == [("x", "y"), ("x", "z"), ("y", "z")]
    assert [pair.agreement[0].agreed for pair in found.pairs] == [3, 1, 1]


def test_runs_with_the_same_variants_are_matched_row_by_row(tmp_path: Path) -> None:
    runs = matrix(tmp_path / "one"), matrix(tmp_path / "other")
    found = compare_runs(*runs)
    assert (found.both, found.only_left, found.only_right, found.text_changed) == (6, 0, 0, 0)


def test_samples_are_matched_one_to_one(tmp_path: Path) -> None:
    def run(name: str, samples: int) -> RunDir:
        rows = [row("a", "cat", sample=number) for number in range(1, samples + 1)]
        return write_run(
            *(tmp_path / name, rows),
            items=samples,
            times=samples,
            schema=SCHEMA,
            config={"samples": samples},
        )

    found = compare_runs(run("one", 2), run("other", 3))
    assert (found.both, found.only_right, found.only_right_items) == (2, 1, ["a.3"])
    with pytest.raises(ConfigError, match="has 3 samples of each row, and run alone has none"):
        compare_runs(alone(tmp_path / "alone", TERSE, 1.0), RunDir(tmp_path / "other"))


def test_runs_without_a_variant_in_common_are_refused(tmp_path: Path) -> None:
    left, right = matrix(tmp_path / "left"), alone(tmp_path / "right", TERSE, 1.0)
    for pair in ((left, right), (right, left)):
        with pytest.raises(ConfigError, match="--by variant compares the variants of one run"):
            compare_runs(*pair)
    with pytest.raises(ConfigError, match="terse, long, and run other has x, y"):
        compare_runs(left, matrix(tmp_path / "other", ("x", "y")))


def test_a_run_without_two_variants_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no two variants to compare \(none\)"):
        compare_variants(alone(tmp_path / "run", TERSE, 1.0))


def test_each_variant_is_held_against_the_truth(tmp_path: Path) -> None:
    run = matrix(tmp_path / "run")
    truth = write_csv(
        tmp_path / "truth.csv", [{"item_id": item, "kind": kind} for item, kind in TERSE.items()]
    )
    terse = compare_with_truth(run, truth, "kind", variant="terse")
    long = compare_with_truth(run, truth, "kind", variant="long")
    assert (terse.items, terse.accuracy, terse.without_answer) == (3, 1.0, 0)
    assert (long.items, long.accuracy, long.without_answer) == (2, 0.5, 1)
    done = command(run, "--truth", str(truth), "--field", "kind", "--json")
    figures = json.loads(done.stdout)["variants"]
    assert {name: each["accuracy"] for name, each in figures.items()} == {"terse": 1.0, "long": 0.5}
    shown = command(run, "--truth", str(truth), "--field", "kind").stdout
    assert "variant terse" in shown
    assert "accuracy 50.0%" in shown


def test_a_page_against_the_truth_has_each_variant(tmp_path: Path) -> None:
    run, truth = matrix(tmp_path / "run"), tmp_path / "truth.csv"
    write_csv(truth, [{"item_id": item, "kind": kind} for item, kind in TERSE.items()])
    page = tmp_path / "page.html"
    shown = command(run, "--truth", str(truth), "--field", "kind", "--html", str(page))
    assert shown.returncode == 0, shown.stderr
    text = page.read_text()
    assert "Variant terse" in text
    assert "Variant long" in text
    assert text.count("What was taken for what") == 2


def test_each_sample_counts_against_the_truth(tmp_path: Path) -> None:
    kinds = ("cat", "dog", None)
    rows = [row("a", kind, sample=number) for number, kind in enumerate(kinds, 1)]
    run = write_run(tmp_path / "run", rows, items=3, times=3, schema=SCHEMA, config={"samples": 3})
    truth = write_csv(tmp_path / "truth.csv", [{"item_id": "a", "kind": "cat"}])
    found = compare_with_truth(run, truth, "kind")
    assert (found.items, found.accuracy, found.without_answer) == (2, 0.5, 1)


# --- the command ---


def test_two_variants_on_the_command_line(tmp_path: Path) -> None:
    run = matrix(tmp_path / "run")
    page = tmp_path / "page.html"
    shown = command(run, "--by", "variant", "--html", str(page))
    assert shown.returncode == 0
    assert "terse" in shown.stdout
    assert "run, terse and run, long" in page.read_text(encoding="utf-8")
    found = json.loads(command(run, "--by", "variant", "--json").stdout)
    assert (found["left"]["variant"], found["right"]["variant"]) == ("terse", "long")
    assert found["agreement"][0]["field"] == "kind"


def test_three_variants_on_the_command_line(tmp_path: Path) -> None:
    run = matrix(tmp_path / "run", ("x", "y", "z"))
    shown = command(run, "--by", "variant").stdout
    assert "A is x, B is y" in shown
    assert "A is y, B is z" in shown
    found = json.loads(command(run, "--by", "variant", "--json").stdout)
    assert [side["variant"] for side in found["variants"]] == ["x", "y", "z"]
    assert len(found["pairs"]) == 3
    refused = command(run, "--by", "variant", "--html", str(tmp_path / "x.html"))
    assert (refused.returncode, "--html shows two variants" in refused.stderr) == (2, True)


@pytest.mark.parametrize("more", [[], ["RUN", "--by", "variant"], ["RUN", "--truth", "x.csv"]])
def test_what_is_compared_has_to_be_clear(tmp_path: Path, more: list[str]) -> None:
    run = matrix(tmp_path / "run")
    words = [str(run.root) if word == "RUN" else word for word in more]
    refused = command(run, *words)
    assert (refused.returncode, "compare needs two runs" in refused.stderr) == (2, True)
