"""Every request that each client makes, and what has to come of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from tests.compat.inputs import Input, Json, inputs

MODEL = "qwen3-omni-flash"
SPEECH = {"modalities": ["text", "audio"], "audio": {"voice": "Cherry", "format": "wav"}}
_STREAM = {"stream": True, "stream_options": {"include_usage": True}}


@dataclass(frozen=True, slots=True)
class Error:
    """The refusal that is due."""

    name: str
    """Class of exception, the same in all SDKs."""
    status: int
    code: str


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    name: str
    base_url: str
    request: Json
    """Keys that the SDKs know."""
    extra: Json = field(default_factory=dict)
    """Keys of the body that they do not know."""
    says: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    error: Error | None = None
    api_key: str = "sk-compat"
    retries: int = 0
    """How often a client tries again."""
    tokens_per_s: float | None = None
    """Of speech; None for text alone."""


def all_cases(good_url: str, busy_url: str) -> list[Case]:
    """The rows of the table.

    Args:
        good_url: base URL of a service that answers.
        busy_url: base URL of one that answers every request with 429.
    """
    known = {each.name: each for each in inputs()}
    good = [case for each in known.values() for case in _ways(each, good_url)]
    return [*good, *_special(known, good_url), *_refused(known, good_url, busy_url)]


def _request(given: Input, model: str = MODEL) -> Json:
    return {"model": model, "messages": given.messages, **_STREAM}


def _ways(given: Input, url: str) -> Iterator[Case]:
    """One input answered in text, in speech, and after thinking."""
    request = _request(given)
    plain = Case(given.name, url, request, says=given.says, kinds=given.kinds)
    yield plain
    spoken = {**request, **SPEECH}
    yield replace(plain, name=f"{given.name}, speech", request=spoken, tokens_per_s=12.5)
    thinking = {"enable_thinking": True}
    yield replace(plain, name=f"{given.name}, thinking", extra=thinking)


def _special(known: Mapping[str, Input], url: str) -> Iterator[Case]:
    """Replies of another shape: words inside delta.audio, and no stream at all."""
    text = known["text"]
    spoken = {**_request(text, "qwen-omni-turbo"), **SPEECH}
    yield Case("transcript in delta.audio", url, spoken, says=text.says, tokens_per_s=25)
    older = {**spoken, "model": "qwen2.5-omni-7b"}
    yield Case("transcript, qwen2.5-omni-7b", url, older, says=text.says, tokens_per_s=25)
    for model in ("qwen-plus", "qwen3.5-plus"):
        plain = {"model": model, "messages": text.messages}
        yield Case(f"whole answer, {model}", url, plain, says=text.says)
    for model in ("qwen3-omni-flash-0915", "qwen-omni-turbo-0119"):
        yield Case(f"short name, {model}", url, _request(text, model), says=text.says)


def _refused(known: Mapping[str, Input], good_url: str, busy_url: str) -> Iterator[Case]:
    """Errors; three of them come in answer to a body that carries a file."""
    image, audio, video = (known[f"{kind}, data URI"] for kind in ("image", "audio", "video"))
    error = Error("AuthenticationError", 401, "invalid_api_key")
    yield Case("bad key", good_url, _request(image), error=error, api_key="not-a-key")
    error = Error("NotFoundError", 404, "model_not_found")
    yield Case("unknown model", good_url, _request(audio, "qwen9-omni"), error=error)
    error = Error("BadRequestError", 400, "invalid_parameter_error")
    unstreamed = {"model": MODEL, "messages": video.messages}
    yield Case("stream off", good_url, unstreamed, error=error)
    error = Error("RateLimitError", 429, "limit_requests")
    request = _request(known["text"])
    yield Case("429 after two retries", busy_url, request, error=error, retries=2)
