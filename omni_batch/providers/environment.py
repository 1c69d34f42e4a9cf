"""What the environment says of the way to a host: proxies, exceptions to them, certificates.

It is written by desktops, container tools and Python distributions, seldom by who runs a batch: so
what is wrong in it is refused by the variable's name before anything is sent, and an exception
that can't be read is passed over.
"""

import os
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import getproxies

from omni_batch.errors import ConfigError

ProxyScheme = Literal["http", "https", "socks5", "socks5h"]
_SCHEMES: dict[str, ProxyScheme] = {
    "http": "http",
    "https": "https",
    "socks": "socks5",  # as browsers read it (Chromium, net/docs/proxy.md); desktops write it
    "socks5": "socks5",
    "socks5h": "socks5h",
}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_THIS_MACHINE = "localhost,127.0.0.1,::1"
_SEPARATORS = re.compile(r"[,;\s]+")
_BRACKETED = re.compile(r"\[([^\]%]+)(?:%[^\]]*)?\](/\d+)?(?::(\d+))?")
_PLAIN_LOGIN = re.compile(r"[\w.~!$&'()*+,;=:%-]*", re.ASCII)  # RFC 3986, userinfo
_NAMED = re.compile(r"([^:/\[\]]+)(?::(\d+))?")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A way to a host. Its login is never shown."""

    variable: str
    """Where it is set, such as HTTPS_PROXY."""
    address: str
    """Scheme, host and port."""
    url: str = field(repr=False)

    def __str__(self) -> str:
        return f"the proxy of {self.variable} ({self.address})"


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies of the environment, by the scheme of the URL that is asked."""

    by_scheme: dict[str, str] = field(repr=False)
    exceptions: tuple[str, ...] = ()

    @classmethod
    def of_environment(cls) -> "Proxies":
        """What is set now, in lower case or upper case, or in the system's settings."""
        found = {scheme: url.strip() for scheme, url in getproxies().items()}
        exceptions = tuple(filter(None, _SEPARATORS.split(found.get("no", ""))))
        schemes = ("http", "https", "all")
        by_scheme = {scheme: found[scheme] for scheme in schemes if found.get(scheme)}
        return cls(by_scheme, exceptions)

    def for_url(self, url: str) -> Proxy | None:
        """The way to a URL; None is the direct one, which loopback addresses always have.

        Raises:
            ConfigError: the variable that holds for the URL names no usable proxy.
        """
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
        scheme = parts.scheme if parts.scheme in self.by_scheme else "all"
        if scheme not in self.by_scheme or is_loopback(host):
            return None
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
        if any(_covers(entry, parts.scheme, host, port) for entry in self.exceptions):
            return None
        return read_proxy(_variable(scheme), self.by_scheme[scheme])


def check_environment(urls: Iterable[str | None]) -> None:
    """Refuse variables that would keep requests to these URLs from being sent.

    Raises:
        ConfigError: names the variable, its value without a login, and what to do.
    """
    proxies = Proxies.of_environment()
    for url in filter(None, urls):
        proxies.for_url(url)
    _check_certificates()


def read_proxy(variable: str, value: str) -> Proxy:
    """The proxy that a variable names.

    Raises:
        ConfigError: it names none that can be used.
    """
    scheme, mark, rest = value.partition("://")
    scheme, rest = (scheme, rest) if mark else ("", value)
    login, _, host = rest.rpartition("@")  # nothing in front of an @ is ever shown
    address = host.partition("/")[0]
    shown = f"{scheme or 'http'}://{address}"
    named = f"{variable} = {f'{scheme}://{address}' if scheme else address}"
    if scheme.lower().startswith("socks4"):
        raise ConfigError(
            f"{named}: SOCKS 4 is not supported; most of its proxies take SOCKS 5 as well: "
            f"set {variable} to socks5://{address}, or unset it"
        )
    known = _SCHEMES.get(scheme.lower() or "http")
    if known is None or not _is_address(address, needs_port=not scheme):
        raise ConfigError(
            f"{named} is not the URL of a proxy; write http://HOST:PORT, or unset {variable}"
        )
    if known.startswith("socks") and find_spec("socksio") is None:
        raise ConfigError(
            f"{named} is a SOCKS proxy, which needs a package that is not installed: "
            f"pip install 'httpx[socks]', or name an HTTP proxy, or unset {variable}"
        )
    if not _PLAIN_LOGIN.fullmatch(login):
        raise ConfigError(f"{named}: percent-encode its login, such as %40 for @")
    return Proxy(variable, shown, f"{known}://{rest}")


def environment_for_httpx() -> dict[str, str]:
    """Proxy variables as httpx can read them, which else fails when a client is made.

    This machine is an exception there too: a server on it is reached without a proxy.
    """
    changed = {
        name: f"socks5{value.strip()[5:]}"
        for name, value in os.environ.items()
        if name.lower().endswith("_proxy") and value.strip().lower().startswith("socks://")
    }
    if Proxies.of_environment().by_scheme:
        names = [name for name in os.environ if name.lower() == "no_proxy"] or ["NO_PROXY"]
        for name in names:
            changed[name] = readable_exceptions(f"{os.environ.get(name, '')},{_THIS_MACHINE}")
    return changed


