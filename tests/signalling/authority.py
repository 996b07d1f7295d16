"""A certificate authority of the test's own, for hosts that speak TLS."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

__all__ = ["Authority"]


class Authority:
    """Signs certificates of hosts.

    :param name: its own.
    :ivar certificate: its own, PEM.
    """

    def __init__(self, name: str = "an authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._build(self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        signed = made.sign(self._key, SHA256())
        self.certificate = signed.public_bytes(serialization.Encoding.PEM)

    @property
    def as_host(self) -> bytes:
        """Its own key and certificate, PEM."""
        return _private(self._key) + self.certificate

    def certify(self, *names: str, days: tuple[int, int] = (-1, 1)) -> bytes:
        """Make a host's key and certificate, PEM, for names and numeric addresses.

        :param days: from when until when it is valid, from now.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a host")])
        names_of_host = x509.SubjectAlternativeName([_general_name(name) for name in names])
        made = self._build(subject, key.public_key(), days).add_extension(
            names_of_host, critical=False
        )
        return _private(key) + made.sign(self._key, SHA256()).public_bytes(
            serialization.Encoding.PEM
        )

    def _build(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        days: tuple[int, int] = (-1, 1),
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=days[0]))
            .not_valid_after(now + datetime.timedelta(days=days[1]))
        )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
