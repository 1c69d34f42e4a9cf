"""A report's figures are those of `status` and of the tables, whatever the run looks like."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

import omni_batch
from omni_batch import format as fmt
from omni_batch.analytics import results
from omni_batch.analytics.report import write_report
from omni_batch.analytics.report.collect import collect
from omni_batch.analytics.report.facts import FailureKind, Group, RunReport
from omni_batch.cli.main import app
from omni_batch.cli.render.report import report_summary
from omni_batch.config import Config, parse_config
from omni_batch.counts import Counts
from omni_batch.doubts import Doubt, DoubtGroup
from omni_batch.errors import ConfigError, Rejected, item_kinds, remedy_of
from omni_batch.simulator import Simulator, SimulatorOptions, reply
from omni_batch.store import RunDir
from omni_batch.store.journal import Journal, read_journal
from omni_batch.store.parts import write_parts
from omni_batch.store.record import read_record, write_record
from omni_batch.types import Attempt, Usage
from tests.conftest import KEY, KEY_ENV, MakeConfig, prompts, read_table
from tests.support.written_runs import TIME, Written, write_run

SPEECH = {"modalities": ["text", "audio"], "voice": "Cherry"}


async def run_rows(config: Config) -> RunDir:
    record = (await omni_batch.run_batch(config)).record
    return RunDir(Path(config.output) / record.run_id)


def summed(groups: tuple[Group, ...]) -> Counts:
    return sum((group.counts for group in groups), Counts())


def same_figures(one: Counts, other: Counts) -> bool:
    """All but what groups don't have; sums of fractions in any order."""

    def flat(counts: Counts) -> dict[str, Any]:
        values = msgspec.structs.asdict(counts)
        sums = ("cost", "estimated_cost", "in_doubt_cost")
        money = {f"{n} {c}": a for n in sums for c, a in values[n].items()}
        left_out = (*sums, "failures", "elapsed_s")
        return {name: value for name, value in values.items() if name not in left_out} | money

    return flat(one) == pytest.approx(flat(other), abs=1e-3)


def tells_one_story(directory: RunDir) -> RunReport:
    """Every breakdown adds up to what `status` says."""
    report = collect(directory)
    counts = report.record.counts
    assert counts == read_record(directory.record).counts
    for groups in (report.modalities, report.models, report.endpoints):
        assert same_figures(summed(groups), counts), groups
    tokens = counts.prompt_tokens + counts.completion_tokens
    assert sum(kind.tokens for kind in report.token_kinds) == tokens
    assert {failure.kind: failure.items for failure in report.failures} == counts.failures
    assert sum(outcome.requests for outcome in report.outcomes) == counts.requests
    buckets = report.timeline
    assert sum(b.answered + b.retried + b.rate_limited + b.broken for b in buckets) == (
        counts.requests
    )
    return report


# --- one set of figures ---


