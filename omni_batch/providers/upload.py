"""Temporary storage of the service: a local file becomes an oss:// URL that lasts 48 hours.

Source: Model Studio, "upload a local file to get a temporary URL", 2026: ask for a policy, post
the file to the host it names, refer to it as oss://{key}.
"""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast
from weakref import WeakValueDictionary

import httpx
import msgspec

from omni_batch._version import __version__
from omni_batch.errors import MediaError, Unavailable, own_error
from omni_batch.providers.api_key import ApiKey, KeyRedactor
from omni_batch.providers.body import changed, unreadable
from omni_batch.providers.client import read_start
from omni_batch.providers.http_client import HTTP_ERRORS, failure_of
from omni_batch.stream.service_errors import classify

_URL_VALID_S = 47 * 3600.0  # 48 h by the documents; the item may wait for its turn in the last one
_POLICY_MARGIN_S = 30.0  # nothing is begun with a policy that is about to expire
_KEPT_URLS = 100_000  # some 40 MB; a file whose URL is forgotten is sent once more
_SILENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class _Policy:
    """Permission to upload for some minutes, in the names of the wire; three fields are secrets."""

    upload_host: str
    upload_dir: str
    max_file_size_mb: float
    expire_in_seconds: float
    x_oss_object_acl: str
    x_oss_forbid_overwrite: str
    policy: str = field(repr=False)
    signature: str = field(repr=False)
    oss_access_key_id: str = field(repr=False)
    asked_at_s: float = 0.0
    """By our clock; not of the wire."""

    def fields(self, key: str, mime_type: str) -> dict[str, str]:
        """The form's fields in the order of the documents; the file comes after them.

        `x-oss-content-type` is of the vendor's SDK (2.0.2), not of the documents.
        """
        content_type = {"x-oss-content-type": mime_type} if mime_type else {}
        return {
            "OSSAccessKeyId": self.oss_access_key_id,
            "Signature": self.signature,
            "policy": self.policy,
            "key": key,
            "x-oss-object-acl": self.x_oss_object_acl,
            "x-oss-forbid-overwrite": self.x_oss_forbid_overwrite,
            "success_action_status": "200",
            **content_type,
        }

    def redacted_error(self, answer: bytes) -> bytes:
        """A refusal as `classify` reads it: the storage sends XML that quotes the secrets."""
        text = answer.decode("utf-8", "replace")
        for secret in filter(None, (self.policy, self.signature, self.oss_access_key_id)):
            text = text.replace(secret, "…")
        found = dict(re.findall(r"<(Code|Message|RequestId)>([^<]*)</\1>", text))
        names = {"code": "Code", "message": "Message", "request_id": "RequestId"}
        return msgspec.json.encode({ours: found.get(theirs) for ours, theirs in names.items()})


class _PolicyReply(msgspec.Struct):
    data: _Policy


