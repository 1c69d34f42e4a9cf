"""OpenAI's audio models (openai-python issue 2507; agentfield issues 584 and 968)."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import ClassVar

from omni_batch.simulator import refusal
from omni_batch.simulator.chat import Chat, Part
from omni_batch.simulator.dialects import reading
from omni_batch.simulator.dialects.base import Body, Dialect, plain
from omni_batch.simulator.dialects.dashscope import stop_words
from omni_batch.simulator.dialects.openai_headers import limits
from omni_batch.simulator.dialects.vllm_omni import wav_of
from omni_batch.simulator.frames import Frame, Json, raw, sse
from omni_batch.simulator.models import OPEN, Model
from omni_batch.simulator.quota import Standing
from omni_batch.simulator.refusal import Refusal
from omni_batch.simulator.tokens import text_tokens
from omni_batch.simulator.work import Bit, Work

_KNOWN = """
    audio frequency_penalty logit_bias logprobs max_completion_tokens max_tokens messages
    metadata modalities model n parallel_tool_calls prediction presence_penalty
    prompt_cache_key reasoning_effort response_format safety_identifier seed service_tier stop
    store stream stream_options temperature tool_choice tools top_logprobs top_p user
    verbosity web_search_options
"""
KNOWN = frozenset(_KNOWN.split())
"""Keys of a request (API reference, 2026); any other is refused."""


def _audio_part(item: reading.Item) -> Part:
    container = reading.inner(item, "input_audio", "format")
    if container not in ("wav", "mp3"):
        message = f"Invalid value: '{container}'. Supported values are: 'wav' and 'mp3'."
        raise reading.rejected(message, code="invalid_value", param="input_audio.format")
    if reading.inner(item, "input_audio", "data").startswith("data:"):
        message = f"The data provided for 'input_audio' is not of valid {container} format."
        raise reading.rejected(message, code="invalid_value", param="input_audio.data")
    return reading.raw_audio(item)


READERS: reading.Readers = {
    "text": reading.text_part,
    "image_url": reading.url_part("image"),
    "input_audio": _audio_part,
}


class OpenAI(Dialect):
    """gpt-audio and its elders."""

    # insufficient_quota is an empty purse here, and no wait helps against it.
    out_of_tokens: ClassVar[Refusal] = refusal.status(429, "limit_tokens", "")

    def model(self, body: Body) -> Model:
        """Any name; these tests are not about which exist."""
        return replace(OPEN, name=reading.any_model(body), thinking="never")

    def read(self, body: Body) -> Chat:
        """Check what OpenAI checks; unknown keys are refused."""
        if unknown := sorted(set(body) - KNOWN):
            raise reading.rejected(f"Unrecognized request argument supplied: {unknown[0]}")
        reading.check_sampling(body)
        voice = _voice(body)
        return Chat(
            model=self.model(body),
            turns=reading.read_turns(body.get("messages"), READERS),
            voice=voice,
            thinking=False,
            stream=body.get("stream") is True,
            include_usage=reading.include_usage(body),
            max_tokens=reading.max_tokens(body),
            sharp=False,
            stops=stop_words(body),
        )

    def frames(self, step: Bit, work: Work, usage: Json | None) -> list[Frame]:
        """Spoken words come as transcript, and content stays null."""
        chunk = self.chunk(work, _delta(step, work), step.text if step.kind == "finish" else None)
        told = {"usage": usage} if work.chat.include_usage else {}
        sound_s = step.piece.duration_s if step.piece else 0.0
        return [sse({**chunk, **told}, sound_s)]

    def envelope(self, work: Work, kind: str) -> dict[str, object]:
        """With the keys that only OpenAI sends."""
        extra = {"service_tier": "default", "system_fingerprint": "fp_simulated"}
        return {**super().envelope(work, kind), **extra}

    def usage(self, work: Work) -> Json:
        """With the details of both sides; kinds that are absent count as 0."""
        said, prompt = work.said, work.prompt
        text, speech = text_tokens(said.text), said.audio_tokens or 0
        return {
            "prompt_tokens": prompt.total,
            "completion_tokens": said.tokens,
            "total_tokens": prompt.total + said.tokens,
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

    def completion(self, work: Work) -> Json:
        """Speech is a whole WAV file here."""
        message: dict[str, object] = {"role": "assistant", "content": work.said.text}
        message |= {"refusal": None}
        if data := wav_of(work, self.rate_hz()):
            audio = {**_audio(work), "data": data, "transcript": work.said.text}
            message |= {"content": None, "audio": audio}
        choice = {"index": 0, "message": message, "logprobs": None}
        whole = self.envelope(work, "chat.completion")
        choice |= {"finish_reason": work.said.finish_reason}
        return {**whole, "choices": [choice], "usage": self.usage(work)}

    def in_band(self, refused: Refusal, uid: str) -> Json:
        """OpenAI's own words where the two services differ."""
        own = (refused.code, refused.type, plain(refused.message))
        code, kind, message = _WORDS.get(refused.code or "", own)
        if refused.status >= 500:
            code, kind = None, "server_error"
        if refused.message not in _STOCK:
            message = plain(refused.message)  # somebody scripted it
        return {"message": message, "type": kind, "param": refused.param, "code": code}

    def headers(self, uid: str, arrived_s: float, standing: Standing) -> dict[str, str]:
        """Request id, time taken, and what is left of the limits."""
        took_ms = int((time.time() - arrived_s) * 1000)
        own = {"x-request-id": f"req_{uid.replace('-', '')}", "openai-version": "2020-10-01"}
        return {**own, "openai-processing-ms": str(took_ms), **limits(standing)}

    def error_headers(self, uid: str, standing: Standing) -> dict[str, str]:
        """Those of a reply."""
        return {"x-request-id": f"req_{uid.replace('-', '')}", **limits(standing)}


_EMPTY_PURSE = "You exceeded your current quota, please check your plan and billing details."
_TOO_FAST = "Rate limit reached for requests per min (RPM). Please slow down and try again."
_TOO_MUCH = "Rate limit reached for tokens per min (TPM). Please try again later."
_WORDS = {
    "insufficient_quota": ("insufficient_quota", "insufficient_quota", _EMPTY_PURSE),
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
        raise reading.rejected(message, code="missing_required_parameter", param="audio")
    chosen, voice = audio.get("format"), audio.get("voice")
    if body.get("stream") is True and chosen != "pcm16":
        message = (
            f"Unsupported value: 'audio.format' does not support '{chosen}' when stream=true. "
            "Supported values are: 'pcm16'."
        )
        raise reading.rejected(message, code="unsupported_value", param="audio.format")
    return voice if isinstance(voice, str) and voice else "alloy"


def _delta(step: Bit, work: Work) -> Json:
    speaks = work.chat.voice is not None
    match step.kind:
        case "role":
            return {"role": "assistant", "content": None if speaks else "", "refusal": None}
        case "finish":
            return {}
        case "words" if not speaks:
            return {"content": step.text}
        case _:
            words = {"transcript": step.text} if step.kind != "sound" else {}
            sound = {"data": raw(step.piece.base64)} if step.piece else {}
            return {"content": None, "audio": {**_audio(work), **words, **sound}}


def _audio(work: Work) -> dict[str, object]:
    return {"id": f"audio_{work.uid.replace('-', '')}", "expires_at": work.created + 3600}
