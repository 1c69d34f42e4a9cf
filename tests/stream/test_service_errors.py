"""What the service's no means: a table of what it says and the class that follows."""

import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_batch import errors
from omni_batch.errors import (
    AccountError,
    ContentRefused,
    EndpointError,
    Limit,
    MediaUnreachable,
    OmniBatchError,
    RateLimited,
    Rejected,
    StreamError,
    TimedOut,
    Unavailable,
)
from omni_batch.stream.service_errors import classify, parse_error_body

PREFIX = "<400> InternalError.Algo.InvalidParameter: "


def said(code: Any, message: str = "…") -> bytes:
    error = {"code": code, "param": None, "message": message, "type": code}
    return json.dumps({"error": error, "id": "chatcmpl-1", "request_id": "5f6c"}).encode()


# Status, code, a fragment of the message, class: the vendor's error pages and field reports.
TABLE: list[tuple[int, str, str, type[EndpointError]]] = [
    (400, "invalid_parameter_error", PREFIX + "Range of input length should be [1, 4]", Rejected),
    (400, "InvalidParameter", "Temperature should be in [0.0, 2.0)", Rejected),
    (400, "InvalidParameter.NotSupportEnableThinking", "…", Rejected),
    (400, "invalid_parameter_error", "The provided URL does not appear to be valid.", Rejected),
    (400, "invalid_parameter_error", "InvalidRequest video file.", Rejected),
    (400, "InvalidParameter", "Failed to decode the image during the data inspection.", Rejected),
    (400, "invalid_parameter_error", "Wrong Content-Type of multimodal url", Rejected),
    (400, "invalid_parameter_error", "Don't have authorization to access the media", Rejected),
    (400, "invalid_parameter_error", "Failed to find the requested media resource", Rejected),
    (400, "x", PREFIX + "Failed to download multimodal content", MediaUnreachable),
    (400, "invalid_parameter_error", "Download multimodal file timed out", MediaUnreachable),
    (400, "InvalidParameter", "Download the media resource timed out during …", MediaUnreachable),
    (400, "InvalidParameter", "Unable to download the media resource during …", MediaUnreachable),
    (400, "InvalidURL.ConnectionRefused", "…", MediaUnreachable),
    (400, "InvalidURL.Timeout", "…", MediaUnreachable),
    (400, "InvalidURL", "The input audio is longer than 1200s.", Rejected),
    (400, "data_inspection_failed", "Input data may contain …", ContentRefused),
    (400, "DataInspectionFailed", "Output data may contain …", ContentRefused),
    (400, "x", "Input text data may contain inappropriate content.", ContentRefused),
    (500, "InternalError.Algo.DataInspectionFailed", "…", ContentRefused),
    (400, "Arrearage", "…", AccountError),
    (400, "x", "Access denied, please make sure your account is in good standing.", AccountError),
    (400, "BadRequest.TooLarge", "Payload Too Large.", Rejected),
    (300, "x", "Multiple Choices", Rejected),
    (399, "x", "…", Rejected),
    (413, "", "", Rejected),
    (401, "invalid_api_key", "Incorrect API key provided.", AccountError),
    (401, "InvalidApiKey", "…", AccountError),
    (401, "", "", AccountError),
    (403, "access_denied", "…", AccountError),
    (403, "AccessDenied", "…", AccountError),
    (403, "AccessDenied.Unpurchased", "…", AccountError),
    (403, "Model.AccessDenied", "…", AccountError),
    (403, "Workspace.AccessDenied", "…", AccountError),
    (403, "AllocationQuota.FreeTierOnly", "…", AccountError),
    (404, "model_not_found", "…", Rejected),
    (404, "ModelNotFound", "…", Rejected),
    (400, "model_not_supported", "…", Rejected),
    (400, "x", "Model not exist.", Rejected),
    (429, "insufficient_quota", "Free allocated quota exceeded.", AccountError),
    (429, "insufficient_quota", "You exceeded your weekly quota", AccountError),
    (429, "CommodityNotPurchased", "…", AccountError),
    (429, "PrepaidBillOverdue", "…", AccountError),
    (429, "PostpaidBillOverdue", "…", AccountError),
    (500, "internal_error", "inference internal error.", Unavailable),
    (500, "InternalError", "…", Unavailable),
    (500, "SystemError", "…", Unavailable),
    (500, "ModelServiceFailed", "…", Unavailable),
    (500, "InternalError.Algo", "Receive batching backend response failed!", Unavailable),
    (500, "InternalError.Algo", "Missing Content-Length of multimodal url.", Rejected),
    (500, "InternalError.Algo", "list index out of range", Rejected),
    (500, "RequestTimeOut", "…", TimedOut),
    (500, "InternalError.Timeout", "…", TimedOut),
    (503, "ModelServingError", "throttled due to system capacity limits", Unavailable),
    (503, "ModelUnavailable", "…", Unavailable),
    (502, "", "", Unavailable),
    (504, "", "", Unavailable),
    (408, "", "", Unavailable),
    (409, "conflict", "The engine is currently overloaded, please try again later", Unavailable),
    (409, "", "", Unavailable),
    (501, "", "invalid", Unavailable),
    (529, "overloaded_error", "Overloaded", Unavailable),
    (400, "Throttling.RateQuota", "…", RateLimited),
    (403, "Throttling", "…", RateLimited),
    (403, "x", "Rate limit reached, try again later", RateLimited),
    (403, "x", "Rate limit: quota of requests per minute exceeded", RateLimited),
    (400, "x", "Request was throttled", RateLimited),
    (400, "x", "Too many requests", RateLimited),
    (
        500,
        "x",
        "Invalid user message at index 0. Please ensure all user messages are valid",
        Rejected,
    ),
    (425, "", "", Unavailable),
    (302, "", "", Rejected),
    (418, "", "", Rejected),
    (599, "", "", Unavailable),
]

