"""What the catalogue knows of a model, in words: for the terminal and the documentation. Pure.

A number that no page of the vendor states for the model ends in a star.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from omni_batch.catalogue.model import Model, Rates, Reading, name_kind

STAR = "* not stated by the vendor for this model: a warning where a row breaks it, never a refusal"
_THINKING = {
    "no": "not offered",
    "off": "offered; off unless asked for; no speech meanwhile",
    "on": "offered; on unless switched off",
}
_RATES = {
    "text_in": "text in",
    "audio_in": "sound in",
    "image_in": "pictures in",
    "cached_in": "cached in",
    "text_out": "text out",
    "text_out_media": "text out where the prompt has media",
    "audio_out": "speech out",
}


@dataclass(frozen=True, slots=True)
class Section:
    """Facts of one kind, each with its name."""

    title: str
    facts: tuple[tuple[str, str], ...]


def describe(model: Model, dialects: Mapping[str, str]) -> tuple[Section, ...]:
    """All that is known of a model; what is unknown is left out.

    Args:
        dialects: Chinese dialect by voice id.
    """
    sections = (
        Section("", _known(_names(model))),
        Section("input", _known(_inputs(model))),
        Section("output", _known(_outputs(model, dialects))),
        Section("tokens", _known(_tokens(model))),
        Section("account", _known(_account(model))),
        Section("price of a million tokens", _known(_prices(model))),
        Section("where the vendor's editions differ", _known(_disputes(model))),
    )
    return tuple(section for section in sections if section.facts)


def image_limits(model: Model) -> str:
    """Size and shape of one image."""
    limits, stated = model.limits, _Stated(model)
    return _joined(
        stated("limits.image_max_bytes", limits.image_max_bytes, size),
        stated("limits.image_min_px", limits.image_min_px, "sides from {:,} px".format),
        stated("limits.image_max_ratio", limits.image_max_ratio, "ratio up to {:g}:1".format),
    )


def audio_limits(model: Model) -> str:
    """How many recordings, how long and how large."""
    limits, stated = model.limits, _Stated(model)
    return _joined(
        stated("limits.audio_files_max", limits.audio_files_max, _files),
        stated("limits.audio_max_s", limits.audio_max_s, lambda s: f"up to {duration(s)}"),
        stated("limits.audio_max_bytes", limits.audio_max_bytes, size),
    )


def video_limits(model: Model) -> str:
    """How many videos, how long and how large."""
    limits, stated = model.limits, _Stated(model)
    return _joined(
        stated("limits.video_files_max", limits.video_files_max, _files),
        stated("limits.video_min_s", limits.video_min_s, "from {:g} s".format),
        stated("limits.video_max_s", limits.video_max_s, lambda s: f"up to {duration(s)}"),
        stated("limits.video_max_bytes", limits.video_max_bytes, size),
    )


def frame_limits(model: Model) -> str:
    """How many pictures a list may have."""
    limits, stated = model.limits, _Stated(model)
    least = stated("limits.frames_min", limits.frames_min, "{:,}".format)
    most = stated("limits.frames_max", limits.frames_max, "{:,}".format)
    return f"{least} to {most}" if least and most else ""


def mixing(model: Model) -> str:
    """What one message may hold together."""
    return "any mix" if model.mixes_media else "text and one kind"


def size(size_bytes: float) -> str:
    """Bytes in units of 1024."""
    gigabytes = size_bytes / 2**30
    return f"{gigabytes:g} GB" if gigabytes >= 1 else f"{size_bytes / 2**20:g} MB"


def duration(duration_s: float) -> str:
    """In the largest unit that leaves a whole number."""
    for unit_s, unit in ((3600, "h"), (60, "min")):
        if duration_s >= unit_s and duration_s % unit_s == 0:
            return f"{duration_s / unit_s:g} {unit}"
    return f"{duration_s:g} s"


class _Stated:
    """Writes a model's numbers, with a star where they rest on an assumption."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def __call__(
        self, name: str, value: float | None, write: Callable[[float], str] = "{:,}".format
    ) -> str:
        if value is None:
            return ""
        return f"{write(value)}{self.star(name)}"

    def star(self, name: str) -> str:
        return "*" if self._model.is_unverified(name) else ""


_Facts = Iterator[tuple[str, str]]


def _known(facts: _Facts) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in facts if value)


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _starred(names: Sequence[str], star: str) -> str:
    return f"{', '.join(names)}{star}" if names else ""


def _files(number: float) -> str:
    return "one" if number == 1 else f"{number:,}"


def _names(model: Model) -> _Facts:
    yield "model", f"{model.name} ({name_kind(model.name)})"
    yield "also called", _joined(*(f"{name} ({name_kind(name)})" for name in model.aliases))
    yield "status", {"frozen": "frozen: no longer renewed"}.get(model.status, model.status)
    if model.ends:
        instead = f"; it names {model.successor}" if model.successor else ""
        yield "ends", f"{model.ends}, by a notice of the vendor known at second hand{instead}"
    yield "note", model.note


def _inputs(model: Model) -> _Facts:
    limits, stated = model.limits, _Stated(model)
    yield "takes", f"{', '.join(model.inputs)}{stated.star('inputs')}"
    if "image" in model.inputs:
        yield "in one message", mixing(model)
        yield "image", image_limits(model)
        yield "image files", _joined(*limits.image_containers)
    if "audio" in model.inputs:
        yield "sound", audio_limits(model)
        yield "sound files", _joined(*limits.audio_containers)
    if "video" in model.inputs:
        yield "video", video_limits(model)
        yield "video files", _joined(*limits.video_containers)
        yield "list of frames", frame_limits(model)
    if len(model.inputs) > 1:
        yield "in the request", _inline(model)


