"""OpenTelemetry: metrics and traces of a run, where the environment asks for them.

On when `OTEL_EXPORTER_OTLP_ENDPOINT` (or its `TRACES` or `METRICS` variant) is set, or when the
program around us has set up OpenTelemetry itself; else nothing of it is imported. No text of a row
or an answer and no key is ever part of it.

Names are those of the GenAI semantic conventions (open-telemetry/semantic-conventions-genai, status
Development, read 2026-11) where they have one, and `omni_batch.*` elsewhere. An item is a trace of
its own that links to the run's, so that sampling chooses among items and no trace has a million
spans.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from omni_batch._version import __version__
from omni_batch.endpoint_status import EndpointStatus
from omni_batch.errors import RateLimited, error_kind
from omni_batch.store.record import RunRecord
from omni_batch.types import Attempt, Cost, Item, Result

log = logging.getLogger("omni_batch")

SWITCHES = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)
_SECONDS = [0.01 * 2**step for step in range(14)]
_TOKENS = [4**step for step in range(14)]
"""Bounds of the histograms, as the conventions ask for them."""
_KINDS = (
    *("prompt_text_tokens", "prompt_audio_tokens", "prompt_image_tokens", "prompt_video_tokens"),
    *("completion_text_tokens", "completion_audio_tokens", "reasoning_tokens"),
    *("cached_tokens", "cache_creation_tokens"),
)
_EXPORT_S = 3
"""Most time for one export, retries included, where `OTEL_EXPORTER_OTLP_TIMEOUT` says nothing: the
default of ten seconds would keep every run waiting whose collector is gone."""


def open_telemetry(run_id: str, model: str, dialects: Mapping[str, str]) -> "Telemetry | None":
    """An observer that measures; None where it was not asked for, or is not installed.

    Args:
        dialects: the dialect of each endpoint by the endpoint's name.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    wanted = any(os.environ.get(name) for name in SWITCHES)
    if not wanted and "opentelemetry.sdk" not in sys.modules:
        return None
    try:
        traces, meters, owned = _providers(wanted)
    except ImportError as exc:
        log.warning(
            "%s is set, but OpenTelemetry is not installed (%s): pip install omni-batch[telemetry]",
            next(name for name in SWITCHES if os.environ.get(name)),
            exc,
        )
        return None
    return Telemetry(run_id, model, dialects, traces, meters, owned)


def _providers(wanted: bool) -> tuple[Any, Any, list[Any]]:
    """(traces, metrics, those of them that are ours to end)."""
    from opentelemetry import metrics, trace

    traces, meters = trace.get_tracer_provider(), metrics.get_meter_provider()
    if not wanted:
        return traces, meters, []
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider

    resource = Resource.create({SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", "omni-batch")})
    owned: list[Any] = []
    if not isinstance(traces, TracerProvider):
        owned.append(traces := _exported_traces(resource))
    if not isinstance(meters, MeterProvider):
        owned.append(meters := _exported_metrics(resource))
    return traces, meters, owned


def _exported_traces(resource: Any) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=_timeout_s())))
    return provider


def _exported_metrics(resource: Any) -> Any:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    reader = PeriodicExportingMetricReader(OTLPMetricExporter(timeout=_timeout_s()))
    return MeterProvider([reader], resource=resource, shutdown_on_exit=False)


def _timeout_s() -> int | None:
    names = (f"OTEL_EXPORTER_OTLP_{signal}TIMEOUT" for signal in ("", "TRACES_", "METRICS_"))
    return None if any(os.environ.get(name) for name in names) else _EXPORT_S