# What follows is true of the other servers and gateways: a body, as each of them words it.
NO_MONEY: list[tuple[int, str]] = [
    (402, '{"error": {"code": "invalid_request_error", "message": "Insufficient Balance"}}'),
    (402, ""),
    (402, '{"error": {"code": 402, "message": "This request requires more credits"}}'),
    (403, '{"error": {"code": "insufficient_user_quota", "message": "user quota is not enough"}}'),
    (403, '{"error": {"type": "one_api_error", "message": "用户额度不足, 剩余额度: $0.00"}}'),
    (403, '{"error": {"code": "pre_consume_token_quota_failed", "message": "预扣费额度失败"}}'),
    (403, '{"code": 30001, "message": "Sorry, your account balance is insufficient"}'),
    (403, '{"error": {"code": "AccountOverdueError", "message": "overdue balance"}}'),
    (403, '{"error": "Your team does not have any credits yet"}'),
    (403, '{"error": {"message": "Key limit exceeded: insufficient credits"}}'),
    (403, '{"error": {"code": "insufficient_quota", "message": "…"}}'),
    (403, '{"error": {"message": "The quota of your plan is used up"}}'),
    (429, '{"error": {"message": "Monthly spend limit of the team"}}'),
    (400, '{"error": {"message": "You have reached your specified API usage limits."}}'),
    (412, '{"error": {"message": "Account is suspended, possibly due to a spending limit"}}'),
    (429, '{"error": {"code": "429", "type": "budget_exceeded", "message": "User=x over budget"}}'),
    (429, '{"error": {"code": "1113", "message": "您的账户已欠费"}}'),
    (429, '{"error": {"type": "exceeded_current_quota_error", "message": "suspended"}}'),
    (429, '{"error": {"code": "billing_not_active", "message": "Your account is not active."}}'),
    (429, '{"error": {"message": "Your prepayment credits are depleted."}}'),
    (429, '{"error": {"message": "Rate limit exceeded: free-models-per-day"}}'),
    (429, '{"error": {"message": "No deployments available - crossed budget: Exceeded budget"}}'),
    (400, '{"error": {"code": "400", "type": "budget_exceeded", "message": "…"}}'),
    (
        400,
        '{"error": {"code": "400", "type": "None", "message": "Budget has been exceeded! Max …"}}',
    ),
    (400, '{"error": {"message": "Authentication Error, ExceededBudget: User=x over budget."}}'),
    (400, '{"error": {"message": "Your credit balance is too low to access the API."}}'),
    (400, '{"error": {"code": "billing_hard_limit_reached", "message": "…"}}'),
    (
        500,
        '{"error": {"message": "litellm.APIError: APIError: XException - Insufficient Balance"}}',
    ),
    (200, '{"error": {"code": 402, "message": "no"}}'),
    (200, '{"error": {"code": "insufficient_user_quota", "message": "no"}}'),
]
NO_ACCOUNT: list[tuple[int, str]] = [
    (401, '{"error": {"code": "key_expired", "message": "Your key expired."}}'),
    (401, '{"detail": "Unauthorized"}'),
    (403, '{"error": {"message": "该令牌已过期"}}'),
    (403, '{"error": {"code": "account_deactivated", "message": "Your account was deactivated."}}'),
    (403, '{"error": {"message": "This organization has been disabled."}}'),
    (403, '{"error": {"message": "key not allowed to access model qwen"}}'),
    (400, '{"error": {"message": "API key not valid. Please pass a valid API key."}}'),
    (200, '{"code": "InvalidApiKey", "message": "Invalid API-key provided."}'),
]
OF_ONE_ROW: list[tuple[int, str]] = [
    (403, '{"error": {"code": 403, "message": "Your input was flagged by moderation"}}'),
    (403, '{"detail": "Forbidden"}'),
    (403, "<html>Access Denied</html>"),
    (403, '{"error": {"message": "Failed to download image: 403 Forbidden, token expired"}}'),
    (500, "402, message='Payment Required', url='https://x/payment_required.png'"),
    (422, '{"error": {"code": 422, "message": "Failed to fetch media from URL: HTTP 402 error"}}'),
    (400, '{"error": {"message": "content: invalid type: \'explain insufficient balance\'"}}'),
    (
        400,
        '{"error": {"message": "'
        + "1 validation error for the request. " * 5
        + 'payment required"}}',
    ),
    (429, '{"error": {"code": "429", "message": "Your user is suspended for a minute"}}'),
]