async def test_the_figures_are_what_the_tables_say(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    simulator.script(reply.fault("error_503"), reply.status(400, code="invalid_parameter_error"))
    rows = [*prompts(8), {"item_id": "gone", "image": "gone.jpg"}]
    directory = await run_rows(make_config(rows, quota={"requests_per_minute": 6000}))
    results, attempts = read_table(directory.root), read_table(directory.root, "attempts")
    report = tells_one_story(directory)
    counts = report.record.counts

    assert (report.record.items, counts.done, counts.failed) == (9, 9, 2)
    assert counts.requests == len(attempts)
    assert counts.retries == sum(row["number"] > 1 for row in attempts)
    assert counts.prompt_tokens == sum(row["prompt_tokens"] or 0 for row in results)
    assert {group.name: group.counts.done for group in report.modalities} == {"text": 8, "image": 1}
    assert {times.what for times in report.response_times} == {"first event", "whole exchange"}
    for times in report.response_times:
        assert times.seconds.count == 7 == sum(bar.count for bar in times.bins)
        assert times.bins[0].start <= times.seconds.p50 <= times.seconds.largest
    assert report.waits is not None
    assert report.waits.count == 8, "of the items that were sent"
    rejected = next(failure for failure in report.failures if failure.kind == "rejected")
    assert rejected.patterns[0].examples[0].request_id


async def test_a_failed_item_that_was_billed_is_in_every_sum(
    make_config: MakeConfig,
) -> None:
    """This server says nothing and bills all the same."""
    with Simulator(SimulatorOptions(dialect="vllm", api_key=KEY)) as server:
        endpoint = {"name": "simulator", "base_url": server.base_url, "api_key_env": KEY_ENV}
        config = make_config(prompts(3), endpoint=endpoint, request=SPEECH)
        directory = await run_rows(config)
    report = tells_one_story(directory)
    counts = report.record.counts
    assert counts.failures == {"speech_missing": 3}
    assert counts.cost["USD"] > 0
    assert report.modalities[0].counts.cost == pytest.approx(counts.cost)
    page, _ = write_report(directory)
    assert fmt.money(counts.cost) in page.read_text()
    assert fmt.money(counts.cost) in shown("report", directory)
    assert fmt.money(counts.cost) in shown("status", directory)


async def test_reused_answers_are_counted_and_cost_nothing(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    endpoint = {"name": "simulator", "base_url": simulator.base_url, "api_key_env": KEY_ENV}
    first = make_config(prompts(4), endpoint=endpoint, request=SPEECH)
    await run_rows(first)
    again = make_config(prompts(6), endpoint=endpoint, request=SPEECH)
    directory = await run_rows(again.model_copy(update={"reuse": (f"{again.output}/*",)}))
    report = tells_one_story(directory)
    (group,) = report.modalities
    assert (group.counts.succeeded, group.counts.reused, group.counts.requests) == (6, 4, 2)
    paid = [row for row in read_table(directory.root) if row["reused_from"] is None]
    assert group.counts.audio_s == pytest.approx(sum(row["audio_s"] for row in paid))
    assert group.counts.completion_tokens == sum(row["completion_tokens"] for row in paid)
    page, _ = write_report(directory)
    assert "of these reused" in page.read_text()
    assert "6 (4 reused)" in shown("report", directory)


async def test_retries_belong_to_the_endpoint_that_was_asked(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    with Simulator(SimulatorOptions(api_key=KEY, faults={"error_500": 1.0})) as broken:
        config = make_config(prompts(12))
        entry = config.endpoint.model_dump()
        entries = [
            entry | {"label": "east", "base_url": broken.base_url},
            entry | {"label": "west", "base_url": simulator.base_url, "api_key_env": KEY_ENV},
        ]
        settings = config.model_dump(exclude={"endpoint"}, exclude_unset=True)
        directory = await run_rows(parse_config(settings | {"endpoints": entries}))
    report = tells_one_story(directory)
    groups = {group.name: group.counts for group in report.endpoints}
    assert (groups["west"].succeeded, groups["east"].succeeded) == (12, 0)
    assert groups["east"].requests == report.record.counts.retries > 0
    assert {(row.endpoint, row.outcome) for row in report.outcomes} == {
        ("east", "unavailable"),
        ("west", "answered"),
    }
    assert "east+west" in write_report(directory)[0].read_text()


async def test_requests_of_items_without_a_result_are_a_group_of_their_own(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    simulator.script(*[reply.fault("cut")] * 200)
    directory = await run_rows(
        make_config(
            prompts(50),
            endpoint={"name": "simulator", "base_url": simulator.base_url, "api_key_env": KEY_ENV},
            request=SPEECH,
            retry={"max_attempts": 100},
            quota={"max_in_flight": 2},
            budget={"max_tokens": 500},
        )
    )
    report = tells_one_story(directory)
    counts = report.record.counts
    assert (report.record.state, counts.done) == ("stopped", 0)
    assert [group.name for group in report.modalities] == ["not finished"]
    assert report.modalities[0].counts.estimated_cost == pytest.approx(counts.estimated_cost)
    assert "for answers without a bill" in write_report(directory)[0].read_text()


def test_amounts_of_two_currencies_are_never_added(tmp_path: Path) -> None:
    directory = write_run(tmp_path / "run", [Written("a"), Written("b")], items=2)
    for path in (directory.results(0), directory.attempts(0)):
        table = pq.read_table(path)
        place = table.column_names.index("currency")
        pq.write_table(table.set_column(place, "currency", pa.array(["USD", "CNY"])), path)
    record = read_record(directory.record)
    counts = msgspec.structs.replace(record.counts, cost={"USD": 0.001, "CNY": 0.001})
    write_record(directory.record, msgspec.structs.replace(record, counts=counts))
    report = tells_one_story(directory)
    assert report.modalities[0].counts.cost == {"USD": 0.001, "CNY": 0.001}
    assert "0.0010 CNY + 0.0010 USD" in write_report(directory)[0].read_text()


# --- runs in every state ---


async def test_a_run_whose_process_died_is_reported_from_its_journal(
    make_config: MakeConfig,
) -> None:
    directory = await run_rows(make_config(prompts(4), shard_size=2))
    finished = read_record(directory.record)
    rows = [pq.read_table(directory.root / name).to_pylist() for name in ("results", "attempts")]
    write_record(directory.record, msgspec.structs.replace(finished, state="running"))
    directory.results(1).unlink()
    directory.journals.mkdir(exist_ok=True)
    with Journal(directory.journal(1)) as journal:
        journal.append(omni_batch.store.Entry(rows[0][2], [rows[1][2]]))
    page, report = write_report(directory)
    assert (report.record.state, report.record.counts.done) == ("interrupted", 3)
    assert same_figures(summed(report.modalities), report.record.counts)
    assert f"omni-batch resume {directory.root}" in page.read_text()
    assert len(list(read_journal(directory.journal(1)))) == 1, "a report writes nothing but itself"
    write_parts(directory, 1)


async def test_a_run_that_goes_on_says_so(make_config: MakeConfig) -> None:
    directory = await run_rows(make_config(prompts(2)))
    finished = read_record(directory.record)
    write_record(directory.record, msgspec.structs.replace(finished, state="running"))
    with directory.owned():
        page, report = write_report(directory)
    assert report.record.state == "running"
    assert "The run goes on" in page.read_text()


async def test_nothing_sent_yet_is_said_so(make_config: MakeConfig) -> None:
    from omni_batch.planning.plan import make_plan
    from omni_batch.planning.prepare import prepare_run

    page, report = write_report(prepare_run(make_plan(make_config(prompts(2)))))
    assert (report.record.counts, report.timeline, report.waits) == (Counts(), (), None)
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
    _, report = write_report(directory)
    assert [(group.name, group.counts.succeeded) for group in report.endpoints] == [("unknown", 3)]
    assert [times.what for times in report.response_times] == ["whole exchange"]


async def test_the_command_writes_the_page_and_says_the_same(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = await run_rows(make_config([*prompts(2), {"item_id": "gone", "image": "gone.jpg"}]))
    output = shown("report", directory)
    for expected in ("2 succeeded, 1 failed of 3", "1 x media_error", "report.html"):
        assert expected in output
    printed = StringIO()
    Console(width=80, file=printed).print(report_summary(collect(directory), Path("report.html")))
    assert max(map(len, printed.getvalue().splitlines())) <= 80
    told = json.loads(shown("report", directory, "--json"))
    assert told["record"]["counts"]["succeeded"] == 2
    assert told["failures"][0]["kind"] == "media_error"
    assert "<!doctype html>" in (directory.root / "report.html").read_text()
    assert not list(directory.root.glob(".report*")), "no draft is left"

    with pytest.raises(ConfigError, match="not a run directory"):
        write_report(RunDir(directory.root / "audio"))
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(ConfigError, match=r"omni-batch\[report\]"):
        write_report(directory)


def shown(command: str, directory: RunDir, *options: str) -> str:
    done = CliRunner().invoke(app, [command, str(directory.root), *options])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


# --- times ---


def test_an_items_wait_is_apart_from_its_requests(tmp_path: Path) -> None:
    """The second request of the first item took 2 of its 10 seconds, the first one 3."""
    attempts = (
        Attempt(1, TIME, 3.0, error=Rejected("=no")),
        Attempt(2, TIME + timedelta(seconds=8), 2.0, usage=Usage(5, 5, 10)),
    )
    earlier = (Attempt(1, TIME - timedelta(hours=1), 50.0), Attempt(2, TIME, 1.0))
    rows = [
        Written("a", latency_s=10, attempts=attempts),
        Written("b", latency_s=1, attempts=earlier),
        Written("c", latency_s=7, attempts=()),
    ]
    report = collect(write_run(tmp_path / "run", rows, items=3))
    assert report.waits is not None
    assert (report.waits.count, report.waits.p50, report.waits.largest) == (2, 2.5, 5.0)
    whole = next(times for times in report.response_times if times.what == "whole exchange")
    assert whole.seconds.count == 3, "those that were answered"


@given(st.lists(st.floats(0, 10_000), min_size=1, max_size=80))
@settings(max_examples=8)  # each writes a run
def test_percentiles_and_bars_hold_all_values(
    tmp_path_factory: pytest.TempPathFactory, seconds: list[float]
) -> None:
    rows = [Written(f"i{n}", latency_s=value) for n, value in enumerate(seconds)]
    directory = write_run(tmp_path_factory.mktemp("run"), rows, items=len(rows))
    (times,) = collect(directory).response_times
    exact, found = sorted(seconds), times.seconds
    assert found.p50 == pytest.approx(_quantile(exact, 0.5))
    assert found.p99 == pytest.approx(_quantile(exact, 0.99))
    assert (found.count, found.largest) == (len(seconds), exact[-1])
    assert sum(bar.count for bar in times.bins) == len(seconds)
    assert len(times.bins) <= 30
    assert all(a.end <= b.start * 1.000001 for a, b in pairwise(times.bins))


def _quantile(exact: list[float], part: float) -> float:
    place = part * (len(exact) - 1)
    low = int(place)
    high = min(low + 1, len(exact) - 1)
    return exact[low] + (place - low) * (exact[high] - exact[low])


@given(st.lists(st.integers(0, 5_000_000), min_size=1, max_size=60))
@settings(max_examples=8)  # each writes a run
def test_a_timeline_of_any_length_loses_nothing_and_stays_small(
    tmp_path_factory: pytest.TempPathFactory, seconds: list[int]
) -> None:
    buckets = collect(sent_at(tmp_path_factory.mktemp("run"), seconds)).timeline
    assert len(buckets) <= 240
    assert sum(bucket.answered for bucket in buckets) == len(seconds)
    assert all(a.end == b.start for a, b in pairwise(buckets))


def test_a_rate_counts_the_minute_up_to_each_moment(tmp_path: Path) -> None:
    report = collect(sent_at(tmp_path, range(90)))
    buckets = report.timeline
    assert [buckets[at].requests_per_minute for at in (0, 29, 59, 89)] == [1, 30, 60, 60]
    assert buckets[89].tokens_per_minute == 60 * 15
    assert [use.peak_per_minute for use in report.quotas] == [60, 900]


def sent_at(root: Path, seconds: Any) -> RunDir:
    rows = [
        Written(f"i{n}", attempts=(Attempt(1, TIME + timedelta(seconds=second), 1.0, usage=USAGE),))
        for n, second in enumerate(seconds)
    ]
    return write_run(root / "run", rows, items=len(rows))


USAGE = Usage(10, 5, 15)


# --- doubts ---


def test_doubts_are_grouped_by_rule_in_page_and_terminal(tmp_path: Path) -> None:
    rows = [
        Written(
            f"c{number:02}",
            doubts=(Doubt("container-not-documented", f"c{number:02}.ogg is ogg: may be refused"),),
        )
        for number in range(86)
    ]
    rows[5] = replace(rows[5], doubts=(*rows[5].doubts, Doubt("usage-missing", "no usage came")))
    directory = write_run(tmp_path / "run", [*rows, Written("sure")], items=87)
    groups = [
        DoubtGroup("container-not-documented", "c00.ogg is ogg: may be refused", 86, "c00"),
        DoubtGroup("usage-missing", "no usage came", 1, "c05"),
    ]
    assert [*collect(directory).doubts] == results.doubt_groups(directory) == groups
    page, _ = write_report(directory)
    for text in (page.read_text(), shown("report", directory), shown("status", directory)):
        assert "86" in text
        assert "c00.ogg is ogg: may be refused" in " ".join(text.split())
        assert "usage-missing" in text


# --- failures ---


def test_every_kind_of_failure_has_a_remedy() -> None:
    kinds = item_kinds() | {"internal_error", "account_error"}
    remedies = {kind: remedy_of(kind) for kind in kinds}
    assert len(set(remedies.values())) == len(kinds), "each its own"
    assert remedy_of("never heard of") not in remedies.values()


def failures(tmp_path: Path, messages: Iterator[str]) -> FailureKind:
    rows = [Written(f"i{n}", None, message=message) for n, message in enumerate(messages)]
    (failure,) = collect(write_run(tmp_path / "run", rows, items=len(rows))).failures
    return failure


def test_failures_that_differ_by_names_and_numbers_are_one_group(tmp_path: Path) -> None:
    failure = failures(
        tmp_path,
        (
            f"HTTP 400: photos/{n}.jpg has {n} pixels, see 'this {n}' in request 8f1d-{n:06}, "
            "can't be sent and can't be cut"
            for n in range(1000)
        ),
    )
    (group,) = failure.patterns
    assert (failure.items, group.items, len(group.examples)) == (1000, 1000, 5)
    assert group.pattern == (
        "HTTP 400: … has … pixels, see … in request … can't be sent and can't be cut"
    )
    assert [example.item_id for example in group.examples] == ["i0", "i1", "i2", "i3", "i4"]


def test_failures_that_never_read_the_same_are_counted(tmp_path: Path) -> None:
    words = ("".join(chr(97 + int(digit)) for digit in str(number)) for number in range(700))
    failure = failures(tmp_path, (f"no {word} {'x' * 1000}" for word in words))
    assert (failure.items, len(failure.patterns), failure.other_items) == (700, 10, 690)
    assert len(failure.patterns[0].pattern) == 240
    assert failure.patterns[0].examples[0].message.endswith("x…")


def test_numbers_are_written_with_units() -> None:
    assert [fmt.duration(s) for s in (0.0123, 3.44, 125, 12_000, 190_000)] == [
        *("12 ms", "3.4 s", "2:05 min", "3:20 h", "2 d 4 h")
    ]
    assert [fmt.share(part, 10_000) for part in (1, 9_876, 9_999, 10_000)] == [
        *("under 0.1 %", "98.8 %", "over 99.9 %", "100 %")
    ]
    assert fmt.short(12_345) == "12.3 k"
    assert fmt.amount(0.0012345, "USD") == "0.0012 USD"
