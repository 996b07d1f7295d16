"""Things in the way that answer in the server's place, or cut: ``python -m tests.lab.rude_proxy --help``.

A proxy with a page of its own for everything, a captive portal, a proxy that opens TLS with an authority of
its own, and one that cuts each connection after some seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

_PAGE = "<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
_MAX = 1 << 16
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Rude:
    """One of them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._what = options.what
        self._seconds = options.seconds
        self._log = Path(options.log)
        self._page: bytes
        if options.what == "portal":
            body = _PAGE.format(title="Please sign in")
            head = "HTTP/1.1 302 Found\r\nLocation: http://portal.test/sign-in\r\n"
        else:
            body = _PAGE.format(title="Blocked by the network policy")
            head = f"HTTP/1.1 {options.status}\r\nServer: gatekeeper\r\n"
        head += (
            f"Content-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self._page = (head + body).encode()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if options.certificate:
            self._context.load_cert_chain(options.certificate)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection, and leave nothing of it."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(self._seconds or None):
                await self._serve(reader, writer)
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(1)
        if not head.isalpha():
            return  # no HTTP
        head += await reader.readuntil(b"\r\n\r\n")
        verb, target = head.decode("latin-1").split(" ", 2)[:2]
        with self._log.open("a") as log:
            log.write(f"{verb} {target}\n")
        if self._what in ("page", "portal") or (self._what == "intercept" and verb != "CONNECT"):
            writer.write(self._page)
            await writer.drain()
            await asyncio.sleep(0.5)
            return
        place = urlsplit(target if verb != "CONNECT" else f"//{target}")
        intercepts = self._what == "intercept"
        trusting = ssl._create_unverified_context() if intercepts else None
        upstream = await asyncio.open_connection(place.hostname, place.port or 80, ssl=trusting)
        try:
            if verb == "CONNECT":
                writer.write(b"HTTP/1.1 200 Here you are\r\n\r\n")
                if intercepts:
                    await writer.start_tls(self._context)
            else:
                upstream[1].write(head)  # servers take targets in absolute form, too
            await self._join((reader, writer), upstream)
        finally:
            upstream[1].transport.abort()

    async def _join(self, one: _Streams, other: _Streams) -> None:
        async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(_MAX):
                writer.write(data)
                await writer.drain()

        copies = [copy(one[0], other[1]), copy(other[0], one[1])]
        tasks = [asyncio.ensure_future(each) for each in copies]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _main(options: argparse.Namespace) -> None:
    server = await asyncio.start_server(_Rude(options).serve, options.address, options.port)
    await server.serve_forever()


def _parsed(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.rude_proxy", description=__doc__)
    parser.add_argument("what", choices=("page", "portal", "intercept", "cut"))
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("log", help="gets a line for each request")
    parser.add_argument("--status", default="403 Forbidden", help="of the page")
    parser.add_argument("--seconds", type=float, help="that a connection lasts")
    parser.add_argument(
        "--certificate", help="PEM, with its key, good for every host that is asked for"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    asyncio.run(_main(_parsed(sys.argv[1:])))
