"""One run over several endpoints: work goes where there is room, and round what is down."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

import omni_batch
from omni_batch.config import Config, parse_config
from omni_batch.endpoint_status import Learned
from omni_batch.engine.pipeline import execute
from omni_batch.engine.run import Run
from omni_batch.errors import ConfigError
from omni_batch.planning.learned_limits import fresh, load_learned
from omni_batch.planning.plan import make_plan
from omni_batch.planning.prepare import prepare_run
from omni_batch.progress import phrases
from omni_batch.simulator import Simulator, SimulatorOptions, reply
from omni_batch.store import RunRecord
from tests.conftest import KEY, KEY_ENV, MakeConfig, prompts, read_table, write_csv

PLUS = "qwen3.5-omni-plus"
FREE = {"requests_per_minute": 1e9, "tokens_per_minute": 1e12}


@pytest.fixture
def two() -> Iterator[tuple[Simulator, Simulator]]:
    with ExitStack() as stack:
        options = SimulatorOptions(api_key=KEY)
        yield (
            stack.enter_context(Simulator(options)),
            stack.enter_context(Simulator(options)),
        )


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Config]:
    """A config over prompts and several endpoints, each given as (base URL, other keys)."""
    monkeypatch.setenv(KEY_ENV, KEY)

    def config(count: int, *endpoints: tuple[str, dict[str, Any]], **changes: Any) -> Config:
        rows = changes.pop("rows", prompts(count))
        entries = [
            {"name": "custom", "label": "ab"[n], "base_url": url, "api_key_env": KEY_ENV, **keys}
            for n, (url, keys) in enumerate(endpoints)
        ]
        retry = {"first_wait_s": 0, "max_wait_s": 0} | changes.pop("retry", {})
        return parse_config(
            {
                "name": "fleet",
                "manifest": {"path": str(write_csv(tmp_path / "rows.csv", rows))},
                "output": str(tmp_path / "runs"),
                "endpoints": entries,
                "quota": FREE | changes.pop("quota", {}),
                "retry": retry,
                **changes,
            }
        )

    return config


async def finished(config: Config) -> tuple[RunRecord, list[dict[str, Any]], list[dict[str, Any]]]:
    record = (await omni_batch.run_batch(config)).record
    folder = Path(config.output) / record.run_id
    return record, read_table(folder), read_table(folder, "attempts")


def by_endpoint(rows: list[dict[str, Any]]) -> dict[str, int]:
    return dict(Counter(row["endpoint"] for row in rows))


# --- Where there is room ---


async def test_weights_share_the_rows_while_all_have_room(
    two: tuple[Simulator, Simulator], make: Callable[..., Config]
) -> None:
    a, b = two
    config = make(40, (a.base_url, {"weight": 3}), (b.base_url, {}), quota={"max_in_flight": 64})
    record, rows, _ = await finished(config)
    assert record.exit_code == 0
    assert by_endpoint(rows) == {"a": 30, "b": 10}
    assert (len(a.requests), len(b.requests)) == (30, 10)


async def test_rows_go_where_there_is_room(
    two: tuple[Simulator, Simulator], make: Callable[..., Config]
) -> None:
    """EndpointClient a takes one at a time and half a second for each."""
    a, b = two
    a.change(first_chunk_s=0.5)
    config = make(
        30,
        (a.base_url, {"quota": FREE | {"max_in_flight": 1}}),
        (b.base_url, {"quota": FREE | {"max_in_flight": 4}}),
    )
    _, rows, _ = await finished(config)
    assert by_endpoint(rows)["b"] > 20


async def test_each_endpoint_has_its_quota_its_price_and_its_pace(
    two: tuple[Simulator, Simulator], make: Callable[..., Config]
) -> None:
    a, b = two
    config = make(
        20,
        (a.base_url, {"name": "dashscope-beijing", "quota": FREE}),
        (b.base_url, {"name": "dashscope-singapore"}),
        quota={"requests_per_minute": 60_000},
    )
    record, rows, _ = await finished(config)
    assert {(row["endpoint"], row["currency"]) for row in rows} == {("a", "CNY"), ("b", "USD")}
    assert all(row["cost"] > 0 for row in rows)
    limits = {endpoint.name: endpoint.requests_per_minute for endpoint in record.endpoints}
    assert limits == {"a": 1e9, "b": 60_000}


async def test_costs_in_two_currencies_stay_apart(
    two: tuple[Simulator, Simulator], make: Callable[..., Config]
) -> None:
    a, b = two
    regions = (a.base_url, {"name": "dashscope-beijing"}), (b.base_url, {"name": "simulator"})
    record, rows, _ = await finished(make(12, *regions))
    currency_of = {"a": "CNY", "b": "USD"}
    assert {(row["endpoint"], row["currency"]) for row in rows} == set(currency_of.items())
    for currency in currency_of.values():
        paid = sum(row["cost"] for row in rows if row["currency"] == currency)
        assert record.counts.cost[currency] == pytest.approx(paid)


def test_currencies_that_do_not_add_up_are_said_and_can_not_bound_a_budget(
    make: Callable[..., Config],
) -> None:
    regions = (
        ("https://h/v1", {"name": "dashscope-beijing"}),
        ("https://h/v1", {"name": "simulator"}),
    )
    config = make(1, *regions)
    assert any("paid in CNY and USD" in doubt.message for doubt in make_plan(config).doubts)
    bounded = make(1, *regions, budget={"max_cost": 1})
    with pytest.raises(ConfigError, match="max_cost needs one currency, not CNY and USD"):
        make_plan(bounded)


# --- Round what fails ---


async def test_a_row_that_fails_at_one_endpoint_is_tried_at_the_other(
    two: tuple[Simulator, Simulator], make: Callable[..., Config]
) -> None:
    a, b = two
    a.change(faults={"error_500": 1.0})
    config = make(12, (a.base_url, {}), (b.base_url, {}))
    record, rows, attempts = await finished(config)
    assert (record.exit_code, by_endpoint(rows)) == (0, {"b": 12})
    failed = [row for row in attempts if row["error_kind"]]
    assert {row["endpoint"] for row in failed} == {"a"}
    assert all(row["attempts"] <= 2 for row in rows)


async def test_a_refusal_is_final_only_when_all_endpoints_refuse(
    two: tuple[Simulator, Simulator], make: Callable[..., Config]
) -> None:
    a, b = two
    refusal = reply.status(400, code="invalid_parameter_error", message="should be in [0, 1]")
    a.script(*[refusal] * 9)
    b.script(reply.normal(), *[refusal] * 9)
    config = make(2, (a.base_url, {}), (b.base_url, {"weight": 0.001}), quota={"max_in_flight": 1})
    record, rows, attempts = await finished(config)
    assert sorted(row["status"] for row in rows) == ["failed", "succeeded"]
    lost = next(row["item_id"] for row in rows if row["status"] == "failed")
    assert {row["endpoint"] for row in attempts if row["item_id"] == lost} == {"a", "b"}
    assert record.counts.requests == len(attempts) <= 4


async def test_an_endpoint_whose_key_is_revoked_is_left_and_the_run_goes_on(
    two: tuple[Simulator, Simulator], make: Callable[..., Config]
) -> None:
    a, b = two
    a.script(*[reply.status(401)] * 20)
    config = make(20, (a.base_url, {"weight": 100}), (b.base_url, {}))
    record, rows, _ = await finished(config)
    assert (record.exit_code, by_endpoint(rows)) == (0, {"b": 20})
    closed = {endpoint.name: endpoint.closed for endpoint in record.endpoints}
    assert "401" in (closed["a"] or "")
    assert closed["b"] is None


async def test_a_refused_row_fails_alone_where_the_other_endpoint_is_closed(
    two: tuple[Simulator, Simulator], make: Callable[..., Config]
) -> None:
    a, b = two
    a.script(*[reply.normal()] * 5, reply.status(400, code="invalid_parameter_error"))
    b.script(*[reply.status(401)] * 20)
    config = make(20, (a.base_url, {}), (b.base_url, {"weight": 50}), quota={"max_in_flight": 1})
    record, rows, _ = await finished(config)
    assert (record.state, record.exit_code, record.counts.failed) == ("finished", 1, 1)
    assert [row["error_kind"] for row in rows if row["error_kind"]] == ["rejected"]


async def test_when_every_key_is_revoked_the_run_stops(
    two: tuple[Simulator, Simulator], make: Callable[..., Config]
) -> None:
    a, b = two
    for server in two:
        server.script(*[reply.status(401)] * 20)
    record = (await omni_batch.run_batch(make(20, (a.base_url, {}), (b.base_url, {})))).record
    assert (record.state, record.exit_code) == ("stopped", 3)
    assert "401" in (record.reason or "")


def free_port() -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return int(holder.getsockname()[1])


async def test_an_endpoint_that_is_down_is_left_alone(
    two: tuple[Simulator, Simulator], make: Callable[..., Config]
) -> None:
    _, b = two
    nobody = f"http://127.0.0.1:{free_port()}/compatible-mode/v1"
    config = make(60, (nobody, {"weight": 100}), (b.base_url, {}), quota={"max_in_flight": 4})
    record, rows, attempts = await finished(config)
    assert (record.exit_code, by_endpoint(rows)) == (0, {"b": 60})
    assert sum(row["endpoint"] == "a" for row in attempts) < 20


async def test_an_endpoint_that_comes_back_is_used_again(
    two: tuple[Simulator, Simulator], make: Callable[..., Config]
) -> None:
    a, b = two
    a.change(faults={"error_503": 1.0})
    b.change(first_chunk_s=1.0)
    config = make(40, (a.base_url, {}), (b.base_url, {}), quota={"max_in_flight": 4})

    async def mend(run: Run) -> None:
        while not run.router.handles[0].limiter.breaker.is_open:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # its line has been sent elsewhere
        a.change(faults={})

    directory = prepare_run(make_plan(config))
    record = await execute(directory, background=mend)
    assert record.exit_code == 0
    assert by_endpoint(read_table(directory.root))["a"] > 5
    assert [endpoint.down_s for endpoint in record.endpoints] == [0, 0]


async def test_an_outage_is_waited_out_and_costs_no_item_its_attempts(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    """Seven answers of 503, five of them before it is called an outage."""
    simulator.script(*[reply.status(503)] * 7)
    config = make_config(prompts(3), retry={"max_attempts": 3}, quota={"max_in_flight": 1})
    record = (await omni_batch.run_batch(config)).record
    assert (record.exit_code, record.counts.succeeded) == (0, 3)
    assert record.counts.requests == 10


async def test_an_outage_without_an_end_stops_the_run_which_can_be_resumed(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    simulator.change(faults={"error_503": 1.0})
    config = make_config(prompts(20), retry={"outage_timeout_s": 0}, quota={"max_in_flight": 2})
    directory = prepare_run(make_plan(config))
    record = await execute(directory)
    assert (record.state, record.exit_code, record.counts.failed) == ("stopped", 3, 0)
    assert "has not answered" in (record.reason or "")
    simulator.change(faults={})
    assert (await execute(directory)).exit_code == 0


# --- Rows for one, rows for the other ---


async def test_silent_rows_go_to_the_cheap_endpoint_and_spoken_ones_to_the_live_one(
    two: tuple[Simulator, Simulator], make: Callable[..., Config]
) -> None:
    cheap, live = two
    voices = ["", "Tina", "", "Cindy", "", ""]
    rows = [{**row, "voice": voice} for row, voice in zip(prompts(6), voices, strict=True)]
    config = make(
        6,
        (cheap.batch_base_url, {"name": "dashscope-batch-chat"}),
        (live.base_url, {"name": "dashscope-beijing", "rows": "spoken"}),
        rows=rows,
        model=PLUS,
        request={"modalities": ["text", "audio"], "spoken_rows": "with_voice"},
    )
    record, found, _ = await finished(config)
    assert record.exit_code == 0
    assert [row["endpoint"] for row in found] == ["a", "b", "a", "b", "a", "a"]
    assert [row["audio_path"] is not None for row in found] == [bool(voice) for voice in voices]
    per_token = [row["cost"] / row["prompt_tokens"] for row in found]
    assert max(per_token[0], per_token[2]) < min(per_token[1], per_token[3])


async def test_an_outage_of_the_only_endpoint_that_speaks_stops_the_run(
    two: tuple[Simulator, Simulator], make: Callable[..., Config]
) -> None:
    """The other one is up, which is no help to rows that it does not take."""
    silent, live = two
    live.change(faults={"error_503": 1.0})
    config = make(
        20,
        (silent.base_url, {"rows": "silent"}),
        (live.base_url, {"rows": "spoken"}),
        rows=[{**row, "voice": "Cherry" if n % 2 else ""} for n, row in enumerate(prompts(20))],
        request={"modalities": ["text", "audio"], "spoken_rows": "with_voice"},
        retry={"outage_timeout_s": 0},
    )
    async with asyncio.timeout(60):
        record = (await omni_batch.run_batch(config)).record
    assert (record.exit_code, record.counts.failed) == (3, 0)
    assert "b has not answered" in (record.reason or "")


# --- What is refused at once ---


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"endpoint": {"name": "simulator"}, "endpoints": [{"name": "simulator"}]},
            "simulator",
        ),
        ({"endpoint": {"name": "vllm"}, "endpoints": [{"name": "simulator"}]}, "keep one"),
        ({"endpoints": [{"name": "simulator"}, {"name": "simulator"}]}, "its own label"),
        ({"endpoints": [{"name": "simulator", "weight": 0}]}, "greater than 0"),
        ({"endpoints": [{"name": "simulator", "rows": "some"}]}, "all"),
        ({"endpoints": [{"nmae": "simulator"}]}, "did you mean name"),
        ({"endpoints": [{"name": "simulator", "quota": {"max_inflight": 1}}]}, "max_in_flight"),
        ({"endpoints": [{"name": "simulator", "rows": "spoken"}]}, "rows without speech need one"),
        (
            {
                "endpoints": [{"name": "vllm", "base_url": "http://h/v1", "rows": "spoken"}],
                "request": {"modalities": ["text", "audio"]},
            },
            "does not speak",
        ),
        (
            {
                "endpoints": [{"name": "simulator", "rows": "silent"}],
                "request": {"modalities": ["text", "audio"]},
            },
            "every endpoint that speaks has rows: silent",
        ),
    ],
)
def test_contradictions_are_refused_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    tree = {"manifest": {"path": "rows.csv"}, **changes}
    if reason == "simulator":  # the default endpoint, said aloud, contradicts nothing
        assert parse_config(tree).endpoints[0].name == reason
        return
    with pytest.raises(ConfigError, match=reason):
        make_plan(parse_config(tree))


def test_a_secret_in_one_of_several_endpoints_is_not_shown() -> None:
    tree = {
        "manifest": {"path": "rows.csv"},
        "endpoints": [{"name": "custom", "api_key_env": "sk-secret-1"}],
    }
    with pytest.raises(ConfigError) as refused:
        parse_config(tree)
    assert "sk-secret" not in str(refused.value)


# --- What is learned ---


async def test_the_next_run_starts_with_what_this_one_learned(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    for _ in range(3):
        simulator.script(reply.status(429, code="limit_requests", retry_after_s=0))
    config = make_config(prompts(5), quota={"requests_per_minute": 60_000, "max_in_flight": 1})
    record = (await omni_batch.run_batch(config)).record
    learned = record.endpoints[0].learned.requests_per_minute
    assert learned is not None
    assert learned < 50_000
    known = load_learned(make_plan(config), Path(config.output))
    assert [(endpoint.name, endpoint.learned.requests_per_minute) for endpoint in known] == [
        ("custom", learned)
    ]
    assert known[0].learned.handed_on
    other = config.model_copy(update={"model": "qwen-omni-turbo"})
    assert load_learned(make_plan(other), Path(config.output)) == ()
    lower = config.quota.model_copy(update={"requests_per_minute": 60.0})
    restated = load_learned(
        make_plan(config.model_copy(update={"quota": lower})), Path(config.output)
    )
    assert [endpoint.learned.requests_per_minute for endpoint in restated] == [None]


@pytest.mark.parametrize(("minutes", "known"), [(1, True), (59, True), (61, False), (9999, False)])
def test_what_was_learned_is_begun_with_while_it_is_fresh(minutes: int, known: bool) -> None:
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    learned = Learned(requests_per_minute=50.0, at=at)
    assert fresh(learned) == (replace(learned, handed_on=True) if known else None)
    assert fresh(Learned(requests_per_minute=50.0)) is None


async def test_what_was_learned_is_handed_on_as_it_is_and_not_said_again(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    for _ in range(3):
        simulator.script(reply.status(429, code="limit_requests", retry_after_s=0))
    config = make_config(prompts(4), quota={"requests_per_minute": 60_000, "max_in_flight": 1})
    first = (await omni_batch.run_batch(config)).record.endpoints[0]
    assert "requests a minute" in phrases.learned(first)
    for _ in range(3):
        again = (await omni_batch.run_batch(config)).record.endpoints[0]
        assert again.learned.requests_per_minute == first.learned.requests_per_minute
        assert again.learned.at == first.learned.at
        assert phrases.learned(again) == ""


async def test_a_surge_is_held_by_the_service_once_it_was_called_one(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    surge = reply.status(429, code="limit_burst_rate", message="Request rate increased too quickly")
    simulator.script(surge)
    await omni_batch.run_batch(make_config(prompts(3), quota={"max_in_flight": 1}))
    held = [request.headers.get("x-dashscope-wait-timeout") for request in simulator.requests]
    assert held == [None, "30", "30", "30"]


async def test_an_item_that_takes_too_long_fails_in_time(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    """Bytes come all the time, so no other timeout ends it."""
    simulator.change(chunk_interval_s=0.05)
    async with asyncio.timeout(60):
        record = (
            await omni_batch.run_batch(
                make_config(prompts(1), retry={"item_timeout_s": 0.2, "max_attempts": 5})
            )
        ).record
    assert (record.counts.failed, record.counts.requests) == (1, 1)


async def test_sockets_of_abandoned_streams_are_closed(
    simulator: Simulator, make_config: MakeConfig
) -> None:
    """While the next request is under way, the server has none but that."""
    simulator.script(reply.fault("stall"))
    simulator.change(first_chunk_s=1.0)
    config = make_config(prompts(1), retry={"idle_timeout_s": 0.1})
    alone = asyncio.Event()

    async def look(_: Run) -> None:
        while (simulator.counters.requests, simulator.counters.in_flight) != (2, 1):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        alone.set()

    record = await execute(prepare_run(make_plan(config)), background=look)
    assert (record.exit_code, alone.is_set()) == (0, True)
