"""The page of quotas (Model Studio, "list model quotas", Sep 2026)."""

from collections.abc import Mapping

from omni_batch.simulator.api import native_api
from omni_batch.simulator.api.exchange import Exchange
from omni_batch.simulator.api.service import Service
from omni_batch.simulator.checks import refusal
from omni_batch.simulator.checks.models import models
from omni_batch.simulator.options import SimulatorOptions

REQUESTS_PER_MINUTE = 60
TOKENS_PER_MINUTE = 100_000
"""What every omni model has (rate limit page, 2026); reported where the simulator has no limit."""
_PERIOD_S = 60


async def give_quotas(exchange: Exchange, service: Service) -> None:
    """GET /api/v1/quotas?model=...&name=...&page_no=...&page_size=..."""

    def quotas() -> dict[str, object]:
        service.dialect.check_key(exchange.headers)
        return {"output": _page(exchange.query_params, service.options)}

    await native_api.answer(exchange, quotas)


def _page(query: Mapping[str, str], options: SimulatorOptions) -> dict[str, object]:
    exact, part = query.get("model") or None, query.get("name", "")
    known = models(options.edition, options.region)
    names = [name for name in known if exact in (None, name) and part in name]
    number, size = _count(query, "page_no", 1), _count(query, "page_size", 20)
    shown = names[(number - 1) * size : number * size]
    quotas = [_quota(name, options) for name in shown]
    return {"total": len(names), "page_no": number, "page_size": size, "quotas": quotas}


def _count(query: Mapping[str, str], name: str, otherwise: int) -> int:
    text = query.get(name) or str(otherwise)
    if not text.isdecimal() or not int(text):
        raise refusal.invalid(f"Parameter {name} must be a positive integer.")
    return int(text)


def _quota(model: str, options: SimulatorOptions) -> dict[str, object]:
    limit = {
        "request_limit": _whole(options.requests_per_minute or REQUESTS_PER_MINUTE),
        "request_limit_period": _PERIOD_S,
        "usage_limit": _whole(options.tokens_per_minute or TOKENS_PER_MINUTE),
        "usage_limit_field": "total_tokens",
        "usage_limit_period": _PERIOD_S,
    }
    workspace = {"workspace_id": "ws-simulated", "model_limit": limit, "workspace_limit": None}
    return {"model": model, **workspace}


def _whole(number: float) -> float:
    return int(number) if number == int(number) else number
