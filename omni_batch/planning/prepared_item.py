"""Item → PreparedItem: what is known and checked before anything is sent, for `check` and `run`."""

from collections.abc import Iterable, Mapping, Sequence
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
from omni_batch.fitting.decisions import Wanted
from omni_batch.planning.fitting.limits import fit_limits
from omni_batch.planning.fitting.turns import FittedTurns
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
from omni_batch.requests.rules.context import Violation
from omni_batch.text import display_name
from omni_batch.types import Item, Media, Message, Request, media_of


@dataclass(frozen=True, slots=True)
class PreparedItem:
    """One item, fit to be sent."""

    item: Item
    request: Request
    estimate: PromptEstimate = field(default_factory=PromptEstimate)
    endpoints: tuple[str, ...] = ()
    """Names of the endpoints that it may be sent to."""
    answer: Range = field(default_factory=Range)
    """Its completion tokens by first guess."""
    doubts_by_endpoint: Mapping[str, tuple[Doubt, ...]] = field(default_factory=dict)
    wanted: tuple[Wanted, ...] = ()
    """Media that are to be made before it is sent; the request has what they become."""
    windows: tuple[Media, ...] = ()
    """Of a recording that is too long for one request: the request has the first of them, and is
    sent once with each. The estimate is of all."""
    unfitted: PromptEstimate | None = None
    """What it would take with media as they are; None where all go so."""

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
        return Workload(max(1, len(self.windows)), self.estimate, self.answer)


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
    if source.fitter is None:
        return judged(plan, PreparedItem(item, _request(plan, item, messages)))
    fitted = FittedTurns(fit_limits(plan))
    if source.checking:  # nothing is made, so nobody else looks at the pixels of what will change
        messages = await _seen_whole(source, messages)
    sent = fitted.turns(messages)
    if not source.checking:
        sent = await _seen_whole(source, sent)
    wanted = tuple(fitted.wanted.values())
    plain = estimate_prompt(_request(plan, item, messages), plan.rules) if wanted else None
    return judged(
        plan,
        PreparedItem(
            item,
            _request(plan, item, sent),
            wanted=wanted,
            windows=fitted.windows.becomes if fitted.windows else (),
            unfitted=plain,
        ),
    )


def _request(plan: Plan, item: Item, messages: Sequence[Message]) -> Request:
    config = plan.config
    told = schema_instruction(plan.annotation) if plan.annotation else None
    return build_request(
        *(item, messages, config.request, config.model, plan.model, told, plan.response_format)
    )


def judged(plan: Plan, item: PreparedItem) -> PreparedItem:
    """The same with what it is expected to take, and the endpoints that take it.

    Raises:
        MediaError, InvalidRequest: as of `prepare_item`.
    """
    request, refusals = item.request, list[OmniBatchError]()
    estimate = estimate_prompt(request, plan.rules)
    doubts: dict[str, tuple[Doubt, ...]] = {}
    for endpoint in plan.endpoints_for(spoken=request.wants_audio):
        try:
            doubts[endpoint.name] = _fit(endpoint, request, estimate)
        except OmniBatchError as exc:
            refusals.append(exc)
    if item.windows and plan.annotation is not None:
        raise InvalidRequest([_no_annotation(item.windows[0])])
    if not doubts:
        raise refusals[0]
    for window in item.windows[1:]:
        estimate += estimate_prompt(with_window(item, window), plan.rules)
    answer = guess_answer(request, plan.audio_tokens_per_s, thinks=plan.thinks)
    return replace(
        item,
        estimate=estimate,
        endpoints=tuple(doubts),
        answer=answer.times(max(1, len(item.windows))),
        doubts_by_endpoint=doubts,
    )


def with_window(item: PreparedItem, window: Media) -> Request:
    """The request of one of the windows."""
    first = item.windows[0]
    media = {medium: medium for medium in item.request.media()} | {first: window}
    turns = tuple(turn.with_media(media) for turn in item.request.messages)
    return replace(item.request, messages=turns)


def _no_annotation(window: Media) -> Violation:
    name = display_name(window.reference)
    message = (
        f"{name} is too long for one request, and a typed answer can't be joined from those to its "
        "windows: shorten it or cut it up, or ask without annotation"
    )
    return Violation("windows-annotated", message)


async def _seen_whole(source: MediaSource, turns: Sequence[Message]) -> list[Message]:
    """Images that were only glanced at: make sure that all of their pixels are there."""
    seen = {
        medium: replace(
            await source.seen_whole(medium), options=medium.options, traits=medium.traits
        )
        for medium in media_of(turns)
        if medium.kind == "image" and medium.traits is not None
    }
    return [turn.with_media({m: seen.get(m, m) for m in media_of([turn])}) for turn in turns]


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
