"""The system's own credentials: the key that is kept offline and makes all others."""

from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from wavesync.errors import NotAllowed, SettingsError
from wavesync.identity.certificates import (
    DEFAULT_DAYS,
    make_client_certificate,
    make_server_certificate,
    make_system_certificate,
)
from wavesync.identity.credentials import Credentials, read_system_certificate
from wavesync.identity.files import (
    check_label,
    check_mediators,
    check_relays,
    read_file,
    render,
    write_file,
)
from wavesync.identity.ids import new_id, parse_id, system_id
from wavesync.identity.keys import (
    is_encrypted,
    load_private_key,
    new_private_key,
    private_key_pem,
)
from wavesync.identity.verify import Role

__all__ = ["SystemCredentials", "SystemFile"]


@dataclass(frozen=True)
class SystemCredentials:
    """A system's private key, from which servers and clients get theirs certified.

    :ivar private_key: the system's key.
    :ivar mediators: the mediators that are written into the credentials made from it.
    :ivar relays: the same of the relays.
    """

    private_key: Ed25519PrivateKey
    mediators: tuple[str, ...] = ()
    relays: tuple[str, ...] = ()

    @classmethod
    def create(
        cls, mediators: tuple[str, ...] = (), relays: tuple[str, ...] = ()
    ) -> "SystemCredentials":
        """Found a new system.

        :raises SettingsError: when *mediators* or *relays* are none.
        """
        return cls(new_private_key(), check_mediators(mediators), check_relays(relays))

    @property
    def system(self) -> str:
        """Id of the system."""
        return system_id(self.private_key.public_key())

    @property
    def certificate(self) -> x509.Certificate:
        """The system's self-signed certificate."""
        return make_system_certificate(self.private_key)

    def add_server(
        self,
        *,
        now: float,
        server_id: str | None = None,
        label: str = "",
        days: int = DEFAULT_DAYS,
        mediators: tuple[str, ...] | None = None,
        relays: tuple[str, ...] | None = None,
    ) -> Credentials:
        """Make credentials, with a new key, for a server.

        :param now: seconds since the epoch.
        :param server_id: the id of the server whose key is to be replaced; a new one when None.
        :param label: what people call it.
        :param days: how long the certificate is valid.
        :param mediators: instead of the system's.
        :param relays: instead of the system's.
        :raises SettingsError: when a parameter cannot be used.
        """
        key = new_private_key()
        server = new_id() if server_id is None else parse_id(server_id)
        certificate = make_server_certificate(
            self.private_key, key.public_key(), server, now=now, days=days
        )
        return self._credentials(
            Role.SERVER, key, certificate, mediators, check_label(label), relays
        )

    def add_client(
        self,
        name: str,
        *,
        now: float,
        days: int = DEFAULT_DAYS,
        mediators: tuple[str, ...] | None = None,
        relays: tuple[str, ...] | None = None,
    ) -> Credentials:
        """Make credentials, with a new key, for a client; parameters as for :meth:`add_server`.

        :param name: the client's name.
        :raises SettingsError: when a parameter cannot be used.
        """
        key = new_private_key()
        certificate = make_client_certificate(
            self.private_key, key.public_key(), name, now=now, days=days
        )
        return self._credentials(Role.CLIENT, key, certificate, mediators, "", relays)

    def _credentials(
        self,
        role: Role,
        key: Ed25519PrivateKey,
        certificate: x509.Certificate,
        mediators: tuple[str, ...] | None,
        label: str,
        relays: tuple[str, ...] | None,
    ) -> Credentials:
        mediators = self.mediators if mediators is None else check_mediators(mediators)
        relays = self.relays if relays is None else check_relays(relays)
        return Credentials(role, key, certificate, self.certificate, mediators, label, relays)

    def save(
        self, path: Path | str, *, passphrase: bytes | None = None, force: bool = False
    ) -> None:
        """Write the file, mode 0600.

        :param passphrase: encrypt the key under it.
        :param force: replace a file that is there.
        :raises SettingsError: when there is one and *force* is false, or it cannot be written.
        """
        head: dict[str, str | int | list[str]] = {
            "version": 1,
            "role": "system",
            "system": self.system,
            "mediators": list(self.mediators),
        }
        if self.relays:
            head["relays"] = list(self.relays)
        blocks = [
            private_key_pem(self.private_key, passphrase),
            self.certificate.public_bytes(Encoding.PEM).decode("ascii"),
        ]
        comment = "wavesync: the key of a whole system. Keep this file secret, and offline."
        write_file(Path(path), render(comment, head, blocks), force=force)


@dataclass(frozen=True)
class SystemFile:
    """A system's file as it can be read without its passphrase.

    :ivar path: where it was read.
    :ivar system: id of the system.
    :ivar certificate: the system's certificate.
    :ivar mediators: the mediators it names.
    :ivar relays: the relays it names.
    :ivar encrypted: whether :meth:`unlock` needs a passphrase.
    """

    path: Path
    system: str
    certificate: x509.Certificate
    mediators: tuple[str, ...]
    relays: tuple[str, ...]
    encrypted: bool
    _key: str = field(repr=False)

    @property
    def public_key(self) -> Ed25519PublicKey:
        """The system's public key."""
        key = self.certificate.public_key()
        assert isinstance(key, Ed25519PublicKey)  # checked when it was read
        return key

    @classmethod
    def load(cls, path: Path | str) -> "SystemFile":
        """Read the file.

        :raises SettingsError: when it is missing, unreadable, too open, or malformed.
        :raises NotAllowed: when its certificate and head do not belong together.
        """
        path = Path(path)
        contents = read_file(path)
        try:
            if contents.text("role") != "system":
                raise SettingsError("it is not a system's key file.")
            key = contents.pem("PRIVATE KEY")
            certificate = read_system_certificate(contents.pem("CERTIFICATE"))
            system = f"{certificate.serial_number:032x}"
            if contents.text("system") != system:
                raise NotAllowed("its head does not name the system of its certificate.")
            mediators = check_mediators(contents.texts("mediators"))
            relays = check_relays(contents.texts("relays"))
        except (NotAllowed, SettingsError) as error:
            raise type(error)(f"{path} cannot be used: {error}") from error
        return cls(path, system, certificate, mediators, relays, is_encrypted(key), key)

    def unlock(self, passphrase: bytes | None = None) -> SystemCredentials:
        """Get at the system's key.

        :raises NotAllowed: when the passphrase is missing or wrong, or the key is not the one of
            the certificate.
        :raises SettingsError: when the key is damaged.
        """
        try:
            key = load_private_key(self._key, passphrase)
            credentials = SystemCredentials(key, self.mediators, self.relays)
            if credentials.system != self.system:
                raise NotAllowed("the private key does not belong to the certificate.")
        except (NotAllowed, SettingsError) as error:
            raise type(error)(f"{self.path} cannot be used: {error}") from error
        return credentials