LIMITS: list[tuple[str, str, Limit]] = [
    ("limit_requests", "You exceeded your current requests list.", "requests"),
    ("Throttling.RateQuota", "…", "requests"),
    ("LimitRequests", "…", "requests"),
    ("x", "Requests rate limit exceeded, please try again later.", "requests"),
    ("limit_burst_rate", "…", "burst"),
    ("Throttling.BurstRate", "…", "burst"),
    ("x", "Request rate increased too quickly.", "burst"),
    ("insufficient_quota", "You exceeded your current quota, please check your plan.", "tokens"),
    ("Throttling.AllocationQuota", "Allocated quota exceeded, please increase …", "tokens"),
    ("Throttling", "Requests throttling triggered.", "unknown"),
    ("Throttling", "Batch requests are being throttled", "unknown"),
    (
        "x",
        "litellm.RateLimitError: DashscopeException - exceeded your current requests list",
        "requests",
    ),
    ("x", "litellm.RateLimitError: - You exceeded your current quota, please check", "tokens"),
    ("x", "Rate limit reached for org on tokens per min (TPM): Limit 3, Requested 5.", "tokens"),
    ("x", "Rate limit reached for requests per min (RPM).", "requests"),
    ("tokens", "Rate limit reached", "tokens"),
    ("x", "Rate limit exceeded for key. Limit type: requests. Remaining: 0", "requests"),
    ("x", "Rate limit exceeded. Limit type: max_parallel_requests", "unknown"),
    ("x", "Crossed TPM / RPM / Max Parallel Request Limit", "unknown"),
    ("", "", "unknown"),
]


