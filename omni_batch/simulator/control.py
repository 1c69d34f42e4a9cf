"""Scripting over HTTP, for tests that run in another process than the simulator."""

import dataclasses
import ipaddress

import msgspec

from omni_batch.simulator.api.exchange import Exchange
from omni_batch.simulator.api.service import Service
from omni_batch.simulator.reply import from_json

PATH = "/simulator/"


async def answer(exchange: Exchange, service: Service) -> None:
    """Answer a request under `PATH`; only for clients on the same machine."""
    body = await exchange.body()
    if not is_local(exchange.client_host):
        await exchange.respond_json(403, {"error": "only clients on this machine may do this"})
        return
    try:
        await exchange.respond_json(200, _do(exchange, body, service))
    except (ValueError, KeyError, TypeError) as error:
        await exchange.respond_json(400, {"error": str(error)})


def _do(exchange: Exchange, body: bytes, service: Service) -> dict[str, object]:
    match exchange.method, exchange.path.removeprefix(PATH):
        case "POST", "script":
            listed = msgspec.json.decode(body, type=list[dict[str, object]])
            service.script.extend([from_json(reply) for reply in listed])
        case "DELETE", "script":
            service.script.clear()
        case "POST", "options":
            service.change(msgspec.json.decode(body, type=dict[str, object]))
        case "GET", "options":
            return {**service.options.members(), "api_key": None}
        case "GET", "counters":
            return dataclasses.asdict(service.metrics.counters)
        case method, path:
            raise ValueError(f"{method} {PATH}{path} is unknown")
    return {"waiting": len(service.script)}


def is_local(host: str) -> bool:
    """Whether a client's address is this machine's own."""
    try:
        # A socket that takes IPv4 and IPv6 shows IPv4 clients in this form.
        return ipaddress.ip_address(host.removeprefix("::ffff:")).is_loopback
    except ValueError:
        return False
