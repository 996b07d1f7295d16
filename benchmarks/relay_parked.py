"""Memory of the relay for each connection that a server has parked there, plain and over TLS."""

import datetime
import resource
import secrets
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from benchmarks.relay_peers import dialled, free_port, resident
from wavesync.identity.system import SystemCredentials
from wavesync.signalling.proved import Prover
from wavesync.signalling.relay_urls import Relay
from wavesync.signalling.relay_wire import RelayRequest, RequestKind

__all__ = ["parked_kb"]

_SETTINGS = """
name = "localhost"
listen = ["127.0.0.1:{plain}"]
tls_listen = ["127.0.0.1:{tls}"]
certificate = "{directory}/relay.pem"
key = "{directory}/relay.pem"
keep_alive = 600.0
[limits]
connections_per_host = 20000
heads = 20000
check_rate = 1000000.0
check_burst = 1000000.0
"""
_EACH = 7
"""Connections that a server parks."""


def _write_certificate(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(today - datetime.timedelta(days=1))
    made = builder.not_valid_after(today + datetime.timedelta(days=1)).sign(key, SHA256())
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    text = key.private_bytes(pem, private, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(pem) + text)


def _requests(system: SystemCredentials, count: int) -> Iterator[bytes]:
    """Requests to park, of as many servers as it takes; each is good for half a minute."""
    relay = Relay("localhost", 3356, False)
    for start in range(0, count, _EACH):
        server = system.add_server(now=time.time())
        for _ in range(min(_EACH, count - start)):
            request = RelayRequest(RequestKind.PARK, server.target, secrets.token_hex(16))
            yield request.encode(relay, Prover(server, "localhost", time.time()))


def _park(port: int, request: bytes, context: ssl.SSLContext | None) -> socket.socket:
    end = socket.create_connection(("127.0.0.1", port))
    if context is not None:
        end = context.wrap_socket(end)
    end.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        received = end.recv(4096)
        if not received:
            break
        answer += received
    if not answer.startswith(b"HTTP/1.1 101 "):
        raise SystemExit(f"the relay answered {answer[:80]!r}")
    return end


def parked_kb(count: int, directory: Path, *, tls: bool) -> float:
    """Park connections at a relay of its own.

    :param count: how many.
    :param directory: for its files.
    :return: kilobytes that its process grew by, for each.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    ports = {"plain": free_port(), "tls": free_port()}
    _write_certificate(directory / "relay.pem")
    settings = directory / "relay.toml"
    settings.write_text(_SETTINGS.format(directory=directory, **ports))
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    command = [sys.executable, "-m", "twisted", "--log-level=critical"]
    command += ["wavesync-relay", "--config", str(settings)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = ports["tls" if tls else "plain"]
        dialled(port).close()
        system = SystemCredentials.create(())
        ends = [_park(port, request, context) for request in _requests(system, _EACH)]
        before = resident(process.pid)
        ends += [_park(port, request, context) for request in _requests(system, count)]
        grown = resident(process.pid) - before
        for end in ends:
            end.close()
    finally:
        process.kill()
        process.wait()
    return grown / count / 1024