@pytest.mark.parametrize(("status", "code", "message", "expected"), TABLE)
def test_each_no_has_its_class(
    status: int, code: str, message: str, expected: type[EndpointError]
) -> None:
    compatible = said(code, message)
    native = json.dumps({"code": code, "message": message, "request_id": "r"}).encode()
    framed = b"data: " + compatible + b"\n\n"
    for body in (compatible, native, framed, json.dumps(json.loads(native), indent=4).encode()):
        assert type(classify(status, body)) is expected


@pytest.mark.parametrize(("code", "message", "limit"), LIMITS)
def test_every_other_429_is_a_wait_that_names_its_limit(
    code: str, message: str, limit: Limit
) -> None:
    error = classify(429, said(code, message))
    assert isinstance(error, RateLimited)
    assert error.limit == limit


@pytest.mark.parametrize(("status", "body"), NO_MONEY + NO_ACCOUNT)
def test_out_of_money_or_without_a_key_no_request_can_succeed(status: int, body: str) -> None:
    assert type(classify(status, body.encode())) is AccountError


@pytest.mark.parametrize(("status", "body"), OF_ONE_ROW)
def test_words_on_money_in_what_one_row_asked_stop_no_run(status: int, body: str) -> None:
    """A host of media, moderation, or a text of the user's own that the server quotes."""
    assert not classify(status, body.encode()).stops_run


BARE = [
    "Cannot connect to host x.example:443 ssl:default [Name or service not known]",
    "Server disconnected",
    "503, message='Service Unavailable', url='http://x/i.png'",
    "Connection timeout to host http://x/i.png",
    "HTTPSConnectionPool(host='x', port=443): Max retries exceeded with url: /i.png",
    "404 Client Error: Not Found for url: https://x/i.png",
    "Cannot connect to host x:443 ssl:True [SSLCertVerificationError: …]",
    "[Errno -3] Temporary failure in name resolution",
    "Failed to open video: http://x/v.mp4",
    "Response payload is not completed",
]


@pytest.mark.parametrize("message", BARE)
def test_a_server_that_fetches_media_speaks_of_their_host(message: str) -> None:
    body = json.dumps({"error": {"code": 500, "type": "InternalServerError", "message": message}})
    error = classify(500, body.encode(), fetches_media=True)
    assert type(error) is MediaUnreachable
    assert error.code == "InternalServerError"
    of_a_gateway = classify(500, body.encode())  # it speaks of the server behind it
    assert type(of_a_gateway) is Unavailable


def test_an_error_tells_all_the_service_said() -> None:
    error = classify(400, said("invalid_parameter_error", "InvalidRequest video file."))
    assert str(error) == "InvalidRequest video file. (HTTP 400, invalid_parameter_error)"
    assert (error.code, error.http_status) == ("invalid_parameter_error", 400)
    assert error.request_id == "5f6c"
    assert classify(502, b"", {"x-request-id": "q"}).request_id == "q"


