"""What is dead is called dead, and what it had sent is told, counted and held by the budget."""

import json
import threading
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any, get_args

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner, Result

import omni_batch
from omni_batch.analytics.verify import verify_run
from omni_batch.cli.main import app
from omni_batch.cli.render import run as render_run
from omni_batch.format import money
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.progress.current import current_record
from omni_batch.simulator import Simulator, reply
from omni_batch.store import Owner, RunDir, RunRecord, State
from omni_batch.store.record import read_record, write_record
from tests.conftest import KEY, KEY_ENV, MakeConfig, prompts, read_table
from tests.support.crash_layer import begin, work_on

ITEMS, IN_FLIGHT = 8, 4
STATES = set(get_args(State))


@pytest.fixture
def prepared(simulator: Simulator, make_config: MakeConfig) -> RunDir:
    """A run with a price list, none of whose requests is answered before it is allowed."""
    simulator.change(first_chunk_s=600)
    endpoint = {"name": "dashscope-singapore", "base_url": simulator.base_url}
    config = make_config(
        prompts(ITEMS),
        endpoint={**endpoint, "api_key_env": KEY_ENV},
        quota={"max_in_flight": IN_FLIGHT},
        retry={"first_wait_s": 600, "max_wait_s": 600},
    )
    return prepare_run(make_plan(config), "run-1")


@pytest.fixture
def dead(simulator: Simulator, prepared: RunDir) -> RunDir:
    """The same, killed with all of its requests under way."""
    kill(at_work(prepared, lambda: simulator.counters.requests == IN_FLIGHT))
    simulator.change(first_chunk_s=0)
    return prepared


def at_work(run: RunDir, reached: Callable[[], bool]) -> BaseProcess:
    process = begin(work_on, run.root, {KEY_ENV: KEY})
    while not reached():
        assert process.is_alive()
        time.sleep(0.005)
    return process


def kill(process: BaseProcess) -> None:
    process.kill()
    process.join()


def command(*line: object) -> Result:
    return CliRunner().invoke(app, list(map(str, line)))


def states(run: RunDir) -> set[str]:
    """What every door says of a run."""
    folder = run.root.parent
    query = command("sql", run.root, "select state from runs", "--json")
    return {
        json.loads(command("status", run.root, "--json").stdout)["state"],
        json.loads(command("list", folder, "--json").stdout)[0]["state"],
        *STATES.intersection(command("list", folder).stdout.split()),
        json.loads(query.stdout)[0]["state"],
        omni_batch.read_run(run.root).record.state,
        omni_batch.list_runs(folder)[0].record.state,
    }


def test_a_run_lives_as_long_as_its_process(simulator: Simulator, prepared: RunDir) -> None:
    process = at_work(prepared, lambda: simulator.counters.requests == IN_FLIGHT)
    assert states(prepared) == {"running"}
    assert "in flight" in command("status", prepared.root).stdout
    under_way = command("sql", prepared.root, "select count(*) as n from attempts", "--json")
    assert json.loads(under_way.stdout) == [{"n": 0}]
    kill(process)
    assert states(prepared) == {"interrupted"}
    assert f"omni-batch resume {prepared.root}" in command("status", prepared.root).stdout


def test_a_watch_ends_with_the_process(simulator: Simulator, prepared: RunDir) -> None:
    process = at_work(prepared, lambda: simulator.counters.requests == IN_FLIGHT)
    watch = threading.Thread(target=render_run.watch, args=(prepared,))
    watch.start()
    kill(process)
    watch.join(60)
    assert not watch.is_alive()
    assert "interrupted" in command("status", prepared.root, "--watch").stdout


def test_the_lock_decides_and_no_pid(dead: RunDir) -> None:
    living = replace(read_record(dead.record), owner=Owner.this_process())
    write_record(dead.record, living)
    assert states(dead) == {"interrupted"}


