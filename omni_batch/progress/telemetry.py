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
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any

from omni_batch._version import __version__
from omni_batch.endpoint_status import EndpointStatus
from omni_batch.errors import RateLimited, error_kind
from omni_batch.store.record import RunRecord
from omni_batch.types import Attempt, Cost, Item, Result, Usage

log = logging.getLogger("omni_batch")

_SIGNALS = ("", "TRACES_", "METRICS_")
SWITCHES = tuple(f"OTEL_EXPORTER_OTLP_{signal}ENDPOINT" for signal in _SIGNALS)
_SECONDS = [0.01 * 2**step for step in range(14)]
_TOKENS = [4**step for step in range(14)]
"""Bounds of the histograms, as the conventions ask for them."""
_KINDS = tuple(Usage.__dataclass_fields__)[3:]  # all but the sums
_GAUGES = (
    ("requests.in_flight", "in_flight", "{request}"),
    ("requests.waiting", "waiting", "{request}"),
    ("limit.requests", "requests_per_minute", "{request}/min"),
    ("limit.tokens", "tokens_per_minute", "{token}/min"),
)
"""Name, field of an endpoint's status, unit."""
_CURE = "pip install omni-batch[telemetry]"
_EXPORT_S = 3
"""Most time for one export, retries included, where `OTEL_EXPORTER_OTLP_TIMEOUT` says nothing: the
default of ten seconds would keep every run waiting whose collector is gone."""

_Attributes = dict[str, Any]
_Providers = tuple[Any, Any, list[Any]]
"""Traces, metrics, those of them that are ours to end."""


