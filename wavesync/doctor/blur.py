"""Blurs addresses in a report: the same address gets the same pseudonym, everywhere in it."""

import ipaddress
import re
from typing import Any

__all__ = ["Blur"]

_IPV4 = r"\d{1,3}(?:\.\d{1,3}){3}"
_IPV6 = r"(?<![0-9A-Za-z:])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:" + _IPV4 + r"|[0-9A-Fa-f]{0,4})"
_ADDRESS = re.compile(f"{_IPV6}|{_IPV4}")


class Blur:
    """Replaces addresses in texts.

    :param keep_prefix: leave the first two bytes of public IPv4 addresses, and the first four of IPv6
        ones, which tell the provider.
    """

    def __init__(self, *, keep_prefix: bool = False) -> None:
        self._keep_prefix = keep_prefix
        self._names: dict[str, str] = {}

    def text(self, text: str) -> str:
        """Blur one text."""
        return _ADDRESS.sub(self._blurred, text)

    def data(self, value: Any) -> Any:
        """Blur all texts in plain data, the names of entries included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.data(key): self.data(each) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(each) for each in value]
        return value

    def _blurred(self, found: re.Match[str]) -> str:
        try:
            address = ipaddress.ip_address(found[0])
        except ValueError:
            return found[0]
        key = str(address)
        if key not in self._names:
            self._names[key] = self._name(address)
        return self._names[key]

    def _name(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
        number = len(self._names) + 1
        if address.is_loopback:
            return f"loopback-{number}"
        kind = "private" if address.is_private else "public"
        if self._keep_prefix and kind == "public":
            width = 2 if address.version == 4 else 4
            kept = address.packed[:width]
            start = ".".join(map(str, kept)) if address.version == 4 else kept.hex(":", 2)
            return f"{start}.x-{number}" if address.version == 4 else f"{start}::x-{number}"
        return f"{kind}-ipv{address.version}-{number}"
