"""OpenAI's audio models (openai-python issue 2507; agentfield issues 584 and 968)."""

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from omni_batch.simulator.checks import refusal
from omni_batch.simulator.checks.chat import Body, Chat, Part
from omni_batch.simulator.checks.models import OPEN, Model
from omni_batch.simulator.checks.quota import Counted, QuotaStatus
from omni_batch.simulator.checks.refusal import Refusal
from omni_batch.simulator.checks.windows import LimitStatus
from omni_batch.simulator.dialects import lenient_parsing, response_format
from omni_batch.simulator.dialects.base import Dialect, plain
from omni_batch.simulator.replies.frames import Frame, Json, raw_string, sse
from omni_batch.simulator.replies.reply_plan import ReplyPlan, Step
from omni_batch.simulator.replies.tokens import text_tokens

_KNOWN = """
    audio frequency_penalty logit_bias logprobs max_completion_tokens max_tokens messages
    metadata modalities model n parallel_tool_calls prediction presence_penalty
    prompt_cache_key reasoning_effort response_format safety_identifier seed service_tier stop
    store stream stream_options temperature tool_choice tools top_logprobs top_p user
    verbosity web_search_options
"""
KNOWN = frozenset(_KNOWN.split())
"""Keys of a request (API reference, 2026); any other is refused."""


def _audio_part(item: Body) -> Part:
    container = lenient_parsing.inner(item, "input_audio", "format")
    if container not in ("wav", "mp3"):
        message = f"Invalid value: '{container}'. Supported values are: 'wav' and 'mp3'."
        raise lenient_parsing.rejected(message, code="invalid_value", param="input_audio.format")
    if lenient_parsing.inner(item, "input_audio", "data").startswith("data:"):
        message = f"The data provided for 'input_audio' is not of valid {container} format."
        raise lenient_parsing.rejected(message, code="invalid_value", param="input_audio.data")
    return lenient_parsing.raw_audio(item)


def _image_part(item: Body) -> Part:
    part = lenient_parsing.url_part("image")(item)
    holder = item.get("image_url")
    detail = holder.get("detail", "auto") if isinstance(holder, dict) else "auto"
    if detail not in _DETAILS:
        message = f"Invalid value: '{detail}'. Supported values are: {', '.join(_DETAILS)}."
        raise lenient_parsing.rejected(message, code="invalid_value", param="image_url.detail")
    return replace(part, low_detail=detail == "low")


_DETAILS = ("auto", "low", "high")

READERS: lenient_parsing.Readers = {
    "text": lenient_parsing.text_part,
    "image_url": _image_part,
    "input_audio": _audio_part,
}


