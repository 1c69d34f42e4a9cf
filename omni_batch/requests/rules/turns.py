"""Rules on turns and on the media in them. Pure.

Sources: Qwen-Omni guide and error-code pages, December 2025 to 2026.
"""

from collections.abc import Iterator

from omni_batch.requests.rules.context import RuleContext, Violation, listed, media_parts, name_of
from omni_batch.text import is_data_uri
from omni_batch.types import Frames, kind_of


def _roles(context: RuleContext) -> Iterator[Violation]:
    roles = [message.role for message in context.request.messages]
    if "user" not in roles:
        yield Violation(
            "no-user-turn", f"none of {len(roles)} turns is the user's: give the row a prompt"
        )
    elif roles[-1] != "user":
        yield Violation(
            "last-turn-not-users",
            f"the last of {len(roles)} turns is the {roles[-1]}'s: end with the user's",
        )


def _contents(context: RuleContext) -> Iterator[Violation]:
    for place, message in enumerate(context.request.messages, 1):
        if not message.parts:
            yield Violation("empty-turn", f"turn {place} of the {message.role} is empty: remove it")
        if message.role != "user" and (media := media_parts(message)):
            yield Violation(
                "media-not-in-user-turn",
                f"turn {place} of the {message.role} contains {name_of(media[0])}, but takes text "
                "only: move it to a turn of the user",
            )


def _promptless(context: RuleContext) -> Iterator[Violation]:
    # The captioner: one sound; no prompt, no system message, no second turn.
    if context.model is None or "text" in context.model.inputs:
        return
    if (count := len(context.request.messages)) > 1:
        message = f"{count} turns; {context.name} takes 1: remove request.system and messages"
        yield Violation("turns-not-taken", message, "inputs")
    for part in (part for _, turn in context.user_turns() for part in turn.parts):
        if isinstance(part, str) and part:
            yield Violation(
                "prompt-not-taken",
                f"prompt {name_of(part)}; {context.name} takes {listed(context.model.inputs)} "
                "only: remove it",
                "inputs",
            )


def _kinds_of_model(context: RuleContext) -> Iterator[Violation]:
    for part in context.parts():
        kind = kind_of(part)
        wanted = "video" if kind == "frames" else kind
        if context.model and kind != "text" and wanted not in context.model.inputs:
            yield Violation(
                "kind-not-taken",
                f"{name_of(part)} is {kind}; {context.name} takes {listed(context.model.inputs)}: "
                "remove it, or use another model",
                "inputs",
            )


def _kinds_of_server(context: RuleContext) -> Iterator[Violation]:
    for part in context.parts():
        if (kind := kind_of(part)) not in context.server.takes:
            remedy = "send the video itself" if kind == "frames" else "use another endpoint"
            yield Violation(
                "no-form-for-kind",
                f"{name_of(part)} is {kind}; {context.server.name} servers take "
                f"{listed(sorted(context.server.takes))}: remove it, or {remedy}",
            )


def _one_kind(context: RuleContext) -> Iterator[Violation]:
    if context.model is None or context.model.mixes_media:
        return
    for place, message in context.user_turns():
        kinds = list(dict.fromkeys(kind_of(part) for part in media_parts(message)))
        if len(kinds) > 1:
            yield Violation(
                "one-media-kind",
                f"turn {place} contains {listed(kinds)}; {context.name} takes text and 1 kind of "
                "media in a turn: split the row",
                "mixes_media",
            )


def _files(context: RuleContext) -> Iterator[Violation]:
    """For each turn: earlier turns may have media of their own (guide)."""
    for place, message in context.user_turns():
        kinds = [kind_of(part) for part in media_parts(message)]
        videos = kinds.count("video") + kinds.count("frames")  # a frame list counts as a video
        for kind, count in (("audio", kinds.count("audio")), ("video", videos)):
            limit = context.limit(f"{kind}_files_max")
            if limit is not None and count > limit:
                yield Violation(
                    f"{kind}-files",
                    f"turn {place} contains {count:,} {kind} inputs; {context.name} takes "
                    f"{limit:,} at most: split the row",
                    f"limits.{kind}_files_max",
                )


def _frame_lists(context: RuleContext) -> Iterator[Violation]:
    least, most = context.limit("frames_min"), context.limit("frames_max")
    for frames in (part for part in context.parts() if isinstance(part, Frames)):
        name, count = name_of(frames), len(frames.images)
        if least is not None and count < least:
            message = f"{name} is short; {context.name} takes {least} at least: send them as images"
            yield Violation("frames-too-few", message, "limits.frames_min")
        if most is not None and count > most:
            message = f"{name} is long; {context.name} takes {most} at most: leave some out"
            yield Violation("frames-too-many", message, "limits.frames_max")


def _base64_files(context: RuleContext) -> Iterator[Violation]:
    limit = context.limit("base64_files_max")
    inline = [
        media
        for media in context.media
        if (is_data_uri(media.url) if media.url is not None else context.files_inline)
    ]
    if limit is not None and len(inline) > limit:
        yield Violation(
            "base64-files",
            f"{len(inline):,} media are sent within the request; {context.name} takes {limit:,} at "
            "most: use http(s) URLs, or set media.transport: upload",
            "limits.base64_files_max",
        )


RULES_OF_MEDIA = (_kinds_of_model, _one_kind, _files, _frame_lists, _base64_files)
"""Those that text alone can't break."""
RULES = (
    *(_roles, _contents, _promptless, _kinds_of_model, _kinds_of_server),
    *(_one_kind, _files, _frame_lists, _base64_files),
)
