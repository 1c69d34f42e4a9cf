"""Error mapping: status and body of a refusal in, one EndpointError out. Pure.

The rules are a table, first match wins. Sources: Model Studio error-code pages (2025-2026), the
error bodies of vLLM, LiteLLM, one-api and its kin, OpenAI, OpenRouter and other vendors as their
pages and users report them (2025-2026). On Model Studio `insufficient_quota` with 429 is the token
limit of the minute, not an empty account; `Free allocated quota exceeded` is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

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
from omni_batch.stream.rate_limit_headers import LONGEST_WAIT_S, server_limits, wait_of
from omni_batch.stream.sse import SseDecoder
from omni_batch.text import one_line

_MESSAGE_CHARS = 600
_ID_CHARS = 200
_READ_CHARS = 64 * 1024  # of a body; the rest adds nothing
_HEAD_CHARS = 120
_REQUEST_ID_HEADERS = (
    *("x-request-id", "x-dashscope-request-id"),
    *("x-litellm-call-id", "x-oneapi-request-id"),  # of gateways
)


@dataclass(frozen=True)
class ErrorBody:
    """An error as the service worded it."""

    code: str | None
    """The telling word: `code`, or `type` where the code is only the status once more."""
    message: str
    request_id: str | None = None
    type: str | None = None
    status: int | None = None
    """The status that stands in the code: inside a stream the real one is spent."""

    @cached_property
    def names(self) -> str:
        """Code and type, which no input of a user can be quoted in."""
        return f"{self.code or ''} {self.type or ''}"

    @cached_property
    def text(self) -> str:
        """All that it says."""
        return f"{self.code or ''} {self.message}"

    @cached_property
    def head(self) -> str:
        """Names and the beginning of the message, without what is quoted there."""
        said = re.sub(r"'[^']*'|\"[^\"]*\"|`[^`]*`", "", self.message)
        return f"{self.names} {said[:_HEAD_CHARS]}"


@dataclass(frozen=True, slots=True)
class _Rule:
    """Matches when the status is listed (none: any) and the pattern is found `within` the error.

    200 is the status of an error inside a stream.
    """

    error: type[EndpointError]
    statuses: tuple[int, ...]
    pattern: str
    within: Literal["text", "names", "head"] = "text"

    def matches(self, status: int, said: ErrorBody) -> bool:
        of_status = not self.statuses or status in self.statuses
        found = of_status and re.search(self.pattern, getattr(said, self.within), re.IGNORECASE)
        return found is not None and found is not False


_FLAGGED = r"(in|out)put was flagged|content_policy_violation|ContentPolicyViolation"
_NO_MONEY = "|".join(
    (
        r"insufficient[ _](account[ _])?(balance|credits?|funds?|user[ _]quota)",
        r"(balance|credits?|funds|(user|token) quota) (is|are|was) ?(now )?"
        r"(insufficient|not enough|too low|exhausted|depleted|used up|negative)",
        r"not enough (credits?|balance|funds)|(out of|no|any|more) credits\b",
        r"used all .{0,20}credits",
        r"credit limit (exceeded|reached)|quota_?exhausted|pre_consume_token_quota_failed",
        r"exceeded_current_quota|out_of_quota|reached .{0,30}usage limit",
        r"(week|month)ly (usage |spend(ing)? )?limit",
        r"budget_?exceeded|exceeded_? ?budget|over budget|crossed budget|budget has been exceeded",
        r"max(imum)? budget|(spend(ing)?|billing)[ _](hard[ _])?limit|billing_not_active",
        r"payment[ _]required|failure to pay|past[ _]due|overdue|in arrears|prepayment",
        r"check your (account )?(billing|balance)(?! details)",
        r"额度不足|额度失败|额度已用|余额不足|余额已|欠费|充值|配额不足|已欠|停机",
    )
)
_CLOSED_ACCOUNT = "|".join(
    (
        r"(account|organi[sz]ation|team|user|key|token)[^.]{0,40}"
        r"(deactivated|suspended|terminated|disabled|revoked|expired|not active)",
        r"(令牌|账[户号]|密钥)[^。]{0,20}(过期|禁用|不可用|冻结|停用|封禁)|无效的令牌",
        r"access_terminated|(must be|not) verified",
        r"(not allowed|no permission|not authorized|(not have|no) access) to .{0,30}model",
    )
)
_INVALID_KEY = (
    r"(invalid|incorrect|expired|revoked|missing)[ _]?(api[ _-]?key|access[ _]token)|"
    r"api[ _]key[ _](not valid|invalid|expired)|"
    r"account[^.]{0,20}(not active|deactivated|terminated|disabled)"
)
_WORDS_COUNT = (200, 401, 403, 412, 429)
"""Statuses whose whole message is about the account, where it names it; any other error may quote
what a user wrote, so only its names and its beginning count."""
_UNREACHABLE = "|".join(
    (
        r"failed to (download|fetch) (the )?(multimodal|media|image|audio|video|file)",
        r"(unable|failing|could ?n[o']t|cannot|can't) (to )?(download|fetch|retrieve|access) "
        r"(the )?(media|image|audio|video|file|content|url)",
        r"download\w*\b.*(timed out|timeout)|(timed out|timeout) while (downloading|fetching)",
        r"error while downloading|InvalidURL\.(Conn|Timeout)|ImageFetchError",
        r"cannot resolve media url host",
    )
)
_BARE_FETCH = "|".join(
    (
        r"cannot connect to host|server disconnected|, message='[^']*', url=",
        r"connection timeout to host|max retries exceeded with url|connection aborted",
        r"name or service not known|name resolution|nodename nor servname|getaddrinfo failed",
        r"no address associated with|certificate_verify_failed|certificate verify failed|\[ssl",
        r"failed to open video|could ?n[o']t open video|connection reset by peer|read timed out",
        r"(client|server) error: .{0,60} for url:|urlopen error|HTTP error [45]\d\d:",
        r"payload is not completed",
    )
)
"""What the libraries of a server say of a host that it asked for media (aiohttp, requests, urllib);
where the server has another one behind it, they may speak of that one."""
_BARE_FETCH_RULE = _Rule(MediaUnreachable, (400, 404, 422, *range(500, 600)), _BARE_FETCH)
_EMPTY_ACCOUNT_RULE = _Rule(
    AccountError, (200, 402, 403, 429), r"insufficient_quota|exceeded your current quota"
)

_RULES = (
    _Rule(ContentRefused, (), r"data_?inspection_?failed|inappropriate content"),
    _Rule(ContentRefused, (200, 400, 403), rf"{_FLAGGED}|content_filter\b", "head"),
    _Rule(MediaUnreachable, (), _UNREACHABLE),
    _Rule(AccountError, (), r"arrearage|account is in good standing|PostpaidBillOverdue"),
    _Rule(AccountError, (), r"CommodityNotPurchased|PrepaidBillOverdue|Unpurchased"),
    _Rule(AccountError, (), r"FreeTierOnly|free allocated quota exceeded"),
    _Rule(AccountError, (), r"\b(da(y|ily)|week(ly)?|month(ly)?|plan) (allocated )?quota"),
    _Rule(AccountError, (429,), r"free-models-per-day"),
    _Rule(AccountError, (401, 402), ""),
    _Rule(AccountError, _WORDS_COUNT, _NO_MONEY),
    _Rule(AccountError, (), _NO_MONEY, "head"),
    # A gateway's own quota; that of a minute comes with 429, or says so.
    _Rule(AccountError, (400, 403), r"insufficient_?quota|quota_?exceeded", "names"),
    _Rule(AccountError, (403,), r"^(?!.*(per (minute|second)|rate limit|throttl)).*\bquota"),
    _Rule(AccountError, (403, 412), _CLOSED_ACCOUNT),
    _Rule(AccountError, (200, 400, 403, 429), _INVALID_KEY, "head"),
    _Rule(AccountError, (200, 403), r"access_?denied", "names"),
    _Rule(RateLimited, (200, 429), r"burst|increased too quickly|rate limit|limit_?requests"),
    _Rule(RateLimited, (200, 429), r"insufficient_quota|AllocationQuota|RateQuota|quota exceeded"),
    _Rule(RateLimited, (429,), ""),
    _Rule(
        RateLimited, (200, 400, 403, 409), r"throttling|rate_?limit|too_?many_?requests", "names"
    ),
    _Rule(RateLimited, (400, 403, 409), r"rate[ _-]?limit|too many requests|throttl", "head"),
    _Rule(Rejected, (200, 500), r"Missing Content-Length|list index out of range"),
    _Rule(Rejected, (500,), r"invalid user message"),  # LiteLLM, of a part that it does not know
    _Rule(TimedOut, (), r"RequestTimeOut|InternalError\.Timeout"),
    _Rule(Unavailable, (408, 409, 425, *range(500, 600)), ""),
    _Rule(Rejected, (), r"invalid|model_not_found|ModelNotFound|BadRequest|should be in"),
    _Rule(Rejected, (), r"not[ _]supported|Range of .* should be"),
    _Rule(Rejected, tuple(range(300, 500)), ""),
    # Also an error inside a stream that no rule knows: it is treated as temporary.
    _Rule(Unavailable, (), ""),
)
_BURST = r"burst|increased too quickly"
_LIMITS: tuple[tuple[Limit, str], ...] = (
    ("requests", r"limit_?requests|RateQuota|requests (list|rate)|requests per|\b[rq]p[ms]\b"),
    ("tokens", r"insufficient_quota|AllocationQuota|quota exceeded|current quota|tokens per"),
    ("tokens", r"\btp[ms]\b|limit type: tokens"),
    ("requests", r"limit type: requests"),
)


def classify(
    status: int,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    quota_is_transient: bool = True,
    fetches_media: bool = False,
) -> EndpointError:
    """Turn a refused request into an error.

    Args:
        status: HTTP status; 200 for an error sent inside a stream.
        body: JSON of any of the known shapes, the same framed as an event, or anything else.
        headers: lower-case names; `Retry-After` and `retry-after-ms` are honoured up to 120 s.
        quota_is_transient: False where `insufficient_quota` means an empty account (OpenAI).
        fetches_media: the server itself was to fetch media for this request, so that its words on
            connections are about their hosts.
    """
    error_body = parse_error_body(body)
    headers = headers or {}
    rules = (
        *((_BARE_FETCH_RULE,) if fetches_media else ()),
        *(() if quota_is_transient else (_EMPTY_ACCOUNT_RULE,)),
        *_RULES,
    )
    # Inside a stream the status is spent, so gateways put the intended one into the code.
    meant = error_body.status if status == 200 and error_body.status else status
    error_class = next(rule for rule in rules if rule.matches(meant, error_body)).error
    code: str | None = error_body.code if error_body.code != str(status) else None
    where = f"HTTP {status}, {code}" if code else f"HTTP {status}"
    error: EndpointError = error_class(
        f"{error_body.message or 'no reason given'} ({where})",
        code=code,
        http_status=status,
        request_id=error_body.request_id or request_id_of(headers),
        retry_after_s=_retry_after_s(headers),
        server_limits=server_limits(headers),
    )
    if isinstance(error, RateLimited):
        error.limit = _limit(error_body)
    return error


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """The service's id for the exchange, under whichever name it uses."""
    named = (headers.get(name) for name in _REQUEST_ID_HEADERS)
    return _short(next(filter(None, named), None), _ID_CHARS)


