"""Credentials: all that a server or a client needs to show who it is and to know its system.

One file a role: a TOML head with the mediators, the private key, its certificate and the system's
certificate.  :class:`wavesync.identity.system.SystemCredentials` makes them.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from wavesync.errors import NotAllowed, SettingsError
from wavesync.identity.certificates import system_certificate_body
from wavesync.identity.files import (
    Contents,
    check_label,
    check_mediators,
    check_relays,
    read_certificate,
    read_file,
    render,
    write_file,
)
from wavesync.identity.ids import Target
from wavesync.identity.keys import load_private_key, private_key_pem, raw_public_key
from wavesync.identity.verify import Leaf, Peer, Role, VerificationError, read_leaf

__all__ = ["Credentials", "read_system_certificate"]


@dataclass(frozen=True)
class Credentials:
    """A server's or client's key, certificate and system.

    :ivar role: server or client.
    :ivar private_key: its Ed25519 key.
    :ivar certificate: its certificate.
    :ivar system_certificate: the system's certificate, the trust anchor for TLS.
    :ivar mediators: URLs or host names of the mediators, the preferred first.
    :ivar label: what people call the server; empty for a client.
    :ivar relays: URLs of relays, beside those that the mediators name.
    """

    role: Role
    private_key: Ed25519PrivateKey
    certificate: x509.Certificate
    system_certificate: x509.Certificate
    mediators: tuple[str, ...] = ()
    label: str = ""
    relays: tuple[str, ...] = ()

    @cached_property
    def system_key(self) -> Ed25519PublicKey:
        """The system's public key: everything that is trusted is trusted because of it."""
        key = self.system_certificate.public_key()
        assert isinstance(key, Ed25519PublicKey)  # the constructor's caller has checked
        return key

    @cached_property
    def system_key_bytes(self) -> bytes:
        """The system's public key, 32 raw bytes."""
        return raw_public_key(self.system_key)

    @cached_property
    def certificate_der(self) -> bytes:
        """The own certificate's DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @cached_property
    def leaf(self) -> Leaf:
        """The own certificate taken apart: names, serial number, validity."""
        return read_leaf(self.certificate_der, self.system_key_bytes)

    @property
    def peer(self) -> Peer:
        """Oneself as others see one after verifying the certificate."""
        return self.leaf.peer

    @property
    def system(self) -> str:
        """Id of the system."""
        return self.peer.system

    @property
    def server(self) -> str | None:
        """Id of the server; None for a client."""
        return self.peer.server

    @property
    def name(self) -> str | None:
        """Name of the client; None for a server."""
        return self.peer.name

    @property
    def target(self) -> Target:
        """What to ask for: this server, or for a client any server of its system."""
        return Target(self.system, self.server)

    def check(self, now: float | None) -> None:
        """Refuse credentials that cannot work.

        :param now: seconds since the epoch; None leaves the time of validity out.
        :raises NotAllowed: when the certificate is not valid now, not of the system, or not of
            the key.
        """
        try:
            leaf = self.leaf
            leaf.check(role=self.role, at=leaf.not_before if now is None else now)
        except VerificationError as error:
            raise NotAllowed(str(error)) from error
        if raw_public_key(leaf.public_key) != raw_public_key(self.private_key):
            raise NotAllowed("the private key does not belong to the certificate.")

    def save(self, path: Path | str, *, force: bool = False) -> None:
        """Write the file, mode 0600.

        :param force: replace a file that is there.
        :raises SettingsError: when there is one and *force* is false, or it cannot be written.
        """
        peer = self.peer
        head: dict[str, str | int | list[str]] = {"version": 1, "role": self.role.value}
        head["system"] = peer.system
        if peer.server is not None:
            head["server"] = peer.server
        if peer.name is not None:
            head["name"] = peer.name
        if self.label:
            head["label"] = self.label
        head["mediators"] = list(self.mediators)
        if self.relays:
            head["relays"] = list(self.relays)
        blocks = [
            private_key_pem(self.private_key),
            self.certificate.public_bytes(Encoding.PEM).decode("ascii"),
            self.system_certificate.public_bytes(Encoding.PEM).decode("ascii"),
        ]
        comment = f"wavesync: credentials of a {self.role.value}. Keep this file secret."
        write_file(Path(path), render(comment, head, blocks), force=force)

    @classmethod
    def load(cls, path: Path | str, *, now: float | None) -> "Credentials":
        """Read the file and check all of it.

        :param now: seconds since the epoch, at which the certificate has to be valid; None reads
            expired credentials too, to show them.
        :raises SettingsError: when the file is missing, unreadable, too open, or malformed.
        :raises NotAllowed: when the key, the certificate and the system do not belong together,
            or the certificate is not valid now.
        """
        path = Path(path)
        contents = read_file(path)
        try:
            credentials = cls._from_contents(contents)
            credentials.check(now)
            _compare_head(contents, credentials.peer)
        except (NotAllowed, SettingsError) as error:
            raise type(error)(f"{path} cannot be used: {error}") from error
        return credentials

    @classmethod
    def _from_contents(cls, contents: Contents) -> "Credentials":
        try:
            role = Role(contents.text("role"))
        except ValueError:
            raise SettingsError("it is not a server's or client's credentials.") from None
        return cls(
            role=role,
            private_key=load_private_key(contents.pem("PRIVATE KEY")),
            certificate=read_certificate(contents.pem("CERTIFICATE")),
            system_certificate=read_system_certificate(contents.pem("CERTIFICATE", 1)),
            mediators=check_mediators(contents.texts("mediators")),
            label=check_label(contents.text("label")) if "label" in contents.head else "",
            relays=check_relays(contents.texts("relays")),
        )


def read_system_certificate(pem: str) -> x509.Certificate:
    """Read a system's certificate, accepting only the one that its key gives.

    :raises SettingsError: when it is damaged.
    :raises NotAllowed: when it is not a system's certificate.
    """
    certificate = read_certificate(pem)
    try:
        key = certificate.public_key()
        if isinstance(key, Ed25519PublicKey):
            key.verify(certificate.signature, system_certificate_body(key))
            if certificate.tbs_certificate_bytes == system_certificate_body(key):
                return certificate
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        pass
    raise NotAllowed("the system's certificate in it is not a system's certificate.")


def _compare_head(contents: Contents, peer: Peer) -> None:
    """Refuse a head that names somebody else than the certificate does."""
    said = {key: contents.head.get(key) for key in ("system", "server", "name")}
    if said != {"system": peer.system, "server": peer.server, "name": peer.name}:
        raise NotAllowed("its head does not name whom its certificate names.")
