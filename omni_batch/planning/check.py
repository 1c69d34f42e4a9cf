"""What a run would do, without sending anything: refused rows, tokens, cost, time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from omni_batch.catalogue.prices import estimated_usage
from omni_batch.catalogue.tokens import PromptEstimate
from omni_batch.doubts import DoubtGroup, DoubtGroups
from omni_batch.errors import InvalidRequest, OmniBatchError
from omni_batch.planning.checked_items import CheckedItems
from omni_batch.planning.editions import OtherEditions, free_quota_doubts
from omni_batch.planning.media_source import MediaSource
from omni_batch.planning.plan import Plan
from omni_batch.planning.prepared_item import PreparedItem, prepare_item
from omni_batch.planning.reuse import open_reuse_index
from omni_batch.progress.estimates import FIRST_GUESS_TOKENS
from omni_batch.requests.fingerprint import fingerprint
from omni_batch.store.items import UniqueIds
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
    warnings: list[DoubtGroup] = field(default_factory=list)
    """What is doubted about the run and about rows, by rule."""

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self)


async def check_manifest(
    plan: Plan, on_rows: Callable[[int], None] = lambda rows: None
) -> CheckReport:
    """Read every row, probe all its media, hold it against every rule.

    Raises:
        ConfigError, ManifestError: what would refuse the whole run.
    """
    report, doubts = CheckReport(), DoubtGroups(plan.doubts)
    groups, editions = _Groups(), OtherEditions(plan)
    earlier = await asyncio.to_thread(open_reuse_index, plan.config)
    if earlier is not None:
        doubts.add_run(earlier.doubts)
    checked = CheckedItems(plan)
    async with aclosing(plan.media_source(checking=True)) as source:
        async for item, outcome in _outcomes(plan, checked, source):
            report.items += 1
            if isinstance(outcome, OmniBatchError):
                _refuse(report, item, outcome)
            elif earlier and fingerprint(outcome.request, plan.endpoint_names) in earlier:
                report.reused_items += 1
            else:
                _accept(report, groups, outcome)
                editions.add(outcome)
                doubts.add_row(item.item_id, outcome.doubts)
            on_rows(report.items)
        doubts.add_run(source.doubts())
    doubts.add_run(checked.doubts())
    _forecast(report, plan, groups)
    doubts.add_run(editions.doubts())
    if report.cost:
        doubts.add_run(free_quota_doubts(plan))
    report.warnings = doubts.all()
    return report


def _batches(plan: Plan, checked: CheckedItems) -> Iterator[list[Item]]:
    items, ids = iter(checked), UniqueIds()
    while batch := list(islice(items, _AT_ONCE)):
        for item in batch:
            ids.add(item.item_id)
        yield batch
    ids.refuse_duplicates(item.item_id for item in CheckedItems(plan))


async def _outcomes(
    plan: Plan, checked: CheckedItems, source: MediaSource
) -> AsyncIterator[tuple[Item, PreparedItem | OmniBatchError]]:
    for items in _batches(plan, checked):
        tries = [_try(plan, source, item) for item in items]
        for pair in zip(items, await asyncio.gather(*tries), strict=True):
            yield pair


async def _try(plan: Plan, source: MediaSource, item: Item) -> PreparedItem | OmniBatchError:
    try:
        return await prepare_item(plan, source, item)
    except OmniBatchError as exc:
        return exc


def _refuse(report: CheckReport, item: Item, error: OmniBatchError) -> None:
    report.refused_items += 1
    reasons: list[tuple[str | None, str]] = [(None, str(error))]
    if isinstance(error, InvalidRequest):
        reasons = [(broken.rule, broken.message) for broken in error.broken]
    for reason in reasons:
        report.refused.append(Refused(item.item_id, item.row_number, error.kind, *reason))


def _accept(report: CheckReport, groups: _Groups, prepared: PreparedItem) -> None:
    report.prompt += prepared.estimate
    group = (prepared.endpoints[0], prepared.request.wants_audio)
    items, prompt = groups.get(group, (0, PromptEstimate()))
    groups[group] = (items + 1, prompt + prepared.estimate)


def _forecast(report: CheckReport, plan: Plan, groups: _Groups) -> None:
    """Cost and time of the rows that would be sent."""
    costs = []
    for (name, spoken), (items, prompt) in groups.items():
        most = plan.config.request.max_tokens or float("inf")
        completion = round(items * min(FIRST_GUESS_TOKENS[spoken], most))
        report.completion_tokens += completion
        costs.append(plan.pricing(name, spoken=spoken).cost(estimated_usage(prompt, completion)))
    known = [cost for cost in costs if cost]
    if known and len(known) == len(costs) and len(plan.currencies) == 1:
        report.cost, report.currency = sum(cost.amount for cost in known), known[0].currency
    sent = report.items - report.refused_items - report.reused_items
    tokens = report.prompt.total + report.completion_tokens
    quotas = [endpoint.quota for endpoint in plan.endpoints]
    bounds_s = (
        *_shortest_times_s(sent, [quota.requests_per_minute for quota in quotas]),
        *_shortest_times_s(tokens, [quota.tokens_per_minute for quota in quotas]),
    )
    report.shortest_time_s = max(bounds_s, default=None)


def _shortest_times_s(used: float, limits: Sequence[float | None]) -> Iterator[float]:
    """With all endpoints used to the full; nothing where no limit is known, 0 where one is not."""
    if known := [limit for limit in limits if limit]:
        yield 60 * used / sum(known) if len(known) == len(limits) else 0.0
