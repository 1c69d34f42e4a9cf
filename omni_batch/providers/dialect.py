"""What differs between servers that call themselves OpenAI-compatible: data and a function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from omni_batch.providers.body import Body
from omni_batch.requests.rules.context import ServerCapabilities
from omni_batch.types import MEDIA_KINDS, MediaKind, Request

_AROUND_BODY_BYTES = 128
"""Id, method and URL, which stand beside the body in its line; less than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRoute:
    """What a Batch API takes, to which requests go as lines of a file."""

    lines: int = 50_000
    """Most lines of a file."""
    file_bytes: int
    line_bytes: int
    longest_window_h: int
    names_jobs: bool = False
    """Jobs have a name (`ds_name`), and can be listed by it."""
    url: str = "/v1/chat/completions"
    models: Mapping[str, str] = field(default_factory=dict)
    """Omni models that it takes, by the edition of the documents that names them."""
    trial_models: Mapping[str, "FileRoute"] = field(default_factory=dict)
    """Models that cost nothing, with limits and a URL of their own."""

    def of(self, model: str) -> "FileRoute":
        """What holds for a model."""
        return self.trial_models.get(model, self)

    def refuses(self, body_bytes: int) -> str | None:
        """Why a request of that length can't be a line, in words; None where it can."""
        line_bytes = body_bytes + _AROUND_BODY_BYTES
        if line_bytes <= self.line_bytes:
            return None
        return (
            f"its line takes {line_bytes:,} bytes, and a line of a Batch file may have "
            f"{self.line_bytes:,}: give media by URL, make them smaller, or set "
            "endpoint.fallback: live"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect(ServerCapabilities):
    """How to talk to one kind of server. `docs` says where its facts come from."""

    encode: Callable[[Request], Body]
    docs: str
    fetches: frozenset[MediaKind] = MEDIA_KINDS
    """Kinds of media that it downloads itself from an http(s) URL."""
    fetches_itself: bool = False
    """Nothing stands between it and the hosts of media: its words on connections are about them."""
    vendor_limits: bool = False
    """Whether the catalogue's limits of a model hold there; a server of one's own has its own."""
    vendor_quota: bool = False
    """Whether its rate limits are those of the catalogue, for each model."""
    omni_models: frozenset[str] | None = None
    """The omni models it serves; None: any that the endpoint has."""
    streams: bool = True
    """Answers with events; False: with one JSON reply."""
    files: FileRoute | None = None
    """Requests go as lines of a file, and are answered hours later; None: each by itself."""
    uploads: bool = False
    """Has temporary storage for files (`oss://`)."""
    max_in_flight: int = 16
    """Requests at once where the config names no number: at a request a second and 10 to 20 s an
    answer, that many use a new account to the full."""
    requests_per_minute: float | None = None
    """A limit of its own, in place of the catalogue's."""
    first_byte_timeout_s: float = 120
    """How long an answer may take to begin."""
    hold_header: str | None = None
    """Asks the server to hold a request of a surge for so many seconds rather than refuse it."""
    quota_is_transient: bool = True
    """Whether 429 `insufficient_quota` means the limit of the minute, not the end of the money."""
    thinks_aloud: bool = False
    """Its chat template may open the tag of a thought, so that the text holds the closing one."""
    bill_proves_end: bool = False
    """A gateway that ends cut replies by itself, with a bill that names no kinds of input."""
    holds_to_schema: bool = False
    """Known to take a `response_format` with a JSON Schema, whatever model it serves."""

    def body(self, request: Request) -> Body:
        """The request as it is sent."""
        if self.holds_to_schema and request.response_format is not None:
            options = {**request.options, "response_format": request.response_format}
            request = replace(request, options=options)
        return self.encode(request)
