"""What would fail is refused before it is sent. Pure.

A rule refuses by what is known: the form of the API, a number of the catalogue, the forms of the
server. A medium whose size or length is unknown breaks no limit, an unknown model has none, and
what rests on a number that the catalogue marks as unverified is a doubt, not a refusal.
"""

from collections.abc import Iterator

from omni_batch.catalogue import Model
from omni_batch.catalogue.tokens import PromptEstimate
from omni_batch.requests.rules import length, media, options, turns
from omni_batch.requests.rules.context import RuleContext, ServerCapabilities, Violation
from omni_batch.types import Request

__all__ = ["ServerCapabilities", "Violation", "violations", "warnings"]

_RULES = (*turns.RULES, *media.RULES, *length.RULES, *options.RULES)
_WARNINGS = (*media.WARNINGS, *length.WARNINGS, *options.WARNINGS)


def violations(
    request: Request,
    model: Model | None,
    estimate: PromptEstimate,
    server: ServerCapabilities,
    *,
    thinking: bool,
    files_inline: bool = True,
) -> tuple[Violation, ...]:
    """All reasons why the request would fail; none when there are none.

    Args:
        model: None where it is unknown, or where a server of one's own sets the limits.
        estimate: of this request, by the model's rules.
        server: the dialect.
        thinking: whether the answer will be thought out, by request or by default.
        files_inline: False where local files are uploaded first.
    """
    context = RuleContext(request, model, estimate, server, thinking, files_inline)
    return tuple(found for found in _broken(context) if not _unverified(found, model))


def warnings(
    request: Request,
    model: Model | None,
    estimate: PromptEstimate,
    server: ServerCapabilities,
    *,
    thinking: bool,
    files_inline: bool = True,
) -> tuple[str, ...]:
    """What may fail: worth a warning, never a refusal. Arguments as for `violations`."""
    context = RuleContext(request, model, estimate, server, thinking, files_inline)
    unsure = (found for found in _broken(context) if _unverified(found, model))
    return (
        *(f"{found.message} (the catalogue is not sure of this limit)" for found in unsure),
        *(message for rule in _WARNINGS for message in rule(context)),
    )


def _broken(context: RuleContext) -> Iterator[Violation]:
    for rule in _RULES:
        yield from rule(context)


def _unverified(found: Violation, model: Model | None) -> bool:
    return bool(found.fact) and model is not None and model.is_unverified(found.fact)
