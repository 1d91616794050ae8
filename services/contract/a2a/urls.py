"""Which addresses a request may lead us to: checked after name resolution, and connected to exactly as checked."""

from __future__ import annotations

import asyncio
import errno
import fnmatch
import ipaddress
import socket
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

METADATA_NETWORKS: Final = (ipaddress.ip_network("169.254.0.0/16"), ipaddress.ip_network("fd00:ec2::254/128"))
"""Where clouds keep credentials of the machine; never an agent."""

TRANSLATED: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""NAT64, RFC 6052."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, kw_only=True, slots=True)
class UrlPolicy:
    """`any`, `public` addresses only, or a list of `host[:port]` patterns. Metadata addresses are denied by each."""

    kind: Literal["any", "public", "list"] = "any"
    patterns: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> UrlPolicy:
        """Read `any`, `public` or `host[:port],...`; `*` in a host stands for anything. Raises ValueError when empty."""
        if text == "any":
            return cls(kind="any")
        if text == "public":
            return cls(kind="public")
        patterns = tuple(item.strip().lower() for item in text.split(",") if item.strip())
        if not patterns:
            raise ValueError(f"expected any, public or a list of host[:port], got {text!r}")
        return cls(kind="list", patterns=patterns)

    def url_fault(self, url: str) -> str | None:
        """Why this URL is not used, judged without the network, or None."""
        try:
            parts = URL(url)
            # As the connection will have it: `①②⑦.0.0.1` is an address too.
            host, port = (parts.raw_host or "").lower(), parts.port or 0
            has_user_info = "@" in urlsplit(url).netloc
        except ValueError as error:
            return f"{url!r} is not a URL ({error})"
        if parts.scheme not in {"http", "https"} or not host:
            return f"expected an http or https URL, got {url!r}"
        if has_user_info:
            return "a URL with user info is not used"
        if self.kind == "list" and not any(_matches(pattern, host, port) for pattern in self.patterns):
            return f"{host}:{port} is not among the allowed {', '.join(self.patterns)}"
        literal = _address(host)
        return None if literal is None else self.address_fault(str(literal))

    def address_fault(self, address: str) -> str | None:
        """Why this resolved address is not connected to, or None."""
        parsed = _address(address)
        if parsed is None:
            return f"{address!r} is not an address"
        plain = _carried(parsed)
        if any(plain.version == network.version and plain in network for network in METADATA_NETWORKS):
            return f"{address} is a metadata address"
        if self.kind == "public" and (not plain.is_global or plain.is_multicast):
            return f"{address} is not a public address"
        return None


async def refusal(url: str, policy: UrlPolicy) -> str | None:
    """Why a URL of a request is refused, name resolved, or None. A name that does not resolve is left to the connection."""
    if fault := policy.url_fault(url):
        return fault
    parts = URL(url)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(parts.raw_host, parts.port, type=socket.SOCK_STREAM)
    except OSError:
        return None
    except UnicodeError as error:
        return f"{parts.host!r} is not a host name ({error})"
    return next((fault for *_, address in found if (fault := policy.address_fault(str(address[0])))), None)


class CheckedResolver(AbstractResolver):
    """Resolves for aiohttp and refuses the name when any of its addresses is denied."""

    def __init__(self, policy: UrlPolicy) -> None:
        self._policy = policy
        self._system = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Every address of the host, all allowed. Raises OSError otherwise."""
        found = await self._system.resolve(host, port, family)
        for entry in found:
            if fault := self._policy.address_fault(entry["host"]):
                raise PermissionError(errno.EACCES, f"{host}: {fault}")
        return found

    async def close(self) -> None:
        """Nothing is held."""
        await self._system.close()


def _matches(pattern: str, host: str, port: int) -> bool:
    wanted_host, colon, wanted_port = pattern.rpartition(":")
    if colon and wanted_port.isdigit():
        return fnmatch.fnmatchcase(host, wanted_host.strip("[]")) and int(wanted_port) == port
    return fnmatch.fnmatchcase(host, pattern.strip("[]"))


def _carried(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to: mapped, or through a translator of the network."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    translated = ipaddress.IPv4Address(address.packed[-4:]) if address in TRANSLATED else None
    return address.ipv4_mapped or address.sixtofour or translated or address


def _address(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
