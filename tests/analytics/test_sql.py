"""Questions to the tables in SQL: over one run or many, finished or not, and reading only."""

import asyncio
import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import omni_batch
from omni_batch.analytics.sql import RunDatabase, find_runs
from omni_batch.analytics.table_files import guard
from omni_batch.cli.main import app
from omni_batch.config import load_config
from omni_batch.errors import ConfigError, QueryError
from omni_batch.simulator import Simulator, reply
from omni_batch.store import RunDir
from omni_batch.store.read import Names
from omni_batch.types import Attempt, Cost
from tests.analytics.test_export import restored
from tests.cli.test_cli import omni_batch as command
from tests.conftest import SAMPLE, MakeConfig, prompts
from tests.support.written_runs import TIME, Written, write_run

COOKBOOK = Path(omni_batch.__file__).parents[1] / "docs" / "cookbook.md"
QUERIES = dict(
    re.findall(r"^## (.+?)\n.*?```sql\n(.+?)```", COOKBOOK.read_text(encoding="utf-8"), re.M | re.S)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two nights: a finished run, and one with 500 rows in a part and 2 in the journal."""
    folder = tmp_path_factory.mktemp("runs")
    first = [Written("a"), Written("b", None), Written("=c", "-1+1", speech_s=2)]
    write_run(folder / "first", first, items=3)
    second = [Written(f"item-{number}", f"text {number}") for number in range(502)]
    write_run(folder / "second", second, items=502, unfinished_shards=1)
    return folder


@pytest.fixture
def database(folder: Path) -> Iterator[RunDatabase]:
    with RunDatabase() as database:
        database.add(find_runs([str(folder)]))
        yield database


def test_views_hold_all_runs(database: RunDatabase) -> None:
    query = "select run_id, count(*) as n from {} group by run_id order by run_id"
    for view in ("results", "attempts", "items"):
        rows = list(database.rows(query.format(view)))
        assert rows == [{"run_id": "first", "n": 3}, {"run_id": "second", "n": 502}], view
    states = database.rows("select run_id, state, items, cost, currency from runs order by 1")
    assert [tuple(row.values()) for row in states] == [
        ("first", "finished", 3, pytest.approx(0.002), "USD"),
        ("second", "interrupted", 502, pytest.approx(0.502), "USD"),
    ]


def test_runs_hold_all_figures_of_a_run(folder: Path, tmp_path: Path) -> None:
    yuan = Attempt(1, TIME, 1.0, cost=Cost(7.0, "CNY"))
    rows = [Written("a"), Written("b", attempts=(yuan,)), Written("c", None)]
    mixed = write_run(tmp_path / "mixed", rows, items=3)
    with RunDatabase() as database:
        records = database.add([mixed, RunDir(folder / "second")])
        shown = list(database.rows("select * from runs"))
    assert [record.state for record in records] == ["finished", "interrupted"]
    for record, row in zip(records, shown, strict=True):
        counts = msgspec.structs.asdict(record.counts)
        assert counts.keys() <= row.keys()
        money = {name: counts.pop(name) for name in ("cost", "estimated_cost", "in_doubt_cost")}
        assert counts == {
            name: dict(row[name]) if name == "failures" else row[name] for name in counts
        }
        several = len(money["cost"]) > 1
        assert (row["cost"] is None, row["currency"] is None) == (several, several)


def test_every_column_has_its_description(database: RunDatabase) -> None:
    described = database.rows("select table_name, column_name, comment from duckdb_columns()")
    missing = {
        (row["table_name"], row["column_name"])
        for row in described
        if row["table_name"] in ("results", "attempts", "runs") and not row["comment"]
    }
    assert missing == set()
    (cost,) = database.rows(
        "select comment from duckdb_columns() where table_name = 'runs' and column_name = 'cost'"
    )
    assert "several currencies" in cost["comment"]


def test_runs_are_named_by_folder_pattern_or_themselves(folder: Path) -> None:
    def names(*paths: str) -> list[str]:
        return [run.run_id for run in find_runs(paths)]

    assert names(str(folder)) == ["first", "second"]
    assert names(f"{folder}/sec*") == ["second"]
    assert names(f"{folder}/second", str(folder)) == ["second", "first"]
    for nothing in (f"{folder}/third*", f"{folder}/first/audio", "/no/such/folder"):
        with pytest.raises(ConfigError, match="no run directory there"):
            names(nothing)


def test_two_runs_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "first", [Written("a")], items=1)
    with pytest.raises(ConfigError, match="have one name"):
        find_runs([str(folder), str(tmp_path)])


def test_a_missing_column_is_null_and_a_new_one_is_there(folder: Path, tmp_path: Path) -> None:
    run = write_run(tmp_path / "other", [Written("a"), Written("b")], items=2)
    table = pq.read_table(run.results(0)).drop_columns(["voice", "cost"])
    table = table.append_column("wind", pa.array(["north", "west"]))
    pq.write_table(table, run.results(0))
    with RunDatabase() as database:
        database.add(find_runs([str(folder / "first"), str(run.root)]))
        rows = list(database.rows("select item_id, wind, cost from results where wind is not null"))
    assert [tuple(row.values()) for row in rows] == [("a", "north", None), ("b", "west", None)]


def test_a_run_without_any_result_has_empty_views(tmp_path: Path) -> None:
    run = write_run(tmp_path / "new", [Written("a")], items=1, unfinished_shards=1)
    run.journal(0).unlink()
    with RunDatabase() as database:
        database.add([run])
        assert list(database.rows("select count(*) as n, sum(cost) as c from results")) == [
            {"n": 0, "c": None}
        ]


def test_a_shard_that_ends_while_its_journal_is_read_is_not_lost(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [Written("a"), Written("b")], items=2)
    part, aside = run.results(0), tmp_path / "aside"
    part.rename(aside)

    class EndsNow(RunDir):
        """Its shard ends between the look for its part and the look for its journal."""

        def journal(self, shard_number: int) -> Path:
            path = RunDir(self.root).journal(shard_number)
            path.touch()
            aside.rename(part)
            return path

    with RunDatabase() as database:
        database.add([EndsNow(run.root)])
        assert list(database.rows("select count(*) as n from results")) == [{"n": 2}]


# --- reading only ---

FORBIDDEN = [
    "copy results to '{}/x.csv'",
    "explain analyze copy results to '{}/x.csv'",
    "with q as (copy (select 1) to '{}/x.csv') select 1",
    "with q as (create table x as select 1) select 1",
    "export database '{}/x'",
    "attach '{}/x.db'",
    "install httpfs",
    "load httpfs",
    "set enable_external_access = true",
    "create table x as select 1",
    "pragma version",
    "call pragma_version()",
    "select 1; select 2",
    "",
    "-- nothing",
    "select * from read_text('/etc/hostname')",
    "select * from read_csv('{}/secret.csv')",
    "select * from '{}/secret.csv'",
    "select * from glob('/*')",
    "select * from read_csv('http://127.0.0.1:9/x.csv')",
    "select * from query('copy results to ''{}/x.csv''')",
    "select getenv('HOME')",
    "select * from database",
    "select nonsense from results",
    "selec 1",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_what_is_no_query_over_the_views_is_refused(
    database: RunDatabase, tmp_path: Path, statement: str
) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with pytest.raises(QueryError):
        list(database.rows(statement.format(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_queries_of_our_own_reach_their_copies_and_nothing_else(
    folder: Path, tmp_path: Path, statement: str
) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    names = Names(frozenset({"item_id", "annotation"}), frozenset({"item_id"}))
    with RunDatabase(rows=505) as database:
        database.add(find_runs([str(folder)]), names)
        assert list(database.rows("select count(*) as n from results")) == [{"n": 505}]
        with pytest.raises(QueryError):
            list(database.rows(statement.format(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


@pytest.mark.parametrize(
    "statement",
    ["from results", "describe results", "summarize results", "explain select 1", "values (1)",
     "with r as (select 1) select * from r", "pivot results on status using count(*)"],
)  # fmt: skip
def test_every_kind_of_query_is_answered(database: RunDatabase, statement: str) -> None:
    assert list(database.rows(statement))


def test_an_error_while_rows_are_read_is_a_query_error(database: RunDatabase) -> None:
    with pytest.raises(QueryError, match="Could not convert"):
        list(database.rows("select text::int as n from results where text like 'text 4%'"))


def test_no_temporary_folder_stays(folder: Path) -> None:
    with RunDatabase() as database:
        spill = Path(database._spill.name)
        assert spill.is_dir()
    assert not spill.exists()


# --- the command ---


def run_sql(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["sql", *arguments])
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout


def test_a_table_for_people_and_json_for_programs(folder: Path) -> None:
    query = "select status, count(*) as items from results group by status order by items"
    assert re.search(r"succeeded +504", run_sql(str(folder), query))
    rows = json.loads(run_sql(str(folder), query, "--json"))
    assert rows == [{"status": "failed", "items": 1}, {"status": "succeeded", "items": 504}]
    assert json.loads(run_sql(str(folder), "select 1 as n where false", "--json")) == []


def test_a_long_table_says_that_it_is_cut(folder: Path) -> None:
    done = CliRunner().invoke(app, ["sql", str(folder), "select item_id from results"])
    assert len(done.stdout.splitlines()) == 101
    assert "the first 100 rows" in done.stderr


def test_csv_holds_no_formulas(folder: Path) -> None:
    query = """select item_id, text, error_message, -5 as n, [1, 2] as l, audio_s as "=cost"
               from results where run_id = 'first' order by row_number"""
    rows = list(csv.reader(io.StringIO(run_sql(str(folder), query, "--to", "csv"))))
    assert rows == [
        ["item_id", "text", "error_message", "n", "l", "'=cost"],
        ["a", "answer", "", "-5", "[1,2]", ""],
        ["b", "", "'=no", "-5", "[1,2]", ""],
        ["'=c", "'-1+1", "", "-5", "[1,2]", "2"],
    ]


@given(st.text(alphabet="'=+-@\t\r ax\n"))
def test_a_guarded_cell_begins_harmlessly_and_loses_nothing(text: str) -> None:
    assert restored(guard(text)) == text
    assert guard(text)[:1] not in tuple("=+-@\t\r")


def test_a_file_is_whole_or_not_there(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.parquet"
    query = "select item_id, total_tokens from results"
    run_sql(str(folder), query, "--to", "parquet", "--output", str(target))
    assert pq.read_table(target).num_rows == 505
    broken = "select text::int as n from results where text like 'text%'"
    other = tmp_path / "broken.csv"
    done = CliRunner().invoke(
        app, ["sql", str(folder), broken, "--to", "csv", "--output", str(other)]
    )
    assert isinstance(done.exception, QueryError)
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["select nonsense from results"], 'Referenced column "nonsense" not found'),
        (["drop view results"], "this is DROP, and the tables are read only"),
        (["select 1", "--to", "parquet"], "--to parquet needs --output"),
        (["select 1", "--output", "x"], "--output needs --to"),
    ],
)
def test_a_wrong_question_is_refused_with_its_reason(
    folder: Path, arguments: list[str], hint: str
) -> None:
    done = CliRunner().invoke(app, ["sql", str(folder), *arguments])
    assert isinstance(done.exception, QueryError | ConfigError)
    assert hint in str(done.exception)
    assert done.stdout == ""


def test_a_wrong_query_is_one_error_and_exit_code_2(folder: Path) -> None:
    done = command("sql", str(folder), "select nonsense from results", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr


def test_a_query_comes_from_stdin_too(folder: Path) -> None:
    done = CliRunner().invoke(app, ["sql", str(folder), "-", "--json"], input="select 1 as n")
    assert json.loads(done.stdout) == [{"n": 1}]


# --- the cookbook ---


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample rows, and a run that was broken off after one of its shards."""
    output = tmp_path_factory.mktemp("night")
    sample = load_config("configs/demo.yaml")
    manifest = sample.manifest.model_copy(update={"path": str(SAMPLE / "manifest.csv")})
    sample = sample.model_copy(update={"manifest": manifest, "output": str(output)})
    asyncio.run(omni_batch.run_batch(sample))
    rows = [Written(f"item-{number}", "the same" if number else None) for number in range(502)]
    broken_off = write_run(output / "broken-off", rows, items=502, unfinished_shards=1)
    broken_off.journal(1).unlink()
    return output


def test_the_cookbook_has_its_queries() -> None:
    assert len(QUERIES) >= 10


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_of_the_cookbook_has_an_answer(night: Path, name: str) -> None:
    with RunDatabase() as database:
        database.add(find_runs([str(night)]))
        assert list(database.rows(QUERIES[name]))


async def test_the_cookbook_counts_429_and_what_a_retry_saved(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    simulator.script(reply.fault("rate_limit"), reply.fault("cut"), reply.text("hello"))
    config = make_config(prompts(1))
    record = (await omni_batch.run_batch(config)).record
    with RunDatabase() as database:
        database.add([RunDir(Path(config.output) / record.run_id)])
        (minute,) = database.rows(QUERIES["Rejections for quota (429) by minute"])
        errors = list(database.rows(QUERIES["Retries by error"]))
    assert (minute["requests"], minute["rejected"]) == (3, 1)
    assert {(row["error_kind"], row["items_saved"]) for row in errors} == {
        ("rate_limited", 1),
        ("stream_error", 1),
    }
