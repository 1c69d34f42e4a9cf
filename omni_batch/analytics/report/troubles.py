"""Failed items, grouped by kind and by what their messages have in common. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from omni_batch.analytics.report.facts import Example, FailureKind, Trouble
from omni_batch.analytics.report.remedies import remedy

_PATTERNS_KEPT = 300  # of all kinds; a message that is different each time must not fill memory
_PATTERNS_SHOWN = 10
_EXAMPLES = 5
_MESSAGE_CHARS = 600
_PATTERN_CHARS = 240
_NAMES = re.compile(
    r"""'[^']*' | "[^"]*"                      # what stands in quotes
      | \S*/\S+                                # paths and URLs
      | \S+\.[A-Za-z]\w{1,4}\b                 # file names
      | \b(?=\w*\d)[\w-]{8,}\b                 # ids
      | (?<!HTTP[ ])(?<!\d)\d[\d.,]*           # numbers, but for the service's status""",
    re.VERBOSE,
)

_Key = tuple[str, str]


class Troubles:
    """Takes failed rows in any number; holds a few hundred groups."""

    def __init__(self) -> None:
        self._kinds: Counter[str] = Counter()
        self._groups: Counter[_Key] = Counter()
        self._examples: dict[_Key, list[Example]] = {}

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Count failed rows of `results`: error_kind, error_message, item_id, request_id."""
        for row in rows:
            kind, message = row["error_kind"] or "unknown", row["error_message"] or ""
            self._kinds[kind] += 1
            key = (kind, pattern(message))
            if key in self._groups or len(self._groups) < _PATTERNS_KEPT:
                self._groups[key] += 1
                self._keep(key, Example(row["item_id"], row["request_id"], _cut(message)))

    def kinds(self) -> tuple[FailureKind, ...]:
        """All kinds, the most frequent first."""
        return tuple(
            self._kind(kind, count)
            for kind, count in sorted(self._kinds.items(), key=lambda pair: (-pair[1], pair[0]))
        )

    def _keep(self, key: _Key, example: Example) -> None:
        examples = self._examples.setdefault(key, [])
        if len(examples) < _EXAMPLES:
            examples.append(example)

    def _kind(self, kind: str, items: int) -> FailureKind:
        troubles = tuple(self._troubles(kind))[:_PATTERNS_SHOWN]
        listed = sum(trouble.items for trouble in troubles)
        return FailureKind(kind, items, remedy(kind), troubles, items - listed)

    def _troubles(self, kind: str) -> Iterator[Trouble]:
        for key, items in self._groups.most_common():
            if key[0] == kind:
                yield Trouble(key[1], items, tuple(self._examples[key]))


def pattern(message: str) -> str:
    """The message without its names and numbers."""
    return _NAMES.sub("…", " ".join(message[:_MESSAGE_CHARS].split()))[:_PATTERN_CHARS]


def _cut(message: str) -> str:
    return message if len(message) <= _MESSAGE_CHARS else f"{message[:_MESSAGE_CHARS]}…"
