"""The options that a request would send, as rules name them. Pure."""

from dataclasses import dataclass
from typing import Any

from omni_batch.config import RequestConfig
from omni_batch.requests.request_options import options_beside
from omni_batch.requests.rules.context import RuleContext, name_of
from omni_batch.types import Frames, Media


@dataclass(frozen=True, slots=True)
class AskedOption:
    """One option that would go out; its text is what messages call it."""

    name: str
    value: Any
    part: Media | Frames | None = None
    own: bool = False
    """Of this medium alone, from `messages`."""

    def __str__(self) -> str:
        if self.own and self.part:
            return f"{self.name} of {name_of(self.part)}"
        return f"request.{'' if self.name in RequestConfig.model_fields else 'extra.'}{self.name}"


def asked_options(context: RuleContext) -> list[AskedOption]:
    """All options that go out, each once; False is as good as unset."""
    request = context.request
    found = [AskedOption(name, value) for name, value in sorted(request.options.items())]
    for part in (part for part in context.parts() if not isinstance(part, str)):
        own = dict(part.options)
        found += [
            AskedOption(name, value, part, name in own)
            for name, value in sorted(options_beside(part, request).items())
        ]
    said = {(str(asked), asked.part and asked.part.kind): asked for asked in reversed(found)}
    return [asked for asked in reversed(said.values()) if asked.value is not False]
