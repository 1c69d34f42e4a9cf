"""The report's numbers are the tables' numbers, whatever the run looks like."""

import json
import math
import shutil
import sys
import zlib
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import omni_batch
from omni_batch import format as fmt
from omni_batch.analytics.report import write_report
from omni_batch.analytics.report.collect import collect
from omni_batch.analytics.report.distribution import Distribution
from omni_batch.analytics.report.gallery import FIELDS, shortened
from omni_batch.analytics.report.local_media import LocalMedia
from omni_batch.analytics.report.remedies import REMEDIES
from omni_batch.analytics.report.thumbnails import Thumbnails, thumbnail
from omni_batch.analytics.report.timeline import Timeline
from omni_batch.analytics.report.troubles import Troubles
from omni_batch.cli.main import app
from omni_batch.config import Config
from omni_batch.errors import ConfigError, item_kinds
from omni_batch.simulator import Simulator, reply
from omni_batch.store import RunDir
from omni_batch.store.journal import Journal, read_journal
from omni_batch.store.parts import write_parts
from omni_batch.store.record import read_record, write_record
from tests.benchmarks.report_runs import synthetic_run
from tests.conftest import SAMPLE, MakeConfig, prompts, read_table


async def run_rows(config: Config) -> RunDir:
    record = (await omni_batch.run_batch(config)).record
    return RunDir(Path(config.output) / record.run_id)


# --- numbers ---


