"""A relay's certificate, as files have it."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import X509, PKey
from twisted.internet.ssl import CertificateOptions, TLSVersion

from wavesync.errors import SettingsError

__all__ = ["load_certificate"]

_MAX_FILE = 1 << 20


def load_certificate(certificate: str, key: str) -> CertificateOptions:
    """Read a relay's certificate, with those that lead from it to a root, and its key.

    :param certificate: a PEM file; the relay's own certificate first.
    :param key: a PEM file, without a passphrase.
    :raises SettingsError: with a sentence that names the file.
    """
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
        options.getContext()
    except (SSL.Error, TypeError) as error:
        raise SettingsError(f"{key} is not the key of {certificate}") from error
    return options


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_FILE)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from None
