"""Temporary storage: one upload for each file, no secret where it does not belong."""

import asyncio
import hashlib
import logging
import os
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import BodyPartReader, web
from aiohttp.test_utils import TestServer
from httpx_aiohttp import AiohttpTransport

from omni_batch.config import RetryConfig
from omni_batch.errors import (
    AccountError,
    EndpointError,
    MediaError,
    OmniBatchError,
    RateLimited,
    Rejected,
    Unavailable,
)
from omni_batch.providers.api_key import ApiKey
from omni_batch.providers.client import EndpointClient
from omni_batch.providers.dialects import DIALECTS
from omni_batch.providers.dialects.dashscope import encode
from omni_batch.providers.upload import Uploader
from omni_batch.simulator import Simulator
from omni_batch.stream.assemble import Assembler
from omni_batch.types import Media, Message, Request
from tests.conftest import KEY, SAMPLE

MODEL = "qwen3-omni-flash"
SECRETS = ("UE9MSUNZ+/=", "c2lnbmF0dXJl=", "LTAI5tSECRET")
POLICY, SIGNATURE, ACCESS_KEY_ID = SECRETS
TALE = b"\x00once upon a time\r\n--\xff" * 20_000


class Service:
    """Gives out policies on one port and takes files on another; answers as a test says."""

    def __init__(self) -> None:
        self.policies: list[web.Request] = []
        self.uploads: list[web.Request] = []
        self.forms: list[list[tuple[str, str]]] = []
        """Of each whole upload: names and values in order, of the file its digest."""
        self.files: list[tuple[str | None, str | None]] = []
        """Of each whole upload: the file's name and content type."""
        self.changes: dict[str, Any] = {}
        self.policy_answer: Callable[[], web.Response | None] = lambda: None
        self.storage_answer: Callable[[], web.Response] = lambda: web.Response()
        self.reached, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()
        gateway, storage = web.Application(), web.Application(client_max_size=2**30)
        gateway.router.add_get("/api/v1/uploads", self._policy)
        storage.router.add_route("*", "/", self._upload)
        self.gateway, self.storage = TestServer(gateway), TestServer(storage)

    @property
    def base_url(self) -> str:
        return str(self.gateway.make_url("/compatible-mode/v1"))

    async def _policy(self, request: web.Request) -> web.Response:
        self.policies.append(request)
        folder = f"dashscope-instant/u/{len(self.policies)}"
        host = str(self.storage.make_url("/")).rstrip("/")
        data = {
            **{"policy": POLICY, "signature": SIGNATURE, "oss_access_key_id": ACCESS_KEY_ID},
            **{"upload_dir": folder, "upload_host": host, "expire_in_seconds": 300},
            **{"x_oss_object_acl": "private", "x_oss_forbid_overwrite": "true"},
            **{"max_file_size_mb": 100, "capacity_limit_mb": 1},
            **self.changes,
        }
        data = {name: value for name, value in data.items() if value is not None}
        return self.policy_answer() or web.json_response({"data": data, "request_id": "r-1"})

    async def _upload(self, request: web.Request) -> web.Response:
        self.uploads.append(request)
        self.reached.set()
        await self.gate.wait()
        form: list[tuple[str, str]] = []
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            assert part.name is not None
            if part.name == "file":
                file = part.filename, part.headers.get("Content-Type")
                form.append(("file", await _digest(part)))
            else:
                form.append((part.name, await part.text()))
        self.forms.append(form)
        self.files.append(file)
        return self.storage_answer()


async def _digest(part: BodyPartReader) -> str:
    digest = hashlib.sha256()
    while data := await part.read_chunk(2**16):
        digest.update(data)
    return digest.hexdigest()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    async with service.gateway, service.storage:
        yield service


