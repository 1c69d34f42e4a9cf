"""One chat request on its way to an answer: key, quota, fault or script, reply."""

import asyncio
import random
import time
import uuid
from dataclasses import replace

import msgspec

from omni_batch.simulator import reply
from omni_batch.simulator.api.admission import WAIT_HEADER, Admission, ClientGone
from omni_batch.simulator.api.compose import compose
from omni_batch.simulator.api.exchange import Exchange
from omni_batch.simulator.api.service import Service
from omni_batch.simulator.checks import refusal
from omni_batch.simulator.checks.chat import Body
from omni_batch.simulator.checks.media import Fetch
from omni_batch.simulator.checks.quota import QuotaStatus
from omni_batch.simulator.checks.refusal import Refusal, Refused
from omni_batch.simulator.dialects import Dialect
from omni_batch.simulator.metrics import Outcome
from omni_batch.simulator.replies import faults
from omni_batch.simulator.replies.frames import Frame, shuffled
from omni_batch.simulator.replies.heads import HEADS, USUAL, Head
from omni_batch.simulator.replies.odd_shapes import shaped
from omni_batch.simulator.replies.reply_plan import ReplyPlan
from omni_batch.simulator.replies.writes import Write, to_writes

JSON = {"content-type": "application/json"}
OSS_HEADER = "x-dashscope-ossresourceresolve"


