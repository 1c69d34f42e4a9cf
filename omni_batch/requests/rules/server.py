"""Rules on what a kind of server has a place for: options, voice, switches. Pure.

Whatever is asked for is sent, refused or doubted; servers skip members that they do not know, so
what has no place must not go out.
"""

from collections.abc import Iterator
from typing import Any

from omni_batch.doubts import Doubt
from omni_batch.requests.request_options import REQUEST_OPTIONS, options_beside
from omni_batch.requests.rules.asked import asked_options
from omni_batch.requests.rules.context import Finding, RuleContext, Violation, name_of
from omni_batch.types import Frames, Media


def _options_of_server(context: RuleContext) -> Iterator[Finding]:
    server = context.server
    for asked in asked_options(context):
        if asked.name not in REQUEST_OPTIONS:
            continue  # of `request.extra`, which goes out as it is
        if asked.name in server.doubted_parameters:
            message = f"{asked} is sent, but {server.name} servers are not known to read it"
            yield Doubt("option-perhaps-ignored", message)
        elif server.parameters is not None and asked.name not in server.parameters:
            instead = server.instead.get(asked.name)
            remedy = f"use {instead} in its place, or remove it" if instead else "remove it"
            message = f"{server.name} servers don't take {asked}: {remedy}"
            yield Violation("option-not-served", message)
        elif asked.part and asked.part.kind in server.no_options_beside:
            message = (
                f"{server.name} servers take no {asked.name} for {asked.part.kind} "
                f"({name_of(asked.part)}): remove it"
            )
            yield Violation("option-not-served", message)


def _shared_options(context: RuleContext) -> Iterator[Violation]:
    if not context.server.shares_options:
        return
    first: dict[str, tuple[Any, Media | Frames]] = {}
    parts = [part for part in context.parts() if not isinstance(part, str)]
    for part in (part for part in parts if part.kind not in context.server.no_options_beside):
        own = options_beside(part, context.request)
        for name in (
            name for name, option in REQUEST_OPTIONS.items() if part.kind in option.beside
        ):
            value, other = first.setdefault(name, (own.get(name), part))
            if value != own.get(name):
                yield Violation(
                    "options-not-shared",
                    f"{name} is {value!r} for {name_of(other)} and {own.get(name)!r} for "
                    f"{name_of(part)}; {context.server.name} servers take one value for a request: "
                    "split the row",
                )


def _formats(context: RuleContext) -> Iterator[Doubt]:
    for media in context.media:
        said = dict(media.options).get("format")
        if said and (media.url is None or media.probed) and said != media.format:
            message = (
                f"{name_of(media)} is {media.format} by its content, but the row says {said}; "
                f"it is sent as {media.format}"
            )
            yield Doubt("format-by-content", message)


def _places(context: RuleContext) -> Iterator[Doubt]:
    turns = context.request.messages
    moved = [part for turn in turns[:-1] for part in turn.parts if not isinstance(part, str)]
    if moved and not context.server.keeps_places:
        message = (
            f"{name_of(moved[0])} belongs to an earlier turn; {context.server.name} servers take "
            "media beside all turns, so the model is not told which"
        )
        yield Doubt("media-without-turn", message)


def _thinking_of_server(context: RuleContext) -> Iterator[Finding]:
    wanted, server = context.request.thinking, context.server
    if wanted is None or server.thinking_switch:
        return
    if wanted:
        message = f"{server.name} servers have no switch of thinking mode: remove request.thinking"
        yield Violation("thinking-not-served", message)
    else:
        message = (
            f"request.thinking is not sent, as {server.name} servers have no switch for it: "
            "whether the model thinks is up to the server"
        )
        yield Doubt("thinking-left-to-server", message)


def _voice_of_server(context: RuleContext) -> Iterator[Finding]:
    request, server = context.request, context.server
    if not request.wants_audio or not request.voice or not server.speaks:
        return
    if not server.takes_voice and not request.voice_is_default:
        message = (
            f"{server.name} servers have no place for a voice, and {request.voice} is asked for: "
            "remove request.voice, or the row's own"
        )
        yield Violation("voice-not-served", message)
    elif server.voice_of(request) is None:
        message = (
            f"no voice was named, and {request.voice}, the catalogue's default, is not sent to "
            f"{server.name} servers: they speak in their own"
        )
        yield Doubt("voice-left-to-server", message)


RULES_OF_CONFIG = (_options_of_server, _thinking_of_server, _voice_of_server)
"""What can be judged before a row is read."""
RULES_OF_MEDIA = (_shared_options, _formats, _places)
"""Those that text alone can't break."""
RULES = (*RULES_OF_CONFIG, *RULES_OF_MEDIA)