def parse_error_body(body: bytes) -> ErrorBody:
    """Read `{"error": {…}}`, `{"code", "message"}`, `{"detail"}`, a bare text; framed or not."""
    is_page = body.lstrip().startswith(b"<")
    events = [] if is_page else SseDecoder().feed(body + b"\n\n")
    payload = events[0].data if events else body
    text = payload.decode("utf-8-sig", "replace").strip()
    try:
        tree: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        plain = re.sub(r"<[^<>]*>", " ", text[:_READ_CHARS])
        return ErrorBody(None, _short(plain, _MESSAGE_CHARS) or "")
    if isinstance(tree, list) and tree and isinstance(tree[0], dict):
        tree = tree[0]  # as Google's endpoint wraps it
    if not isinstance(tree, dict):
        return ErrorBody(None, _short(tree, _MESSAGE_CHARS) or "")
    error = tree.get("error")
    fields = error if isinstance(error, dict) else tree
    message = _first(fields, "message", "detail", "msg", "error_msg") or error
    request_id = tree.get("request_id") or tree.get("id") or fields.get("id")
    code, kind = (_word(fields.get(name)) for name in ("code", "type"))
    kind = kind or _class_in(message)
    status = int(code) if code and re.fullmatch("[45][0-9]{2}", code) else None
    return ErrorBody(
        kind or code if status else code or kind,
        _message(message),
        _short(request_id, _ID_CHARS),
        kind,
        status,
    )