async def test_the_facts_are_what_the_tables_say(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    simulator.script(reply.fault("error_503"), reply.status(400, code="invalid_parameter_error"))
    rows = [*prompts(8), {"item_id": "gone", "image": "gone.jpg"}]
    directory = await run_rows(make_config(rows, quota={"requests_per_minute": 6000}))
    results, attempts = read_table(directory.root), read_table(directory.root, "attempts")
    facts = collect(directory).facts

    assert (facts.items, facts.done, facts.failed) == (9, 9, 2)
    assert facts.requests == len(attempts)
    assert facts.retries == sum(row["number"] > 1 for row in attempts)
    assert facts.prompt_tokens == sum(row["prompt_tokens"] or 0 for row in results)
    assert sum(group.completion_tokens for group in facts.modalities) == facts.completion_tokens
    assert {group.name: group.items for group in facts.modalities} == {"text": 8, "image": 1}
    assert sum(kind.tokens for kind in facts.token_kinds) == sum(
        row["total_tokens"] or 0 for row in results
    )
    assert sum(moment.requests for moment in facts.timeline) == len(attempts)
    assert [use.limit_per_minute for use in facts.quotas] == [6000, 1e12]
    assert {wait.what for wait in facts.waits} == {"first event", "whole exchange"}
    assert {failure.kind: failure.items for failure in facts.failures} == {
        "media_error": 1,
        "rejected": 1,
    }
    rejected = next(failure for failure in facts.failures if failure.kind == "rejected")
    assert rejected.troubles[0].examples[0].request_id


async def test_a_run_in_progress_is_reported_from_its_journal(make_config: MakeConfig) -> None:
    directory = await run_rows(make_config(prompts(4), shard_size=2))
    finished = read_record(directory.record)
    rows = [pq.read_table(directory.root / name).to_pylist() for name in ("results", "attempts")]
    write_record(directory.record, msgspec.structs.replace(finished, state="running"))
    directory.results(1).unlink()
    directory.journals.mkdir(exist_ok=True)
    with Journal(directory.journal(1)) as journal:
        journal.append(omni_batch.store.Entry(rows[0][2], [rows[1][2]]))
    page, facts = write_report(directory)
    assert (facts.state, facts.done, facts.waiting) == ("running", 3, 1)
    assert "The run goes on" in page.read_text()
    assert len(list(read_journal(directory.journal(1)))) == 1, "a report writes nothing but itself"
    write_parts(directory, 1)


async def test_nothing_sent_yet_is_said_so(make_config: MakeConfig) -> None:
    from omni_batch.planning.plan import make_plan
    from omni_batch.planning.prepare import prepare_run

    page, facts = write_report(prepare_run(make_plan(make_config(prompts(2)))))
    assert (facts.done, facts.costs, facts.timeline) == (0, {}, ())
    assert "Nothing has been sent yet" in page.read_text()


async def test_columns_that_an_older_version_did_not_write_are_missing_not_fatal(
    make_config: MakeConfig,
) -> None:
    directory = await run_rows(make_config(prompts(3)))
    for path, dropped in (
        (directory.results(0), ["cost", "currency", "request_id", "endpoint"]),
        (directory.attempts(0), ["first_chunk_s", "endpoint"]),
    ):
        table = pq.read_table(path).drop_columns(dropped)
        pq.write_table(table.append_column("new", pa.array(["x"] * table.num_rows)), path)
    _, facts = write_report(directory)
    assert facts.succeeded == 3
    assert [group.name for group in facts.endpoints] == ["never sent"]


async def test_endpoints_are_told_apart_and_cut_replies_are_priced(make_config: MakeConfig) -> None:
    directory = await run_rows(make_config(prompts(4)))
    names = pa.array(["east", "west", "west", "west"])
    for path in (directory.results(0), directory.attempts(0)):
        table = pq.read_table(path)
        table = table.set_column(table.column_names.index("endpoint"), "endpoint", names)
        if path.parent.name == "attempts":
            kinds = pa.array(["rate_limited", None, "stream_error", None])
            table = table.set_column(table.column_names.index("error_kind"), "error_kind", kinds)
            for name, values in (
                ("estimated_cost", [None, 0.5, None, 0.25]),
                ("currency", ["USD"] * 4),
            ):
                table = table.set_column(table.column_names.index(name), name, pa.array(values))
        pq.write_table(table, path)
    facts = collect(directory).facts
    assert [(group.name, group.items) for group in facts.endpoints] == [("west", 3), ("east", 1)]
    assert {(kind.endpoint, kind.outcome): kind.exchanges for kind in facts.exchanges} == {
        ("east", "rate_limited"): 1,
        ("west", "stream_error"): 1,
        ("west", "answered"): 2,
    }
    assert facts.rate_limited == 1
    assert sum(moment.broken for moment in facts.timeline) == 1
    assert facts.cut_costs == {"USD": 0.75}


async def test_the_command_writes_the_page_and_says_the_same(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = await run_rows(make_config([*prompts(2), {"item_id": "gone", "image": "gone.jpg"}]))
    run = CliRunner()
    shown = run.invoke(app, ["report", str(directory.root)])
    assert shown.exit_code == 0, shown.output
    for expected in ("2 succeeded, 1 failed of 3 items", "1 x media_error", "report.html"):
        assert expected in shown.output
    told = json.loads(run.invoke(app, ["report", str(directory.root), "--json"]).output)
    assert (told["succeeded"], told["failures"][0]["kind"]) == (2, "media_error")
    assert "<!doctype html>" in (directory.root / "report.html").read_text()
    assert not list(directory.root.glob(".report*")), "no draft is left"

    with pytest.raises(ConfigError, match="not a run directory"):
        write_report(RunDir(directory.root / "audio"))
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(ConfigError, match=r"omni-batch\[report\]"):
        write_report(directory)


def test_every_kind_of_failure_has_a_remedy() -> None:
    assert item_kinds() | {"internal_error", "account_error"} == set(REMEDIES)


def test_failures_that_differ_by_names_and_numbers_are_one_group() -> None:
    troubles = Troubles()
    for number in range(1000):
        message = f"photos/{number}.jpg has {number} pixels, see request 8f1d-{number:06}"
        row = {"error_kind": "invalid_request", "error_message": message, "item_id": f"i{number}"}
        troubles.add([row | {"request_id": None}])
    (failure,) = troubles.kinds()
    (group,) = failure.troubles
    assert (failure.items, group.items, len(group.examples)) == (1000, 1000, 5)
    assert "pixels" in group.pattern


def test_failures_that_never_read_the_same_do_not_fill_memory() -> None:
    troubles = Troubles()
    words = ("".join(chr(97 + int(digit)) for digit in str(number)) for number in range(2000))
    rows = ({"error_kind": "rejected", "error_message": f"no {word}"} for word in words)
    troubles.add(row | {"item_id": "i", "request_id": None} for row in rows)
    (failure,) = troubles.kinds()
    assert failure.items == 2000
    assert failure.other_items == 2000 - sum(group.items for group in failure.troubles)
    assert len(troubles._groups) == 300


@given(st.lists(st.floats(0.001, 10_000), min_size=1, max_size=300), st.floats(0.01, 1))
def test_percentiles_are_right_within_two_per_cent(values: list[float], part: float) -> None:
    distribution = Distribution()
    for value in values:  # one by one or all at once is the same
        distribution.add(np.array([value]))
    exact = sorted(values)[max(1, math.ceil(part * len(values))) - 1]
    assert distribution.quantile(part) == pytest.approx(exact, rel=0.022)
    assert sum(bar.count for bar in distribution.spread().bins) == len(values)


def test_unknown_times_are_passed_over() -> None:
    distribution = Distribution()
    distribution.add(np.array([math.nan, 2.0]))
    assert distribution.count == 1
    assert distribution.spread().largest == 2.0


@given(st.lists(st.integers(0, 5_000_000), min_size=1, max_size=60))
def test_a_timeline_of_any_length_loses_nothing_and_stays_small(seconds: list[int]) -> None:
    timeline = Timeline()
    for second in seconds:
        timeline.add(np.array([second]), np.array([[1, 0, 0, 0, 10]]))
    moments = timeline.moments()
    assert len(moments) <= 240
    assert sum(moment.requests for moment in moments) == len(seconds)
    assert all(a.end == b.start for a, b in pairwise(moments))


def test_a_rate_counts_the_minute_up_to_each_moment() -> None:
    timeline = Timeline()
    seconds = np.arange(0, 90)
    timeline.add(seconds, np.tile([1, 0, 0, 0, 100], (90, 1)))
    moments = timeline.moments()
    assert [moments[at].requests_per_minute for at in (0, 29, 59, 89)] == [1, 30, 60, 60]
    assert moments[89].tokens_per_minute == 6000


def test_numbers_are_written_with_units() -> None:
    assert [fmt.duration(s) for s in (0.0123, 3.44, 125, 12_000, 190_000)] == [
        *("12 ms", "3.4 s", "2:05 min", "3:20 h", "2 d 4 h")
    ]
    assert [fmt.share(part, 10_000) for part in (1, 9_876, 9_999, 10_000)] == [
        *("under 0.1 %", "98.8 %", "over 99.9 %", "100 %")
    ]
    assert fmt.short(12_345) == "12.3 k"
    assert fmt.amount(0.0012345, "USD") == "0.0012 USD"


# --- gallery ---


def test_large_runs_list_failures_first_within_a_budget_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("MOST_RECORDS", 300), ("FAILED_FIRST", 100), ("PACKED_BYTES", 30_000)):
        monkeypatch.setattr(f"omni_batch.analytics.report.gallery._{name}", value)
    monkeypatch.setattr("omni_batch.analytics.report.gallery._PACK_RECORDS", 50)
    directory = synthetic_run(tmp_path, 800)
    gallery = collect(directory).gallery
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
    media = LocalMedia(tmp_path / "base", ["in"], tmp_path / "runs" / "one")
    found = media.find("in/photo.jpg")
    assert found is not None
    assert found.link == "../../base/in/photo.jpg"
    outside = (
        "../secret.jpg",
        str(tmp_path / "secret.jpg"),
        "in/way-out.jpg",
        "in/../../secret.jpg",
    )
    for reference in (*outside, "in/gone.jpg", "in", "in/..", "https://example.com/photo.jpg"):
        assert media.find(reference) is None, reference


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
    cut = shortened(text, most_bytes) or ""
    assert len(cut.encode("utf-8", "replace")) <= most_bytes + len("…".encode())
    assert cut == text or cut.endswith("…")
