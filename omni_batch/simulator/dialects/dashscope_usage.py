"""The usage object of the hosted service (references of 2025 and 2026, and their samples)."""

from omni_batch.simulator.options import SimulatorOptions
from omni_batch.simulator.replies.frames import Json
from omni_batch.simulator.replies.reply_plan import ReplyPlan
from omni_batch.simulator.replies.tokens import text_tokens

Counts = dict[str, int | None]


def usage_of(plan: ReplyPlan, options: SimulatorOptions) -> Json:
    """The usage object; its details name only the kinds that are present, unless told otherwise."""
    written = plan.answer.tokens
    return {
        "prompt_tokens": plan.prompt.total,
        "completion_tokens": written,
        "total_tokens": plan.prompt.total + written,
        **_details(plan, options),
    }


def _details(plan: ReplyPlan, options: SimulatorOptions) -> dict[str, object]:
    out, into = _completion(plan, options.reasoning_counted), _prompt(plan)
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


def _completion(plan: ReplyPlan, counted: str) -> Counts:
    answer = plan.answer
    text, reasoning = text_tokens(answer.text), text_tokens(answer.reasoning or "")
    # The guide of 2025 counts reasoning beside the text, later references within it.
    inclusive = plan.chat.model.text_tokens_include_reasoning
    if counted != "usual":
        inclusive = counted == "inclusive"
    return {
        "audio_tokens": answer.audio_tokens,
        "reasoning_tokens": None if answer.reasoning is None else reasoning,
        "text_tokens": text + reasoning if inclusive else text,
    }


def _prompt(plan: ReplyPlan) -> Counts:
    prompt = plan.prompt
    return {
        "audio_tokens": prompt.audio,
        "image_tokens": prompt.image,
        "video_tokens": prompt.video,
        "text_tokens": prompt.text,
    }
