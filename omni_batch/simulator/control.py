"""Scripting over HTTP, for tests that run in another process than the simulator."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections import deque
from collections.abc import Mapping
from typing import Protocol

import msgspec

from omni_batch.simulator.books import Books
from omni_batch.simulator.exchange import Exchange
from omni_batch.simulator.options import SimulatorOptions
from omni_batch.simulator.reply import Reply, from_json

PATH = "/simulator/"
_JSON = {"content-type": "application/json"}


class Scripted(Protocol):
    """What is scripted, counted and changed."""

    books: Books
    script: deque[Reply]

    @property
    def options(self) -> SimulatorOptions:
        """The options in force."""

    def change(self, changes: Mapping[str, object]) -> None:
        """Take other options from the next request on."""


async def answer(exchange: Exchange, scripted: Scripted) -> None:
    """Answer a request under `PATH`; only for clients on the same machine."""
    status = 403
    told: dict[str, object] = {"error": "only clients on this machine may do this"}
    body = await exchange.read_body()
    if _is_local(exchange.client_host):
        try:
            status, told = 200, _do(exchange, body, scripted)
        except (ValueError, KeyError, TypeError) as error:
            status, told = 400, {"error": str(error)}
    await exchange.respond(status, _JSON, msgspec.json.encode(told))


def _do(exchange: Exchange, body: bytes, scripted: Scripted) -> dict[str, object]:
    match exchange.method, exchange.path.removeprefix(PATH):
        case "POST", "script":
            scripted.script.extend([from_json(reply) for reply in _listed(body)])
        case "DELETE", "script":
            scripted.script.clear()
        case "POST", "options":
            scripted.change(_object(body))
        case "GET", "options":
            return {**scripted.options.members(), "api_key": None}
        case "GET", "counters":
            return dataclasses.asdict(scripted.books.counters)
        case method, path:
            raise ValueError(f"{method} {PATH}{path} is nothing that can be done")
    return {"waiting": len(scripted.script)}


def _listed(body: bytes) -> list[dict[str, object]]:
    return msgspec.json.decode(body, type=list[dict[str, object]])


def _object(body: bytes) -> dict[str, object]:
    return msgspec.json.decode(body, type=dict[str, object])


def _is_local(host: str) -> bool:
    try:
        # A socket that takes IPv4 and IPv6 shows IPv4 clients in this form.
        return ipaddress.ip_address(host.removeprefix("::ffff:")).is_loopback
    except ValueError:
        return False
