"""The HTTP side of the Batch API."""

import asyncio
import gzip
import io
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from omni_batch.simulator.api.exchange import Exchange
from omni_batch.simulator.api.form_data import read_form
from omni_batch.simulator.api.service import Service
from omni_batch.simulator.checks import refusal
from omni_batch.simulator.checks.refusal import Refused
from omni_batch.simulator.dialects import Dialect
from omni_batch.simulator.jobs import answers
from omni_batch.simulator.jobs.checks import MOST_FILE_BYTES, checked, complaint, wrong_wish
from omni_batch.simulator.jobs.script import CallScript
from omni_batch.simulator.jobs.store import JobStore, MadeJob, StoredFile
from omni_batch.simulator.replies.writes import Write

JOB_PATHS = ("/files", "/batches")
_PAGE = "<html><body><h1>502 Bad Gateway</h1></body></html>"
_DEFAULT_LIMIT = 20
_MOST_LISTED = 100


class JobsHandler:
    """Answers one call about files or jobs."""

    def __init__(
        self, service: Service, store: JobStore, exchange: Exchange, dialect: Dialect
    ) -> None:
        self._service, self._store = service, store
        self._exchange, self._dialect = exchange, dialect

    async def answer(self, path: str) -> None:
        """Answer it.

        Args:
            path: behind the base path, such as /batches/batch-1.
        """
        parts = [part for part in path.split("/") if part]
        try:
            self._dialect.check_key(self._exchange.headers)
            await self._route(self._exchange.method, parts)
        except Refused as refused:
            body = self._dialect.error_body(refused.refusal, uuid.uuid4().hex)
            await self._exchange.respond_json(refused.refusal.status, body)

    async def _route(self, method: str, parts: list[str]) -> None:
        match method, *parts:
            case "POST", "files":
                await self._upload()
            case "GET", "files", file_id:
                await self._exchange.respond_json(200, self._file(file_id).described())
            case "GET", "files", file_id, "content":
                await self._download(file_id)
            case "DELETE", "files", file_id:
                self._store.files.pop(file_id, None)
                gone = {"id": file_id, "object": "file", "deleted": True}
                await self._exchange.respond_json(200, gone)
            case _, "batches", *rest:
                await self._route_job(method, rest)
            case _:
                raise _missing("/".join(parts))

    async def _route_job(self, method: str, rest: list[str]) -> None:
        match method, *rest:
            case ("POST",):
                await self._create()
            case ("GET",):
                await self._list()
            case "GET", job_id:
                await self._look(job_id)
            case "POST", job_id, "cancel":
                await self._cancel(job_id)
            case _:
                raise _missing("/".join(rest))

    async def _give(self, content: Mapping[str, Any], met: CallScript | None) -> None:
        """The answer, or what comes in its place."""
        if met is None:
            await self._exchange.respond_json(200, content)
        elif met.status is None:
            await self._exchange.reset()
        elif met.page:
            await self._exchange.respond(met.status, {"content-type": "text/html"}, _PAGE.encode())
        else:
            said = refusal.usual(met.status, None)
            body = self._dialect.error_body(said, uuid.uuid4().hex)
            wait = met.retry_after_s
            headers = {"retry-after": f"{wait:g}"} if wait is not None else {}
            kind = {"content-type": "application/json", **headers}
            await self._exchange.respond(met.status, kind, body)

    async def _upload(self) -> None:
        met = self._store.next_call("upload")
        content = io.BytesIO()
        try:
            kind = self._exchange.headers.get("content-type", "")
            form = await read_form(kind, self._exchange.stream(), content, MOST_FILE_BYTES)
        except ValueError as error:
            raise refusal.invalid(f"The form is malformed: {error}.") from None
        if form.fields.get("purpose") != "batch" or "file" not in form.names:
            raise refusal.invalid("A form with purpose=batch and a file is expected.")
        if met is not None and not met.is_done:
            await self._give({}, met)
            return
        file = self._store.keep(content, form.file_bytes, "batch")
        await self._give(file.described(), met)

    async def _create(self) -> None:
        met, raw = self._store.next_call("create"), await self._exchange.body()
        if met is not None and not met.is_done:
            await self._give({}, met)
            return
        try:
            wish = msgspec.json.decode(raw, type=dict[str, Any])
        except msgspec.DecodeError:
            raise refusal.invalid("The body is no JSON object.") from None
        if wrong := wrong_wish(wish):
            raise refusal.invalid(wrong)
        file = self._file(str(wish.get("input_file_id")))
        job = await asyncio.to_thread(self._made, file, wish)
        self._store.add(job)
        await self._give(job.described(), met)

    def _made(self, file: StoredFile, wish: dict[str, Any]) -> MadeJob:
        script = self._store.next_script()
        found = checked(file.lines(), file.size_bytes, str(wish.get("endpoint")))
        complaints = found.complaints or [complaint(*each) for each in script.complaints]
        takes_s = self._service.options.job_s if script.takes_s is None else script.takes_s
        job_id = f"batch_{uuid.uuid4().hex[:12]}"
        return MadeJob(job_id, file, wish, script, takes_s, len(found.ids), complaints, found.ids)

    async def _look(self, job_id: str) -> None:
        met = self._store.next_call("look")
        job = await self._job(job_id)
        await self._give(job.described(), met)

    async def _cancel(self, job_id: str) -> None:
        met = self._store.next_call("cancel")
        job = await self._job(job_id)
        job.cancel()
        await self._give(job.described(), met)

    async def _list(self) -> None:
        met, query = self._store.next_call("list"), self._exchange.query_params
        jobs = [job for job in reversed(self._store.jobs.values()) if job.is_listed]
        if name := query.get("ds_name"):
            jobs = [job for job in jobs if name in str((job.metadata).get("ds_name"))]
        if after := query.get("after"):
            ids = [job.id for job in jobs]
            jobs = jobs[ids.index(after) + 1 :] if after in ids else []
        limit = min(int(query.get("limit", _DEFAULT_LIMIT)), _MOST_LISTED)
        page = [job.described() for job in jobs[:limit]]
        await self._give({"object": "list", "data": page, "has_more": len(jobs) > limit}, met)

    async def _download(self, file_id: str) -> None:
        met = self._store.next_call("download")
        job = self._store.job_of(file_id)
        if job is not None and job.forgets("output"):
            raise _missing(f"file {file_id}")
        if met is not None and met.cut is None and not met.packed:
            await self._give({}, met)
            return
        content = b"".join(self._file(file_id).lines())
        begin = _begin(self._exchange.headers.get("range", ""))
        await self._send(content[begin:], 206 if begin else 200, met)

    async def _send(self, content: bytes, status: int, met: CallScript | None) -> None:
        packed = {"content-encoding": "gzip"} if met and met.packed else {}
        content = gzip.compress(content) if packed else content
        share = 1.0 if met is None or met.cut is None else met.cut
        headers = {
            "content-type": "application/octet-stream",
            "content-length": str(len(content)),
            **packed,
        }
        await self._exchange.start(status, headers)
        kept = content[: int(len(content) * share)]
        await self._exchange.deliver([Write(kept)], "close" if share == 1.0 else "cut")

    def _file(self, file_id: str) -> StoredFile:
        if (file := self._store.files.get(file_id)) is None:
            raise _missing(f"file {file_id}")
        return file

    async def _job(self, job_id: str) -> MadeJob:
        job = self._store.jobs.get(job_id)
        if job is None or job.forgets("job"):
            raise _missing(f"batch {job_id}")
        await asyncio.to_thread(answers.write, job, self._store, self._dialect)
        return job


def _missing(what: str) -> Refused:
    return Refused(refusal.status(404, "not_found", f"No such {what}."))


def _begin(wanted: str) -> int:
    """Where a download goes on, by its Range header."""
    number = wanted.removeprefix("bytes=").removesuffix("-")
    return int(number) if number.isdigit() else 0
