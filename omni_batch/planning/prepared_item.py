"""Item → PreparedItem: what is known and checked before anything is sent, for `check` and `run`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from omni_batch.annotation.instructions import (
    reask_instruction,
    repeated_answer,
    schema_instruction,
)
from omni_batch.catalogue.tokens import PromptEstimate, estimate_prompt
from omni_batch.config import Target
from omni_batch.doubts import Doubt
from omni_batch.errors import InvalidRequest, MediaError, OmniBatchError
from omni_batch.planning.media_source import MediaSource
from omni_batch.planning.plan import Plan
from omni_batch.planning.resolved_endpoint import ResolvedEndpoint
from omni_batch.progress.spending.first_guess import guess_answer
from omni_batch.progress.spending.workload import Range, Workload
from omni_batch.providers.transport import choose_transport
from omni_batch.requests.build import build_request
from omni_batch.requests.fingerprint import fingerprint
from omni_batch.requests.manifest import TARGETS
from omni_batch.requests.messages import messages_of
from omni_batch.requests.placeholders import refuse_lost_media
from omni_batch.requests.prompt import PromptTemplate
from omni_batch.types import Item, Media, Message, Request, media_of


@dataclass(frozen=True, slots=True)
class PreparedItem:
    """One item, fit to be sent."""

    item: Item
    request: Request
    estimate: PromptEstimate
    endpoints: tuple[str, ...]
    """Names of the endpoints that it may be sent to."""
    answer: Range
    """Its completion tokens by first guess."""
    doubts_by_endpoint: Mapping[str, tuple[Doubt, ...]] = field(default_factory=dict)

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """Those of all endpoints that it may be sent to."""
        return tuple(dict.fromkeys(chain.from_iterable(self.doubts_by_endpoint.values())))

    def doubts_at(self, endpoint: str | None) -> tuple[Doubt, ...]:
        """Those of the endpoint that it was sent to; of all where it was sent to none."""
        return self.doubts_by_endpoint.get(endpoint or "", self.doubts)

    @property
    def work(self) -> Workload:
        """What it is expected to take."""
        return Workload(1, self.estimate, self.answer)


async def prepare_item(plan: Plan, source: MediaSource, item: Item) -> PreparedItem:
    """Fill in the prompt, find and probe the media, hold the request against every rule.

    Raises:
        ManifestError: the prompt can't be filled in, or speaks of a medium that is not there.
        MediaError: media are missing, broken or have no way to the endpoint; names all of them.
        InvalidRequest: the request breaks rules of the model or the endpoint; names all of them.
    """
    own = messages_of(item, fill_in(plan.template, item, plan.config.manifest.columns))
    refuse_lost_media(own)
    turns = (*plan.examples.turns, *own)
    media = await _load_all(source, media_of(turns))
    messages = [turn.with_media(media) for turn in turns]
    config = plan.config
    told = schema_instruction(plan.annotation) if plan.annotation else None
    request = build_request(
        *(item, messages, config.request, config.model, plan.model, told, plan.response_format)
    )
    estimate = estimate_prompt(request, plan.rules)
    refusals: list[OmniBatchError] = []
    doubts: dict[str, tuple[Doubt, ...]] = {}
    for endpoint in plan.endpoints_for(spoken=request.wants_audio):
        try:
            doubts[endpoint.name] = _fit(endpoint, request, estimate)
        except OmniBatchError as exc:
            refusals.append(exc)
    if not doubts:
        raise refusals[0]
    answer = guess_answer(request, plan.audio_tokens_per_s, thinks=plan.thinks)
    return PreparedItem(item, request, estimate, tuple(doubts), answer, doubts)


def fingerprint_of(plan: Plan, prepared: PreparedItem) -> str:
    """The fingerprint of what an item asks: whoever has it asks the same."""
    item = prepared.item
    return fingerprint(prepared.request, plan.asking(item).endpoint_names, item.sample)


def asked_again(plan: Plan, prepared: PreparedItem, answer: str, violation: str) -> PreparedItem:
    """The same item with its answer and what is wrong with it as further turns."""
    turns = (
        *prepared.request.messages,
        Message("assistant", (repeated_answer(answer),)),
        Message("user", (reask_instruction(violation),)),
    )
    request = replace(prepared.request, messages=turns)
    return replace(prepared, request=request, estimate=estimate_prompt(request, plan.rules))


def fill_in(
    template: PromptTemplate | None, item: Item, columns: Mapping[Target, str]
) -> str | None:
    """The config's prompt for a row, from all its columns; None where the row has its own.

    Args:
        columns: other names that the manifest has for columns.
    """
    if template is None or item.prompt is not None:
        return None
    own: dict[str, Any] = {target: getattr(item, target) for target in TARGETS}
    own.update((name, getattr(item, target)) for target, name in columns.items())
    return template.render({**own, "item_id": item.item_id, **item.source})


async def _load_all(source: MediaSource, named: Iterable[Media]) -> dict[Media, Media]:
    media: dict[Media, Media] = {}
    problems: list[str] = []
    for medium in named:
        try:
            media[medium] = replace(await source.load(medium), options=medium.options)
        except MediaError as exc:
            problems.append(str(exc))
    if problems:
        raise MediaError("; ".join(problems))
    return media


def _fit(
    endpoint: ResolvedEndpoint, request: Request, estimate: PromptEstimate
) -> tuple[Doubt, ...]:
    """Doubts about a request at an endpoint; raises why it would fail there."""
    verdict = endpoint.judge(request, estimate)
    if verdict.violations:
        raise InvalidRequest(verdict.violations)
    for found in request.media():
        choose_transport(found, endpoint.config.media, endpoint.dialect)
    return verdict.doubts