class Uploader:
    """Temporary storage of one account and model; a file is sent once while it is valid.

    Args:
        base_url: of the chat API; policies come from the same host.
        key: goes to that host only, not to the one that takes the files.
        model: exact name; files are tied to it.
        http: stays the caller's to close; none of its default headers is sent.
        clock: seconds; only differences count.
        redactor: takes keys out of what the service says; None knows `key` only.
    """

    def __init__(
        self,
        base_url: str,
        key: ApiKey | None,
        model: str,
        http: httpx.AsyncClient,
        clock: Callable[[], float] = time.time,
        redactor: KeyRedactor | None = None,
    ) -> None:
        query = {"action": "getPolicy", "model": model}
        self._policy_url = httpx.URL(base_url).copy_with(path="/api/v1/uploads", params=query)
        self._key, self._http, self._clock = key, http, clock
        self._redactor = redactor or KeyRedactor([key])
        self._policy: _Policy | None = None
        self._asking = asyncio.Lock()
        self._sending: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._stored: dict[str, tuple[str, float]] = {}

    async def upload(self, path: Path, *, sha256: str, size_bytes: int, mime_type: str = "") -> str:
        """The file's "oss://…" URL, valid for an hour at least; uploads the file if it has none.

        Concurrent requests for the same file share one upload; if it fails, each tries itself.

        Raises:
            MediaError: the file is too large, can't be read, or is not of `size_bytes`.
            EndpointError: the service or its storage refused.
            Unavailable: either can't be reached, or its answer is invalid.
        """
        lock = self._sending.setdefault(sha256, asyncio.Lock())
        async with lock:
            url, valid_until_s = self._stored.get(sha256, ("", 0.0))
            if not url or self._clock() >= valid_until_s:
                policy = await self._usable_policy()
                url = await self._store(policy, path, sha256, size_bytes, mime_type)
                self._stored.pop(sha256, None)  # so that the oldest comes first
                self._stored[sha256] = url, policy.asked_at_s + _URL_VALID_S
                if len(self._stored) > _KEPT_URLS:
                    del self._stored[next(iter(self._stored))]
            return url

    async def _store(
        self, policy: _Policy, path: Path, sha256: str, size_bytes: int, mime_type: str
    ) -> str:
        if size_bytes > policy.max_file_size_mb * 2**20:
            raise MediaError(
                f"{path} takes {size_bytes} bytes; the temporary storage takes "
                f"{policy.max_file_size_mb:g} MB: give its http(s) URL, or make it smaller"
            )
        name = sha256[:16] + _ending(path)
        key = f"{policy.upload_dir}/{name}"
        try:
            file = await asyncio.to_thread(path.open, "rb")
        except OSError as exc:
            raise unreadable(path, exc) from exc
        with file:
            # A multipart form of known length that reads the file while it is sent.
            named = {"file": (name, file, mime_type or None)}
            form = httpx.Request("POST", "", data=policy.fields(key, mime_type), files=named)
            try:
                async with asyncio.timeout(None) as deadline:
                    response, answer = await self._exchange(
                        policy.upload_host, form.headers, _pieces(form, file, size_bytes, deadline)
                    )
            except TimeoutError as exc:
                raise Unavailable(f"the upload made no progress for {_SILENCE_S:g} s") from exc
        if response.status_code != 200:
            self._refused(policy, response, answer)
        return f"oss://{key}"

    def _refused(self, policy: _Policy, response: httpx.Response, answer: bytes) -> None:
        said = policy.redacted_error(answer)
        error = classify(response.status_code, said, self._headers(response))
        if error.code == "FileAlreadyExists":
            return  # the answer to an earlier try was lost; the name is made of the content
        if self._policy is policy:
            self._policy = None  # the next try begins with another one
        if response.status_code == 403:
            # It knows no account, so this must not stop the run: the policy is out of date.
            reason = f"the temporary storage refused the upload policy; try with a new one: {error}"
            code, request_id = error.code, error.request_id
            raise Unavailable(reason, code=code, http_status=403, request_id=request_id)
        raise error

    async def _usable_policy(self) -> _Policy:
        async with self._asking:
            policy, now_s = self._policy, self._clock()
            lasts_s = policy.expire_in_seconds - _POLICY_MARGIN_S if policy else 0
            if policy is None or now_s >= policy.asked_at_s + lasts_s:
                policy = self._policy = replace(await self._ask_for_policy(), asked_at_s=now_s)
            return policy

    async def _ask_for_policy(self) -> _Policy:
        headers = httpx.Headers()  # whose repr hides the key
        if self._key is not None:
            headers["Authorization"] = self._key.authorization
        try:
            async with asyncio.timeout(_SILENCE_S):
                response, answer = await self._exchange(self._policy_url, headers)
        except TimeoutError:
            raise Unavailable(f"no upload policy came within {_SILENCE_S:g} s") from None
        if response.status_code != 200:
            raise classify(response.status_code, answer, self._headers(response))
        try:
            policy = msgspec.json.decode(answer, type=_PolicyReply, strict=False).data
            scheme = httpx.URL(policy.upload_host).scheme
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, httpx.InvalidURL) as exc:
            raise Unavailable(f"the service returned an invalid upload policy: {exc}") from exc
        if scheme not in ("https", self._policy_url.scheme):
            raise Unavailable(f"the upload policy names {scheme or 'no'}://; expected https://")
        return policy

    def _headers(self, response: httpx.Response) -> dict[str, str]:
        return self._redactor.headers(response.headers.items())

    async def _exchange(
        self,
        url: httpx.URL | str,
        headers: Mapping[str, str],
        content: AsyncIterator[bytes] | None = None,
    ) -> tuple[httpx.Response, bytes]:
        """One request; a POST if there is content, whose sender then sees to the time it takes."""
        silence_s = None if content else _SILENCE_S
        timeout = httpx.Timeout(None, connect=self._http.timeout.connect, read=silence_s)
        request = httpx.Request(  # http.build_request would add the chat API's key to it
            "POST" if content else "GET",
            url,
            headers=httpx.Headers({"User-Agent": f"omni-batch/{__version__}"} | dict(headers)),
            content=content,
            extensions={"timeout": timeout.as_dict()},
        )
        try:
            sent = self._http.send(request, auth=None, stream=True, follow_redirects=False)
            async with aclosing(await sent) as response:
                return response, await read_start(response, self._redactor)
        except HTTP_ERRORS as exc:
            raise own_error(exc) or failure_of(
                exc, started=False, words=self._redactor.text
            ) from None


async def _pieces(
    form: httpx.Request, file: BinaryIO, size_bytes: int, deadline: asyncio.Timeout
) -> AsyncIterator[bytes]:
    """The form's bytes, read beside the event loop; each piece puts the deadline off.

    Raises:
        MediaError: the file can't be read, or is not of `size_bytes`.
    """
    loop, path = asyncio.get_running_loop(), Path(file.name)
    pieces = iter(cast(httpx.SyncByteStream, form.stream))
    try:
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            if os.fstat(file.fileno()).st_size != size_bytes:
                raise changed(path)
            deadline.reschedule(loop.time() + _SILENCE_S)
            yield piece
    except OSError as exc:
        raise unreadable(path, exc) from exc


def _ending(path: Path) -> str:
    """The path's suffix, unless it is so long or odd that it may be part of a name."""
    return path.suffix.lower() if re.fullmatch(r"\.[A-Za-z0-9]{1,5}", path.suffix) else ""
