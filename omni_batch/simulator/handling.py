"""One chat request on its way to an answer: key, quota, fault or script, reply."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from omni_batch.simulator import faults, refusal, reply
from omni_batch.simulator.books import Outcome
from omni_batch.simulator.composer import Work, compose
from omni_batch.simulator.delivery import Write, deliver, plan
from omni_batch.simulator.exchange import Exchange
from omni_batch.simulator.frames import Frame, shuffled
from omni_batch.simulator.options import SimulatorOptions
from omni_batch.simulator.parameters import find_model
from omni_batch.simulator.quota import Quota
from omni_batch.simulator.refusal import Refusal, Refused
from omni_batch.simulator.speech import SpeechForm

JSON = {"content-type": "application/json"}
EVENTS = {"content-type": "text/event-stream;charset=UTF-8"}
WAIT_HEADER = "x-dashscope-wait-timeout"
"""With it the service holds a request of a burst for a while instead of refusing it."""
OSS_HEADER = "x-dashscope-ossresourceresolve"

Body = dict[str, object] | None


class Handling:
    """Answers one request and notes in its outcome how it ended."""

    def __init__(
        self, options: SimulatorOptions, quota: Quota, exchange: Exchange, outcome: Outcome
    ) -> None:
        self._options, self._quota = options, quota
        self._exchange, self._outcome = exchange, outcome
        self._rng = random.Random(f"{options.seed}/{outcome.ordinal}")
        self._uid = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        self._arrived_s = time.time()
        self._form = SpeechForm(options.audio_chunk_bytes, options.wav_headers)

    async def answer(self, body: Body, scripted: reply.Reply) -> None:
        """Answer as scripted, else with the fault that is drawn, else well."""
        try:
            match scripted:
                case reply.Status():
                    await self._refuse(_scripted_refusal(scripted), scripted.body)
                case reply.Frames():
                    await self._raw(scripted)
                case reply.Fault(kind=kind):
                    await self._strike(kind, body)
                case reply.Text(text=text):
                    await self._good(self._work(body, text))
                case reply.Normal():
                    await self._by_lot(body)
        except Refused as refused:
            await self._refuse(refused.refusal)

    async def _by_lot(self, body: Body) -> None:
        kind = faults.draw(self._options.faults, self._rng)
        if kind is None or (kind == "burst" and WAIT_HEADER in self._exchange.headers):
            await self._good(self._work(body))
        else:
            await self._strike(kind, body)

    def _work(self, body: Body, text: str | None = None) -> Work:
        """Let the request in, and compose its reply.

        Raises:
            Refused: bad key, over quota, or anything wrong with the request.
        """
        self._check_key()
        if body is None:
            message = "Required body invalid, please check the request body format."
            raise refusal.invalid(message)
        self._check_quota(body)
        work = self._compose(body, text)
        self._quota.spend(work.chat.model.name, work.prompt.total, time.monotonic())
        return work

    def _compose(self, body: Mapping[str, object], text: str | None) -> Work:
        oss_allowed = self._exchange.headers.get(OSS_HEADER, "").lower() == "enable"
        return compose(body, self._uid, text=text, oss_allowed=oss_allowed)

    def _check_key(self) -> None:
        scheme, _, key = self._exchange.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Refused(refusal.NO_KEY)
        wanted = self._options.api_key
        if not (key.startswith("sk-") if wanted is None else key == wanted):
            raise Refused(refusal.BAD_KEY)

    def _check_quota(self, body: Mapping[str, object]) -> None:
        model, now_s = find_model(body).name, time.monotonic()
        if not self._quota.request_fits(model, now_s):
            raise Refused(refusal.RATE)
        if not self._quota.tokens_fit(model, now_s):
            raise Refused(refusal.QUOTA)

    async def _refuse(self, refused: Refusal, body: bytes | None = None) -> None:
        self._outcome.refused = refused.code or str(refused.status)
        headers = {**(EVENTS if refused.framed else JSON), **self._ids()}
        if refused.retry_after_s is not None:
            headers["retry-after"] = f"{refused.retry_after_s:g}"
        whole = refused.body(self._uid) if body is None else body
        await self._exchange.respond(refused.status, headers, whole)

    async def _strike(self, kind: str, body: Body) -> None:
        if kind in faults.IN_REPLY:
            work = self._work(body)
            self._note_fault(kind)
            await self._good(work, kind)
        else:
            self._note_fault(kind)
            await self._fail_at_the_door(kind)

    async def _fail_at_the_door(self, kind: str) -> None:
        """Answer with a fault that comes before all checks of the request."""
        if kind in faults.REFUSALS:
            await self._refuse(faults.REFUSALS[kind])
        elif kind in faults.PAGES:
            status, content_type, page = faults.PAGES[kind]
            await self._exchange.respond(status, {"content-type": content_type}, page)
        elif kind in faults.SILENT:
            await self._send(faults.SILENT[kind])
        elif kind == "reset":
            await self._exchange.reset()
        else:
            await self._exchange.wait_until_gone()

    def _note_fault(self, kind: str) -> None:
        self._outcome.fault = kind
        self._outcome.count()  # now: a stall has no end at which it could be counted

    async def _good(self, work: Work, fault: str | None = None) -> None:
        if self._options.first_chunk_s:
            await asyncio.sleep(self._options.first_chunk_s)
        if fault == "partial_response":
            work = replace(work, said=work.said.beginning())
        if work.chat.stream:
            await self._stream(work, fault)
        elif fault in faults.MID_STREAM:
            raise Refused(refusal.INTERNAL)
        else:
            body = msgspec.json.encode(work.completion())
            self._outcome.succeeded = True
            await self._exchange.respond(200, {**JSON, **self._headers()}, body)
        self._quota.spend(work.chat.model.name, work.said.tokens, time.monotonic())

    async def _stream(self, work: Work, fault: str | None) -> None:
        stream = work.stream(self._form)
        error = refusal.INTERNAL
        if work.forbidden:
            fault, error = "in_band_error", refusal.inspection_failed("Output")
            self._outcome.refused = error.code
        if fault in faults.MID_STREAM:
            members = error.members(self._uid)
            frames, end = faults.damaged(stream, fault, self._rng, members)
            await self._send(frames, end)
        else:
            await self._send(stream.frames, partial=fault == "partial_response")

    async def _send(
        self, frames: tuple[Frame, ...], end: reply.End = "close", *, partial: bool = False
    ) -> None:
        mark = {"x-dashscope-partialresponse": "true"} if partial else {}
        await self._exchange.start(200, {**EVENTS, **self._headers(), **mark})
        if self._options.shuffle_keys:
            frames = tuple(shuffled(frame, self._rng) for frame in frames)
        writes = plan(frames, self._options, self._rng)
        self._outcome.succeeded = True  # for now: it is counted before its last byte goes out
        self._outcome.succeeded = await deliver(self._exchange, writes, end)

    async def _raw(self, scripted: reply.Frames) -> None:
        await self._exchange.start(200, {**EVENTS, **self._headers()})
        self._outcome.scripted = True
        self._outcome.count()
        await deliver(self._exchange, map(Write, scripted.writes), scripted.end)

    def _ids(self) -> dict[str, str]:
        return {"x-request-id": self._uid}

    def _headers(self) -> dict[str, str]:
        """What was seen on recorded replies of Feb 2026; the request id under its likely name."""
        arrived_ms, now_ms = int(self._arrived_s * 1000), int(time.time() * 1000)
        return {
            **self._ids(),
            "req-arrive-time": str(arrived_ms),
            "req-cost-time": str(now_ms - arrived_ms),
            "resp-start-time": str(now_ms),
            "server": "istio-envoy",
            "vary": "Origin",
            "x-dashscope-call-gateway": "true",
            "x-envoy-upstream-service-time": str(now_ms - arrived_ms),
        }


def _scripted_refusal(scripted: reply.Status) -> Refusal:
    usual = refusal.usual(scripted.status, scripted.code)
    message = usual.message if scripted.message is None else scripted.message
    return replace(usual, message=message, retry_after_s=scripted.retry_after_s)
