"""What a run would do, without sending anything: refused rows, tokens, cost, time."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from omni_batch.catalogue.prices import cost_of, estimated_usage
from omni_batch.catalogue.tokens import PromptEstimate
from omni_batch.errors import InvalidRequest, ManifestError, OmniBatchError
from omni_batch.planning.plan import Plan
from omni_batch.planning.prepare import check_row
from omni_batch.planning.prepared_item import PreparedItem, prepare_item
from omni_batch.planning.reuse import open_reuse_index
from omni_batch.progress.estimates import FIRST_GUESS_TOKENS
from omni_batch.requests.fingerprint import fingerprint
from omni_batch.requests.manifest import read_items
from omni_batch.requests.media import MediaLoader
from omni_batch.store.items import UniqueIds
from omni_batch.store.reuse_index import ReuseIndex
from omni_batch.types import Item

_AT_ONCE = 64
_Groups = dict[tuple[str, bool], tuple[int, PromptEstimate]]
"""(endpoint, spoken) to the number of items and their prompts."""


@dataclass(frozen=True, slots=True)
class Refused:
    """One reason why a row would fail; a row may have several."""

    item_id: str
    row_number: int
    error_kind: str
    rule: str | None
    message: str


@dataclass(slots=True)
class CheckReport:
    """What is known of a manifest before it is sent."""

    items: int = 0
    refused_items: int = 0
    reused_items: int = 0
    """Answered by an earlier run; in none of the sums below."""
    refused: list[Refused] = field(default_factory=list)
    prompt: PromptEstimate = field(default_factory=PromptEstimate)
    completion_tokens: int = 0
    """A first guess: the usual length of an answer for each item."""
    cost: float | None = None
    """Prompts by estimate, completions by that guess; None without a price, or with several
    currencies."""
    currency: str | None = None
    shortest_time_s: float | None = None
    """Under the quota."""
    warnings: dict[str, int] = field(default_factory=dict)
    """Each warning with the number of rows it concerns; 0 where it concerns the run."""

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


async def check_manifest(plan: Plan, on_rows: Callable[[int], None] | None = None) -> CheckReport:
    """Read every row, probe all its media, hold it against every rule.

    Raises:
        ConfigError, ManifestError: what would refuse the whole run.
    """
    report = CheckReport(warnings=dict.fromkeys(plan.warnings, 0))
    loader, groups = plan.loader(), _Groups()
    earlier = await asyncio.to_thread(open_reuse_index, plan.config)
    if earlier:
        report.warnings |= dict.fromkeys(earlier.warnings, 0)
    for items in _batches(plan):
        found = await asyncio.gather(*(_try(plan, loader, item) for item in items))
        for item, outcome in zip(items, found, strict=True):
            if isinstance(outcome, PreparedItem) and _is_known(plan, earlier, outcome):
                report.items += 1
                report.reused_items += 1
            else:
                _count(report, groups, item, outcome)
        if on_rows:
            on_rows(report.items)
    if report.items == 0:
        raise ManifestError(f"manifest {plan.config.manifest.path} has no rows")
    _forecast(report, plan, groups)
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


async def _try(plan: Plan, loader: MediaLoader, item: Item) -> PreparedItem | OmniBatchError:
    try:
        return await prepare_item(plan, loader, item)
    except OmniBatchError as exc:
        return exc


def _is_known(plan: Plan, earlier: ReuseIndex | None, prepared: PreparedItem) -> bool:
    if earlier is None:
        return False
    return fingerprint(prepared.request, plan.endpoint_names) in earlier


def _count(
    report: CheckReport, groups: _Groups, item: Item, outcome: PreparedItem | OmniBatchError
) -> None:
    report.items += 1
    if isinstance(outcome, PreparedItem):
        report.prompt += outcome.estimate
        group = (outcome.endpoints[0], outcome.request.wants_audio)
        items, prompt = groups.get(group, (0, PromptEstimate()))
        groups[group] = (items + 1, prompt + outcome.estimate)
        for warning in outcome.warnings:
            report.warnings[warning] = report.warnings.get(warning, 0) + 1
        return
    report.refused_items += 1
    reasons = (
        [(broken.rule, broken.message) for broken in outcome.broken]
        if isinstance(outcome, InvalidRequest)
        else [(None, str(outcome))]
    )
    report.refused += [
        Refused(item.item_id, item.row_number, outcome.kind, rule, message)
        for rule, message in reasons
    ]


def _forecast(report: CheckReport, plan: Plan, groups: _Groups) -> None:
    """Cost and time of the rows that would be sent."""
    costs = []
    for (name, spoken), (items, prompt) in groups.items():
        most = plan.config.request.max_tokens or float("inf")
        completion = round(items * min(FIRST_GUESS_TOKENS[spoken], most))
        report.completion_tokens += completion
        price, usage = plan.endpoint(name).price, estimated_usage(prompt, completion)
        costs.append(cost_of(usage, price, wants_audio=spoken) if price else None)
    known = [cost for cost in costs if cost]
    if costs and len(known) == len(costs) and len(plan.currencies) == 1:
        report.cost, report.currency = sum(cost.amount for cost in known), known[0].currency
    report.shortest_time_s = _shortest_time_s(report, plan)


def _shortest_time_s(report: CheckReport, plan: Plan) -> float | None:
    """With all endpoints used to the full; None where one of them has no limit."""
    quotas = [endpoint.quota for endpoint in plan.endpoints]
    bounds = []
    for used, limits in (
        (
            report.items - report.refused_items - report.reused_items,
            [quota.requests_per_minute for quota in quotas],
        ),
        (report.prompt.total + report.completion_tokens, [q.tokens_per_minute for q in quotas]),
    ):
        if known := [limit for limit in limits if limit]:
            bounds.append(60 * used / sum(known) if len(known) == len(limits) else 0.0)
    return max(bounds, default=None)
