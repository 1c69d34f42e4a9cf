"""A run has one set of figures, and every place that shows some of them shows the same."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

import omni_batch
from omni_batch.analytics.compare import compare_runs
from omni_batch.analytics.export.write import export_run
from omni_batch.analytics.report.collect import collect
from omni_batch.analytics.sql import RunDatabase
from omni_batch.cli.main import app
from omni_batch.cli.render.run import summary
from omni_batch.config import Config, parse_config
from omni_batch.counts import Counts, add_money
from omni_batch.progress import phrases
from omni_batch.progress.current import current_record
from omni_batch.simulator import Simulator, SimulatorOptions, reply
from omni_batch.store import RunDir
from tests.conftest import KEY, KEY_ENV, prompts, write_csv

SPEECH = {"modalities": ["text", "audio"], "voice": "Cherry"}
QUOTA = {"requests_per_minute": 1e9, "tokens_per_minute": 1e12}
NAMES = ("succeeded", "failed", "reused", "requests", "retries", "rate_limited")
TOKENS = ("prompt_tokens", "completion_tokens", "estimated_tokens")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_ENV, KEY)


@pytest.fixture
def server() -> Iterator[Simulator]:
    with Simulator(SimulatorOptions(api_key=KEY)) as server:
        yield server


def at(server: Simulator, name: str = "dashscope-singapore", **keys: Any) -> dict[str, Any]:
    return {"name": name, "base_url": server.base_url, "api_key_env": KEY_ENV, **keys}


def config(folder: Path, rows: int, **changes: Any) -> Config:
    manifest = write_csv(folder / "rows.csv", prompts(rows))
    tree = {"name": "story", "manifest": {"path": str(manifest)}, "output": str(folder / "runs")}
    retry = {"first_wait_s": 0, "max_wait_s": 0}
    return parse_config({**tree, "quota": QUOTA, "retry": retry, **changes})


async def run(config: Config, run_id: str = "one") -> RunDir:
    await omni_batch.run_batch(config, run_id=run_id)
    return RunDir(Path(config.output) / run_id)


async def billed_failures(folder: Path, server: Simulator) -> RunDir:
    """A server that answers with text where speech was asked for: whole, billed, and no success."""
    with Simulator(SimulatorOptions(api_key=KEY, dialect="vllm")) as silent:
        return await run(config(folder, 4, endpoint=at(silent), request=SPEECH))


async def reused_answers(folder: Path, server: Simulator) -> RunDir:
    """A second night: what the first one has paid for costs nothing."""
    await run(config(folder, 3, endpoint=at(server), request=SPEECH), "before")
    again = {"reuse": str(folder / "runs" / "*"), "request": SPEECH}
    return await run(config(folder, 5, endpoint=at(server), **again))


async def retries_at_two_endpoints(folder: Path, server: Simulator) -> RunDir:
    """Two regions with two currencies, cut answers, refusals, and one row that fails."""
    refusal = reply.status(400, code="invalid_parameter_error")
    with Simulator(SimulatorOptions(api_key=KEY)) as other:
        for one in (server, other):
            one.script(
                reply.status(429, code="limit_requests", retry_after_s=0),
                reply.fault("cut"),
                refusal,
            )
        endpoints = [at(server), at(other, "dashscope-beijing")]
        return await run(
            config(folder, 12, endpoints=endpoints, model="qwen-omni-turbo", request=SPEECH)
        )


async def stopped_by_its_budget(folder: Path, server: Simulator) -> RunDir:
    budget = {"max_tokens": 400}
    quota = {**QUOTA, "max_in_flight": 1}
    return await run(config(folder, 30, endpoint=at(server), budget=budget, quota=quota))


STORIES = (billed_failures, reused_answers, retries_at_two_endpoints, stopped_by_its_budget)


@pytest.fixture(params=STORIES, ids=lambda story: story.__name__)
async def directory(request: Any, tmp_path: Path, server: Simulator) -> RunDir:
    directory: RunDir = await request.param(tmp_path, server)
    return directory


@pytest.fixture
def counts(directory: RunDir) -> Counts:
    return current_record(directory).counts


def command(*arguments: object) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200"})
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def figures(tree: dict[str, Any]) -> Counts:
    return msgspec.convert(tree, Counts)


# --- the stories are what they claim ---


async def test_a_run_with_billed_failures_has_tokens_and_cost(
    tmp_path: Path, server: Simulator
) -> None:
    counts = current_record(await billed_failures(tmp_path, server)).counts
    assert (counts.succeeded, counts.failed) == (0, 4)
    assert counts.prompt_tokens > 0
    assert counts.cost["USD"] > 0


async def test_a_reused_answer_takes_nothing(tmp_path: Path, server: Simulator) -> None:
    counts = current_record(await reused_answers(tmp_path, server)).counts
    assert (counts.succeeded, counts.reused, counts.requests) == (5, 3, 2)


async def test_two_regions_are_paid_in_two_currencies(tmp_path: Path, server: Simulator) -> None:
    counts = current_record(await retries_at_two_endpoints(tmp_path, server)).counts
    assert counts.cost.keys() == {"CNY", "USD"}
    assert counts.rate_limited == 2
    assert counts.estimated_tokens > 0
    assert counts.retries > 2


async def test_a_stopped_run_has_items_without_a_result(tmp_path: Path, server: Simulator) -> None:
    directory = await stopped_by_its_budget(tmp_path, server)
    record = current_record(directory)
    assert (record.state, 0 < record.counts.done < 30) == ("stopped", True)


# --- every place says the same ---


def test_the_tables_add_up_to_the_figures(directory: RunDir, counts: Counts) -> None:
    with RunDatabase() as database:
        database.add([directory])
        (sums,) = database.rows(
            "select count(*) as requests, count(*) filter (where number > 1) as retries,"
            " count(*) filter (where error_kind = 'rate_limited') as rate_limited,"
            " coalesce(sum(prompt_tokens), 0)::bigint as prompt_tokens,"
            " coalesce(sum(completion_tokens), 0)::bigint as completion_tokens,"
            " coalesce(sum(estimated_tokens), 0)::bigint as estimated_tokens from attempts"
        )
        assert sums == {name: getattr(counts, name) for name in sums}
        paid = database.rows("select currency, sum(cost) as cost from attempts group by 1")
        costs = {row["currency"]: row["cost"] for row in paid if row["cost"] is not None}
        assert add_money(dict.fromkeys(counts.cost, 0.0), costs) == pytest.approx(counts.cost)
        (speech,) = database.rows("select sum(audio_s) as s from results where reused_from is null")
        assert (speech["s"] or 0) == pytest.approx(counts.audio_s, abs=0.001)


def test_sql_has_a_row_of_figures_for_each_run(directory: RunDir, counts: Counts) -> None:
    with RunDatabase() as database:
        database.add([directory])
        (row,) = database.rows("select * from runs")
    assert {name: row[name] for name in (*NAMES, *TOKENS)} == {
        name: getattr(counts, name) for name in (*NAMES, *TOKENS)
    }
    only = next(iter(counts.cost)) if len(counts.cost) == 1 else None
    assert row["cost"] == (pytest.approx(counts.cost[only]) if only else None)
    assert row["currency"] == only


def test_status_and_list_show_the_figures(directory: RunDir, counts: Counts) -> None:
    record = json.loads(command("status", directory.root, "--json"))
    assert figures(record["counts"]) == counts
    runs = json.loads(command("list", directory.root.parent, "--json"))
    (listed,) = (run for run in runs if run["run_id"] == directory.run_id)
    assert figures(listed["counts"]) == counts
    status = command("status", directory.root)
    for said in (phrases.tokens(counts), phrases.cost(counts), phrases.requests(counts)):
        assert said in status


def test_the_end_of_a_run_says_the_figures(directory: RunDir, counts: Counts) -> None:
    console = Console(file=io.StringIO(), width=200)
    console.print(summary(directory, current_record(directory)))
    assert isinstance(console.file, io.StringIO)
    for said in (phrases.tokens(counts), phrases.spent(counts), phrases.requests(counts)):
        assert said in console.file.getvalue()


def test_prefects_page_and_a_datasets_card_say_the_figures(
    directory: RunDir, counts: Counts, tmp_path: Path
) -> None:
    from flows.artifacts import summary_markdown

    record = current_record(directory)
    page = summary_markdown(directory, record, [])
    for name, value in phrases.facts(record):
        assert f"| {name} | {value} |" in page
    for endpoint in record.endpoints:
        assert endpoint.name in page
    export_run(directory, "hf", tmp_path / "dataset")
    card = (tmp_path / "dataset" / "README.md").read_text()
    for said in (phrases.tokens(counts), phrases.spent(counts), record.endpoint_names):
        assert said in card


def test_the_report_shows_the_figures_and_its_groups_add_up(
    directory: RunDir, counts: Counts
) -> None:
    report = collect(directory)
    assert report.record.counts == counts
    for groups in (report.modalities, report.models, report.endpoints):
        sums = sum((group.counts for group in groups), Counts())
        assert [getattr(sums, name) for name in (*NAMES, *TOKENS)] == [
            getattr(counts, name) for name in (*NAMES, *TOKENS)
        ]
        assert sums.cost == pytest.approx(counts.cost)
        assert sums.estimated_cost == pytest.approx(counts.estimated_cost)
        assert sums.audio_s == pytest.approx(counts.audio_s, abs=0.001)
    printed = json.loads(command("report", directory.root, "--json"))
    assert figures(printed["record"]["counts"]) == counts
    page = (directory.root / "report.html").read_text()
    for said in (phrases.cost(counts), f"{counts.requests:,}", f"{counts.prompt_tokens:,}"):
        assert said in page
    printed_text = command("report", directory.root)
    for _, value in phrases.facts(report.record):
        assert value in printed_text


def test_a_comparison_shows_the_figures(directory: RunDir, counts: Counts) -> None:
    comparison = compare_runs(directory, directory)
    for side in (comparison.left, comparison.right):
        assert side.counts == counts
    shown = command("compare", directory.root, directory.root)
    assert phrases.cost(counts) in shown


def test_no_place_adds_up_two_currencies(tmp_path: Path) -> None:
    assert add_money({"USD": 1.0}, {"CNY": 2.0}) == {"USD": 1.0, "CNY": 2.0}