class ChatHandler:
    """Answers one request and records in its outcome how it ended."""

    def __init__(
        self, service: Service, exchange: Exchange, outcome: Outcome, dialect: Dialect
    ) -> None:
        self._service, self._options, self._dialect = service, service.options, dialect
        self._exchange, self._outcome = exchange, outcome
        self._admission = Admission(service, dialect, exchange)
        self._rng = random.Random(f"{self._options.seed}/{outcome.ordinal}")
        self._uid = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        self._arrived_s = time.time()

    async def answer(self, body: Body | None, scripted: reply.Reply) -> None:
        """Answer as scripted, else with a fault by its probability, else normally."""
        try:
            match scripted:
                case reply.Status():
                    await self._refuse(_scripted_refusal(scripted), scripted.body)
                case reply.Frames():
                    await self._send_raw(scripted)
                case reply.Fault(fault=kind):
                    await self._answer_with_fault(kind, body)
                case reply.Text(text=text):
                    await self._send_reply(await self._plan(body, text))
                case reply.Normal():
                    await self._answer_normally(body)
        except Refused as refused:
            await self._refuse(refused.refusal)
        except ClientGone:
            return  # an outcome without a result counts as abandoned

    async def _answer_normally(self, body: Body | None) -> None:
        kind = faults.draw(self._options.faults, self._rng)
        if kind is None or (kind == "burst" and WAIT_HEADER in self._exchange.headers):
            await self._send_reply(await self._plan(body))
        else:
            await self._answer_with_fault(kind, body)

    async def _plan(self, body: Body | None, text: str | None = None) -> ReplyPlan:
        """Admit the request, and compose its reply.

        Raises:
            Refused: bad key, over quota, or anything wrong with the request.
        """
        self._dialect.check_key(self._exchange.headers)
        if body is None:
            message = "Required body invalid, please check the request body format."
            raise refusal.invalid(message)
        await self._admission.admit(body)
        oss = self._stored(body)
        plan = compose(body, self._uid, self._dialect, text=text, oss=oss)
        self._service.quota.spend(plan.chat.model.name, plan.prompt.total, time.monotonic())
        return plan

    def _stored(self, body: Body) -> Fetch | None:
        if self._exchange.headers.get(OSS_HEADER, "").lower() != "enable":
            return None
        model = self._dialect.model(body).name
        return lambda kind, ref: self._service.upload_store.find(kind, ref, model)

    async def _refuse(self, refused: Refusal, body: bytes | None = None) -> None:
        self._outcome.refused = refused.code or str(refused.status)
        headers = {"content-type": self._dialect.content_type} if refused.framed else {**JSON}
        headers |= self._dialect.error_headers(self._uid, self._quota_status())
        if (wait_s := self._retry_after_s(refused)) is not None:
            headers["retry-after"] = f"{wait_s:g}"
        whole = self._dialect.error_body(refused, self._uid) if body is None else body
        await self._exchange.respond(refused.status, headers, whole)

    def _retry_after_s(self, refused: Refusal) -> float | None:
        if refused.retry_after_s is None and self._options.send_retry_after:
            return 1.0 if refused.status == 429 else None
        return refused.retry_after_s

    async def _answer_with_fault(self, kind: str, body: Body | None) -> None:
        plan = None if kind in faults.BEFORE_CHECKS else await self._plan(body)
        self._outcome.fault = kind
        # Now, because a stall has no end at which it could be counted.
        self._service.metrics.count(self._outcome)
        if plan is None:
            await self._fail_before_checks(kind)
        else:
            await self._send_reply(plan, kind)

    async def _fail_before_checks(self, kind: str) -> None:
        """Answer with a fault that comes before all checks of the request."""
        if kind in faults.REFUSALS:
            await self._refuse(faults.REFUSALS[kind])
            if kind == "error_500_closed":
                await self._exchange.hang_up()
        elif kind in faults.PAGES:
            status, content_type, page = faults.PAGES[kind]
            await self._exchange.respond(status, {"content-type": content_type}, page)
        elif kind in faults.SILENT:
            await self._send(faults.SILENT[kind])
        elif kind == "reset":
            await self._exchange.reset()
        else:
            await self._exchange.wait_for_disconnect()

    async def _send_reply(self, plan: ReplyPlan, fault: str | None = None) -> None:
        if self._options.first_chunk_s:
            await asyncio.sleep(self._options.first_chunk_s)
        plan = faults.replanned(plan, fault, self._rng)
        if plan.chat.stream and fault != "whole_json":
            await self._stream(plan, fault)
        elif fault in faults.MID_STREAM:
            raise Refused(refusal.INTERNAL)
        else:
            await self._send_whole(plan, HEADS.get(fault, USUAL))
        self._service.quota.spend(plan.chat.model.name, plan.answer.tokens, time.monotonic())

    async def _stream(self, plan: ReplyPlan, fault: str | None) -> None:
        stream = self._dialect.stream(plan)
        if self._options.shuffle_keys:  # before a fault tears a frame apart
            frames = tuple(shuffled(frame, self._rng) for frame in stream.frames)
            stream = replace(stream, frames=frames)
        error = refusal.INTERNAL
        if plan.forbidden and self._dialect.moderates:
            fault, error = "in_band_error", refusal.inspection_failed("Output")
            self._outcome.refused = error.code
        if fault in faults.MID_STREAM:
            members = self._dialect.in_band(error, self._uid)
            ending = faults.damaged(stream, fault, self._rng, members)
        else:
            ending = shaped(stream, fault)
        await self._send(*ending, HEADS.get(fault, USUAL))

    async def _send_whole(self, plan: ReplyPlan, head: Head) -> None:
        body = msgspec.json.encode(self._dialect.completion(plan))
        whole = b"".join(write.data for write in head.packed([Write(body)]))
        self._outcome.succeeded = True
        headers = {**JSON, **self._headers(), **({} if head.both_framings else head.headers)}
        await self._exchange.respond(head.status, headers, whole)

    async def _send(
        self, frames: tuple[Frame, ...], end: reply.End = "close", head: Head = USUAL
    ) -> None:
        writes = head.packed(to_writes(frames, self._options, self._rng))
        self._outcome.succeeded = True  # for now: it is counted before its last byte goes out
        if head.both_framings:
            await self._exchange.deliver_framed(head.status, self._stream_headers(head), writes)
        else:
            await self._exchange.start(head.status, self._stream_headers(head))
            self._outcome.succeeded = await self._exchange.deliver(writes, end)

    def _stream_headers(self, head: Head = USUAL) -> dict[str, str]:
        return {"content-type": self._dialect.content_type, **self._headers(), **head.headers}

    async def _send_raw(self, scripted: reply.Frames) -> None:
        await self._exchange.start(200, self._stream_headers())
        self._outcome.scripted = True
        self._service.metrics.count(self._outcome)
        await self._exchange.deliver(map(Write, scripted.frames), scripted.end)

    def _headers(self) -> dict[str, str]:
        return self._dialect.headers(self._uid, self._arrived_s, self._quota_status())

    def _quota_status(self) -> QuotaStatus:
        model = self._admission.model
        return self._service.quota.status(model, time.monotonic()) if model else {}


def _scripted_refusal(scripted: reply.Status) -> Refusal:
    usual = refusal.usual(scripted.status, scripted.code)
    message = usual.message if scripted.message is None else scripted.message
    return replace(usual, message=message, retry_after_s=scripted.retry_after_s)
