"""Rules on the turns, and on what stands together in them. Pure.

Sources: Qwen-Omni guide and error-code pages, December 2025 to 2026.
"""

from collections.abc import Iterator

from omni_batch.conversation import is_data_uri
from omni_batch.rules.case import Case, Violation, kind_of, listed, media_parts, name_of
from omni_batch.types import Frames


def _roles(case: Case) -> Iterator[Violation]:
    roles = [message.role for message in case.request.messages]
    if "user" not in roles:
        yield Violation(
            "no-user-turn", f"{len(roles)} turns, none is the user's: give the row a prompt"
        )
    elif roles[-1] != "user":
        yield Violation(
            "last-turn-not-users",
            f"the last of {len(roles)} turns is the {roles[-1]}'s: end with the user's",
        )


def _contents(case: Case) -> Iterator[Violation]:
    for place, message in enumerate(case.request.messages, 1):
        if not message.parts:
            yield Violation("empty-turn", f"turn {place} of the {message.role} is empty: remove it")
        if message.role != "user" and (media := media_parts(message)):
            yield Violation(
                "media-not-in-user-turn",
                f"turn {place} of the {message.role} holds {name_of(media[0])}, and takes text "
                "only: move it to a turn of the user",
            )


def _promptless(case: Case) -> Iterator[Violation]:
    # The captioner: one sound; no prompt, no system message, no second turn.
    if case.model is None or "text" in case.model.inputs:
        return
    if (count := len(case.request.messages)) > 1:
        message = f"{count} turns; {case.name} takes 1: remove request.system and messages"
        yield Violation("turns-not-taken", message, "inputs")
    texts = [part for _, turn in case.user_turns() for part in turn.parts if isinstance(part, str)]
    for text in filter(None, texts):
        yield Violation(
            "prompt-not-taken",
            f"prompt {name_of(text)}; {case.name} takes {listed(case.model.inputs)} only: "
            "remove it",
            "inputs",
        )


def _kinds_of_model(case: Case) -> Iterator[Violation]:
    for part in case.parts():
        kind = kind_of(part)
        wanted = "video" if kind == "frames" else kind
        if case.model and kind != "text" and wanted not in case.model.inputs:
            yield Violation(
                "kind-not-taken",
                f"{name_of(part)} is {kind}; {case.name} takes {listed(case.model.inputs)}: "
                "remove it, or use another model",
                "inputs",
            )


def _kinds_of_server(case: Case) -> Iterator[Violation]:
    for part in case.parts():
        if (kind := kind_of(part)) not in case.server.takes:
            remedy = "send the video itself" if kind == "frames" else "use another endpoint"
            yield Violation(
                "no-form-for-kind",
                f"{name_of(part)} is {kind}; {case.server.name} servers take "
                f"{listed(sorted(case.server.takes))}: remove it, or {remedy}",
            )


def _one_kind(case: Case) -> Iterator[Violation]:
    if case.model is None or case.model.mixes_media:
        return
    for place, message in case.user_turns():
        kinds = list(dict.fromkeys(kind_of(part) for part in media_parts(message)))
        if len(kinds) > 1:
            yield Violation(
                "one-media-kind",
                f"turn {place} holds {listed(kinds)}; {case.name} takes text and 1 kind of media "
                "in a turn: split the row",
                "mixes_media",
            )


def _files(case: Case) -> Iterator[Violation]:
    """For each turn: earlier turns may hold media of their own (guide)."""
    for place, message in case.user_turns():
        kinds = [kind_of(part) for part in media_parts(message)]
        videos = kinds.count("video") + kinds.count("frames")  # a list stands for a video
        for kind, count in (("audio", kinds.count("audio")), ("video", videos)):
            limit = case.limit(f"{kind}_files_max")
            if limit is not None and count > limit:
                yield Violation(
                    f"{kind}-files",
                    f"turn {place} holds {count:,} {kind} inputs; {case.name} takes {limit:,} at "
                    "most: split the row",
                    f"limits.{kind}_files_max",
                )


def _frame_lists(case: Case) -> Iterator[Violation]:
    least, most = case.limit("frames_min"), case.limit("frames_max")
    for frames in (part for part in case.parts() if isinstance(part, Frames)):
        name, count = name_of(frames), len(frames.images)
        if least is not None and count < least:
            message = f"{name} is short; {case.name} wants {least} at least: send them as images"
            yield Violation("frames-too-few", message, "limits.frames_min")
        if most is not None and count > most:
            message = f"{name} is long; {case.name} takes {most} at most: leave some out"
            yield Violation("frames-too-many", message, "limits.frames_max")


def _base64_files(case: Case) -> Iterator[Violation]:
    limit = case.limit("base64_files_max")
    inline = [
        media
        for media in case.request.media()
        if (is_data_uri(media.url) if media.url is not None else case.files_inline)
    ]
    if limit is not None and len(inline) > limit:
        yield Violation(
            "base64-files",
            f"{len(inline):,} media travel within the request; {case.name} takes {limit:,} at "
            "most: use http(s) URLs, or set media.transport: upload",
            "limits.base64_files_max",
        )


RULES = (
    *(_roles, _contents, _promptless, _kinds_of_model, _kinds_of_server),
    *(_one_kind, _files, _frame_lists, _base64_files),
)