# --- Shapes of the body ---


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"error":{"code":"c","message":"m","id":"i"}}', ("c", "m", "i")),
        (b'{"error":{"code":"c","message":"m"},"id":"i"}', ("c", "m", "i")),
        (b'{"error":{"code":"c","message":"m"},"id":"i","request_id":"r"}', ("c", "m", "r")),
        (b'{\n "error": {\n  "code": "c",\n  "message": "m"\n }\n}', ("c", "m", None)),
        (b'{"error":{"code":null,"type":"t","message":"m"}}', ("t", "m", None)),
        (b'{"error":{"code":null,"message":"m"}}', (None, "m", None)),
        (b'{"error":{"code":404,"message":"m"}}', ("404", "m", None)),
        (
            b'{"error":{"code":400,"type":"BadRequestError","message":"m"}}',
            ("BadRequestError", "m", None),
        ),
        (
            b'{"error":{"code":"429","type":"throttling_error","message":"m"}}',
            ("throttling_error", "m", None),
        ),
        (
            b'{"error":{"code":"500","type":"None","message":"litellm.Timeout: m"}}',
            ("Timeout", "litellm.Timeout: m", None),
        ),
        (b'{"error":{"code":"1113","type":"x","message":"m"}}', ("1113", "m", None)),
        (b'{"message":"m","type":"server_error"}', ("server_error", "m", None)),
        (b'{"detail":{"message":"m"}}', (None, "m", None)),
        (b'{"detail":[{"msg":"m","loc":[]},{"msg":"n"}]}', (None, "m; n", None)),
        (b'[{"error":{"code":400,"message":"m"}}]', ("400", "m", None)),
        (b'"upstream timed out"', (None, "upstream timed out", None)),
        (b'event: error\ndata: {"message":"m"}\n\n', (None, "m", None)),
        (b'{"code":"c","message":"m","request_id":"r"}', ("c", "m", "r")),
        (b'{"error":"m"}', (None, "m", None)),
        (b'{"detail":"Not Found"}', (None, "Not Found", None)),
        (b'data: {"error":{"code":"c","message":"m"}}\n\n', ("c", "m", None)),
        (b'data:{"error":{"code":"c","message":"m"}}', ("c", "m", None)),
        (b'data: {"code":"c","message":"m"}\r\n\r\ndata: [DONE]\r\n\r\n', ("c", "m", None)),
        (b'id:1\nevent:error\n:HTTP_STATUS/400\ndata:{"code":"c"}\n', ("c", "", None)),
        (b'\xef\xbb\xbf{"code":"c","message":"m"}', ("c", "m", None)),
        (b"<html><h1>502 Bad\n Gateway</h1></html>", (None, "502 Bad Gateway", None)),
        (b"upstream connect error", (None, "upstream connect error", None)),
        (b"", (None, "", None)),
    ],
)
def test_every_known_shape_is_read(
    body: bytes, expected: tuple[str | None, str, str | None]
) -> None:
    found = parse_error_body(body)
    assert (found.code, found.message, found.request_id) == expected


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":{"code":400,"message":"m"}}', "m (HTTP 400)"),
        (b'{"error":{"code":"400","type":"BadRequestError","message":"m"}}',
         "m (HTTP 400, BadRequestError)"),
    ],
)  # fmt: skip
def test_a_status_is_said_once(body: bytes, words: str) -> None:
    assert str(classify(400, body)) == words


@pytest.mark.parametrize("name", ["x-request-id", "x-litellm-call-id", "x-oneapi-request-id"])
def test_the_id_of_an_exchange_has_many_names(name: str) -> None:
    assert classify(500, b"", {name: "q"}).request_id == "q"


def test_an_empty_account_is_told_from_a_limit_by_the_server() -> None:
    body = said("insufficient_quota", "You exceeded your current quota, please check your plan")
    assert isinstance(classify(429, body), RateLimited)
    assert isinstance(classify(429, body, quota_is_transient=False), AccountError)


def test_an_empty_429_is_a_wait() -> None:
    assert isinstance(classify(429, b""), RateLimited)


def test_a_long_body_is_cut() -> None:
    assert len(str(classify(502, b"<html>" + b"long " * 10_000))) < 700


@pytest.mark.parametrize("code", ["429", 429])
def test_inside_a_stream_a_number_as_code_is_the_status_that_is_meant(code: object) -> None:
    error = classify(200, said(code))
    assert isinstance(error, RateLimited)
    assert error.http_status == 200


def test_anywhere_else_the_status_is_what_it_says() -> None:
    assert isinstance(classify(400, said(502)), Rejected)


def test_an_unknown_error_inside_a_stream_may_pass() -> None:
    assert isinstance(classify(200, said("surprise")), Unavailable)


