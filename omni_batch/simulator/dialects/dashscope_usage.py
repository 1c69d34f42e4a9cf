"""The usage object of the hosted service (references of 2025 and 2026, and their samples)."""

from __future__ import annotations

from omni_batch.simulator.frames import Json
from omni_batch.simulator.options import SimulatorOptions
from omni_batch.simulator.tokens import text_tokens
from omni_batch.simulator.work import Work

Counts = dict[str, int | None]


def usage_of(work: Work, options: SimulatorOptions) -> Json:
    """The usage object; its details name only the kinds that are present, unless told otherwise."""
    written = work.said.tokens
    return {
        "prompt_tokens": work.prompt.total,
        "completion_tokens": written,
        "total_tokens": work.prompt.total + written,
        **_details(work, options),
    }


def _details(work: Work, options: SimulatorOptions) -> dict[str, object]:
    out, into = _completion(work, options.reasoning_counted), _prompt(work)
    match options.usage_details:
        case "absent":
            return {}
        case "null":
            null = {"audio_tokens": None, "cached_tokens": 0}
            return {"completion_tokens_details": None, "prompt_tokens_details": null}
        case "null_members":
            return {"completion_tokens_details": out, "prompt_tokens_details": into}
        case _:
            present = [
                {key: count for key, count in kinds.items() if count is not None}
                for kinds in (out, into)
            ]
            return {"completion_tokens_details": present[0], "prompt_tokens_details": present[1]}


def _completion(work: Work, counted: str) -> Counts:
    said = work.said
    text, reasoning = text_tokens(said.text), text_tokens(said.reasoning or "")
    # The guide of 2025 counts reasoning beside the text, later references within it.
    inclusive = work.chat.model.text_tokens_include_reasoning
    if counted != "usual":
        inclusive = counted == "inclusive"
    return {
        "audio_tokens": said.audio_tokens,
        "reasoning_tokens": None if said.reasoning is None else reasoning,
        "text_tokens": text + reasoning if inclusive else text,
    }


def _prompt(work: Work) -> Counts:
    prompt = work.prompt
    return {
        "audio_tokens": prompt.audio,
        "image_tokens": prompt.image,
        "video_tokens": prompt.video,
        "text_tokens": prompt.text,
    }
