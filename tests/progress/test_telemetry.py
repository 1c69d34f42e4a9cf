"""What OpenTelemetry is told: metrics by name, a trace for each item, and no text."""

import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from omni_batch import run_batch
from omni_batch.progress.telemetry import SWITCHES, open_telemetry
from omni_batch.simulator import Simulator, reply
from tests.conftest import KEY, MakeConfig, prompts

SERVED = {"simulator": ("qwen3-omni-flash", "dashscope")}
"""Model and dialect by endpoint."""
Measured = dict[str, list[tuple[dict[str, Any], Any]]]


class Heard:
    """What has been measured and traced so far."""

    def __init__(self) -> None:
        self.reader, self.exporter = InMemoryMetricReader(), InMemorySpanExporter()
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.traces = TracerProvider(shutdown_on_exit=False)
        self.traces.add_span_processor(SimpleSpanProcessor(self.exporter))

    def measured(self) -> Measured:
        found: Measured = defaultdict(list)
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        found[metric.name].append((dict(point.attributes or {}), point))
        return found

    def spans(self, begin: str) -> list[ReadableSpan]:
        done = self.exporter.get_finished_spans()
        return [span for span in done if span.name.startswith(begin)]


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Heard:
    """A program that has set up OpenTelemetry for itself; the API lets it be set but once."""
    listener = Heard()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", listener.traces)
    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", listener.meters)
    return listener


async def test_a_run_is_measured(
    make_config: MakeConfig, simulator: Simulator, heard: Heard
) -> None:
    simulator.script(
        reply.status(429, code="limit_requests"), reply.fault("cut"), reply.text("one")
    )
    rows = [*prompts(1), {"item_id": "gone", "image": "gone.jpg"}]
    await run_batch(make_config(rows, quota={"max_in_flight": 1}))
    found = heard.measured()
    label, point = found["omni_batch.requests"][0]
    assert point.value == 3
    assert label == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "dashscope",
        "gen_ai.request.model": "qwen3-omni-flash",
        "omni_batch.endpoint": "custom",
    }
    by_error = {label.get("error.type"): p.count for label, p in _of(found, "operation.duration")}
    assert by_error == {"rate_limited": 1, "stream_error": 1, None: 1}
    tokens = {label["gen_ai.token.type"]: p.sum for label, p in _of(found, "token.usage")}
    assert tokens["input"] > 0
    assert tokens["output"] > 0
    assert sum(p.count for _, p in _of(found, "operation.time_to_first_chunk")) == 2
    assert found["omni_batch.retries"][0][1].value == 2
    assert [label["omni_batch.limit"] for label, _ in found["omni_batch.rate_limited"]] == [
        "requests"
    ]
    items = {
        (label["omni_batch.status"], label.get("error.type")): p.value
        for label, p in found["omni_batch.items"]
    }
    assert items == {("succeeded", None): 1, ("failed", "media_error"): 1}
    kinds = {label["omni_batch.token.kind"] for label, _ in found["omni_batch.tokens"]}
    assert {"prompt_text", "completion_text"} <= kinds


def _of(found: Measured, name: str) -> list[tuple[dict[str, Any], Any]]:
    return found[f"gen_ai.client.{name}"]


async def test_an_item_is_a_trace_that_links_to_its_run(
    make_config: MakeConfig, simulator: Simulator, heard: Heard
) -> None:
    answer = "A text nobody should export."
    refusal = reply.status(400, code="invalid", message=f"You said: Say 1. With key {KEY}")
    simulator.script(reply.fault("cut"), reply.text(answer), refusal)
    record = (await run_batch(make_config(prompts(2), quota={"max_in_flight": 1}))).record
    (run,), items, chats = heard.spans("run"), heard.spans("item"), heard.spans("chat")
    assert run.context is not None
    assert known(run)["omni_batch.run_id"] == record.run_id
    assert (known(run)["omni_batch.state"], run.status.is_ok) == ("finished", True)
    inside = {_id(item): known(item) for item in items}
    for item in items:
        assert item.parent is None
        assert [link.context.trace_id for link in item.links] == [run.context.trace_id]
        assert item.status.is_ok == (known(item)["omni_batch.status"] == "succeeded")
    tries = {}
    for chat in chats:
        assert chat.parent is not None
        item_id = inside[chat.parent.span_id]["omni_batch.item_id"]
        assert known(chat)["omni_batch.item_id"] == item_id
        tries[item_id, known(chat)["omni_batch.attempt"]] = known(chat).get("error.type")
        assert chat.status.is_ok == ("error.type" not in known(chat))
    assert tries == {("row-0", 1): "stream_error", ("row-0", 2): "rejected", ("row-1", 1): None}
    assert {chat.name for chat in chats} == {"chat qwen3-omni-flash"}
    assert any(known(chat).get("gen_ai.usage.output_tokens") for chat in chats)
    exported = "".join(span.to_json() for span in (run, *items, *chats))
    for text in (answer, "Say 0", "Say 1", "You said", KEY):
        assert text not in exported