def test_what_was_sent_and_never_came_back_is_told(dead: RunDir) -> None:
    rows = json.loads(command("sql", dead.root, "from attempts", "--json").stdout)
    assert [row["error_kind"] for row in rows] == ["in_doubt"] * IN_FLIGHT
    assert all(row["started_at"] and row["latency_s"] is None for row in rows)
    counts = current_record(dead).counts
    assert counts.requests == counts.in_doubt == IN_FLIGHT
    assert counts.in_doubt_tokens == sum(row["estimated_tokens"] for row in rows) > 0
    most = {"USD": pytest.approx(sum(row["estimated_cost"] for row in rows))}
    assert counts.in_doubt_cost == counts.spent == most
    said = f"{IN_FLIGHT} requests in doubt, at most {money(counts.in_doubt_cost)}"
    for door in ("status", "report"):
        assert said in " ".join(command(door, dead.root).stdout.replace("in doubt  ", "").split())
    assert said in (dead.root / "report.html").read_text()


def resumed(run: RunDir, **overrides: Any) -> RunRecord:
    return omni_batch.read_run(run.root).resume(overrides).record


def test_after_resume_it_stays_in_what_was_spent(dead: RunDir) -> None:
    before = current_record(dead).counts
    record = resumed(dead)
    assert (record.state, record.counts.succeeded) == ("finished", ITEMS)
    assert record.counts.in_doubt_cost == before.in_doubt_cost
    assert record.counts.spent["USD"] > record.counts.cost["USD"] > 0
    attempts, rows = read_table(dead.root, "attempts"), read_table(dead.root)
    assert sum(row["error_kind"] == "in_doubt" for row in attempts) == IN_FLIGHT
    assert [row["attempts"] for row in rows] == [2] * IN_FLIGHT + [1] * (ITEMS - IN_FLIGHT)
    assert record.counts.requests == len(attempts) == ITEMS + IN_FLIGHT
    assert verify_run(dead).problems == 0
    assert f"{IN_FLIGHT} requests in doubt" in command("status", dead.root).stdout


def test_the_budget_holds_what_is_in_doubt(simulator: Simulator, dead: RunDir) -> None:
    limit = current_record(dead).counts.in_doubt_cost["USD"] / 2
    record = resumed(dead, **{"budget.max_cost": f"{limit:.9f} USD"})
    assert record.state == "stopped"
    assert f"{IN_FLIGHT} requests in doubt" in str(record.reason)
    assert simulator.counters.requests == IN_FLIGHT


def test_what_ended_before_the_death_is_in_no_doubt(simulator: Simulator, prepared: RunDir) -> None:
    simulator.change(first_chunk_s=0)
    refused = reply.status(500, retry_after_s=600)
    simulator.script(*[refused] * (2 * IN_FLIGHT))
    journal = prepared.journal(0)

    def all_wait() -> bool:
        return journal.exists() and journal.read_bytes().count(b'"http_status":500') >= IN_FLIGHT

    kill(at_work(prepared, all_wait))
    rows = json.loads(command("sql", prepared.root, "from attempts", "--json").stdout)
    ended = [row for row in rows if row["http_status"] == 500]
    assert {row["error_kind"] for row in ended} == {"unavailable"}
    assert len(ended) >= IN_FLIGHT
    assert current_record(prepared).counts.in_doubt == len(rows) - len(ended)


def test_rows_so_far_are_counted_beside_the_data(dead: RunDir) -> None:
    said = f"run-1 is interrupted: 0 of {ITEMS} rows so far\n"
    written = dead.root.parent / "rows.jsonl"
    for line in (
        ("sql", dead.root, "from results", "--json"),
        ("sql", dead.root, "from results", "--to", "csv"),
        ("export", dead.root, written, "--to", "jsonl"),
        ("report", dead.root, "--json"),
    ):
        shown = command(*line)
        assert shown.stderr == said
        assert "so far" not in shown.stdout
    assert written.read_bytes() == b""
    resumed(dead)
    assert command("sql", dead.root, "from results", "--json").stderr == ""