class Telemetry:
    """An observer that measures and traces."""

    def __init__(
        self,
        run_id: str,
        model: str,
        dialects: Mapping[str, str],
        traces: Any,
        meters: Any,
        owned: Iterable[Any] = (),
    ) -> None:
        self._run_id, self._model = run_id, model
        self._meters = _Meters(meters.get_meter("omni_batch", __version__))
        self._spans = _Spans(traces.get_tracer("omni_batch", __version__), run_id)
        self._owned = tuple(owned)
        self._labels = {name: _label(name, dialect, model) for name, dialect in dialects.items()}

    def on_attempt_end(self, item: Item, attempt: Attempt) -> None:
        """Count and time one HTTP exchange."""
        self._meters.attempt(attempt, self._labels[attempt.endpoint or next(iter(self._labels))])

    def on_item_end(self, result: Result) -> None:
        """Count one item, and trace it with its attempts."""
        self._meters.item(result, {"gen_ai.request.model": self._model})
        self._spans.item(result, self._labels)

    def on_snapshot(self, before: RunRecord, now: RunRecord) -> None:
        """Keep what is in flight; begin and end the run's span."""
        running = now.state == "running"
        self._meters.endpoints = now.endpoints if running else ()
        if running and before.state != "running":
            self._spans.begin_run(now)
        elif not running:
            self._spans.end_run(now)

    def close(self) -> None:
        """Send what is left; blocks for at most `_EXPORT_S` where no collector answers."""
        self._spans.end_run(None)
        with ThreadPoolExecutor() as pool:
            for provider in self._owned:
                pool.submit(provider.shutdown)


def _label(endpoint: str, dialect: str, model: str) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": dialect,
        "gen_ai.request.model": model,
        "omni_batch.endpoint": endpoint,
    }


class _Meters:
    """The instruments."""

    def __init__(self, meter: Any) -> None:
        self.endpoints: tuple[EndpointStatus, ...] = ()
        client = "gen_ai.client"
        seconds = {"unit": "s", "explicit_bucket_boundaries_advisory": _SECONDS}
        tokens = {"unit": "{token}", "explicit_bucket_boundaries_advisory": _TOKENS}
        self._duration = meter.create_histogram(f"{client}.operation.duration", **seconds)
        self._first = meter.create_histogram(f"{client}.operation.time_to_first_chunk", **seconds)
        self._usage = meter.create_histogram(f"{client}.token.usage", **tokens)
        count = meter.create_counter
        self._requests = count("omni_batch.requests", "{request}", "HTTP exchanges")
        self._retries = count("omni_batch.retries", "{request}", "Those after an item's first")
        self._limited = count("omni_batch.rate_limited", "{request}", "Answers of 429, by limit")
        self._tokens = count("omni_batch.tokens", "{token}", "Billed tokens, by kind")
        self._cost = count("omni_batch.cost", "1", "Money, by currency")
        self._items = count("omni_batch.items", "{item}", "Items that ended, by status")
        gauge = meter.create_observable_gauge
        for name, field, unit in (
            ("requests.in_flight", "in_flight", "{request}"),
            ("requests.waiting", "waiting", "{request}"),
            ("limit.requests", "requests_per_minute", "{request}/min"),
            ("limit.tokens", "tokens_per_minute", "{token}/min"),
        ):
            gauge(f"omni_batch.{name}", [self._observer(field)], unit)

    def _observer(self, field: str) -> Callable[[Any], Iterator[Any]]:
        from opentelemetry.metrics import Observation

        def observe(_: Any) -> Iterator[Any]:
            for endpoint in self.endpoints:
                value = getattr(endpoint, field)
                if value is not None:
                    yield Observation(value, {"omni_batch.endpoint": endpoint.name})

        return observe

    def attempt(self, attempt: Attempt, label: dict[str, Any]) -> None:
        kind = error_kind(attempt.error)
        self._duration.record(attempt.latency_s, label | ({"error.type": kind} if kind else {}))
        self._requests.add(1, label)
        if attempt.first_chunk_s is not None:
            self._first.record(attempt.first_chunk_s, label)
        if attempt.number > 1:
            self._retries.add(1, label)
        if isinstance(attempt.error, RateLimited):
            self._limited.add(1, label | {"omni_batch.limit": attempt.error.limit})
        if attempt.usage is not None:
            self._usage.record(attempt.usage.prompt_tokens, label | _INPUT)
            self._usage.record(attempt.usage.completion_tokens, label | _OUTPUT)
            for name in _KINDS:
                if number := getattr(attempt.usage, name):
                    self._tokens.add(number, label | {"omni_batch.token.kind": name[:-7]})
        self._spend(attempt.cost, label | {"omni_batch.estimated": False})
        self._spend(attempt.estimated_cost, label | {"omni_batch.estimated": True})

    def _spend(self, cost: Cost | None, label: dict[str, Any]) -> None:
        if cost is not None:
            self._cost.add(cost.amount, label | {"omni_batch.currency": cost.currency})

    def item(self, result: Result, label: dict[str, Any]) -> None:
        status = _status(result)
        if status != "unfinished":
            kind = error_kind(result.error)
            more = {"omni_batch.status": status, **({"error.type": kind} if kind else {})}
            self._items.add(1, label | more)


