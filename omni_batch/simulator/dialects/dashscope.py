"""The hosted service in compatible mode (Model Studio guide, Dec 2025; traffic of Feb 2026).

Usage objects are those of the references of 2025 and 2026, and of their samples.
"""

import time
from collections.abc import Collection, Mapping
from typing import ClassVar

from omni_batch.simulator.checks import parameters, refusal
from omni_batch.simulator.checks.chat import Body, Chat
from omni_batch.simulator.checks.messages import read_messages
from omni_batch.simulator.checks.models import Model, models
from omni_batch.simulator.checks.quota import QuotaStatus
from omni_batch.simulator.checks.refusal import Refusal, Refused
from omni_batch.simulator.dialects.base import Dialect
from omni_batch.simulator.options import SimulatorOptions
from omni_batch.simulator.replies.frames import Frame, Json, raw_string, sse
from omni_batch.simulator.replies.reply_plan import ReplyPlan, Step
from omni_batch.simulator.replies.tokens import text_tokens


class DashScope(Dialect):
    """Qwen-Omni as Alibaba serves it."""

    base_path: ClassVar[str] = "/compatible-mode/v1"
    content_type: ClassVar[str] = "text/event-stream;charset=UTF-8"
    moderates: ClassVar[bool] = True
    hosted: ClassVar[bool] = True
    joins: ClassVar[bool] = True

    def check_key(self, headers: Mapping[str, str]) -> None:
        """Refuse a missing key and a bad one."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Refused(refusal.NO_KEY)
        wanted = self.options.api_key
        if not (key.startswith("sk-") if wanted is None else key == wanted):
            raise Refused(refusal.BAD_KEY)

    def model(self, body: Body) -> Model:
        """One of the models of the catalogue."""
        return parameters.find_model(body, self._models)

    @property
    def _models(self) -> Mapping[str, Model]:
        return models(self.options.edition, self.options.region)

    def served(self, asked: str) -> Collection[str]:
        """The catalogue."""
        return self._models

    def read(self, body: Body) -> Chat:
        """Check everything as the gateway does."""
        model = self.model(body)
        parameters.check_parameters(body, model)
        streamed = parameters.find_stream(body, model)
        thinking = parameters.find_thinking(body, model)
        return Chat(
            model=model,
            turns=read_messages(body.get("messages"), model),
            voice=parameters.find_voice(body, model, thinking=thinking),
            thinking=thinking,
            stream=streamed,
            include_usage=parameters.find_include_usage(body),
            max_tokens=parameters.find_max_tokens(body, model),
            high_resolution=body.get("vl_high_resolution_images") is True,
            stops=parameters.find_stop_words(body),
            choices=parameters.find_choices(body),
        )

    def frames(self, step: Step, plan: ReplyPlan, usage: Json | None) -> list[Frame]:
        """One frame for each step, in the key order of the service."""
        delta = self._delta(step, plan)
        reason = step.finish_reason
        choice: dict[str, object] = {"delta": delta, "finish_reason": reason}
        if reason is not None:
            choice = {"finish_reason": reason, "delta": delta}
        choice |= {"index": plan.index, "logprobs": None}
        whole = self.envelope(plan, "chat.completion.chunk")
        return [sse({**whole, "choices": [choice], "usage": usage}, step.sound_s)]

    def _delta(self, step: Step, plan: ReplyPlan) -> Json:
        thinking = plan.answer.reasoning is not None
        match step.kind:
            case "role" if thinking:
                return {"content": None, "role": "assistant", "reasoning_content": ""}
            case "role":
                return {"content": "", "role": "assistant"}
            case "thought":
                return {"content": None, "reasoning_content": step.text}
            case "finish":
                thought = {"reasoning_content": None} if plan.chat.thinking else {}
                return {"content": "", **thought}
            case _:
                return self._saying(step, plan)

    def _saying(self, step: Step, plan: ReplyPlan) -> Json:
        """Words, speech, or both; expires_at repeats the time of creation, as the service does."""
        audio: dict[str, object] = {}
        delta: dict[str, object] = {}
        if step.kind != "sound":
            if self._transcribes(plan):
                audio["transcript"] = step.text
            else:
                delta["content"] = step.text
        if step.piece is not None:
            audio = {"data": raw_string(step.piece.base64), **audio}
        if audio:
            common = {"expires_at": plan.created, "id": f"audio_{plan.uid}"}
            delta["audio"] = {**audio, **common}
        return delta

    def _transcribes(self, plan: ReplyPlan) -> bool:
        asked = self.options.transcript
        does = plan.chat.model.transcribes if asked is None else asked
        return does and plan.chat.voice is not None

    def envelope(self, plan: ReplyPlan, kind: str) -> dict[str, object]:
        """Keys in the order that traffic shows."""
        return {
            "choices": [],
            "object": kind,
            "usage": None,
            "created": plan.created,
            "system_fingerprint": None,
            "model": plan.chat.model.name,
            "id": f"chatcmpl-{plan.uid}",
        }

    def adjusted(self, frames: list[Frame]) -> list[Frame]:
        """Misspell some keys where that is asked for."""
        if not self.options.misspelt_keys:
            return frames
        return [_misspelt(frame, number) for number, frame in enumerate(frames)]

    def usage(self, plan: ReplyPlan) -> Json:
        """Counted by kind."""
        return _usage(plan, self.options)

    def completion(self, plan: ReplyPlan) -> Json:
        """For models that may be asked without a stream."""
        choices = [_whole_choice(each) for each in plan.choices]
        usage = None if self.options.usage_in == "none" else self.usage(plan.together)
        whole = self.envelope(plan, "chat.completion")
        return {**whole, "choices": choices, "usage": usage}

    def error_body(self, refused: Refusal, uid: str) -> bytes:
        """With ids, and framed as SSE where content moderation does so."""
        return refused.body(uid)

    def in_band(self, refused: Refusal, uid: str) -> Json:
        """With the id of the reply."""
        return refused.members(uid)

    def headers(self, uid: str, arrived_s: float, quota_status: QuotaStatus) -> dict[str, str]:
        """What was seen on recorded replies of Feb 2026; the request id under its likely name."""
        arrived_ms, now_ms = int(arrived_s * 1000), int(time.time() * 1000)
        return {
            "x-request-id": uid,
            "req-arrive-time": str(arrived_ms),
            "req-cost-time": str(now_ms - arrived_ms),
            "resp-start-time": str(now_ms),
            "server": "istio-envoy",
            "vary": "Origin",
            "x-dashscope-call-gateway": "true",
            "x-envoy-upstream-service-time": str(now_ms - arrived_ms),
        }

    def error_headers(self, uid: str, quota_status: QuotaStatus) -> dict[str, str]:
        """Only the id is known of errors."""
        return {"x-request-id": uid}


def _whole_choice(plan: ReplyPlan) -> Json:
    message = {"role": "assistant", "content": plan.answer.text}
    message |= {"reasoning_content": plan.answer.reasoning} if plan.answer.reasoning else {}
    reason = plan.answer.finish_reason
    return {"message": message, "finish_reason": reason, "index": plan.index, "logprobs": None}


_MISSPELT = (
    (b'"created":', b'"reated":'),
    (b'"system_fingerprint":', b'"tem_fingerprint":'),
    (b'"system_fingerprint":', b'"systm_fingerprint":'),
)
"""As the reference's own samples have it."""


def _misspelt(frame: Frame, number: int) -> Frame:
    right, wrong = _MISSPELT[number % len(_MISSPELT)]
    return Frame(frame.data.replace(right, wrong, 1), frame.sound_s)


def _usage(plan: ReplyPlan, options: SimulatorOptions) -> Json:
    """The usage object; by default its details name only the kinds that are present."""
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


def _completion(plan: ReplyPlan, counted: str) -> dict[str, int | None]:
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


def _prompt(plan: ReplyPlan) -> dict[str, int | None]:
    prompt = plan.prompt
    return {
        "audio_tokens": prompt.audio,
        "image_tokens": prompt.image,
        "video_tokens": prompt.video,
        "text_tokens": prompt.text,
    }
