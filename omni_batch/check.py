"""What a run would do, without sending anything: refused rows, tokens, cost, time."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from omni_batch.conversation import references, turns_of
from omni_batch.errors import ManifestError, OmniBatchError
from omni_batch.manifest import read_items
from omni_batch.media import MediaLoader
from omni_batch.prepare import Plan, check_row, effective_quota, fill_in
from omni_batch.request import build_request
from omni_batch.rundir.items import UniqueIds
from omni_batch.tokens import PromptEstimate, TokenRules, estimate_prompt, rules_of
from omni_batch.types import Item

_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that would fail."""

    item_id: str
    row_number: int
    error_kind: str
    message: str


@dataclass(slots=True)
class CheckReport:
    """What is known of a manifest before it is sent."""

    items: int = 0
    refused: list[Refused] = field(default_factory=list)
    prompt: PromptEstimate = field(default_factory=PromptEstimate)
    prompt_cost: float | None = None
    currency: str | None = None
    shortest_time_s: float | None = None
    """Under the quota; the completion is not part of it."""
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


async def check_manifest(plan: Plan, on_rows: Callable[[int], None] | None = None) -> CheckReport:
    """Read every row and probe all its media.

    Raises:
        ConfigError, ManifestError: what would refuse the whole run.
    """
    model = plan.model
    report = CheckReport(warnings=plan.warnings)
    limits = model.limits.data_uri_max_bytes if model else None
    loader = MediaLoader(plan.base_folder, plan.config.media.roots, limits)
    rules = rules_of(model)
    for items in _batches(plan):
        found = await asyncio.gather(*(_estimate(plan, item, loader, rules) for item in items))
        for item, outcome in zip(items, found, strict=True):
            _count(report, item, outcome)
        if on_rows:
            on_rows(report.items)
    if report.items == 0:
        raise ManifestError(f"manifest {plan.config.manifest.path} holds no rows")
    _price(report, plan)
    _time(report, plan)
    return report


def _batches(plan: Plan) -> Iterable[list[Item]]:
    batch: list[Item] = []
    ids = UniqueIds()
    for row, item in read_items(plan.config.manifest):
        check_row(plan, row, item)
        ids.add(item.item_id)
        batch.append(item)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
        if item.row_number + 1 == plan.config.limit:
            break
    ids.refuse_duplicates(item.item_id for _, item in read_items(plan.config.manifest))
    yield batch


async def _estimate(
    plan: Plan, item: Item, loader: MediaLoader, rules: TokenRules
) -> PromptEstimate | OmniBatchError:
    try:
        turns = turns_of(item, fill_in(plan.template, item))
        media = {ref: await loader.load(ref) for ref in references(turns)}
        config = plan.config
        request = build_request(item, turns, media, config.request, config.model, plan.model)
        return estimate_prompt(request, rules)
    except OmniBatchError as exc:
        return exc


def _count(report: CheckReport, item: Item, outcome: PromptEstimate | OmniBatchError) -> None:
    report.items += 1
    if isinstance(outcome, PromptEstimate):
        report.prompt += outcome
    else:
        refused = Refused(item.item_id, item.row_number, outcome.kind, str(outcome))
        report.refused.append(refused)


def _price(report: CheckReport, plan: Plan) -> None:
    profile = plan.profile
    price = (
        plan.model.price(profile.region, profile.currency)
        if plan.model and profile.region
        else None
    )
    if price is None:
        return
    prompt = report.prompt
    seen = (prompt.image + prompt.video) * (price.image_in or 0)
    heard = prompt.audio * (price.audio_in or 0)
    report.prompt_cost = (prompt.text * (price.text_in or 0) + seen + heard) / 1_000_000
    report.currency = price.currency


def _time(report: CheckReport, plan: Plan) -> None:
    quota = effective_quota(plan)
    bounds = [
        60 * used / allowed
        for used, allowed in (
            (report.items - len(report.refused), quota.requests_per_minute),
            (report.prompt.total, quota.tokens_per_minute),
        )
        if allowed
    ]
    report.shortest_time_s = max(bounds) if bounds else None
