"""Rules on what is asked for: speech, thinking, options. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from omni_batch.config import RequestConfig
from omni_batch.doubts import Doubt
from omni_batch.requests.request_options import REQUEST_OPTIONS, options_beside
from omni_batch.requests.rules.context import Finding, RuleContext, Violation, name_of
from omni_batch.text import is_data_uri, nearest
from omni_batch.types import Frames, Media


def _speech(context: RuleContext) -> Iterator[Violation]:
    if not context.request.wants_audio:
        return
    remedy = "set request.modalities: [text]"
    if context.thinking:
        yield Violation(
            "speech-with-thinking",
            f"speech is not available in thinking mode: set request.thinking: false, or {remedy}",
        )
    if not context.can_speak:
        yield Violation(
            "speech-not-offered", f"{context.name} does not speak: {remedy}", "audio_out"
        )
    if not context.server.speaks:
        yield Violation("speech-not-served", f"{context.server.name} does not speak: {remedy}")
    if context.can_speak and context.server.needs_voice and not context.request.voice:
        yield Violation("voice-missing", f"no voice of {context.name} is known: set request.voice")


def _thinking(context: RuleContext) -> Iterator[Violation]:
    if context.thinking and context.model is not None and context.model.thinking == "no":
        message = f"{context.name} has no thinking mode: remove request.thinking"
        yield Violation("thinking-not-offered", message, "thinking")


def _caps(context: RuleContext) -> Iterator[Violation]:
    for name, option in REQUEST_OPTIONS.items():
        value = context.request.options.get(name)
        cap = getattr(context.model, option.cap, None) if option.cap else None
        if option.cap and cap is not None and isinstance(value, int) and value > cap:
            rule = f"{name.replace('_', '-')}-too-large"
            message = f"request.{name} is {value:,}; {context.name} takes {cap:,} at most: lower it"
            yield Violation(rule, message, option.cap)


def _options_of_model(context: RuleContext) -> Iterator[Violation]:
    if context.model is None:
        return
    for asked in _asked(context):
        option = REQUEST_OPTIONS.get(asked.name)
        if option and option.of_some_models and asked.name not in context.model.parameters:
            yield Violation(
                "option-not-taken",
                f"{asked} is {asked.value!r}, but {context.name} does not take it: remove it",
                "parameters",
            )


def _options_of_server(context: RuleContext) -> Iterator[Finding]:
    server = context.server
    for asked in _asked(context):
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


@dataclass(frozen=True, slots=True)
class _Asked:
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


def _asked(context: RuleContext) -> list[_Asked]:
    """All options that go out, each once; False is as good as unset."""
    request = context.request
    found = [_Asked(name, value) for name, value in sorted(request.options.items())]
    for part in (part for part in context.parts() if not isinstance(part, str)):
        own = dict(part.options)
        found += [
            _Asked(name, value, part, name in own)
            for name, value in sorted(options_beside(part, request).items())
        ]
    said = {(str(asked), asked.part and asked.part.kind): asked for asked in reversed(found)}
    return [asked for asked in reversed(said.values()) if asked.value is not False]


def _formats(context: RuleContext) -> Iterator[Doubt]:
    for media in context.request.media():
        said = dict(media.options).get("format")
        probed = media.url is None or is_data_uri(media.url)
        if said and probed and said != media.format:
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


def _role(context: RuleContext) -> Iterator[Doubt]:
    if context.request.role_as_turns:
        message = (
            f"{context.name} knows no system message while it speaks: it is sent as a first turn "
            "of the user, which an assistant's turn accepts"
        )
        yield Doubt("role-as-first-turn", message)


def _voice(context: RuleContext) -> Iterator[Doubt]:
    model, voice = context.model, context.request.voice
    if not context.request.wants_audio or not voice or model is None:
        return
    if not model.voices or voice in model.voices:
        return
    near = nearest(voice, model.voices)
    hint = f"did you mean {near}?" if near else f"try {model.default_voice}"
    clone = " (cloned voices of the account are not listed)" if model.cloned_voices else ""
    message = f"voice {voice} is not in the catalogue's list for {context.name}{clone}; {hint}"
    yield Doubt("voice-not-listed", message)


RULES_OF_CONFIG = (
    *(_speech, _thinking, _thinking_of_server, _caps),
    *(_options_of_model, _options_of_server, _voice, _voice_of_server),
)
"""What can be judged before a row is read."""
RULES = (*RULES_OF_CONFIG, _shared_options, _formats, _places, _role)
