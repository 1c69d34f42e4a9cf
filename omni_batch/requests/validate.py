"""What would fail is refused before it is sent. Pure.

A rule refuses by what is known: the form of the API, a number of the catalogue, the forms of the
server. A medium whose size or length is unknown breaks no limit, an unknown model has none, and
what rests on a number that the catalogue marks as unverified is a warning, not a refusal.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from omni_batch.doubts import Doubt
from omni_batch.requests.rules import length, media, options, server, turns
from omni_batch.requests.rules.context import Finding, RuleContext, Violation

Rule = Callable[[RuleContext], Iterator[Finding]]
RULES_OF_TURNS: tuple[Rule, ...] = (*turns.RULES, *media.RULES, *length.RULES)
"""What can be judged by the turns alone."""
ALL_RULES: tuple[Rule, ...] = (*RULES_OF_TURNS, *options.RULES, *server.RULES)
_RULES_OF_MEDIA = {*media.RULES, *turns.RULES_OF_MEDIA, *server.RULES_OF_MEDIA}
RULES_OF_CONFIG: tuple[Rule, ...] = (*options.RULES_OF_CONFIG, *server.RULES_OF_CONFIG)
"""What can be judged before a row is read."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all rules found."""

    violations: tuple[Violation, ...]
    """All reasons why the request would fail."""
    doubts: tuple[Doubt, ...]
    """What may be wrong although it is sent."""


def judge(context: RuleContext, rules: Sequence[Rule] = ALL_RULES) -> Verdict:
    """Hold a request against the rules."""
    violations: list[Violation] = []
    doubts: list[Doubt] = []
    due = _without_media(tuple(rules)) if context.is_text else rules
    for found in (found for rule in due for found in rule(context)):
        if isinstance(found, Doubt):
            doubts.append(found)
        elif context.model and found.fact and context.model.is_unverified(found.fact):
            message = f"{found.message} (the catalogue is not sure of this limit)"
            doubts.append(Doubt(found.rule, message))
        else:
            violations.append(found)
    return Verdict(tuple(violations), tuple(doubts))


@cache
def _without_media(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Those that text alone may break: most rows of many manifests have no media."""
    return tuple(rule for rule in rules if rule not in _RULES_OF_MEDIA)
