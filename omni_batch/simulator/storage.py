"""The HTTP side of temporary uploads: policies are given out, files are taken in."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from collections.abc import Mapping
from typing import IO
from xml.sax.saxutils import escape

from omni_batch.simulator import native, refusal
from omni_batch.simulator.books import Books
from omni_batch.simulator.exchange import Exchange
from omni_batch.simulator.facts import Medium
from omni_batch.simulator.multipart import Form, Malformed
from omni_batch.simulator.service import Service
from omni_batch.simulator.uploads import OssRefused, Stored, permission

UPLOAD_PATH = "/oss"
FIELDS = (
    *("OSSAccessKeyId", "Signature", "policy", "key", "x-oss-object-acl"),
    *("x-oss-forbid-overwrite", "success_action_status", "file"),
)
"""Parts of an upload in the documented order."""
_IN_MEMORY_BYTES = 2**20
_STEP_BYTES = 2**20


async def give_policy(exchange: Exchange, service: Service, books: Books) -> None:
    """GET /api/v1/uploads?action=getPolicy&model=..."""

    def granted() -> dict[str, object]:
        data = _policy(exchange, service)
        books.count_upload()
        return {"data": data}

    await native.answer(exchange, granted)


def _policy(exchange: Exchange, service: Service) -> dict[str, object]:
    service.dialect.check_key(exchange.headers)
    if exchange.query.get("action") != "getPolicy":
        raise refusal.invalid("Required parameter action is missing or invalid.")
    model = service.dialect.model(exchange.query).name
    host = f"http://{exchange.host}{UPLOAD_PATH}"
    return service.uploads.grant(model, host, service.options)


async def take_file(exchange: Exchange, service: Service, books: Books) -> None:
    """POST of a file with the fields of a policy; errors are XML, as the storage words them."""
    try:
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as file:
            await _receive(exchange, service, file)
    except OssRefused as refused:
        await exchange.respond(refused.status, {"content-type": "application/xml"}, _xml(refused))
        return
    books.count_stored()
    await exchange.respond(200, {"server": "AliyunOSS"}, b"")


async def _receive(exchange: Exchange, service: Service, file: IO[bytes]) -> None:
    form = await _read(exchange, file, service.options.max_file_size_mb * 2**20)
    if form.order != list(FIELDS):
        message = f"The fields are {', '.join(form.order)}; they must be {', '.join(FIELDS)}."
        raise OssRefused(400, "InvalidArgument", message)
    allowed = permission(form.fields)
    if form.length_bytes > allowed.max_bytes:
        message = "Your proposed upload exceeds the maximum allowed size"
        raise OssRefused(400, "EntityTooLarge", message)
    key = form.fields["key"]
    if form.fields["x-oss-forbid-overwrite"] == "true" and service.uploads.taken(key):
        message = "The object you specified already exists and can not be overwritten."
        raise OssRefused(409, "FileAlreadyExists", message)
    facts, digest = await asyncio.to_thread(_learn, file)
    until_s = time.time() + service.options.upload_valid_s
    stored = Stored(allowed.model, facts, digest, form.length_bytes, until_s)
    service.uploads.keep(key, stored)


async def _read(exchange: Exchange, file: IO[bytes], most_bytes: int) -> Form:
    """The whole form; what is too much or malformed is read to its end, but not kept."""
    form: Form | None = None
    wrong = ""
    try:
        form = Form(exchange.headers.get("content-type", ""), file)
    except Malformed as error:
        wrong = str(error)
    async for piece in exchange.pieces():
        if form is None or wrong or form.length_bytes > most_bytes:
            continue
        try:
            form.feed(piece)
        except ValueError as error:
            wrong = str(error)
    if form is None or wrong or not (form.complete or form.length_bytes > most_bytes):
        raise OssRefused(
            400, "MalformedPOSTRequest", f"The body is malformed: {wrong or 'it is cut off'}."
        )
    return form


def _learn(file: IO[bytes]) -> tuple[Mapping[str, Medium], str]:
    """What the file is good for, and its hash."""
    from omni_batch.simulator import measure

    facts: dict[str, Medium] = {}
    for kind, look in measure.BY_KIND.items():
        file.seek(0)
        try:
            facts[kind] = look(file)
        except measure.Undecodable:
            continue
        if kind == "image":
            break  # FFmpeg would take it for a film of one frame
    return facts, _sha256(file)


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while data := file.read(_STEP_BYTES):
        digest.update(data)
    return digest.hexdigest()


def _xml(refused: OssRefused) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n'
        f"  <Code>{refused.code}</Code>\n  <Message>{escape(refused.message)}</Message>\n"
        "</Error>\n"
    ).encode()