KEYS = st.sampled_from(["error", "code", "message", "detail", "id", "request_id", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


@given(st.integers(100, 999), st.binary(max_size=60) | JSON.map(lambda x: json.dumps(x).encode()))
def test_no_body_breaks_it(status: int, body: bytes) -> None:
    error = classify(status, body)
    assert isinstance(error, EndpointError)
    assert error.http_status == status
    assert f"(HTTP {status}" in str(error)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", str(error))
    assert len(str(error)) < 1000
    assert len(error.code or "") <= 200
    assert len(error.request_id or "") <= 200


@pytest.mark.parametrize("member", ["code", "type"])
def test_either_name_of_an_error_tells_what_it_is(member: str) -> None:
    body = json.dumps({"error": {member: "Throttling", "message": "…"}}).encode()
    assert isinstance(classify(400, body), RateLimited)


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("Rate limit reached, try again later", "requests"),
        ("Rate limit of parallel requests reached", "unknown"),
        ("Rate limit: tokens per minute", "tokens"),
        ("Too many requests per minute or tokens per minute", "unknown"),
        ("slow down", "unknown"),
    ],
)
def test_a_limit_is_named_where_the_words_name_one(message: str, limit: Limit) -> None:
    error = classify(429, said("x", message))
    assert isinstance(error, RateLimited)
    assert error.limit == limit


# --- What a word means depends on the status that it comes with ---

STATUSES = (200, 300, 400, 401, 402, 403, 404, 408, 409, 412, 413, 422, 425, 429, 499, 500, 599)
FAR = "The request was not completed by any of the servers behind this one; the last one of them \
said, after all of its attempts had been used up: "
"""So long that what follows may be a quotation of what a user wrote."""


@pytest.mark.parametrize(
    ("body", "meaning", "statuses"),
    [
        (said("x", FAR + "Insufficient balance"), AccountError, {200, 401, 402, 403, 412, 429}),
        (said("x", "Insufficient balance"), AccountError, set(STATUSES)),
        (said("insufficient_quota"), AccountError, {400, 401, 402, 403}),
        (said("insufficient_quota"), RateLimited, {200, 429}),
        (said("content_filter"), ContentRefused, {200, 400, 403}),
        (said("x", FAR + "the team has been suspended"), AccountError, {401, 402, 403, 412}),
        (said("x", "Invalid API key"), AccountError, {200, 400, 401, 402, 403, 429}),
        (said("AccessDenied"), AccountError, {200, 401, 402, 403}),
        (said("x", "The quota of this model is used up"), AccountError, {401, 402, 403}),
        (said("x", "Limit reached: free-models-per-day"), AccountError, {401, 402, 429}),
        (said("Throttling"), RateLimited, {200, 400, 403, 409, 429}),
        (said("x", "Rate limit reached"), RateLimited, {200, 400, 403, 409, 429}),
        (said("x", "Request rate increased too quickly"), RateLimited, {200, 429}),
        (said("x"), AccountError, {401, 402}),
        (said("x"), RateLimited, {429}),
        (said("x"), Unavailable, {200, 408, 409, 425, 500, 599}),
        (said("x"), Rejected, {300, 400, 403, 404, 412, 413, 422, 499}),
        (
            said("x", "Missing Content-Length of multimodal url"),
            Rejected,
            {200, 300, 400, 403, 404, 412, 413, 422, 499, 500},
        ),
    ],
)
def test_a_word_has_its_meaning_with_these_statuses_and_no_others(
    body: bytes, meaning: type[EndpointError], statuses: set[int]
) -> None:
    assert {status for status in STATUSES if type(classify(status, body)) is meaning} == statuses


def test_the_words_of_a_library_are_about_media_where_the_server_fetches_them() -> None:
    body = said("x", "Cannot connect to host media.example:443")
    found = {
        status
        for status in (*STATUSES, 600)
        if type(classify(status, body, fetches_media=True)) is MediaUnreachable
    }
    assert found == {400, 404, 422, 500, 599}
    assert not any(type(classify(status, body)) is MediaUnreachable for status in STATUSES)


