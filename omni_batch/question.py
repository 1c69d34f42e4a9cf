"""Item → Question: what is known and checked before anything is sent, for `check` and `run`."""

from collections.abc import Iterable
from dataclasses import dataclass

from omni_batch.conversation import MediaRef, references, turns_of
from omni_batch.errors import Invalid, MediaError, OmniBatchError
from omni_batch.manifest import COLUMNS
from omni_batch.media import MediaLoader
from omni_batch.plan import Plan
from omni_batch.request import build_request, thinks
from omni_batch.route import Route
from omni_batch.template import PromptTemplate
from omni_batch.tokens import PromptEstimate, estimate_prompt
from omni_batch.transport import way_of
from omni_batch.types import Item, Media, Request
from omni_batch.validate import doubts, violations


@dataclass(frozen=True, slots=True)
class Question:
    """One item, fit to be sent."""

    item: Item
    request: Request
    estimate: PromptEstimate
    routes: tuple[str, ...]
    """Names of the endpoints that it may be sent to."""
    warnings: tuple[str, ...] = ()


async def make_question(plan: Plan, loader: MediaLoader, item: Item) -> Question:
    """Fill in the prompt, find and probe the media, hold the request against every rule.

    Raises:
        ManifestError: the prompt can't be filled in.
        MediaError: media are missing, broken or have no way to the endpoint; names all of them.
        Invalid: the request breaks rules of the model or the endpoint; names all of them.
    """
    turns = turns_of(item, fill_in(plan.template, item))
    media = await _load_all(loader, references(turns))
    config = plan.config
    request = build_request(item, turns, media, config.request, config.model, plan.model)
    estimate = estimate_prompt(request, plan.rules)
    fit, refusals, warnings = [], [], {}
    for route in plan.routes_for(spoken=request.wants_audio):
        try:
            warnings[route.name] = _judge(route, request, estimate)
            fit.append(route.name)
        except OmniBatchError as exc:
            refusals.append(exc)
    if not fit:
        raise refusals[0]
    return Question(item, request, estimate, tuple(fit), warnings[fit[0]])


def fill_in(template: PromptTemplate | None, item: Item) -> str | None:
    """The config's prompt for a row, from all its columns; None where the row has its own.

    Raises:
        ManifestError: the template can't be filled in with this row.
    """
    if template is None or item.prompt is not None:
        return None
    own = {name: getattr(item, name) for name in COLUMNS}
    return template.render({**own, "item_id": item.item_id, **item.source})


async def _load_all(loader: MediaLoader, refs: Iterable[MediaRef]) -> dict[MediaRef, Media]:
    media: dict[MediaRef, Media] = {}
    problems: list[str] = []
    for ref in refs:
        try:
            media[ref] = await loader.load(ref)
        except MediaError as exc:
            problems.append(str(exc))
    if problems:
        raise MediaError("; ".join(problems))
    return media


def _judge(route: Route, request: Request, estimate: PromptEstimate) -> tuple[str, ...]:
    """What may fail at an endpoint; raises what would."""
    config = route.config
    thinking, inline = thinks(config.request, route.model), config.media.transport != "upload"
    asked = (request, route.limits, estimate, route.dialect)
    if broken := violations(*asked, thinking=thinking, files_inline=inline):
        raise Invalid(broken)
    for found in request.media():
        way_of(found, config.media, route.dialect)
    return doubts(*asked, thinking=thinking, files_inline=inline)
