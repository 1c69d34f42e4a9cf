"""Error mapping: status and body of a refusal in, one EndpointError out. Pure.

The rules are a table, first match wins. Source: Model Studio error-code pages (2025-2026) and field
reports: on this service `insufficient_quota` with 429 is the token limit of the minute, not an
empty account; `Free allocated quota exceeded` is.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import msgspec

from omni_batch.errors import (
    AccountError,
    ContentRefused,
    EndpointError,
    Limit,
    MediaUnreachable,
    RateLimited,
    Rejected,
    TimedOut,
    Unavailable,
)
from omni_batch.stream.rate_limit_headers import server_limits
from omni_batch.stream.sse import SseDecoder
from omni_batch.text import one_line

MAX_RETRY_AFTER_S = 120.0
_MESSAGE_CHARS = 600
_ID_CHARS = 200
_READ_CHARS = 64 * 1024  # of a body; the rest adds nothing


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """An error as the service worded it."""

    code: str | None
    message: str
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class _Rule:
    """Matches when the status is listed (none: any) and the pattern is in code or message.

    200 is the status of an error inside a stream.
    """

    error: type[EndpointError]
    statuses: tuple[int, ...]
    pattern: str
    limit: Limit = "unknown"

    def matches(self, status: int, text: str) -> bool:
        of_status = not self.statuses or status in self.statuses
        return of_status and re.search(self.pattern, text, re.IGNORECASE) is not None


_RULES = (
    _Rule(ContentRefused, (), r"data_?inspection_?failed|inappropriate content"),
    _Rule(AccountError, (), r"arrearage|account is in good standing|PostpaidBillOverdue"),
    _Rule(AccountError, (), r"CommodityNotPurchased|PrepaidBillOverdue|Unpurchased"),
    _Rule(AccountError, (), r"FreeTierOnly|free allocated quota exceeded"),
    _Rule(AccountError, (), r"\b(week(ly)?|month(ly)?|plan) (allocated )?quota"),
    _Rule(AccountError, (401,), ""),
    _Rule(AccountError, (200, 403), r"access_?denied|invalid_?api_?key"),
    _Rule(RateLimited, (200, 429), r"burst|increased too quickly", "burst"),
    _Rule(RateLimited, (200, 429), r"insufficient_quota|AllocationQuota|quota exceeded", "tokens"),
    _Rule(RateLimited, (200, 429), r"limit_?requests|RateQuota|rate limit", "requests"),
    _Rule(RateLimited, (429,), ""),
    _Rule(RateLimited, (200,), r"throttling"),
    _Rule(MediaUnreachable, (), r"failed to download multimodal|download.*timed out"),
    _Rule(MediaUnreachable, (), r"unable to download the media|InvalidURL\.(Conn|Timeout)"),
    _Rule(Rejected, (200, 500), r"Missing Content-Length|list index out of range"),
    _Rule(TimedOut, (), r"RequestTimeOut|InternalError\.Timeout"),
    _Rule(Unavailable, (408, 425, 500, 502, 503, 504), ""),
    _Rule(Rejected, (), r"invalid|model_not_found|ModelNotFound|BadRequest|should be in"),
    _Rule(Rejected, (), r"not[ _]supported|Range of .* should be"),
    _Rule(Rejected, tuple(range(300, 500)), ""),
    # Also an error inside a stream that no rule knows: it is treated as temporary.
    _Rule(Unavailable, (), ""),
)


def classify(
    status: int,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    quota_is_transient: bool = True,
) -> EndpointError:
    """Turn a refused request into an error.

    Args:
        status: HTTP status; 200 for an error sent inside a stream.
        body: JSON of any of the known shapes, the same framed as an event, or anything else.
        headers: lower-case names; `Retry-After` and `retry-after-ms` are honoured up to 120 s.
        quota_is_transient: False where `insufficient_quota` means an empty account (OpenAI).
    """
    error_body = parse_error_body(body)
    headers = headers or {}
    rule = _rule(status, error_body)
    error_class = rule.error
    if error_body.code == "insufficient_quota" and not quota_is_transient:
        error_class = AccountError
    where = f"HTTP {status}, {error_body.code}" if error_body.code else f"HTTP {status}"
    error = error_class(
        f"{error_body.message or 'no reason given'} ({where})",
        code=error_body.code,
        http_status=status,
        request_id=error_body.request_id or request_id_of(headers),
        retry_after_s=_retry_after_s(headers),
        server_limits=server_limits(headers),
    )
    if isinstance(error, RateLimited):
        error.limit = rule.limit
    return error


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """The service's id for the exchange, under whichever name it uses."""
    return _short(headers.get("x-request-id") or headers.get("x-dashscope-request-id"), _ID_CHARS)


def parse_error_body(body: bytes) -> ErrorBody:
    """Read `{"error": {…}}`, `{"code", "message"}` or `{"detail"}`, framed as an event or not."""
    is_page = body.lstrip().startswith(b"<")
    events = [] if is_page else SseDecoder().feed(body + b"\n\n")
    payload = events[0].data if events else body
    text = payload.decode("utf-8-sig", "replace").strip()
    try:
        tree: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        plain = re.sub(r"<[^<>]*>", " ", text[:_READ_CHARS])
        return ErrorBody(None, _short(plain, _MESSAGE_CHARS) or "")
    if not isinstance(tree, dict):
        return ErrorBody(None, _short(tree, _MESSAGE_CHARS) or "")
    error = tree.get("error")
    fields = error if isinstance(error, dict) else tree
    message = fields.get("message") or fields.get("detail") or error
    code = fields.get("code") or fields.get("type")
    request_id = tree.get("request_id") or tree.get("id") or fields.get("id")
    return ErrorBody(
        _short(code, _ID_CHARS),
        _short(message, _MESSAGE_CHARS) or "",
        _short(request_id, _ID_CHARS),
    )


def _short(value: Any, chars: int) -> str | None:
    """Any value as one line of text that may be shown and stored."""
    if not value:
        return None
    try:
        text = str(value)
    except RecursionError:
        return None
    return one_line(text[:_READ_CHARS])[:chars] or None


def _rule(status: int, error_body: ErrorBody) -> _Rule:
    code = error_body.code or ""
    # Inside a stream the status is spent, so gateways put the intended one into the code.
    if status == 200 and re.fullmatch("[45][0-9]{2}", code):
        status = int(code)
    return next(rule for rule in _RULES if rule.matches(status, f"{code} {error_body.message}"))


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    try:
        if "retry-after-ms" in headers:
            return _bounded(float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        if value.strip().replace(".", "", 1).isdigit():
            return _bounded(float(value))
        return _bounded(parsedate_to_datetime(value).timestamp() - time())
    except (ValueError, TypeError, IndexError, ArithmeticError, OSError):  # of the date parser
        return None


def _bounded(wait_s: float) -> float:
    if math.isnan(wait_s):
        raise ValueError("not a number")
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)
