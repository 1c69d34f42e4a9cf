"""Whether a config can be run: each variant of it, each endpoint, all together. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from omni_batch.catalogue.tokens import PromptEstimate, estimate_prompt
from omni_batch.config import Config, CostLimit
from omni_batch.doubts import Doubt
from omni_batch.planning.fitness.endpoint import endpoint_doubts, endpoint_problems
from omni_batch.planning.resolved_endpoint import refused_by_all, room_doubts
from omni_batch.requests.annotation_schema import enforced
from omni_batch.requests.build import request_of_config
from omni_batch.requests.validate import RULES_OF_CONFIG, Verdict
from omni_batch.store.remote.copies import output_problem
from omni_batch.text import nearest
from omni_batch.types import Message

if TYPE_CHECKING:
    from omni_batch.planning.plan import Plan

_INSTEAD = (
    "give prices of your own with catalogue (docs/models.md), or set budget.max_tokens instead"
)


@dataclass(frozen=True, slots=True)
class Fitness:
    """What was found."""

    problems: tuple[str, ...]
    """Why it can't be run."""
    doubts: tuple[Doubt, ...]


def judged(plan: "Plan") -> Fitness:
    """Look at all that is known before a row is read."""
    variants = {name: (asked, _judge(asked)) for name, asked in plan.by_variant().items()}
    problems = said_of({name: [*_problems_of(*each)] for name, each in variants.items()})
    doubts = said_of({name: [*_doubts_of(*each)] for name, each in variants.items()})
    return Fitness(
        tuple(dict.fromkeys((*_problems(plan), *(doubt.message for doubt in problems)))),
        tuple(dict.fromkeys((*_doubts(plan), *doubts))),
    )


def said_of(found: Mapping[str | None, Iterable[Doubt]]) -> list[Doubt]:
    """What holds for all variants once, what holds for some with their names."""
    holders: dict[Doubt, list[str]] = {}
    for name, doubts in found.items():
        for doubt in dict.fromkeys(doubts):
            holders.setdefault(doubt, []).append(name or "")
    return [
        doubt if len(names) == len(found) else Doubt(doubt.rule, f"{named(names)}: {doubt.message}")
        for doubt, names in holders.items()
    ]


def named(variants: Sequence[str]) -> str:
    """What messages call some variants."""
    return f"{'variant' if len(variants) == 1 else 'variants'} {', '.join(variants)}"


def _judge(plan: "Plan") -> Verdict:
    """What all rows ask for, at each endpoint, before any row is read."""
    asked = request_of_config(plan.config.request, plan.config.model, plan.model)
    verdicts = []
    for endpoint in plan.endpoints:
        silenced = asked.wants_audio and not endpoint.speaks  # it gets the rows without speech
        request = replace(asked, wants_audio=False, voice=None) if silenced else asked
        verdicts.append(endpoint.judge(request, PromptEstimate(), RULES_OF_CONFIG))
    return Verdict(
        tuple(broken for verdict in verdicts for broken in verdict.violations),
        tuple(doubt for verdict in verdicts for doubt in verdict.doubts),
    )


def _problems(plan: "Plan") -> Iterator[str]:
    """Of the run as a whole."""
    for key, limit in plan.config.budget.costs.items():
        yield from _currency_problems(plan, key, limit)
    yield from _key_problems(plan)
    if problem := output_problem(plan.config.output):
        yield problem
    if plan.by_file and len(plan.config.all_endpoints) > 1:
        yield (
            f"endpoint {plan.by_file[0].label} takes files of requests, and can't share a run with "
            "others; keep it alone, with fallback: live for what its jobs leave"
        )


def _problems_of(plan: "Plan", verdict: Verdict) -> Iterator[Doubt]:
    """Of one variant, or of a run without any: as doubts, which may be said of several."""
    texts = (*_texts_of(plan), *(broken.message for broken in verdict.violations))
    yield from (Doubt("", text) for text in texts)


def _texts_of(plan: "Plan") -> Iterator[str]:
    yield from _row_problems(plan)
    yield from _sample_problems(plan.config)
    if plan.annotation is not None and plan.config.request.wants_audio:
        yield "annotation asks for JSON, which nobody speaks; set request.modalities: [text]"
    for key in plan.config.budget.costs:
        yield from _price_problems(plan, key)
    for endpoint in plan.endpoints:
        yield from endpoint_problems(endpoint)
    yield from _example_problems(plan)


def _example_problems(plan: "Plan") -> Iterator[str]:
    """Why no row could go out behind the examples."""
    if plan.examples.turns:
        asked = request_of_config(plan.config.request, plan.config.model, plan.model)
        asked = replace(asked, messages=(*plan.examples.loaded(), Message("user", ("?",))))
        if why := refused_by_all(plan.endpoints, asked, estimate_prompt(asked, plan.rules)):
            yield f"request.examples: {why}"


