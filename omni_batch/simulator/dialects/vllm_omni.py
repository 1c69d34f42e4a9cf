"""vLLM-Omni (its serving_chat of Dec 2025 and 2026; vllm-omni issues 5451 and 7627)."""

from collections.abc import Mapping
from typing import ClassVar

from omni_batch.simulator.checks.chat import Body
from omni_batch.simulator.dialects import lenient_parsing
from omni_batch.simulator.dialects.vllm import VLLM
from omni_batch.simulator.replies.frames import Frame, Json, raw_string, sse
from omni_batch.simulator.replies.reply_plan import ReplyPlan, Step
from omni_batch.simulator.replies.speech import Piece

DAY_S = 24 * 3600
SPEAKERS = ("Aiden", "Chelsie", "Ethan")
"""Of the open weights of Qwen3-Omni."""


class VLLMOmni(VLLM):
    """Speaks by default, and puts speech where words are expected."""

    wav_headers: ClassVar[str] = "every"
    own_rate: ClassVar[bool] = True

    def voice(self, body: Body) -> str | None:
        """Text and speech unless modalities say otherwise; `audio` is not looked at."""
        speaker = _speaker(body)
        wanted = body.get("modalities")
        speaks = wanted is None or (isinstance(wanted, list) and "audio" in wanted)
        return speaker if speaks and self.options.talker else None

    def schema(self, body: Body) -> Mapping[str, object] | None:
        """None: only some sampling parameters of a request reach the stage that writes."""
        return None

    def frames(self, step: Step, plan: ReplyPlan, usage: Json | None) -> list[Frame]:
        """The modality of each chunk is beside its choices."""
        if step.piece is not None:
            return [self._sound(step.piece, plan)]
        speaks = plan.chat.voice is not None
        frames = []
        if step.kind == "finish" and speaks:
            # The text is complete, but only the last modality carries the finish_reason.
            frames.append(self._chunk(plan, {"content": ""}, None, "text", None))
        modality = "audio" if step.kind == "finish" and speaks else "text"
        reason = step.finish_reason
        return [*frames, self._chunk(plan, self.delta(step), reason, modality, usage)]

    def _sound(self, piece: Piece, plan: ReplyPlan) -> Frame:
        chunk = self.chunk(plan, {"role": "assistant", "content": raw_string(piece.base64)})
        # Audio chunks repeat the prompt's tokens, asked for or not.
        prompt = plan.prompt.total
        usage = {"prompt_tokens": prompt, "total_tokens": prompt, "completion_tokens": 0}
        extra = {"usage": usage, "modality": "audio", "metrics": {}}
        return sse({**chunk, **extra}, piece.duration_s)

    def _chunk(
        self, plan: ReplyPlan, delta: Json, reason: str | None, modality: str, usage: Json | None
    ) -> Frame:
        chunk = {**self.chunk(plan, delta, reason), "modality": modality, "metrics": {}}
        return sse({**chunk, **({"usage": usage} if usage else {})})

    def completion(self, plan: ReplyPlan) -> Json:
        """Speech is in a choice of its own."""
        whole = dict(super().completion(plan))
        sound = self.whole_wav(plan)
        choices = [self.text_choice(each) for each in plan.choices]
        if sound:
            audio: dict[str, object] = {"id": f"audio-{plan.uid}", "data": sound, "transcript": ""}
            audio |= {"expires_at": plan.created + DAY_S}
            message = {"role": "assistant", "content": None, "audio": audio}
            choices.append({"index": 0, "message": message, "finish_reason": "stop"})
        return {**whole, "choices": choices, "metrics": {}}


def _speaker(body: Body) -> str:
    """The top-level `voice`, or `speaker`, whatever its case; the usual one where none is named."""
    named = body.get("voice") or body.get("speaker")
    if not isinstance(named, str) or not named.strip():
        return lenient_parsing.DEFAULT_VOICE
    known = {speaker.lower(): speaker for speaker in SPEAKERS}
    if (speaker := known.get(named.strip().lower())) is None:
        raise lenient_parsing.rejected(f"Invalid speaker '{named}'. Supported: {', '.join(known)}")
    return speaker