async def test_each_variant_is_told_with_the_model_that_it_asks(
    make_config: MakeConfig, heard: Heard
) -> None:
    variants = {"flash": {}, "plus": {"model": "qwen3.5-omni-plus"}}
    await run_batch(make_config(prompts(1), variants=variants, samples=2))
    (run,), items, chats = heard.spans("run"), heard.spans("item"), heard.spans("chat")
    assert known(run)["gen_ai.request.model"] == "qwen3-omni-flash+qwen3.5-omni-plus"
    asked = {
        (known(chat)["omni_batch.variant"], known(chat)["omni_batch.sample"]): chat.name
        for chat in chats
    }
    assert asked == {
        ("flash", 1): "chat qwen3-omni-flash",
        ("flash", 2): "chat qwen3-omni-flash",
        ("plus", 1): "chat qwen3.5-omni-plus",
        ("plus", 2): "chat qwen3.5-omni-plus",
    }
    assert {known(item)["omni_batch.item_id"] for item in items} == {"row-0"}
    counted = heard.measured()["omni_batch.items"]
    assert {label["gen_ai.request.model"]: point.value for label, point in counted} == {
        "qwen3-omni-flash": 2,
        "qwen3.5-omni-plus": 2,
    }


async def test_what_is_in_flight_is_seen_while_the_run_goes_on(
    make_config: MakeConfig, heard: Heard
) -> None:
    from omni_batch.engine.pipeline import execute
    from omni_batch.engine.run import Run
    from omni_batch.planning.plan import make_plan
    from omni_batch.planning.prepare import prepare_run

    seen: Measured = {}

    async def look(run: Run) -> None:
        run.update_record("running")
        seen.update(heard.measured())

    config = make_config(prompts(3), quota={"requests_per_minute": 5e8})
    await execute(prepare_run(make_plan(config)), background=look)
    assert seen["omni_batch.limit.requests"][0][1].value == 5e8
    assert {"omni_batch.requests.in_flight", "omni_batch.requests.waiting"} <= seen.keys()
    assert "omni_batch.limit.requests" not in heard.measured()  # the run is over


def known(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def _id(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


class Collector(ThreadingHTTPServer):
    """Takes what an exporter sends."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.bodies: list[tuple[str, bytes]] = []


class _Take(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_the_environment_switches_it_on(
    make_config: MakeConfig, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://127.0.0.1:{collector.server_address[1]}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    await run_batch(make_config(prompts(3)))
    names = set[str]()
    for path, body in list(collector.bodies):
        if path == "/v1/traces":
            for traced in ExportTraceServiceRequest.FromString(body).resource_spans:
                names |= {span.name for scope in traced.scope_spans for span in scope.spans}
        else:
            for told in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                names |= {m.name for scope in told.scope_metrics for m in scope.metrics}
    assert {"run", "item", "chat qwen3-omni-flash", "omni_batch.items"} <= names


async def test_a_collector_that_is_not_there_keeps_no_run_waiting(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain_s = time.monotonic()
    await run_batch(make_config(prompts(3)))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    begun_s = time.monotonic()
    record = (await run_batch(make_config(prompts(3)))).record
    assert (record.state, record.counts.succeeded) == ("finished", 3)
    assert time.monotonic() - begun_s < 2 * (begun_s - plain_s) + 9  # an exporter's own wait is 10


def test_nothing_is_imported_where_nobody_asked(tmp_path: Path) -> None:
    code = """if True:
        import asyncio, sys
        import omni_batch
        asyncio.run(omni_batch.run_batch("config.yaml"))
        print([name for name in sys.modules if name.startswith("opentelemetry")])"""
    (tmp_path / "rows.csv").write_text("prompt\nhello\n")
    (tmp_path / "config.yaml").write_text("manifest: {path: rows.csv}")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_standard_switch_turns_it_off(heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_telemetry("run-1", SERVED) is not None
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert open_telemetry("run-1", SERVED) is None


def test_a_missing_extra_is_named_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(SWITCHES[0], "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.metrics", None)
    assert open_telemetry("run-1", SERVED) is None
    assert "pip install omni-batch[telemetry]" in caplog.text


def test_the_api_is_used_as_it_is_where_nothing_is_set_up() -> None:
    assert not isinstance(metrics.get_meter_provider(), MeterProvider)
    assert not isinstance(trace.get_tracer_provider(), TracerProvider)
