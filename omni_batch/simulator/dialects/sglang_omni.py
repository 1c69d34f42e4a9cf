"""SGLang-Omni (its openai_api, protocol and client modules of 2026; issues 1354 and 1355)."""

from dataclasses import replace
from typing import ClassVar

import msgspec

from omni_batch.simulator.checks.chat import Body, Chat, Part, Turn
from omni_batch.simulator.checks.models import OPEN, Model
from omni_batch.simulator.checks.refusal import Refusal
from omni_batch.simulator.dialects import lenient_parsing
from omni_batch.simulator.dialects.base import Dialect, plain
from omni_batch.simulator.replies.frames import Frame, Json, raw_string, sse
from omni_batch.simulator.replies.reply_plan import ReplyPlan, Step
from omni_batch.simulator.replies.speech import SpeechForm

LISTS = {"images": "image", "audios": "audio", "videos": "video"}
"""Top-level list to the kind of media in it."""


class SGLangOmni(Dialect):
    """Media beside the messages, usage in the finish frame, null keys left out."""

    usage_in: ClassVar[str] = "finish"
    own_rate: ClassVar[bool] = True

    def model(self, body: Body) -> Model:
        """Whatever the server was started with."""
        name = body.get("model")
        return replace(OPEN, name=name if isinstance(name, str) else "default", thinking="never")

    def read(self, body: Body) -> Chat:
        """Text from the messages, media from the lists."""
        lenient_parsing.check_sampling(body)
        turns = lenient_parsing.read_turns(
            body.get("messages"), {"text": lenient_parsing.text_part}
        )
        chat = lenient_parsing.chat_of(
            body,
            self.model(body),
            _with_media(turns, body),
            voice=self._voice(body),
            include_usage=True,
        )
        audio = body.get("audio")
        audio_format = audio.get("format") if isinstance(audio, dict) else None
        return replace(chat, audio_format=audio_format) if isinstance(audio_format, str) else chat

    def _voice(self, body: Body) -> str | None:
        wanted = body.get("modalities")
        speaks = isinstance(wanted, list) and "audio" in wanted
        # No reader of a voice is in its chat: the model's own default speaks.
        return lenient_parsing.DEFAULT_VOICE if speaks and self.options.talker else None

    def speech_form(self, chat: Chat) -> SpeechForm:
        """Every chunk is encoded on its own in the format that was asked for."""
        form = super().speech_form(chat)
        usual = self.options.wav_headers == "usual" and chat.audio_format == "wav"
        return replace(form, wav_headers="every") if usual else form

    def frames(self, step: Step, plan: ReplyPlan, usage: Json | None) -> list[Frame]:
        """One chunk for each step."""
        reason = {"finish_reason": step.text} if step.kind == "finish" else {}
        choice = {"index": 0, "delta": _delta(step, plan), **reason}
        whole = {**self.envelope(plan, "chat.completion.chunk"), "choices": [choice]}
        return [sse({**whole, **({"usage": usage} if usage else {})}, step.sound_s)]

    def completion(self, plan: ReplyPlan) -> Json:
        """Speech beside the content, with the words repeated."""
        message: dict[str, object] = {"role": "assistant", "content": plan.answer.text}
        if data := self.whole_wav(plan):
            audio = {"id": f"audio-{plan.uid}", "data": data, "transcript": plan.answer.text}
            message["audio"] = audio
        choice = {"index": 0, "message": message, "finish_reason": plan.answer.finish_reason}
        whole = self.envelope(plan, "chat.completion")
        return {**whole, "choices": [choice], "usage": self.usage(plan)}

    def error_body(self, refused: Refusal, uid: str) -> bytes:
        """As FastAPI words it."""
        return msgspec.json.encode({"detail": plain(refused.message)})

    def in_band(self, refused: Refusal, uid: str) -> Json:
        """The little that is known of errors inside streams."""
        return {"message": plain(refused.message), "type": "server_error", "code": refused.status}


def _delta(step: Step, plan: ReplyPlan) -> Json:
    delta: dict[str, object] = {"role": "assistant"} if step.kind == "role" else {}
    if step.kind in ("words", "both"):
        delta["content"] = step.text
    if step.piece is not None:
        delta["audio"] = {"id": f"audio-{plan.uid}", "data": raw_string(step.piece.base64)}
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
        raise lenient_parsing.rejected(f"Input should be a valid list: {key}")
    return [Part(kind, refs=(lenient_parsing.http_or_data(ref),)) for ref in refs]
