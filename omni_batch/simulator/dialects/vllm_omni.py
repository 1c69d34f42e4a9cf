"""vLLM-Omni (its serving_chat of Dec 2025 and 2026; vllm-omni issues 5451 and 7627)."""

from __future__ import annotations

from typing import ClassVar

import pybase64

from omni_batch.simulator.dialects import reading
from omni_batch.simulator.dialects.base import Body
from omni_batch.simulator.dialects.vllm import VLLM
from omni_batch.simulator.frames import Frame, Json, raw, sse
from omni_batch.simulator.speech import Piece, SpeechForm, wav_header
from omni_batch.simulator.work import Bit, Work, spoken

DAY_S = 24 * 3600
DEFAULT_VOICE = "Ethan"


class VLLMOmni(VLLM):
    """Speaks by default, and puts speech where words are expected."""

    wav_headers: ClassVar[str] = "every"

    def voice(self, body: Body) -> str | None:
        """Text and speech unless modalities say otherwise."""
        wanted = body.get("modalities")
        speaks = wanted is None or (isinstance(wanted, list) and "audio" in wanted)
        return asked_voice(body) if speaks and self.options.talker else None

    def rate_hz(self) -> int:
        """As the talker was trained."""
        return self.options.speech_rate_hz

    def frames(self, step: Bit, work: Work, usage: Json | None) -> list[Frame]:
        """The modality of each chunk is told beside its choices."""
        if step.piece is not None:
            return [self._sound(step.piece, work)]
        speaks = work.chat.voice is not None
        frames = []
        if step.kind == "finish" and speaks:
            # The text is complete, but only the last modality carries the finish_reason.
            frames.append(self._chunk(work, {"content": ""}, None, "text", None))
        modality = "audio" if step.kind == "finish" and speaks else "text"
        reason = step.text if step.kind == "finish" else None
        return [*frames, self._chunk(work, self.delta(step), reason, modality, usage)]

    def _sound(self, piece: Piece, work: Work) -> Frame:
        chunk = self.chunk(work, {"role": "assistant", "content": raw(piece.base64)})
        # Audio chunks repeat the prompt's tokens, asked for or not.
        prompt = work.prompt.total
        usage = {"prompt_tokens": prompt, "total_tokens": prompt, "completion_tokens": 0}
        extra = {"usage": usage, "modality": "audio", "metrics": {}}
        return sse({**chunk, **extra}, piece.duration_s)

    def _chunk(
        self, work: Work, delta: Json, reason: str | None, modality: str, usage: Json | None
    ) -> Frame:
        chunk = {**self.chunk(work, delta, reason), "modality": modality, "metrics": {}}
        return sse({**chunk, **({"usage": usage} if usage else {})})

    def completion(self, work: Work) -> Json:
        """Speech stands in a choice of its own."""
        whole = dict(super().completion(work))
        sound = wav_of(work, self.rate_hz())
        choices = [self.text_choice(work)]
        if sound:
            audio: dict[str, object] = {"id": f"audio-{work.uid}", "data": sound, "transcript": ""}
            audio |= {"expires_at": work.created + DAY_S}
            message = {"role": "assistant", "content": None, "audio": audio}
            choices.append({"index": 0, "message": message, "finish_reason": "stop"})
        return {**whole, "choices": choices, "metrics": {}}


def asked_voice(body: Body) -> str:
    """The voice of `audio`, or the usual one; any name is spoken."""
    audio = body.get("audio")
    voice = audio.get("voice") if isinstance(audio, dict) else None
    if not isinstance(voice, str | None):
        raise reading.rejected("Input should be a valid string: audio.voice")
    return voice or DEFAULT_VOICE


def wav_of(work: Work, rate_hz: int) -> str:
    """A whole WAV file in base64; empty without speech."""
    form = SpeechForm(1 << 20, rate_hz=rate_hz)
    pcm = b"".join(pybase64.b64decode(piece.base64) for piece in spoken(work, form))
    return pybase64.b64encode(wav_header(len(pcm), rate_hz) + pcm).decode() if pcm else ""
