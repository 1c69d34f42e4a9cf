"""The HTTP side of temporary uploads: policies are given out, files are taken in."""

import asyncio
import hashlib
import tempfile
import time
from collections.abc import Mapping
from typing import IO
from xml.sax.saxutils import escape

from omni_batch.simulator.api import native_api
from omni_batch.simulator.api.exchange import Exchange
from omni_batch.simulator.api.form_data import Form, read_form
from omni_batch.simulator.api.service import Service
from omni_batch.simulator.api.upload_store import OssRefused, Stored, permission
from omni_batch.simulator.checks import refusal
from omni_batch.simulator.checks.media import measures
from omni_batch.simulator.checks.media_info import Medium, Undecodable

UPLOAD_PATH = "/oss"
FIELDS = (
    *("OSSAccessKeyId", "Signature", "policy", "key", "x-oss-object-acl"),
    *("x-oss-forbid-overwrite", "success_action_status", "file"),
)
"""Parts of an upload in the documented order."""
CONTENT_TYPE = "x-oss-content-type"
"""The vendor's SDK (2.0.2) sends it as well, before the file."""
_IN_MEMORY_BYTES = 2**20


async def give_policy(exchange: Exchange, service: Service) -> None:
    """GET /api/v1/uploads?action=getPolicy&model=..."""

    def granted() -> dict[str, object]:
        data = _policy(exchange, service)
        service.metrics.count_upload("uploads")
        return {"data": data}

    await native_api.answer(exchange, granted)


def _policy(exchange: Exchange, service: Service) -> dict[str, object]:
    service.dialect.check_key(exchange.headers)
    if exchange.query_params.get("action") != "getPolicy":
        raise refusal.invalid("Required parameter action is missing or invalid.")
    model = service.dialect.model(exchange.query_params).name
    host = f"http://{exchange.headers.get('host', '127.0.0.1')}{UPLOAD_PATH}"
    return service.upload_store.grant(model, host, service.options)


async def take_file(exchange: Exchange, service: Service) -> None:
    """POST of a file with the fields of a policy; errors are XML, as the storage words them."""
    try:
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as file:
            await _receive(exchange, service, file)
    except OssRefused as refused:
        await exchange.respond(refused.status, {"content-type": "application/xml"}, _xml(refused))
        return
    service.metrics.count_upload("stored")
    await exchange.respond(200, {"server": "AliyunOSS"}, b"")


async def _receive(exchange: Exchange, service: Service, file: IO[bytes]) -> None:
    store, options = service.upload_store, service.options
    form = await _read(exchange, file, options.max_file_size_mb * 2**20)
    if form.names not in (list(FIELDS), [*FIELDS[:-1], CONTENT_TYPE, FIELDS[-1]]):
        message = f"The fields are {', '.join(form.names)}; they must be {', '.join(FIELDS)}."
        raise OssRefused(400, "InvalidArgument", message)
    model, most_bytes = permission(form.fields)
    if form.file_bytes > most_bytes:
        message = "Your proposed upload exceeds the maximum allowed size"
        raise OssRefused(400, "EntityTooLarge", message)
    key = form.fields["key"]
    if form.fields["x-oss-forbid-overwrite"] == "true" and store.has(key):
        message = "The object you specified already exists and can not be overwritten."
        raise OssRefused(409, "FileAlreadyExists", message)
    media, digest = await asyncio.to_thread(_inspect, file)
    until_s = time.time() + options.upload_valid_s
    store.keep(key, Stored(model, media, digest, form.file_bytes, until_s))


async def _read(exchange: Exchange, file: IO[bytes], most_bytes: int) -> Form:
    body = exchange.stream()
    try:
        return await read_form(exchange.headers.get("content-type", ""), body, file, most_bytes)
    except ValueError as error:
        async for _ in body:
            pass  # a client that still sends does not listen
        message = f"The body is malformed: {error}."
        raise OssRefused(400, "MalformedPOSTRequest", message) from None


def _inspect(file: IO[bytes]) -> tuple[Mapping[str, Medium], str]:
    """The file measured as each kind of media it can be, and its hash."""
    media: dict[str, Medium] = {}
    for kind, measured in measures().items():
        file.seek(0)
        try:
            media[kind] = measured(file)
        except Undecodable:
            continue
        if kind == "image":
            break  # FFmpeg would take it for a film of one frame
    file.seek(0)
    return media, hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _xml(refused: OssRefused) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n'
        f"  <Code>{refused.code}</Code>\n  <Message>{escape(refused.message)}</Message>\n"
        "</Error>\n"
    ).encode()