def _first(fields: Mapping[str, Any], *names: str) -> Any:
    return next(filter(None, map(fields.get, names)), None)


def _message(value: Any) -> str:
    """The words; of a nested object (`detail: {message}`, FastAPI's list) those inside."""
    if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
        said = [_message(entry) for entry in value[:3]]
        return _short("; ".join(filter(None, said)), _MESSAGE_CHARS) or ""
    if isinstance(value, dict):
        value = _first(value, "message", "msg", "detail", "error") or value
    return _short(value, _MESSAGE_CHARS) or ""


def _word(value: Any) -> str | None:
    """A code or type; LiteLLM writes an absent one as "None"."""
    word = _short(value, _ID_CHARS)
    return None if word in ("None", "null", "error") else word


def _class_in(message: Any) -> str | None:
    """LiteLLM's own name of an error, which stands before its message."""
    named = re.match(r"litellm\.(\w+): ", message) if isinstance(message, str) else None
    return named[1] if named else None


def _short(value: Any, chars: int) -> str | None:
    """Any value as one line of text that may be shown and stored."""
    if not value:
        return None
    try:
        text = str(value)
    except RecursionError:
        return None
    return one_line(text[:_READ_CHARS])[:chars] or None


def _limit(said: ErrorBody) -> Limit:
    """Which limit it names; unknown where it names none or several."""
    text = f"{said.names} {said.message}"
    if re.search(_BURST, text, re.IGNORECASE):
        return "burst"
    if said.type in ("requests", "tokens"):  # OpenAI's
        return "requests" if said.type == "requests" else "tokens"
    named = {limit for limit, pattern in _LIMITS if re.search(pattern, text, re.IGNORECASE)}
    if len(named) == 1:
        return named.pop()
    alone = re.search(r"rate limit(?!.*(parallel|concurren))", text, re.IGNORECASE)
    return "requests" if alone and not named else "unknown"


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    if "retry-after-ms" in headers:
        named_s = wait_of(headers["retry-after-ms"], unit_s=0.001)
    else:
        named_s = wait_of(headers.get("retry-after", ""))
    return None if named_s is None else min(max(named_s, 0.0), LONGEST_WAIT_S)