class OpenAI(Dialect):
    """gpt-audio and older models."""

    # insufficient_quota is a spent credit here, and waiting does not help against it.
    out_of_tokens: ClassVar[Refusal] = refusal.status(429, "limit_tokens", "")

    def model(self, body: Body) -> Model:
        """Any name is accepted."""
        return replace(OPEN, name=lenient_parsing.any_model(body), thinking="never")

    def read(self, body: Body) -> Chat:
        """Check what OpenAI checks; unknown keys are refused."""
        if unknown := sorted(set(body) - KNOWN):
            raise lenient_parsing.rejected(f"Unrecognized request argument supplied: {unknown[0]}")
        lenient_parsing.check_sampling(body)
        schema, voice = response_format.of_openai(body), _voice(body)
        chat = lenient_parsing.chat_of(
            body,
            self.model(body),
            lenient_parsing.read_turns(body.get("messages"), READERS),
            voice=voice,
            include_usage=lenient_parsing.include_usage(body),
        )
        return replace(chat, schema=schema)

    def frames(self, step: Step, plan: ReplyPlan, usage: Json | None) -> list[Frame]:
        """Spoken words come as transcript, and content stays null."""
        chunk = self.chunk(plan, _delta(step, plan), step.finish_reason)
        extra = {"usage": usage} if plan.chat.include_usage else {}
        return [sse({**chunk, **extra}, step.sound_s)]

    def envelope(self, plan: ReplyPlan, kind: str) -> dict[str, object]:
        """With the keys that only OpenAI sends."""
        extra = {"service_tier": "default", "system_fingerprint": "fp_simulated"}
        return {**super().envelope(plan, kind), **extra}

    def usage(self, plan: ReplyPlan) -> Json:
        """With the details of both sides; kinds that are absent count as 0."""
        answer, prompt = plan.answer, plan.prompt
        text, speech = text_tokens(answer.text), answer.audio_tokens or 0
        return {
            "prompt_tokens": prompt.total,
            "completion_tokens": answer.tokens,
            "total_tokens": prompt.total + answer.tokens,
            "prompt_tokens_details": {
                "cached_tokens": 0,
                "audio_tokens": prompt.audio or 0,
                "text_tokens": prompt.text,
                "image_tokens": prompt.image or 0,
            },
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": speech,
                "text_tokens": text,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def completion(self, plan: ReplyPlan) -> Json:
        """Speech is a whole WAV file here."""
        whole, usage = self.envelope(plan, "chat.completion"), self.usage(plan.together)
        choices = [self._whole_choice(each) for each in plan.choices]
        return {**whole, "choices": choices, "usage": usage}

    def _whole_choice(self, plan: ReplyPlan) -> Json:
        text, reason = plan.answer.text, plan.answer.finish_reason
        message: dict[str, object] = {"role": "assistant", "content": text, "refusal": None}
        if data := self.whole_wav(plan):
            audio = {**_audio(plan), "data": data, "transcript": text}
            message |= {"content": None, "audio": audio}
        choice = {"index": plan.index, "message": message, "logprobs": None}
        return {**choice, "finish_reason": reason}

    def in_band(self, refused: Refusal, uid: str) -> Json:
        """OpenAI's own words where the two services differ."""
        own = (refused.code, refused.type, plain(refused.message))
        code, kind, message = _WORDS.get(refused.code or "", own)
        if refused.status >= 500:
            code, kind = None, "server_error"
        if refused.message not in _STOCK:
            message = plain(refused.message)  # it was scripted
        return {"message": message, "type": kind, "param": refused.param, "code": code}

    def headers(self, uid: str, arrived_s: float, quota_status: QuotaStatus) -> dict[str, str]:
        """Request id, time taken, and what is left of the limits."""
        took_ms = int((time.time() - arrived_s) * 1000)
        own = {"x-request-id": f"req_{uid.replace('-', '')}", "openai-version": "2020-10-01"}
        return {**own, "openai-processing-ms": str(took_ms), **_limits(quota_status)}

    def error_headers(self, uid: str, quota_status: QuotaStatus) -> dict[str, str]:
        """Those of a reply."""
        return {"x-request-id": f"req_{uid.replace('-', '')}", **_limits(quota_status)}


_NO_CREDIT = "You exceeded your current quota, please check your plan and billing details."
_TOO_FAST = "Rate limit reached for requests per min (RPM). Please slow down and try again."
_TOO_MUCH = "Rate limit reached for tokens per min (TPM). Please try again later."
_WORDS = {
    "insufficient_quota": ("insufficient_quota", "insufficient_quota", _NO_CREDIT),
    "limit_requests": ("rate_limit_exceeded", "requests", _TOO_FAST),
    "limit_burst_rate": ("rate_limit_exceeded", "requests", _TOO_FAST),
    "limit_tokens": ("rate_limit_exceeded", "tokens", _TOO_MUCH),
}
"""Code of the hosted Qwen service to code, type and message of OpenAI's."""
_STOCK = {"", refusal.QUOTA.message, refusal.RATE.message, refusal.BURST.message}


def _voice(body: Body) -> str | None:
    wanted = body.get("modalities")
    if not isinstance(wanted, list) or "audio" not in wanted:
        return None
    audio = body.get("audio")
    if not isinstance(audio, dict):
        message = "Missing required parameter: 'audio'."
        raise lenient_parsing.rejected(message, code="missing_required_parameter", param="audio")
    chosen, voice = audio.get("format"), audio.get("voice")
    if body.get("stream") is True and chosen != "pcm16":
        message = (
            f"Unsupported value: 'audio.format' does not support '{chosen}' when stream=true. "
            "Supported values are: 'pcm16'."
        )
        raise lenient_parsing.rejected(message, code="unsupported_value", param="audio.format")
    return voice if isinstance(voice, str) and voice else "alloy"


def _delta(step: Step, plan: ReplyPlan) -> Json:
    speaks = plan.chat.voice is not None
    match step.kind:
        case "role":
            return {"role": "assistant", "content": None if speaks else "", "refusal": None}
        case "finish":
            return {}
        case "words" if not speaks:
            return {"content": step.text}
        case _:
            words = {"transcript": step.text} if step.kind != "sound" else {}
            sound = {"data": raw_string(step.piece.base64)} if step.piece else {}
            return {"content": None, "audio": {**_audio(plan), **words, **sound}}


def _audio(plan: ReplyPlan) -> dict[str, object]:
    return {"id": f"audio_{plan.uid.replace('-', '')}", "expires_at": plan.created + 3600}


_USUAL_LIMITS: Mapping[Counted, int] = {"requests": 10_000, "tokens": 30_000_000}
"""Reported where the simulator has no limit."""


def _limits(quota_status: QuotaStatus) -> dict[str, str]:
    """Limit, remainder and time until the limit is whole again, for requests and tokens."""
    headers: dict[str, str] = {}
    for counted, usual in _USUAL_LIMITS.items():
        left = quota_status.get(counted, LimitStatus(usual, usual, 0.0))
        headers[f"x-ratelimit-limit-{counted}"] = f"{left.limit:.0f}"
        headers[f"x-ratelimit-remaining-{counted}"] = str(math.floor(left.remaining))
        headers[f"x-ratelimit-reset-{counted}"] = _duration(left.reset_s)
    return headers


def _duration(seconds: float) -> str:
    """As in "1m12s", "5.2s" or "20ms"."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{minutes:.0f}m{rest:.0f}s" if minutes else f"{rest:.3g}s"