def test_where_a_quota_is_money_it_is_so_with_every_status_that_may_mean_it() -> None:
    body = said("insufficient_quota", "You exceeded your current quota")
    found = {
        status
        for status in STATUSES
        if type(classify(status, body, quota_is_transient=False)) is AccountError
    }
    assert found == {200, 400, 401, 402, 403, 429}


# --- How long to wait ---


def wait_s(headers: dict[str, str]) -> float | None:
    return classify(429, b"", headers).retry_after_s


@pytest.mark.parametrize(
    ("headers", "expected_s"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "3600"}, 120.0),
        ({"retry-after-ms": "2500"}, 2.5),
        ({"retry-after-ms": "2500", "retry-after": "9"}, 2.5),
        ({"retry-after-ms": "9999999"}, 120.0),
        ({"retry-after-ms": "inf"}, 120.0),
        ({"retry-after-ms": "-1"}, None),
        ({"retry-after-ms": "nan"}, None),
        ({"retry-after-ms": "soon"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "²"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}, 120.0),
        ({"retry-after": "Wed, 21 Oct 99999999999999999999 07:28:00 GMT"}, None),
        ({"retry-after": "Wed, 32 Oct 2099 07:28:00 GMT"}, None),
    ],
)
def test_a_wait_that_the_service_names_is_honoured_up_to_two_minutes(
    headers: dict[str, str], expected_s: float | None
) -> None:
    assert wait_s(headers) == expected_s


def test_a_wait_may_be_named_by_its_end() -> None:
    end = datetime.now(UTC) + timedelta(seconds=40)
    assert wait_s({"retry-after": format_datetime(end, usegmt=True)}) == pytest.approx(39.5, abs=5)


@given(st.text(max_size=30))
def test_no_header_breaks_it(value: str) -> None:
    for name in ("retry-after", "retry-after-ms"):
        seconds = wait_s({name: value})
        assert seconds is None or 0 <= seconds <= 120


# --- What follows from a class ---


def test_the_classes_answer_two_questions_and_two_more() -> None:
    classes = [c for c in vars(errors).values() if isinstance(c, type)]
    ours = {c for c in classes if issubclass(c, OmniBatchError)}
    retryable = {c.__name__ for c in ours if c.retryable}
    assert retryable == {
        "RateLimited",
        "NoResponse",
        "Unavailable",
        "TimedOut",
        "MediaUnreachable",
        "Unanswered",
        "StreamError",
    }
    stopping = {c.__name__ for c in ours if c.stops_run}
    assert stopping == {
        *("AccountError", "BudgetReached", "Interrupted", "Outage", "OutOfMemory", "StorageError"),
        *("MediaIgnored", "NothingBought", "CredentialsExpired", "JobRefused", "JobInDoubt"),
    }
    assert {c.__name__ for c in ours if not c.uses_attempt} == {"RateLimited"}
    assert {c.__name__ for c in ours if c.attempts_at_most} == {"MediaUnreachable", "TimedOut"}
    assert MediaUnreachable.attempts_at_most == 3


def test_the_kind_of_an_error_is_its_class_in_snake_case() -> None:
    assert (RateLimited("x").kind, StreamError("x").kind) == ("rate_limited", "stream_error")


@pytest.mark.parametrize(
    "message",
    [
        "weekly quota exceeded",
        "week allocated quota exceeded.",
        "month allocated quota exceeded",
        "You have exceeded your coding plan quota",
    ],
)
def test_a_plan_that_is_used_up_stops_the_run(message: str) -> None:
    """Waiting for the next week would use up no attempt, and never end."""
    assert isinstance(classify(429, said("insufficient_quota", message)), AccountError)
    minute = "You exceeded your current quota, please check your plan and billing details."
    assert isinstance(classify(429, said("insufficient_quota", minute)), RateLimited)
