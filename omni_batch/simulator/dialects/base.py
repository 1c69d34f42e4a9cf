"""What every dialect must define, with defaults that most servers share."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from itertools import zip_longest
from typing import ClassVar

import msgspec
import pybase64

from omni_batch.simulator.checks import refusal
from omni_batch.simulator.checks.chat import Body, Chat
from omni_batch.simulator.checks.media_info import NotDownloaded
from omni_batch.simulator.checks.models import Model
from omni_batch.simulator.checks.quota import QuotaStatus
from omni_batch.simulator.checks.refusal import Refusal, Refused
from omni_batch.simulator.options import SimulatorOptions
from omni_batch.simulator.replies.frames import DONE, Frame, Json, Stream, sse
from omni_batch.simulator.replies.reply_plan import ReplyPlan, Step, reply_steps, spoken
from omni_batch.simulator.replies.speech import RATE_HZ, SpeechForm, wav_header
from omni_batch.simulator.replies.tokens import text_tokens


class Dialect(ABC):
    """How one server reads requests, shapes replies and words errors."""

    base_path: ClassVar[str] = "/v1"
    content_type: ClassVar[str] = "text/event-stream; charset=utf-8"
    """Of a stream."""
    moderates: ClassVar[bool] = False
    """Replies to prompts with a forbidden word are stopped."""
    hosted: ClassVar[bool] = False
    """It also has the hosted service's uploads and quotas."""
    limited: ClassVar[bool] = True
    """Quotas hold."""
    queued: ClassVar[bool] = False
    """Requests wait their turn, and get one JSON object."""
    joins: ClassVar[bool] = False
    """Words and speech may share a frame."""
    out_of_tokens: ClassVar[Refusal] = refusal.QUOTA
    wav_headers: ClassVar[str] = "none"
    usage_in: ClassVar[str] = "frame"
    own_rate: ClassVar[bool] = False
    """Speech has the rate of `SimulatorOptions.speech_rate_hz`."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        self.rate_hz = options.speech_rate_hz if self.own_rate else RATE_HZ

    # --- requests ---

    def check_key(self, headers: Mapping[str, str]) -> None:
        """Refuse a bad key; self-hosted servers need one only if `api_key` is set."""
        wanted = self.options.api_key
        if wanted is not None and headers.get("authorization") != f"Bearer {wanted}":
            raise Refused(refusal.BAD_KEY)

    @abstractmethod
    def model(self, body: Body) -> Model:
        """The model that a request names, or the refusal that it gets."""

    def served(self, asked: str) -> Collection[str]:
        """Names of models that are listed; any name that is asked for is one of them."""
        return [asked or "Qwen/Qwen3-Omni-30B-A3B-Instruct"]

    @abstractmethod
    def read(self, body: Body) -> Chat:
        """Understand a request, all but its media; raises Refused."""

    def too_long(self, chat: Chat, tokens: int) -> Refused:
        """The refusal of a prompt with more tokens than fit."""
        return refusal.unprocessable(
            f"Range of input length should be [1, {chat.max_input_tokens}]"
        )

    def not_downloaded(self, failure: NotDownloaded) -> Refused:
        """The refusal of a medium that the server can't fetch."""
        return refusal.not_downloaded(failure)

    # --- replies ---

    def speech_form(self, chat: Chat) -> SpeechForm:
        """How speech is cut up."""
        options = self.options
        headers = self.wav_headers if options.wav_headers == "usual" else options.wav_headers
        return SpeechForm(options.audio_chunk_bytes, headers, self.rate_hz, cut=options.base64_cut)

    def whole_wav(self, plan: ReplyPlan) -> str:
        """All speech as one WAV file in base64; empty without speech."""
        rate_hz = self.rate_hz
        form = SpeechForm(1 << 20, rate_hz=rate_hz)
        pcm = b"".join(pybase64.b64decode(piece.base64) for piece in spoken(plan, form))
        return pybase64.b64encode(wav_header(len(pcm), rate_hz) + pcm).decode() if pcm else ""

    def stream(self, plan: ReplyPlan) -> Stream:
        """The reply in frames, [DONE] last; several replies take turns."""
        usage = self.usage(plan.together) if plan.chat.include_usage else None
        place = self.usage_in if self.options.usage_in == "usual" else self.options.usage_in
        turns = zip_longest(*(self._steps(each) for each in plan.choices))
        steps = [turn for several in turns for turn in several if turn]
        frames: list[Frame] = []
        finish_at = 0
        for number, (step, each) in enumerate(steps, 1):
            inside = usage if number == len(steps) and place == "finish" else None
            frames += self.frames(step, each, inside)
            if step.kind == "finish":
                finish_at = finish_at or len(frames) - 1
        if usage is not None and place == "frame":
            envelope = self.envelope(plan, "chat.completion.chunk")
            frames.append(sse({**envelope, "choices": [], "usage": usage}))
        return Stream((*self.adjusted(frames), Frame(DONE)), finish_at)

    def _steps(self, plan: ReplyPlan) -> list[tuple[Step, ReplyPlan]]:
        joint = self.joins and self.options.joint_frames
        steps = reply_steps(plan, self.speech_form(plan.chat), joint=joint)
        return [(step, plan) for step in steps]

    def adjusted(self, frames: list[Frame]) -> list[Frame]:
        """The frames of a stream after all other changes."""
        return frames

    @abstractmethod
    def frames(self, step: Step, plan: ReplyPlan, usage: Json | None) -> list[Frame]:
        """One step of a reply in frames; `usage` goes into the last of them."""

    @abstractmethod
    def completion(self, plan: ReplyPlan) -> Json:
        """The reply as one JSON object."""

    def envelope(self, plan: ReplyPlan, kind: str) -> dict[str, object]:
        """What all objects of one reply have in common."""
        return {
            "id": f"chatcmpl-{plan.uid}",
            "object": kind,
            "created": plan.created,
            "model": plan.chat.model.name,
        }

    def chunk(
        self, plan: ReplyPlan, delta: Json, finish_reason: str | None = None
    ) -> dict[str, object]:
        """A chunk with one choice."""
        choice = {
            "index": plan.index,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        return {**self.envelope(plan, "chat.completion.chunk"), "choices": [choice]}

    def usage(self, plan: ReplyPlan) -> Json:
        """Tokens in and out; speech does not count as tokens of the model that writes."""
        answer = plan.answer
        written = text_tokens(answer.text) + text_tokens(answer.reasoning or "")
        prompt, total = plan.prompt.total, plan.prompt.total + written
        return {"prompt_tokens": prompt, "total_tokens": total, "completion_tokens": written}

    # --- errors and headers ---

    def error_body(self, refused: Refusal, uid: str) -> bytes:
        """The body of an HTTP error."""
        return msgspec.json.encode({"error": self.in_band(refused, uid)})

    @abstractmethod
    def in_band(self, refused: Refusal, uid: str) -> Json:
        """The error object inside a stream."""

    def headers(self, uid: str, arrived_s: float, quota_status: QuotaStatus) -> dict[str, str]:
        """Headers of a good reply."""
        return {"server": "uvicorn"}

    def error_headers(self, uid: str, quota_status: QuotaStatus) -> dict[str, str]:
        """Headers of an error."""
        return {"server": "uvicorn"}


def plain(message: str) -> str:
    """A message without the prefix of the hosted service's engine."""
    return message.removeprefix(refusal.ENGINE)
