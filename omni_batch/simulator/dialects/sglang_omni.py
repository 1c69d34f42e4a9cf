"""SGLang-Omni (its openai_api, protocol and client modules of 2026; issues 1354 and 1355)."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from omni_batch.simulator.chat import Chat, Part, Turn
from omni_batch.simulator.dialects import reading
from omni_batch.simulator.dialects.base import Body, Dialect, plain
from omni_batch.simulator.dialects.dashscope import stop_words
from omni_batch.simulator.dialects.vllm_omni import asked_voice, wav_of
from omni_batch.simulator.frames import Frame, Json, raw, sse
from omni_batch.simulator.models import OPEN, Model
from omni_batch.simulator.refusal import Refusal
from omni_batch.simulator.speech import SpeechForm
from omni_batch.simulator.work import Bit, Work

LISTS = {"images": "image", "audios": "audio", "videos": "video"}
"""Top-level list to the kind of media in it."""


class SGLangOmni(Dialect):
    """Media beside the messages, usage in the finish frame, null keys left out."""

    usage_in = "finish"

    def model(self, body: Body) -> Model:
        """Whatever the server was started with."""
        name = body.get("model")
        return replace(OPEN, name=name if isinstance(name, str) else "default", thinking="never")

    def read(self, body: Body) -> Chat:
        """Text from the messages, media from the lists."""
        reading.check_sampling(body)
        turns = reading.read_turns(body.get("messages"), {"text": reading.text_part})
        audio = body.get("audio")
        format_ = audio.get("format") if isinstance(audio, dict) else None
        return Chat(
            model=self.model(body),
            turns=_with_media(turns, body),
            voice=self._voice(body),
            thinking=False,
            stream=body.get("stream") is True,
            include_usage=True,
            max_tokens=reading.max_tokens(body),
            sharp=False,
            stops=stop_words(body),
            audio_format=format_ if isinstance(format_, str) else "wav",
        )

    def _voice(self, body: Body) -> str | None:
        wanted = body.get("modalities")
        speaks = isinstance(wanted, list) and "audio" in wanted
        return asked_voice(body) if speaks and self.options.talker else None

    def rate_hz(self) -> int:
        """As the talker was trained."""
        return self.options.speech_rate_hz

    def speech_form(self, work: Work) -> SpeechForm:
        """Every chunk is encoded on its own in the format that was asked for."""
        form = super().speech_form(work)
        usual = self.options.wav_headers == "usual" and work.chat.audio_format == "wav"
        return replace(form, wav_headers="every") if usual else form

    def frames(self, step: Bit, work: Work, usage: Json | None) -> list[Frame]:
        """One chunk for each step."""
        reason = {"finish_reason": step.text} if step.kind == "finish" else {}
        choice = {"index": 0, "delta": _delta(step, work), **reason}
        whole = {**self.envelope(work, "chat.completion.chunk"), "choices": [choice]}
        sound_s = step.piece.duration_s if step.piece else 0.0
        return [sse({**whole, **({"usage": usage} if usage else {})}, sound_s)]

    def completion(self, work: Work) -> Json:
        """Speech beside the content, with the words repeated."""
        message: dict[str, object] = {"role": "assistant", "content": work.said.text}
        if data := wav_of(work, self.rate_hz()):
            audio = {"id": f"audio-{work.uid}", "data": data, "transcript": work.said.text}
            message["audio"] = audio
        choice = {"index": 0, "message": message, "finish_reason": work.said.finish_reason}
        whole = self.envelope(work, "chat.completion")
        return {**whole, "choices": [choice], "usage": self.usage(work)}

    def error_body(self, refused: Refusal, uid: str) -> bytes:
        """As FastAPI words it."""
        return msgspec.json.encode({"detail": plain(refused.message)})

    def in_band(self, refused: Refusal, uid: str) -> Json:
        """The little that is known of errors inside streams."""
        return {"message": plain(refused.message), "type": "server_error", "code": refused.status}


def _delta(step: Bit, work: Work) -> Json:
    delta: dict[str, object] = {"role": "assistant"} if step.kind == "role" else {}
    if step.kind in ("words", "both"):
        delta["content"] = step.text
    if step.piece is not None:
        delta["audio"] = {"id": f"audio-{work.uid}", "data": raw(step.piece.base64)}
    return delta


def _with_media(turns: tuple[Turn, ...], body: Body) -> tuple[Turn, ...]:
    parts = tuple(part for key, kind in LISTS.items() for part in _listed(body, key, kind))
    *earlier, last = turns
    return (*earlier, Turn(last.role, (*parts, *last.parts)))


def _listed(body: Body, key: str, kind: str) -> list[Part]:
    refs = body.get(key)
    if refs is None:
        return []
    if not isinstance(refs, list) or not all(isinstance(ref, str) for ref in refs):
        raise reading.rejected(f"Input should be a valid list: {key}")
    return [Part(kind, refs=(reading.http_or_data(ref),)) for ref in refs]
