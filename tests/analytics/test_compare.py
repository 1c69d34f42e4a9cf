"""Two runs over the same items: who is missing, what changed, how far annotators agree."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from omni_batch.analytics import dealt
from omni_batch.analytics import disagreements as disagreements_module
from omni_batch.analytics.compare import Comparison, compare_runs, word_diff
from omni_batch.analytics.disagreements import find_disagreements
from omni_batch.cli.main import app
from omni_batch.cli.render.compare import comparison_lines
from omni_batch.errors import Rejected
from omni_batch.progress.current import current_record
from omni_batch.store import RunDir
from omni_batch.types import Attempt, Cost, Usage
from tests.cli.test_cli import omni_batch as command
from tests.support.written_runs import TIME, Written, write_run

SCHEMA = {
    "type": "object",
    "properties": {"kind": {"type": "string"}, "red": {"type": "boolean"}},
}


@pytest.fixture
def runs(tmp_path: Path) -> tuple[RunDir, RunDir]:
    """Run B costs twice as much, lost item e, gained item f, and failed on d."""
    left = [
        Written("a", "A small red cup.", {"kind": "cup", "red": True}),
        Written("b", "The same words.", {"kind": "cat", "red": False}),
        Written("c", "A dog in the snow <b>here</b>.", {"kind": "dog", "red": False}),
        Written("d", "Fine.", {"kind": "cup", "red": True}),
        Written("e", "Only here."),
    ]
    right = [
        Written("f", "Only there.", cost=0.002, tokens=25, latency_s=3),
        Written("c", "Snow.", {"kind": "dog", "red": True}, cost=0.002, tokens=25, latency_s=3),
        Written("a", "A small blue cup.", {"kind": "cup", "red": False}, cost=0.002),
        Written("b", "The same words.", {"kind": "cat", "red": False}, cost=0.002),
        Written("d", None, cost=0.002),
    ]
    return (
        write_run(tmp_path / "left", left, items=5, schema=SCHEMA),
        write_run(tmp_path / "right", right, items=5, schema=SCHEMA),
    )


@pytest.fixture
def comparison(runs: tuple[RunDir, RunDir]) -> Comparison:
    return compare_runs(*runs)


def test_items_are_matched_by_their_id(comparison: Comparison) -> None:
    c = comparison
    assert (c.both, c.only_left, c.only_right, c.text_changed, c.status_changed) == (4, 1, 1, 2, 1)
    assert (c.only_left_items, c.only_right_items) == (["e"], ["f"])
    (failed,) = c.status_changes
    assert (failed.item_id, failed.left_status, failed.right_status, failed.error_message) == (
        "d", "succeeded", "failed", "=no",
    )  # fmt: skip


def test_the_most_changed_text_comes_first(comparison: Comparison) -> None:
    c, a = comparison.text_changes
    assert (c.item_id, a.item_id) == ("c", "a")
    # of {a dog in the snow b here} only snow is left; of {a small red cup blue} two are not shared
    assert c.change == pytest.approx(6 / 7)
    assert a.change == pytest.approx(2 / 5)
    assert [(part.kind, part.text) for part in a.segments] == [
        ("same", "A small "), ("left", "red"), ("right", "blue"), ("same", " cup."),
    ]  # fmt: skip


def test_totals_and_medians_of_both_sides(comparison: Comparison) -> None:
    left, right = comparison.left, comparison.right
    assert left.counts.cost == {"USD": pytest.approx(0.005)}
    assert right.counts.cost == {"USD": pytest.approx(0.008)}
    assert (left.cost_median, right.cost_median) == (0.001, 0.002)
    # the failed item has no usage
    assert (left.counts.prompt_tokens, right.counts.prompt_tokens) == (50, 60)
    assert (left.tokens_median, right.tokens_median) == (15, 20)
    assert (left.request_s_median, right.request_s_median) == (1, 2)
    assert (left.wait_s_median, left.wait_s_p95) == (0, 0)
    assert (left.counts.failed, right.counts.failed) == (0, 1)


def test_requests_and_the_wait_of_an_item_are_apart(tmp_path: Path) -> None:
    """An item of 30 seconds spent 28 of them in our own queue."""
    waited = Written("a", latency_s=30.0, attempts=(Attempt(1, TIME, 2.0),))
    left = write_run(tmp_path / "left", [waited], items=1, elapsed_s=31.0)
    right = write_run(tmp_path / "right", [Written("a", latency_s=2.0)], items=1, elapsed_s=3.0)
    comparison = compare_runs(left, right)
    a, b = comparison.left, comparison.right
    assert (a.request_s_median, a.wait_s_median, a.counts.elapsed_s) == (2.0, 28.0, 31.0)
    assert (b.request_s_median, b.wait_s_median, b.counts.elapsed_s) == (2.0, 0.0, 3.0)
    lines = {line.label: line.difference for line in comparison_lines(comparison)}
    assert (lines["request, median"], lines["wait of an item, median"]) == (
        "same",
        "-28.0 s (-100.0%)",
    )


def test_totals_are_those_of_status(tmp_path: Path) -> None:
    """A failed attempt was billed, an answer was reused, and the process has died."""
    billed = Attempt(
        1, TIME, 1.0, error=Rejected("no"), usage=Usage(7, 0, 7), cost=Cost(0.5, "USD")
    )
    rows = [Written("a", None, attempts=(billed,)), Written("b", reused_from="monday")]
    run = write_run(tmp_path / "run", rows, items=2, unfinished_shards=1)
    side = compare_runs(run, run).left
    assert side.counts == current_record(run).counts
    assert (side.state, side.counts.cost, side.counts.reused) == ("interrupted", {"USD": 0.5}, 1)
    assert (side.counts.prompt_tokens, side.tokens_median) == (7, None)


def test_different_currencies_have_no_difference(tmp_path: Path) -> None:
    yuan = Attempt(1, TIME, 1.0, cost=Cost(7.0, "CNY"))
    left = write_run(tmp_path / "left", [Written("a", attempts=(yuan,), cost=None)], items=1)
    right = write_run(tmp_path / "right", [Written("a", cost=1.5)], items=1)
    lines = [line for line in comparison_lines(compare_runs(left, right)) if "cost" in line.label]
    assert [(line.left, line.right, line.difference) for line in lines] == [
        ("7.00 CNY", "1.50 USD", "different currencies")
    ]


def test_annotations_agree_where_both_are_objects(comparison: Comparison) -> None:
    kind, red = comparison.agreement
    # one of three agrees; chance alone, with one red of three on each side, would give 5 of 9
    assert (kind.field, kind.items, kind.agreed, kind.kappa) == ("kind", 3, 3, 1.0)
    assert (red.field, red.items, red.agreed) == ("red", 3, 1)
    assert red.kappa == pytest.approx((1 / 3 - 5 / 9) / (1 - 5 / 9))


def test_lists_end_at_the_limit_and_counts_do_not(runs: tuple[RunDir, RunDir]) -> None:
    comparison = compare_runs(*runs, limit=1)
    assert (comparison.text_changed, len(comparison.text_changes)) == (2, 1)
    assert compare_runs(*runs, limit=0).only_left_items == []


def test_a_run_in_progress_is_compared_as_far_as_it_is(tmp_path: Path) -> None:
    rows = [Written(f"item-{number}") for number in range(502)]
    whole = write_run(tmp_path / "whole", rows, items=502)
    running = write_run(tmp_path / "running", rows, items=502, unfinished_shards=1)
    running.journal(1).unlink()
    comparison = compare_runs(whole, running)
    assert (comparison.both, comparison.only_left) == (500, 2)


def many(texts: str, kinds: str, failed: int, missing: int) -> list[Written]:
    """Sixty items; every so many failed or are missing."""
    return [
        Written(
            f"item-{number}",
            None if number % failed == 0 else f"{texts} {number % 7} {'word ' * (number % 5)}",
            None if number % failed == 0 else {"kind": kinds[number % len(kinds)], "red": True},
            cost=number / 1000,
            latency_s=number / 10,
        )
        for number in range(60)
        if number % missing
    ]


def both(folder: Path, left: list[Written], right: list[Written]) -> tuple[RunDir, RunDir]:
    return (
        write_run(folder / "left", left, items=len(left), schema=SCHEMA),
        write_run(folder / "right", right, items=len(right), schema=SCHEMA),
    )


@pytest.mark.parametrize("order", ["as it was", "backwards", "mixed"])
def test_pieces_and_order_of_rows_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """What is compared piece by piece is what is compared at once."""
    left, right = many("A small", "xyz", 11, 13), many("One small", "xy", 7, 17)
    if order != "as it was":
        right = right[::-1] if order == "backwards" else right[1::2] + right[::2]
    runs = both(tmp_path, left, right)
    whole = compare_runs(*runs, limit=5)
    ids = [{row.item_id for row in rows} for rows in (left, right)]
    assert whole.both == len(ids[0] & ids[1])
    expected = [row.item_id for row in left if row.item_id not in ids[1]]
    assert (whole.only_left, whole.only_left_items) == (len(expected), expected[:5])
    assert len(whole.text_changes) == len(whole.status_changes) == 5
    disagreements = find_disagreements(*runs, ["kind", "red"], tmp_path)
    monkeypatch.setattr(dealt, "_PIECE_ROWS", 3)
    assert compare_runs(*runs, limit=5) == whole
    assert find_disagreements(*runs, ["kind", "red"], tmp_path) == disagreements


def test_the_first_disagreements_of_each_field_are_those_of_all_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [Written(f"item-{n}", "x", {"kind": "a", "red": True}) for n in range(40)]
    right = [
        Written(f"item-{n}", "x", {"kind": "b" if n % 4 else "a", "red": n < 35}) for n in range(40)
    ]
    runs = both(tmp_path, left, right)
    monkeypatch.setattr(disagreements_module, "MOST_ITEMS", 3)
    monkeypatch.setattr(dealt, "_PIECE_ROWS", 5)
    found = find_disagreements(*runs, ["kind", "red"], tmp_path)
    assert found.fields == {"kind": 30, "red": 5}
    shown = [item.item_id for item in found.items]
    assert shown == [f"item-{n}" for n in (35, 37, 1, 2, 3, 36)]


# --- words ---


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_diff_loses_nothing(left: str, right: str) -> None:
    segments = word_diff(left, right)
    assert "".join(part.text for part in segments if part.kind != "right") == left
    assert "".join(part.text for part in segments if part.kind != "left") == right


def test_chinese_is_compared_by_characters() -> None:
    kinds = [(part.kind, part.text) for part in word_diff("一只红色的杯子", "一只蓝色的杯子")]
    assert kinds == [("same", "一只"), ("left", "红"), ("right", "蓝"), ("same", "色的杯子")]


def test_long_texts_are_cut_before_they_take_minutes() -> None:
    segments = word_diff("a b " * 100_000, "b c " * 100_000)
    assert sum(len(part.text) for part in segments) < 5_000
    assert "…" in segments[-1].text


# --- the command ---


def test_the_terminal_shows_both_sides(runs: tuple[RunDir, RunDir]) -> None:
    left, right = (str(run.root) for run in runs)
    done = CliRunner().invoke(app, ["compare", left, right], env={"COLUMNS": "120"})
    assert done.exit_code == 0, (done.output, done.exception)
    for part in (
        "4 items in both, 1 only in A, 1 only in B; 2 texts changed, 1 changed their status",
        "only in A: e",
        "d: succeeded → failed",
        "(+100.0%)",
        "A small blue cup.",
        "-0.500",
    ):
        assert part in done.stdout


def test_json_holds_all_of_it(runs: tuple[RunDir, RunDir]) -> None:
    left, right = (str(run.root) for run in runs)
    done = CliRunner().invoke(app, ["compare", left, right, "--json"])
    told = json.loads(done.stdout)
    assert told["text_changed"] == 2
    assert told["text_changes"][1]["segments"][1] == {"kind": "left", "text": "red"}


class Page(HTMLParser):
    """The texts and the elements of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_escapes_all_that_runs_say(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><img src=x>"
    label, schema = {"<b>x": True}, {"type": "object", "properties": {"<b>x": {"type": "boolean"}}}
    one = [Written(evil, f"{evil} one", label), Written(f"{evil}2")]
    two = [Written(evil, f"{evil} two", label), Written(f"{evil}3", None)]
    left, right = tmp_path / "left", tmp_path / "right"
    write_run(left, one, items=2, schema=schema)
    write_run(right, two, items=2, schema=schema)
    html = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["compare", str(left), str(right), "--html", str(html)])
    assert done.exit_code == 0, done.exception
    assert done.stdout.splitlines()[-1] == str(html)
    page = Page(html.read_text(encoding="utf-8"))
    assert not {"img", "b"} & set(page.tags)
    assert page.tags.count("script") == 2  # the page's own
    assert page.tags.count("del") == page.tags.count("ins") == 1
    assert f"{evil} " in page.texts
    assert (page.texts.count("one"), page.texts.count("two")) == (1, 1)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["page.html"]


def test_no_run_is_refused_with_2(runs: tuple[RunDir, RunDir], tmp_path: Path) -> None:
    done = command("compare", str(runs[0].root), str(tmp_path), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a run directory" in done.stderr
