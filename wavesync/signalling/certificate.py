"""A mediator's or relay's certificate, as files have it, and the newer one that is put in its place."""

import os
import stat
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import X509, PKey
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.logger import Logger
from zope.interface import implementer

from wavesync.errors import SettingsError
from wavesync.identity.files import open_at_once

__all__ = ["LOOK_INTERVAL", "HostCertificate"]

LOOK_INTERVAL = 1.0
"""Seconds between looks at the files; they are read when they have stayed as they are for so long."""

_MAX_FILE = 1 << 20

_Seen = tuple[int, ...] | None


@implementer(IOpenSSLContextFactory)
class HostCertificate:
    """A host's certificate, with those that lead from it to a root, and its key.

    Whoever renews it replaces the files.  Connections that there are keep the one they began with.

    :param certificate: a PEM file; the host's own certificate first.
    :param key: a PEM file, without a passphrase.
    :raises SettingsError: with a sentence that names the file.
    :ivar not_after: when the certificate expires, seconds since the epoch.
    """

    log = Logger()

    def __init__(self, certificate: str, key: str) -> None:
        self._paths = certificate, key
        self._taken = self._before = self._look_at_files()
        self.not_after, self._context = _load(certificate, key)

    def getContext(self) -> SSL.Context:
        """Give what new connections use (IOpenSSLContextFactory)."""
        return self._context

    def look(self) -> None:
        """Look whether the files were replaced; call this every :data:`LOOK_INTERVAL`.

        Two files cannot be replaced at once: nothing is read while they change.
        """
        seen, before = self._look_at_files(), self._before
        self._before = seen
        if seen == self._taken or seen != before:
            return
        self._taken = seen
        try:
            self.not_after, self._context = _load(*self._paths)
        except SettingsError as error:
            self.log.warn(
                "the new certificate is not taken, the old one is good until {until}: {why}",
                until=_day(self.not_after),
                why=str(error),
            )
        else:
            self.log.info(
                "a new certificate is taken, good until {until}", until=_day(self.not_after)
            )

    def _look_at_files(self) -> tuple[_Seen, ...]:
        return tuple(_look_at(path) for path in self._paths)


def _load(certificate: str, key: str) -> tuple[float, SSL.Context]:
    """Read both files."""
    try:
        chain = x509.load_pem_x509_certificates(_read(certificate))
    except ValueError:
        raise SettingsError(f"{certificate} holds no certificate in PEM form") from None
    try:
        private = load_pem_private_key(_read(key), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise SettingsError(f"{key} holds no key in PEM form, without a passphrase") from None
    own, *others = [X509.from_cryptography(each) for each in chain]
    try:
        options = CertificateOptions(
            privateKey=PKey.from_cryptography_key(private),  # type: ignore[arg-type]
            certificate=own,
            extraCertChain=others,
            raiseMinimumTo=TLSVersion.TLSv1_2,
        )
        context: SSL.Context = options.getContext()
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # idle connections have none
    except (SSL.Error, TypeError) as error:
        raise SettingsError(f"{key} is not the key of {certificate}") from error
    return chain[0].not_valid_after_utc.timestamp(), context


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", opener=open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise SettingsError(f"{path} is not a regular file")
            return file.read(_MAX_FILE)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from None


def _look_at(path: str) -> _Seen:
    """What changes when a file does, or who may read it; None when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_dev, status.st_ino


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