def check_proxies() -> None:
    """Refuse any proxy that can't be used, whatever it would be used for.

    Raises:
        ConfigError: as for `check_environment`.
    """
    proxies = Proxies.of_environment()
    for scheme, url in proxies.by_scheme.items() if "*" not in proxies.exceptions else ():
        read_proxy(_variable(scheme), url)


def readable_exceptions(value: str) -> str:
    """NO_PROXY as httpx can read it, which fails at networks and brackets of IPv6.

    They are put as URLs, which mean the same here.
    """
    entries = map(_readable, _SEPARATORS.split(value))
    return ",".join(dict.fromkeys(filter(None, entries)))


def _readable(entry: str) -> str:
    scheme, _, place = entry.rpartition("://")
    bracketed = _BRACKETED.fullmatch(place)
    port = f":{bracketed[3]}" if bracketed and bracketed[3] else ""
    try:
        network = ip_network(f"{bracketed[1]}{bracketed[2] or ''}" if bracketed else place, False)
    except ValueError:
        plain = _NAMED.fullmatch(place) and place.isascii() and place.isprintable()
        return entry if plain else ""
    if network.version == 4:
        return entry
    length = "" if network.prefixlen == network.max_prefixlen else f"/{network.prefixlen}"
    return f"{scheme or 'all'}://[{network.network_address}]{port}{length}"


def _is_address(address: str, *, needs_port: bool) -> bool:
    try:
        parts = urlsplit(f"//{address}")
        port, host = parts.port, parts.hostname
        if host and ":" in host:
            IPv6Address(host)
    except ValueError:
        return False
    whole = bool(host) and re.fullmatch(r"[\w.:%-]+", host or "") is not None
    return whole and port != 0 and not (needs_port and port is None)


def _variable(scheme: str) -> str:
    """The name as it is set; the lower case counts where both are."""
    wanted = f"{scheme}_proxy"
    names = [name for name, value in os.environ.items() if value and name.lower() == wanted]
    return max(names, default="the system's proxy settings")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, whatever its name server says."""
    address = _address(host)
    return address.is_loopback if address else host == "localhost" or host.endswith(".localhost")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _covers(entry: str, scheme: str, host: str, port: int | None) -> bool:
    """Whether an entry of NO_PROXY holds for a host; one that nobody can read holds for none."""
    wanted, _, place = entry.lower().rpartition("://")
    if wanted not in ("", "all", scheme):
        return False
    address = _address(host)
    if place == "<local>":  # what Windows writes for hosts of the own domain
        return address is None and "." not in host
    if (covers := _network_covers(place, address, port)) is not None:
        return covers
    if not (named := _NAMED.fullmatch(place)) or named[2] not in (None, str(port)):
        return False
    name = named[1].strip(".")
    if "*" in name:
        return fnmatchcase(host, name) or fnmatchcase(f".{host}", name)
    return host == name or host.endswith(f".{name}")


def _network_covers(
    place: str, address: IPv4Address | IPv6Address | None, port: int | None
) -> bool | None:
    """The same for an address or a network of addresses; None where the entry is neither."""
    bracketed = _BRACKETED.fullmatch(place)
    network, wanted_port = place, None
    if bracketed:
        network, wanted_port = f"{bracketed[1]}{bracketed[2] or ''}", bracketed[3]
    elif place.count(":") == 1:
        network, wanted_port = place.split(":")
    try:
        found = ip_network(network, strict=False)
    except ValueError:
        return None
    return address in found if wanted_port in (None, str(port)) and address else False


def _check_certificates() -> None:
    """SSL_CERT_DIR counts only without SSL_CERT_FILE (httpx)."""
    if file := os.environ.get("SSL_CERT_FILE"):
        _check_file(Path(file))
    elif (folders := os.environ.get("SSL_CERT_DIR")) and not any(
        map(os.path.isdir, folders.split(os.pathsep))
    ):
        raise ConfigError(f"SSL_CERT_DIR = {folders} is not a folder; correct or unset it")
    if log := os.environ.get("SSLKEYLOGFILE"):
        try:
            Path(log).open("ab").close()  # as the first connection would
        except OSError as exc:
            raise ConfigError(
                f"SSLKEYLOGFILE = {log} can't be written: {exc.strerror}; correct or unset it"
            ) from None


def _check_file(file: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=file)
    except OSError as exc:
        reason = "contains no certificate in PEM format"
        if not file.is_file():
            reason = "is not a file" if file.exists() else "does not exist"
        elif isinstance(exc, PermissionError):
            reason = "can't be read: permission denied"
        raise ConfigError(f"SSL_CERT_FILE = {file} {reason}; correct or unset it") from None