def open_telemetry(run_id: str, served: Mapping[str, tuple[str, str]]) -> "Telemetry | None":
    """An observer that measures; None where it was not asked for, or is not installed.

    Args:
        served: the model and the dialect of each endpoint by the endpoint's name.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    switch = next((name for name in SWITCHES if os.environ.get(name)), None)
    if switch is None and "opentelemetry.sdk" not in sys.modules:
        return None
    try:
        return Telemetry(run_id, served, _providers(wanted=switch is not None))
    except ImportError as exc:
        log.warning("%s is set, but OpenTelemetry is not installed (%s): %s", switch, exc, _CURE)
        return None


def _providers(*, wanted: bool) -> _Providers:
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
    names = (f"OTEL_EXPORTER_OTLP_{signal}TIMEOUT" for signal in _SIGNALS)
    return None if any(os.environ.get(name) for name in names) else _EXPORT_S


class Telemetry:
    """An observer that measures and traces."""

    def __init__(
        self, run_id: str, served: Mapping[str, tuple[str, str]], providers: _Providers
    ) -> None:
        traces, meters, self._owned = providers
        self._models = _joined(model for model, _ in served.values())
        self._meters = _Meters(meters.get_meter("omni_batch", __version__))
        self._spans = _Spans(traces.get_tracer("omni_batch", __version__), run_id)
        self._labels = {
            name: {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": dialect,
                "gen_ai.request.model": model,
                "omni_batch.endpoint": name,
            }
            for name, (model, dialect) in served.items()
        }

    def on_attempt_end(self, item: Item, attempt: Attempt) -> None:
        """Count and time one HTTP exchange."""
        self._meters.attempt(attempt, self._labels[attempt.endpoint or next(iter(self._labels))])

    def on_item_end(self, result: Result) -> None:
        """Count one item, and trace it with its attempts."""
        model = result.request.model if result.request else self._models
        self._meters.item(result, {"gen_ai.request.model": model})
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
        for name, field, unit in _GAUGES:
            observe = partial(self._observe, field)
            meter.create_observable_gauge(f"omni_batch.{name}", [observe], unit)

    def _observe(self, field: str, _: Any) -> Iterator[Any]:
        from opentelemetry.metrics import Observation

        for endpoint in self.endpoints:
            if (value := getattr(endpoint, field)) is not None:
                yield Observation(value, {"omni_batch.endpoint": endpoint.name})

    def attempt(self, attempt: Attempt, label: _Attributes) -> None:
        self._duration.record(attempt.latency_s, label | _failure(attempt.error))
        self._requests.add(1, label)
        if attempt.first_chunk_s is not None:
            self._first.record(attempt.first_chunk_s, label)
        if attempt.number > 1:
            self._retries.add(1, label)
        if isinstance(attempt.error, RateLimited):
            self._limited.add(1, label | {"omni_batch.limit": attempt.error.limit})
        if attempt.usage is not None:
            self._bill(attempt.usage, label)
        self._spend(attempt.cost, label | {"omni_batch.estimated": False})
        self._spend(attempt.estimated_cost, label | {"omni_batch.estimated": True})

    def _bill(self, usage: Usage, label: _Attributes) -> None:
        self._usage.record(usage.prompt_tokens, label | {"gen_ai.token.type": "input"})
        self._usage.record(usage.completion_tokens, label | {"gen_ai.token.type": "output"})
        for name in _KINDS:
            if number := getattr(usage, name):
                kind = name.removesuffix("_tokens")
                self._tokens.add(number, label | {"omni_batch.token.kind": kind})

    def _spend(self, cost: Cost | None, label: _Attributes) -> None:
        if cost is not None:
            self._cost.add(cost.amount, label | {"omni_batch.currency": cost.currency})

    def item(self, result: Result, label: _Attributes) -> None:
        status = _status(result)
        if status != "unfinished":
            self._items.add(1, label | {"omni_batch.status": status} | _failure(result.error))


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
            "gen_ai.request.model": _joined(record.models),
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

    def item(self, result: Result, labels: Mapping[str, _Attributes]) -> None:
        """An item that has just ended; its times are known."""
        attributes = {
            "omni_batch.run_id": self._run_id,
            **_of_item(result.item),
            "omni_batch.row_number": result.item.row_number,
            "omni_batch.status": _status(result),
            "omni_batch.reused_from": result.reused_from,
        }
        links = [self._trace.Link(self._run.get_span_context())] if self._run else []
        span = self._begin("item", result, attributes, links=links)
        if span.is_recording():
            inside = self._trace.set_span_in_context(span)
            for attempt in result.attempts:
                self._attempt(attempt, result, labels.get(attempt.endpoint or "", {}), inside)
        self._end(span, result)

    def _attempt(self, attempt: Attempt, result: Result, label: _Attributes, inside: Any) -> None:
        usage = attempt.usage
        spoken = result.request is not None and result.request.wants_audio
        attributes = label | {
            **_of_item(result.item),
            "omni_batch.attempt": attempt.number,
            "omni_batch.request_id": attempt.request_id,
            "gen_ai.request.stream": True,
            "gen_ai.output.type": "speech" if spoken else "text",
            "gen_ai.response.time_to_first_chunk": attempt.first_chunk_s,
            "gen_ai.usage.input_tokens": usage.prompt_tokens if usage else None,
            "gen_ai.usage.output_tokens": usage.completion_tokens if usage else None,
            "http.response.status_code": attempt.http_status,
        }
        name = f"chat {label.get('gen_ai.request.model', '')}".rstrip()
        kind = self._trace.SpanKind.CLIENT
        self._end(self._begin(name, attempt, attributes, kind=kind, context=inside), attempt)

    def _begin(self, name: str, of: Result | Attempt, known: _Attributes, **more: Any) -> Any:
        attributes = {key: value for key, value in known.items() if value is not None}
        attributes |= _failure(of.error)
        started_ns = _nanoseconds(of.started_at)
        return self._tracer.start_span(name, start_time=started_ns, attributes=attributes, **more)

    def _end(self, span: Any, of: Result | Attempt) -> None:
        if of.error is not None:
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(_nanoseconds(of.started_at) + int(of.latency_s * 1e9))


def _of_item(item: Item) -> _Attributes:
    return {
        "omni_batch.item_id": item.item_id,
        "omni_batch.variant": item.variant,
        "omni_batch.sample": item.sample,
    }


def _joined(models: Iterable[str]) -> str:
    return "+".join(dict.fromkeys(models))


def _failure(error: Exception | None) -> _Attributes:
    return {"error.type": error_kind(error)} if error else {}


def _status(result: Result) -> str:
    if result.succeeded:
        return "succeeded"
    return "failed" if result.error else "unfinished"


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6) * 1000