@pytest.fixture(params=["aiohttp", "httpx"])
async def http(
    request: pytest.FixtureRequest, service: Service
) -> AsyncIterator[httpx.AsyncClient]:
    """As the chat endpoint has it: with its key and content type as defaults."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    async with httpx.AsyncClient(
        base_url=service.base_url,
        headers=headers,
        timeout=httpx.Timeout(None, connect=2),
        transport=AiohttpTransport() if request.param == "aiohttp" else None,
    ) as client:
        yield client


class Clock:
    def __init__(self) -> None:
        self.now_s = 1e9

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def uploader(service: Service, http: httpx.AsyncClient, clock: Clock) -> Uploader:
    return Uploader(service.base_url, ApiKey(KEY), MODEL, http, clock)


@pytest.fixture
def tale(tmp_path: Path) -> Path:
    path = tmp_path / "Aunt Mary's secret.MP3"
    path.write_bytes(TALE)
    return path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def upload(uploader: Uploader, path: Path) -> Coroutine[Any, Any, str]:
    data = path.read_bytes()
    return uploader.upload(path, sha256=sha256(data), size_bytes=len(data))


async def refusal(uploader: Uploader, path: Path) -> OmniBatchError:
    with pytest.raises(OmniBatchError) as caught:
        await upload(uploader, path)
    for secret in SECRETS:
        assert secret not in f"{caught.value!r} {caught.value}"
    return caught.value


# --- with the simulator, which reads the API for itself ---


@asynccontextmanager
async def endpoint(simulator: Simulator) -> AsyncIterator[EndpointClient]:
    client = EndpointClient(
        simulator.base_url, ApiKey(KEY), DIALECTS["dashscope"], RetryConfig(), 4
    )
    yield client
    await client.aclose()


async def test_the_service_sees_what_was_uploaded(simulator: Simulator) -> None:
    path = SAMPLE / "photos" / "coffee.jpg"
    async with endpoint(simulator) as client:
        uploader = Uploader(simulator.base_url, ApiKey(KEY), MODEL, client.http)
        url = await upload(uploader, path)
        media = Media("image", "coffee.jpg", url=url)
        request = Request(MODEL, (Message("user", (media, "What?")),), "image")
        assembler = Assembler(wants_audio=False)
        async with client.exchange(encode(request)) as exchange:
            async for chunks in exchange:
                for chunk in chunks:
                    assembler.feed(chunk)
    assert "512 x 341" in assembler.finish()[0].text
    stored = simulator.files[url.removeprefix("oss://")]
    assert stored.sha256 == sha256(path.read_bytes())
    assert (simulator.counters.uploads, len(simulator.files)) == (1, 1)


async def test_the_simulator_grants_nothing_to_a_wrong_key_or_model(
    simulator: Simulator, tale: Path
) -> None:
    async with endpoint(simulator) as client:
        wrong_key = Uploader(simulator.base_url, ApiKey("sk-wrong"), MODEL, client.http)
        assert isinstance(await refusal(wrong_key, tale), AccountError)
        wrong_model = Uploader(simulator.base_url, ApiKey(KEY), "qwen9-omni", client.http)
        assert isinstance(await refusal(wrong_model, tale), Rejected)


async def test_an_expired_policy_stops_no_run(simulator: Simulator, tale: Path) -> None:
    simulator.change(policy_valid_s=0)
    async with endpoint(simulator) as client:
        uploader = Uploader(simulator.base_url, ApiKey(KEY), MODEL, client.http)
        error = await refusal(uploader, tale)
        assert isinstance(error, Unavailable)
        assert "Policy expired" in str(error)
        simulator.change(policy_valid_s=300)
        assert (await upload(uploader, tale)).startswith("oss://")


# --- what goes over the wire ---


async def test_a_file_arrives_whole_with_the_fields_in_order(
    service: Service, uploader: Uploader, tale: Path
) -> None:
    url = await upload(uploader, tale)
    key = f"dashscope-instant/u/1/{sha256(TALE)[:16]}.mp3"
    assert url == f"oss://{key}"
    assert service.forms == [
        [
            ("OSSAccessKeyId", ACCESS_KEY_ID),
            ("Signature", SIGNATURE),
            ("policy", POLICY),
            ("key", key),
            ("x-oss-object-acl", "private"),
            ("x-oss-forbid-overwrite", "true"),
            ("success_action_status", "200"),
            ("file", sha256(TALE)),
        ]
    ]
    (policy,), (sent,) = service.policies, service.uploads
    assert dict(policy.query) == {"action": "getPolicy", "model": MODEL}
    assert "Transfer-Encoding" not in sent.headers
    assert int(sent.headers["Content-Length"]) > len(TALE)


async def test_the_storage_is_told_the_type_of_a_file(
    service: Service, uploader: Uploader, tale: Path
) -> None:
    await uploader.upload(tale, sha256=sha256(TALE), size_bytes=len(TALE), mime_type="audio/mpeg")
    assert service.forms[0][-2:] == [
        ("x-oss-content-type", "audio/mpeg"),
        ("file", sha256(TALE)),
    ]


async def test_the_key_goes_to_the_service_and_not_to_the_storage(
    service: Service, uploader: Uploader, tale: Path
) -> None:
    await upload(uploader, tale)
    assert service.policies[0].headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in str(service.uploads[0].headers)
    assert "Authorization" not in service.uploads[0].headers


async def test_a_server_without_keys_gets_none(
    service: Service, http: httpx.AsyncClient, tale: Path
) -> None:
    await upload(Uploader(service.base_url, None, MODEL, http), tale)
    assert "Authorization" not in service.policies[0].headers


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("Mary.MP3", ("{}.mp3", "audio/mpeg")),
        ("Mary.png", ("{}.png", "image/png")),
        ("Mary", ("{}", "application/octet-stream")),
        ("cv.Mary Smith", ("{}", "application/octet-stream")),
        ("x.a\r\nb", ("{}", "application/octet-stream")),
        ("visit.confidential", ("{}", "application/octet-stream")),
    ],
)
async def test_no_name_of_the_users_leaks(
    service: Service, uploader: Uploader, tmp_path: Path, name: str, sent: tuple[str, str]
) -> None:
    path = tmp_path / name
    path.write_bytes(b"abc")
    url = await upload(uploader, path)
    assert service.files == [(sent[0].format(sha256(b"abc")[:16]), sent[1])]
    assert url.endswith(sent[0].format(sha256(b"abc")[:16]))


async def test_memory_does_not_grow_with_the_file(uploader: Uploader, tmp_path: Path) -> None:
    path, size_bytes = tmp_path / "sparse.mp4", 60 * 2**20
    with path.open("wb") as file:
        file.truncate(size_bytes)
    tracemalloc.start()
    try:
        await uploader.upload(path, sha256="5" * 64, size_bytes=size_bytes)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


# --- once is enough ---


async def test_a_file_is_uploaded_once_while_it_is_valid(
    service: Service, uploader: Uploader, tale: Path, clock: Clock
) -> None:
    first = await upload(uploader, tale)
    clock.now_s += 46.9 * 3600
    assert await upload(uploader, tale) == first
    clock.now_s += 0.2 * 3600
    assert await upload(uploader, tale) != first
    assert len(service.uploads) == 2


async def test_all_who_ask_at_the_same_moment_share_one_upload(
    service: Service, uploader: Uploader, tale: Path
) -> None:
    service.gate.clear()
    tasks = [asyncio.create_task(upload(uploader, tale)) for _ in range(20)]
    await service.reached.wait()
    service.gate.set()
    assert len(set(await asyncio.gather(*tasks))) == 1
    assert len(service.uploads) == 1
    assert not uploader._sending, "locks go with those who wait for them"


async def test_when_an_upload_fails_the_others_try_for_themselves(
    service: Service, uploader: Uploader, tale: Path
) -> None:
    service.storage_answer = lambda: web.Response(status=200 if service.forms[1:] else 503)
    results = await asyncio.gather(
        *(upload(uploader, tale) for _ in range(5)), return_exceptions=True
    )
    assert [type(result) for result in results] == [Unavailable, *[str] * 4]
    assert len(service.uploads) == 2


async def test_when_the_one_who_uploads_is_cancelled_the_others_go_on(
    service: Service, uploader: Uploader, tale: Path
) -> None:
    service.gate.clear()
    first, second = (asyncio.create_task(upload(uploader, tale)) for _ in range(2))
    await service.reached.wait()
    first.cancel()
    service.gate.set()
    assert (await second).startswith("oss://")
    assert first.cancelled()


async def test_one_policy_serves_all_files_until_shortly_before_its_end(
    service: Service, uploader: Uploader, clock: Clock, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(12)]
    for path in paths:
        path.write_text(path.name)
    await asyncio.gather(*(upload(uploader, path) for path in paths[:10]))
    clock.now_s += 269
    await upload(uploader, paths[10])
    assert len(service.policies) == 1
    clock.now_s += 1
    await upload(uploader, paths[11])
    assert len(service.policies) == 2


# --- files that can't be sent ---


async def test_a_file_over_the_storages_cap_is_not_sent(
    service: Service, uploader: Uploader, tmp_path: Path
) -> None:
    service.changes = {"max_file_size_mb": "1"}
    path = tmp_path / "big.wav"
    path.write_bytes(b"x" * (2**20 + 1))
    error = await refusal(uploader, path)
    assert isinstance(error, MediaError)
    assert "big.wav takes 1048577 bytes; the temporary storage takes 1 MB" in str(error)
    assert not service.uploads
    path.write_bytes(b"x" * 2**20)
    await upload(uploader, path)


@pytest.mark.parametrize("size_bytes", [len(TALE) - 1, len(TALE) + 1, 5_000_000])
async def test_a_file_that_changed_its_size_is_not_stored(
    service: Service, uploader: Uploader, tale: Path, size_bytes: int
) -> None:
    with pytest.raises(MediaError, match="changed its size"):
        await uploader.upload(tale, sha256="5" * 64, size_bytes=size_bytes)
    assert not service.forms


@pytest.mark.parametrize("size_bytes", [30_000_000, 50_000_000])
async def test_a_file_that_changes_its_size_while_it_is_sent_is_not_stored(
    service: Service, uploader: Uploader, tmp_path: Path, size_bytes: int
) -> None:
    path = tmp_path / "sparse.mp4"
    path.write_bytes(b"")
    os.truncate(path, 40_000_000)
    service.gate.clear()
    upload = asyncio.create_task(uploader.upload(path, sha256="5" * 64, size_bytes=40_000_000))
    await service.reached.wait()
    os.truncate(path, size_bytes)
    service.gate.set()
    with pytest.raises(MediaError, match="changed its size"):
        await upload
    assert not service.forms


async def test_a_file_that_is_gone_fails_its_item(uploader: Uploader, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="can't be read"):
        await uploader.upload(tmp_path / "gone.png", sha256="5" * 64, size_bytes=10)


# --- a service that gives no policy ---


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "InvalidApiKey", AccountError),
        (429, "Throttling.RateQuota", RateLimited),
        (404, "ModelNotFound", Rejected),
        (500, "InternalError", Unavailable),
    ],
)
async def test_a_refused_policy_is_classified(
    service: Service, uploader: Uploader, tale: Path, status: int, code: str, kind: type
) -> None:
    said = {"code": code, "message": "No.", "request_id": "r-7"}
    service.policy_answer = lambda: web.json_response(said, status=status)
    error = await refusal(uploader, tale)
    assert type(error) is kind
    assert isinstance(error, EndpointError)
    assert (error.code, error.http_status, error.request_id) == (code, status, "r-7")
    assert not service.uploads


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"signature": None}, "signature"),
        ({"upload_dir": 5}, "upload_dir"),
        ({"expire_in_seconds": "soon"}, "expire_in_seconds"),
        ({"upload_host": "oss.example.com"}, "https"),
        ({"upload_host": "ftp://oss.example.com"}, "ftp://"),
        ({"upload_host": "https://oss:port"}, "policy"),
    ],
)
async def test_a_policy_that_is_none_is_named(
    service: Service, uploader: Uploader, tale: Path, changes: dict[str, Any], said: str
) -> None:
    service.changes = changes
    error = await refusal(uploader, tale)
    assert isinstance(error, Unavailable)
    assert said in str(error)


@pytest.mark.parametrize("body", ["", "<html>", "[]", '{"data": null}', '{"data": {"policy": 1}}'])
async def test_an_answer_that_is_no_policy_is_unavailable(
    service: Service, uploader: Uploader, tale: Path, body: str
) -> None:
    service.policy_answer = lambda: web.Response(text=body)
    assert isinstance(await refusal(uploader, tale), Unavailable)


async def test_nobody_listening_is_unavailable(http: httpx.AsyncClient, tale: Path) -> None:
    uploader = Uploader("http://127.0.0.1:9/compatible-mode/v1", ApiKey(KEY), MODEL, http)
    assert isinstance(await refusal(uploader, tale), Unavailable)


async def test_a_redirect_takes_no_key_elsewhere(
    service: Service, uploader: Uploader, tale: Path
) -> None:
    elsewhere = {"Location": str(service.storage.make_url("/"))}
    service.policy_answer = lambda: web.Response(status=302, headers=elsewhere)
    assert isinstance(await refusal(uploader, tale), Rejected)
    assert not service.uploads


# --- a storage that refuses ---


def oss_error(status: int, code: str, message: str = "No.") -> web.Response:
    """As OSS writes them, secrets and all."""
    return web.Response(
        status=status,
        content_type="application/xml",
        text=f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message>"
        f"<RequestId>6A5B</RequestId><OSSAccessKeyId>{ACCESS_KEY_ID}</OSSAccessKeyId>"
        f"<SignatureProvided>{SIGNATURE}</SignatureProvided><StringToSign>{POLICY}</StringToSign>"
        "</Error>",
    )


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "EntityTooLarge", Rejected),
        (403, "AccessDenied", Unavailable),
        (403, "SignatureDoesNotMatch", Unavailable),
        (500, "InternalError", Unavailable),
        (503, "SlowDown", Unavailable),
    ],
)
async def test_a_refused_upload_costs_the_policy_but_not_the_run(
    service: Service, uploader: Uploader, tale: Path, status: int, code: str, kind: type
) -> None:
    service.storage_answer = lambda: oss_error(status, code, f"{SIGNATURE} is stale.")
    error = await refusal(uploader, tale)
    assert type(error) is kind
    assert isinstance(error, EndpointError)
    assert (error.code, error.http_status, error.request_id) == (code, status, "6A5B")
    assert "is stale" in str(error)
    assert not error.stops_run
    service.storage_answer = lambda: web.Response()
    assert (await upload(uploader, tale)).startswith("oss://dashscope-instant/u/2/")


async def test_a_file_that_is_there_already_is_no_failure(
    service: Service, uploader: Uploader, tale: Path
) -> None:
    """The answer to an earlier upload under the same policy was lost."""
    service.storage_answer = lambda: oss_error(409, "FileAlreadyExists")
    assert (await upload(uploader, tale)).startswith("oss://")


async def test_an_answer_in_another_form_tells_no_secret(
    service: Service, uploader: Uploader, tale: Path
) -> None:
    service.storage_answer = lambda: web.json_response({"error": SECRETS}, status=400)
    assert isinstance(await refusal(uploader, tale), Rejected)


async def test_a_storage_that_hangs_up_is_unavailable(
    service: Service, uploader: Uploader, tale: Path
) -> None:
    def hang_up() -> web.Response:
        transport = service.uploads[-1].transport
        assert transport is not None
        transport.abort()
        return web.Response()

    service.storage_answer = hang_up
    assert isinstance(await refusal(uploader, tale), Unavailable)


async def test_a_storage_that_falls_silent_is_unavailable(
    service: Service,
    uploader: Uploader,
    tale: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = tmp_path / "other.png"
    other.write_bytes(b"abc")
    await upload(uploader, other)  # the policy is there
    monkeypatch.setattr("omni_batch.providers.upload._SILENCE_S", 0.05)
    service.gate.clear()
    error = await refusal(uploader, tale)
    service.gate.set()
    assert isinstance(error, Unavailable)
    assert "made no progress" in str(error)


async def test_no_secret_is_logged_or_shown(
    uploader: Uploader, tale: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="omni_batch")
    caplog.set_level(logging.INFO)
    await upload(uploader, tale)
    for secret in (*SECRETS, KEY):
        assert secret not in f"{caplog.text} {uploader!r} {uploader._policy!r}"