def _inline(model: Model) -> str:
    limits, stated = model.limits, _Stated(model)
    most = stated("limits.data_uri_max_bytes", limits.data_uri_max_bytes, size)
    advised = stated("limits.data_uri_raw_advised_bytes", limits.data_uri_raw_advised_bytes, size)
    files = stated("limits.base64_files_max", limits.base64_files_max, "{:,} files".format)
    return _joined(
        f"{most} for each file after base64" if most else "",
        f"under {advised} before it advised" if advised else "",
        files,
    )


def _outputs(model: Model, dialects: Mapping[str, str]) -> _Facts:
    stated = _Stated(model)
    yield "speech", "yes" if model.audio_out else "no"
    if model.audio_out:
        cloned = "; cloned voices of the account too" if model.cloned_voices else ""
        yield f"{len(model.voices)} voices", f"{', '.join(model.voices)}{cloned}"
        sure = model.undisputed_voices()
        yield "by all editions", ", ".join(sure) if len(sure) < len(model.voices) else ""
        yield "default voice", f"{model.default_voice}{stated.star('default_voice')}"
        spoken = (f"{voice} {dialects[voice]}" for voice in model.voices if voice in dialects)
        yield "dialects", _joined(*spoken)
        yield "languages", _starred(model.speech_languages, stated.star("speech_languages"))
        if not model.system_with_audio:
            yield "system message", "not with speech; sent as a first exchange instead"
    yield "thinking", f"{_THINKING[model.thinking]}{stated.star('thinking')}"
    if model.media_without_thinking:
        yield "", "the vendor's samples run media without it"
    yield "options", _starred(model.parameters, stated.star("parameters"))


def _tokens(model: Model) -> _Facts:
    stated = _Stated(model)
    yield "context", stated("context_tokens", model.context_tokens)
    yield "input", stated("max_input_tokens", model.max_input_tokens)
    yield "input, thinking", stated("max_input_tokens_thinking", model.max_input_tokens_thinking)
    yield "chain of thought", stated("max_thinking_tokens", model.max_thinking_tokens)
    yield "output", stated("max_output_tokens", model.max_output_tokens)
    if len(model.inputs) > 1 or "text" not in model.inputs:
        yield from _token_rules(model)


def _token_rules(model: Model) -> _Facts:
    rules, stated = model.tokens, _Stated(model)
    per_s = stated("tokens.audio_in_per_s", rules.audio_in_per_s, "{:g}".format)
    spoken = stated(
        "tokens.audio_out_per_s", rules.audio_out_per_s, "{:g} a second of speech".format
    )
    yield "of sound", _joined(f"{per_s} a second, at least {rules.audio_min_s:g} s", spoken)
    if "image" not in model.inputs:
        return
    patch = f"{rules.image_factor_px} x {rules.image_factor_px} px"
    sharp = rules.image_max_tokens_high_resolution
    yield (
        "of an image",
        _joined(
            f"one for {patch}{stated.star('tokens.image_factor_px')}",
            f"{rules.image_min_tokens:,} to {rules.image_max_tokens:,}",
            f"to {sharp:,} in high resolution" if sharp else "",
            f"{rules.image_extra_tokens} more for each",
        ),
    )
    yield (
        "of a video",
        _joined(
            f"{rules.video_sample_fps:g} frames a second",
            f"{rules.video_frames_min:,} to {rules.video_frames_max:,} frames",
            f"{rules.video_min_patches:,} to {rules.video_max_patches:,} for "
            f"{rules.video_frames_per_token} frames{stated.star('tokens.video_min_patches')}",
            f"{rules.video_total_patches * rules.video_frames_per_token // 2:,} at most",
        ),
    )


def _account(model: Model) -> _Facts:
    stated = _Stated(model)
    yield "regions", _starred(model.regions, stated.star("regions"))
    yield "requests a minute", stated("quota", model.quota.requests_per_minute)
    yield "tokens a minute", stated("quota", model.quota.tokens_per_minute)
    if free := model.free_quota:
        where = ", region disputed" if "free-quota" in model.disputes else ""
        yield (
            "free quota",
            f"{free.tokens:,} tokens in a new account's first {free.days} days{where}",
        )


def _prices(model: Model) -> _Facts:
    star = _Stated(model).star("prices")
    for region, by_currency in model.prices.items():
        for currency, rates in by_currency.items():
            yield f"{region}, {currency}", f"{_rates(rates)}{star}"


def _rates(rates: Rates) -> str:
    found, most = msgspec.structs.asdict(rates), rates.prompt_tokens_max
    known = (f"{text} {found[name]:g}" for name, text in _RATES.items() if found[name])
    return _joined(*known, f"for prompts up to {most:,} tokens" if most else "")


def _disputes(model: Model) -> _Facts:
    for point, dispute in model.disputes.items():
        lines = (dispute.about, *map(_reading, dispute.readings), f"so: {dispute.effect}")
        yield point, "\n".join(lines)


def _reading(reading: Reading) -> str:
    mark = "used" if reading.taken else "or"
    return f"{mark}: {reading.says} ({reading.source})"
