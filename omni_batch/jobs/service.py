"""The HTTP edge of a Batch API: files up and down, jobs made, looked at and listed.

Exceptions of the HTTP libraries end here. All calls but `create` may be repeated.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import quote

import httpx
import msgspec

from omni_batch.errors import EndpointError, StreamError, Unavailable, own_error
from omni_batch.jobs.view import JobView, job_view, jobs_of_list
from omni_batch.providers.api_key import KeyRedactor
from omni_batch.providers.body import changed, unreadable
from omni_batch.providers.client import read_start
from omni_batch.providers.http_client import HTTP_ERRORS, failure_of, never_sent
from omni_batch.providers.unpack import Unpacker
from omni_batch.store.disk import storage_errors
from omni_batch.stream.service_errors import classify
from omni_batch.text import one_line

_SILENCE_S = 120.0
"""Of a server that neither takes nor sends anything."""
_LONGEST_LIST_BYTES = 64 * 2**20
_PAGE = 100
_MOST_PAGES = 30
"""Of a list; the newest come first."""
_OLDER = timedelta(days=1)
"""Clocks differ: jobs so much older than the one that is looked for end the search."""
_ITS_OWN_WORDS = (500, 503)
"""Statuses with which a service itself, and not a gateway before it, says that it failed."""


class AnswerLost(Exception):
    """A job was asked for, and nobody knows whether it was made.

    Args:
        refused: the service itself says that it failed.
    """

    def __init__(self, reason: str, *, refused: bool) -> None:
        super().__init__(reason)
        self.refused = refused


class BatchService:
    """One Batch API, by the client of its endpoint.

    Args:
        http: has the base URL and the key.
    """

    def __init__(
        self, http: httpx.AsyncClient, redactor: KeyRedactor, *, quota_is_transient: bool
    ) -> None:
        self._http, self._redactor = http, redactor
        self._quota_is_transient = quota_is_transient

    async def upload(self, path: Path, name: str) -> str:
        """Upload a file of requests; its id.

        Raises:
            EndpointError: refused, or unreachable.
            MediaError: the file can't be read, or changes.
        """
        with path.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            sent = {"file": (name, file, "application/jsonl")}
            form = httpx.Request("POST", "", data={"purpose": "batch"}, files=sent)
            async with self._answered(
                "POST", "/files", headers=form.headers, content=_pieces(form, file, size_bytes)
            ) as response:
                tree = _tree(await read_start(response, self._redactor))
        file_id = tree.get("id") if isinstance(tree, dict) else None
        if not isinstance(file_id, str) or not file_id:
            raise Unavailable("the service has taken the file and named no id for it")
        return one_line(file_id)

    async def create(
        self, file_id: str, url: str, window_h: int, metadata: Mapping[str, str]
    ) -> JobView:
        """Make a job. Never repeat it before `find` has been asked.

        Raises:
            AnswerLost: it may have been made.
            EndpointError: it was not.
        """
        wish = {
            "input_file_id": file_id,
            "endpoint": url,
            "completion_window": f"{window_h}h",
            "metadata": dict(metadata),
        }
        try:
            async with self._answered("POST", "/batches", json=wish) as response:
                view = job_view(_tree(await read_start(response, self._redactor)))
        except Unavailable as exc:
            if exc.not_sent:
                raise
            raise AnswerLost(str(exc), refused=exc.http_status in _ITS_OWN_WORDS) from exc
        except StreamError as exc:
            raise AnswerLost(str(exc), refused=False) from exc
        if view is None:
            raise AnswerLost("the answer names no job", refused=False)
        return view

    async def job(self, job_id: str) -> JobView:
        """How a job stands.

        Raises:
            EndpointError: unknown (`http_status` 404), refused or unreachable.
        """
        async with self._answered("GET", f"/batches/{_in_path(job_id)}") as response:
            view = job_view(_tree(await read_start(response, self._redactor)))
        if view is None:
            raise Unavailable("the service answered with no job")
        return view

    async def find(
        self, file_id: str | None, metadata: Mapping[str, str], since: datetime
    ) -> JobView | None:
        """A job that was made of a file, or has these metadata; None where the list has none.

        Args:
            since: when it was asked for.
        """
        mark = metadata.get("mark")
        filters = [{"ds_name": metadata["ds_name"]}] if "ds_name" in metadata else []
        for query in (*filters, {}):
            async for view in self._listed(query, since - _OLDER):
                ours = mark is not None and view.metadata.get("mark") == mark
                if ours or (file_id is not None and view.input_file_id == file_id):
                    return view
        return None

    async def _listed(self, query: Mapping[str, str], oldest: datetime) -> AsyncIterator[JobView]:
        after: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            params = {**query, **after, "limit": str(_PAGE)}
            async with self._answered("GET", "/batches", params=params) as response:
                views, more = jobs_of_list(_tree(await self._whole(response)))
            for view in views:
                yield view
            if not more or not views or after == {"after": views[-1].id}:
                return
            last = views[-1]
            if last.created_at is not None and last.created_at < oldest:
                return
            after = {"after": last.id}

    async def _whole(self, response: httpx.Response) -> bytes:
        """A list, which may be longer than an error."""
        unpacker = Unpacker(response.headers.get("content-encoding", ""))
        whole = bytearray()
        async for data in response.aiter_raw():
            for piece in unpacker.feed(data):
                whole += piece
                if len(whole) > _LONGEST_LIST_BYTES:
                    raise StreamError("the service's list of jobs has no end")
        return self._redactor.raw(bytes(whole) + unpacker.end())

    async def download(self, file_id: str, path: Path) -> None:
        """Fetch a file, from where an earlier try broke off; it has its name once it is whole.

        Raises:
            EndpointError: unknown (`http_status` 404), refused or unreachable.
            StreamError: it broke off.
            StorageError: it can't be written.
        """
        draft = path.with_name(f".{path.name}.part")
        have = draft.stat().st_size if draft.exists() else 0
        ask = {"Range": f"bytes={have}-"} if have else {}
        place = f"/files/{_in_path(file_id)}/content"
        async with self._answered("GET", place, headers=ask) as response:
            goes_on = response.status_code == httpx.codes.PARTIAL_CONTENT and bool(have)
            packing = response.headers.get("content-encoding", "")
            if goes_on and packing:  # the rest of what was packed is not the rest of the file
                draft.unlink()
                raise StreamError(f"the download broke off, and goes on as {one_line(packing)}")
            unpacker = Unpacker(packing)
            with storage_errors(path, "written"), draft.open("ab" if goes_on else "wb") as file:
                async for data in response.aiter_raw():
                    file.writelines(unpacker.feed(data))
                file.write(unpacker.end())
        with storage_errors(path, "written"):
            draft.replace(path)

    async def delete(self, file_id: str) -> None:
        """Give back the room that a file takes in the account's storage.

        Raises:
            EndpointError: refused, or unreachable.
        """
        async with self._answered("DELETE", f"/files/{_in_path(file_id)}"):
            pass

    @asynccontextmanager
    async def _answered(
        self, method: str, path: str, **request: Any
    ) -> AsyncIterator[httpx.Response]:
        """A successful answer to a request; its body is read within the block."""
        headers = {"Accept": "application/json", **dict(request.pop("headers", {}))}
        connect = self._http.timeout.connect
        timeout = httpx.Timeout(_SILENCE_S, connect=connect, pool=None)
        started = False
        try:
            async with self._http.stream(
                method, path, headers=headers, timeout=timeout, **request
            ) as response:
                started = True
                if not response.is_success:
                    raise await self._refusal(response)
                yield response
        except HTTP_ERRORS as exc:
            error = own_error(exc) or failure_of(exc, started=started, words=self._redactor.text)
            if isinstance(error, Unavailable):
                error.not_sent = never_sent(exc)
            raise error from None

    async def _refusal(self, response: httpx.Response) -> EndpointError:
        said = await read_start(response, self._redactor)
        error = classify(
            response.status_code,
            said,
            self._redactor.headers(response.headers.items()),
            quota_is_transient=self._quota_is_transient,
        )
        error.uses_attempt = True  # no line of a quota waits for it
        return error


def _in_path(name: str) -> str:
    """An id of the service as one part of a path, whatever stands in it."""
    return quote(name, safe="")


def _tree(said: bytes) -> Any:
    try:
        return msgspec.json.decode(said)
    except (msgspec.DecodeError, RecursionError):
        return None


async def _pieces(form: httpx.Request, file: BinaryIO, size_bytes: int) -> AsyncIterator[bytes]:
    """A form's bytes, read beside the event loop."""
    path = Path(file.name)
    pieces: Iterator[bytes] = iter(cast(httpx.SyncByteStream, form.stream))
    try:
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            if os.fstat(file.fileno()).st_size != size_bytes:
                raise changed(path)
            yield piece
    except OSError as exc:
        raise unreadable(path, exc) from exc