def _sample_problems(config: Config) -> Iterator[str]:
    """Why several samples would be one answer, paid for several times."""
    if (config.samples or 1) == 1:
        return
    given = {**config.request.model_dump(), **config.request.extra}
    for key, value in (("temperature", 0), ("top_k", 1)):
        if given[key] == value:
            yield (
                f"samples: {config.samples} with request.{key}: {value} pays for the same answer "
                f"{config.samples} times; raise it, or remove samples"
            )
    if "seed" in config.request.extra:
        yield "request.extra.seed is one for all samples; write it as request.seed"


def _price_problems(plan: "Plan", key: str) -> Iterator[str]:
    """Prices without which a limit of cost could not be kept."""
    for endpoint in plan.endpoints:
        if lack := endpoint.price_lacks(spoken=plan.config.request.wants_audio):
            yield f"{key}: {lack} is known; {_INSTEAD}"


def _currency_problems(plan: "Plan", key: str, limit: CostLimit) -> Iterator[str]:
    currencies = plan.currencies
    if len(currencies) > 1:
        yield f"{key} needs one currency, not {' and '.join(currencies)}; {_INSTEAD}"
    elif currencies and limit.currency not in (None, *currencies):
        yield (
            f"{key} is {limit}, but {plan.endpoint_names} is paid in {currencies[0]}; "
            f"write it in {currencies[0]}"
        )


def _key_problems(plan: "Plan") -> Iterator[str]:
    """A key is bound to one region (error-code pages, `invalid_api_key`)."""
    by_variable: dict[str, dict[str, str]] = {}
    for endpoint in plan.endpoints:
        variable, region = endpoint.profile.api_key_env, endpoint.profile.key_region
        if variable and region:
            by_variable.setdefault(variable, {}).setdefault(region, endpoint.label)
    for variable, names in by_variable.items():
        if len(names) > 1:
            yield (
                f"{' and '.join(names.values())} both read {variable}, but a key is bound to one "
                f"region, and they are in {' and '.join(names)}: set api_key_env for one of them"
            )


def _row_problems(plan: "Plan") -> Iterator[str]:
    """Rows of a kind that no endpoint takes."""
    request = plan.config.request
    mixed = request.spoken_rows == "with_voice"
    if (mixed or not request.wants_audio) and not plan.endpoints_for(spoken=False):
        yield "every endpoint has rows: spoken, but rows without speech need one too; add one"
    if request.wants_audio and not plan.endpoints_for(spoken=True):
        if any(endpoint.dialect.speaks for endpoint in plan.endpoints):
            yield "every endpoint that speaks has rows: silent, but spoken rows need one; add one"
            return
        names = ", ".join(f"{e.label} ({e.dialect.name})" for e in plan.endpoints)
        yield f"endpoint {names} does not speak; set request.modalities: [text]"


def _doubts(plan: "Plan") -> Iterator[Doubt]:
    """Of the run as a whole."""
    if len(plan.currencies) > 1:
        yield Doubt(
            "two-currencies",
            f"endpoints are paid in {' and '.join(plan.currencies)}: the run has a total for each, "
            "and its cost can't be estimated",
        )
    yield from room_doubts(plan.endpoints, plan.room)
    yield from _alike(plan.config)
    yield from _never_asked_again(plan)


def _never_asked_again(plan: "Plan") -> Iterator[Doubt]:
    """A job is a day long, so an answer that breaks the schema is not worth another one."""
    asked = plan.config.annotation
    if plan.by_file and asked and asked.max_reasks and plan.by_file[0].entry.fallback != "live":
        yield Doubt(
            "no-reasks-by-job",
            "answers that break the schema are not asked again (annotation.max_reasks): their "
            "rows fail; set endpoint.fallback: live to have them asked one by one",
        )


def _alike(config: Config) -> Iterator[Doubt]:
    """Variants that ask the very same."""
    alike: dict[str, list[str]] = {}
    for name, asked in config.by_variant().items():
        alike.setdefault(f"{asked.model} {asked.request!r}", []).append(name or "")
    for names in alike.values():
        if len(names) > 1:
            yield Doubt(
                "variants-alike",
                f"{named(names)} ask the very same of every row; for repeated answers set samples",
            )


def _doubts_of(plan: "Plan", verdict: Verdict) -> Iterator[Doubt]:
    """Of one variant, or of a run without any."""
    if plan.model is None:
        near = nearest(plan.config.model, plan.catalogue.names())
        hint = f"; did you mean {near}?" if near else ""
        message = f"model {plan.config.model} is not in the catalogue: no limits, no prices{hint}"
        yield Doubt("model-not-listed", message)
    for medium in plan.examples.media.values():
        yield from medium.doubts
    _, why_not = enforced(plan.config.annotation, plan.annotation, thinks=plan.thinks)
    if why_not and any(endpoint.dialect.holds_to_schema for endpoint in plan.endpoints):
        yield Doubt("schema-in-prompt-only", why_not)
    for endpoint in plan.endpoints:
        yield from endpoint_doubts(endpoint)
    yield from verdict.doubts
