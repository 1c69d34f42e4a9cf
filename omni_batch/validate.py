"""What would fail is refused before it is sent. Pure.

A rule refuses by what is known: the form of the API, a number of the catalogue, the forms of the
server. A medium whose size or length is unknown breaks no limit, an unknown model has none, and
what rests on a number that the catalogue marks as unverified is a doubt, not a refusal.
"""

from collections.abc import Iterator

from omni_batch.catalogue import Model
from omni_batch.rules import length, media, turns, wishes
from omni_batch.rules.case import Abilities, Case, Violation
from omni_batch.tokens import PromptEstimate
from omni_batch.types import Request

__all__ = ["Abilities", "Violation", "doubts", "violations"]

_RULES = (*turns.RULES, *media.RULES, *length.RULES, *wishes.RULES)
_DOUBTS = (*media.DOUBTS, *length.DOUBTS, *wishes.DOUBTS)


def violations(
    request: Request,
    model: Model | None,
    estimate: PromptEstimate,
    server: Abilities,
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
    case = Case(request, model, estimate, server, thinking, files_inline)
    return tuple(found for found in _broken(case) if not _unverified(found, model))


def doubts(
    request: Request,
    model: Model | None,
    estimate: PromptEstimate,
    server: Abilities,
    *,
    thinking: bool,
    files_inline: bool = True,
) -> tuple[str, ...]:
    """What may fail: worth a warning, never a refusal. Arguments as for `violations`."""
    case = Case(request, model, estimate, server, thinking, files_inline)
    unsure = (found for found in _broken(case) if _unverified(found, model))
    return (
        *(f"{found.message} (the catalogue is not sure of this limit)" for found in unsure),
        *(message for rule in _DOUBTS for message in rule(case)),
    )


def _broken(case: Case) -> Iterator[Violation]:
    for rule in _RULES:
        yield from rule(case)


def _unverified(found: Violation, model: Model | None) -> bool:
    return bool(found.fact) and model is not None and model.is_unverified(found.fact)
