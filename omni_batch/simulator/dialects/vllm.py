"""vLLM with the thinker alone (vllm issues 29965 and 32636; Qwen3-Omni issues 96 and 99)."""

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

import msgspec

from omni_batch.simulator.checks.chat import Body, Chat
from omni_batch.simulator.checks.media_info import Failure, NotDownloaded
from omni_batch.simulator.checks.models import OPEN, Model
from omni_batch.simulator.checks.refusal import Refusal, Refused
from omni_batch.simulator.dialects import lenient_parsing, response_format
from omni_batch.simulator.dialects.base import Dialect, plain
from omni_batch.simulator.replies.frames import Frame, Json, sse
from omni_batch.simulator.replies.reply_plan import ReplyPlan, Step

READERS: lenient_parsing.Readers = {
    "text": lenient_parsing.text_part,
    "image_url": lenient_parsing.url_part("image"),
    "video_url": lenient_parsing.url_part("video"),
    "audio_url": lenient_parsing.url_part("audio"),
    "input_audio": lenient_parsing.raw_audio,
}
ERROR_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    404: "NotFoundError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
}
DOWNLOADS: Mapping[Failure, tuple[int, str]] = {
    "missing": (422, "404, message='Not Found', url='{url}'"),
    "denied": (422, "403, message='Forbidden', url='{url}'"),
    "slow": (500, "Timeout on reading data from socket"),
    "unreachable": (500, "Cannot connect to host {host} ssl:default [Connect call failed]"),
    "down": (500, "503, message='Service Unavailable', url='{url}'"),
    "mistyped": (500, "Server disconnected"),
}
"""Why a download failed, to the status and the words; seen at vLLM 0.32, where an exception of the
HTTP client goes out as it is. It minds no Content-Type: such a server hangs up instead."""


class VLLM(Dialect):
    """Understands media, answers in text, and ignores that speech was asked for."""

    def model(self, body: Body) -> Model:
        """Whatever the server was started with."""
        return replace(OPEN, name=lenient_parsing.any_model(body))

    def read(self, body: Body) -> Chat:
        """Check what vLLM checks; unknown keys are ignored."""
        lenient_parsing.check_sampling(body)
        turns = lenient_parsing.read_turns(body.get("messages"), READERS)
        lenient_parsing.check_counts(turns, self.options.media_per_kind)
        chat = lenient_parsing.chat_of(
            body,
            self.model(body),
            turns,
            voice=self.voice(body),
            thinking=_thinks(body),
            include_usage=lenient_parsing.include_usage(body),
        )
        return replace(chat, schema=self.schema(body))

    def schema(self, body: Body) -> Mapping[str, object] | None:
        """What a grammar holds the reply to."""
        return response_format.of_vllm(body)

    def voice(self, body: Body) -> str | None:
        """None: there is no talker."""
        return None

    def too_long(self, chat: Chat, tokens: int) -> Refused:
        """Names the context and the prompt."""
        limit = chat.max_input_tokens
        return lenient_parsing.rejected(
            f"This model's maximum context length is {limit} tokens. However, your request has "
            f"{tokens} input tokens. Please reduce the length of the input messages."
        )

    def not_downloaded(self, failure: NotDownloaded) -> Refused:
        """Mostly a 500, as if the server itself had failed."""
        status, words = DOWNLOADS[failure.why]
        message = words.format(url=failure.url, host=_host(failure.url))
        return Refused(Refusal(status, None, message, "media"))

    def frames(self, step: Step, plan: ReplyPlan, usage: Json | None) -> list[Frame]:
        """Keys that are not set are left out, usage among them."""
        chunk = self.chunk(plan, self.delta(step), step.finish_reason)
        return [sse({**chunk, **({"usage": usage} if usage else {})})]

    def delta(self, step: Step) -> Json:
        """The words of one chunk."""
        match step.kind:
            case "role":
                return {"role": "assistant", "content": ""}
            case "thought":
                return {self.options.reasoning_key: step.text}
            case "finish":
                return {"content": ""}
            case _:
                return {"content": step.text}

    def completion(self, plan: ReplyPlan) -> Json:
        """With the chain of thought beside the content."""
        envelope = self.envelope(plan, "chat.completion")
        choices = [self.text_choice(each) for each in plan.choices]
        return {**envelope, "choices": choices, "usage": self.usage(plan.together)}

    def text_choice(self, plan: ReplyPlan) -> dict[str, object]:
        """The choice that holds the words."""
        answer = plan.answer
        message = {"role": "assistant", "content": answer.text}
        message |= {self.options.reasoning_key: answer.reasoning} if answer.reasoning else {}
        choice = {"index": plan.index, "message": message, "logprobs": None}
        return {**choice, "finish_reason": answer.finish_reason, "stop_reason": None}

    def error_body(self, refused: Refusal, uid: str) -> bytes:
        """Nested, or flat as in older builds; a bad key is answered by another layer."""
        if refused.status == 401:
            return msgspec.json.encode({"error": "Unauthorized"})
        if self.options.flat_errors:
            return msgspec.json.encode({"object": "error", **self.in_band(refused, uid)})
        return super().error_body(refused, uid)

    def in_band(self, refused: Refusal, uid: str) -> Json:
        """The code is the HTTP status."""
        return {
            "message": plain(refused.message),
            "type": ERROR_TYPES.get(refused.status, "InternalServerError"),
            "param": refused.param,
            "code": refused.status,
        }


def _thinks(body: Body) -> bool:
    asked = body.get("chat_template_kwargs")
    return isinstance(asked, dict) and asked.get("enable_thinking") is True


def _host(url: str) -> str:
    address = urlsplit(url)
    return f"{address.hostname}:{address.port or (443 if address.scheme == 'https' else 80)}"