_INPUT = {"gen_ai.token.type": "input"}
_OUTPUT = {"gen_ai.token.type": "output"}


class _Spans:
    """The traces: one of the run, one of each item with its attempts."""

    def __init__(self, tracer: Any, run_id: str) -> None:
        from opentelemetry import trace

        self._trace, self._tracer, self._run_id = trace, tracer, run_id
        self._run: Any = None

    def begin_run(self, record: RunRecord) -> None:
        attributes = {
            "omni_batch.run_id": self._run_id,
            "omni_batch.items": record.items,
            "gen_ai.request.model": record.config["model"],
        }
        self._run = self._tracer.start_span("run", attributes=attributes)

    def end_run(self, record: RunRecord | None) -> None:
        """End it once; without a record it did not finish."""
        run, self._run = self._run, None
        if run is None:
            return
        if record is not None:
            run.set_attribute("omni_batch.state", record.state)
            run.set_attribute("omni_batch.succeeded", record.counts.succeeded)
            run.set_attribute("omni_batch.failed", record.counts.failed)
        if record is None or record.state != "finished":
            run.set_status(self._trace.StatusCode.ERROR)
        run.end()

    def item(self, result: Result, labels: dict[str, dict[str, Any]]) -> None:
        """An item that has just ended; its times are known."""
        started_ns = _nanoseconds(result.started_at)
        attributes = {
            "omni_batch.run_id": self._run_id,
            "omni_batch.item_id": result.item.item_id,
            "omni_batch.row_number": result.item.row_number,
            "omni_batch.status": _status(result),
            "omni_batch.reused_from": result.reused_from,
            "error.type": error_kind(result.error),
        }
        run = [self._trace.Link(self._run.get_span_context())] if self._run else []
        span = self._span("item", started_ns, attributes, links=run)
        if span.is_recording():
            inside = self._trace.set_span_in_context(span)
            for attempt in result.attempts:
                self._attempt(attempt, result, labels, inside)
        self._end(span, started_ns, result.latency_s, result.error)

    def _attempt(
        self, attempt: Attempt, result: Result, labels: dict[str, Any], inside: Any
    ) -> None:
        started_ns, usage = _nanoseconds(attempt.started_at), attempt.usage
        label = labels.get(attempt.endpoint or "", {})
        spoken = result.request is not None and result.request.wants_audio
        attributes = label | {
            "omni_batch.item_id": result.item.item_id,
            "omni_batch.attempt": attempt.number,
            "omni_batch.request_id": attempt.request_id,
            "gen_ai.request.stream": True,
            "gen_ai.output.type": "speech" if spoken else "text",
            "gen_ai.response.time_to_first_chunk": attempt.first_chunk_s,
            "gen_ai.usage.input_tokens": usage.prompt_tokens if usage else None,
            "gen_ai.usage.output_tokens": usage.completion_tokens if usage else None,
            "http.response.status_code": attempt.http_status,
            "error.type": error_kind(attempt.error),
        }
        name = f"chat {label.get('gen_ai.request.model', '')}".rstrip()
        kind = self._trace.SpanKind.CLIENT
        span = self._span(name, started_ns, attributes, kind=kind, context=inside)
        self._end(span, started_ns, attempt.latency_s, attempt.error)

    def _span(self, name: str, started_ns: int, attributes: dict[str, Any], **more: Any) -> Any:
        known = {key: value for key, value in attributes.items() if value is not None}
        return self._tracer.start_span(name, start_time=started_ns, attributes=known, **more)

    def _end(self, span: Any, started_ns: int, took_s: float, error: Exception | None) -> None:
        if error is not None:
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(started_ns + int(took_s * 1e9))


def _status(result: Result) -> str:
    if result.succeeded:
        return "succeeded"
    return "failed" if result.error else "unfinished"


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6) * 1000
