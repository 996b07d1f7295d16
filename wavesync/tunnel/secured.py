"""TLS to a host that is named by its URL, with errors that tell who answers there instead.

What sessions carry needs nothing of it: they verify each other inside.
"""

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import service_identity
from cryptography import x509
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions, TLSVersion, platformTrust
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.tunnel.errors import TunnelError, Why

__all__ = ["MAX_NAME", "SecuredEndpoint", "Trust"]

MAX_NAME = 64
"""Characters of a name in a certificate that are shown."""

_ALPN = [b"http/1.1"]
_CODES = SSL.X509VerificationCodes
_UNKNOWN_SIGNER = frozenset(
    {
        _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT,
        _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        _CODES.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
        _CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN,
        _CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
        _CODES.ERR_CERT_UNTRUSTED,
    }
)
_NOT_TLS = re.compile("wrong version|http request|unknown protocol|record layer|packet length")
_OWN_CLOCK = "or this host's clock is wrong"


class Trust:
    """Whose signatures count, read once.

    :param root: as :class:`twisted.internet.ssl.CertificateOptions` wants it; whom the system trusts
        when None.
    """

    def __init__(self, root: Any = None) -> None:
        self._root = root
        self._context: SSL.Context | None = None

    @property
    def context(self) -> SSL.Context:
        """What all connections have in common."""
        if self._context is None:
            self._context = CertificateOptions(
                trustRoot=platformTrust() if self._root is None else self._root,
                raiseMinimumTo=TLSVersion.TLSv1_2,
                acceptableProtocols=_ALPN,
            ).getContext()
        return self._context


@dataclass(slots=True)
class _Verdict:
    """What was found wrong with a certificate first; empty while nothing was."""

    sentence: str = ""

    def reject(self, sentence: str) -> None:
        self.sentence = self.sentence or sentence


@implementer(IOpenSSLClientConnectionCreator)
class _Creator:
    """Makes the TLS connection of one dial."""

    def __init__(self, context: SSL.Context, host: str, verdict: _Verdict) -> None:
        self._context = context
        self._host = host
        self._verdict = verdict

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make it (IOpenSSLClientConnectionCreator)."""
        connection = SSL.Connection(self._context, None)
        connection.set_app_data(tlsProtocol)
        if not _is_address(self._host):
            connection.set_tlsext_host_name(_ascii(self._host).encode("ascii"))
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)
        return connection

    def _verify(
        self, connection: SSL.Connection, shown: crypto.X509, error: int, depth: int, ok: int
    ) -> bool:
        """OpenSSL calls this for each fault that it finds, and for each certificate, the leaf last."""
        try:
            certificate = shown.to_cryptography()
            if not ok:
                self._verdict.reject(_fault(certificate, error, self._host, depth))
            elif depth == 0:
                self._check_name(certificate)
        except ValueError:
            self._verdict.reject(f"{self._host} shows a certificate that cannot be read")
        return not self._verdict.sentence

    def _check_name(self, certificate: x509.Certificate) -> None:
        try:
            if _is_address(self._host):
                verify_certificate_ip_address(certificate, self._host)
            else:
                verify_certificate_hostname(certificate, _ascii(self._host))
        except (service_identity.VerificationError, service_identity.CertificateError):
            self._verdict.reject(
                f"{self._host} shows a certificate that is not for it but for {_names(certificate)},"
                f" signed by {_signer(certificate)}"
            )


@implementer(IHandshakeListener)
class _Handshake(Protocol):
    """Waits for TLS to stand, then hands everything on to the protocol that was wanted."""

    def __init__(self, factory: IProtocolFactory) -> None:
        self.done: Deferred[IProtocol] = Deferred(lambda _: self.give_up())
        self._factory = factory
        self._inner: IProtocol | None = None
        self._over = self._lost = False

    def handshakeCompleted(self) -> None:
        """The certificate is good (IHandshakeListener)."""
        assert self.transport is not None
        if self._over:
            return
        self._over = True
        try:
            inner = self._factory.buildProtocol(self.transport.getPeer())
        except Exception:
            self.done.errback()
            self.give_up()
            return
        if inner is None:
            self.done.errback(TunnelError("the connection is not wanted any more", Why.CLOSED))
            self.give_up()
            return
        self._inner = inner
        inner.makeConnection(self.transport)
        self.done.callback(inner)

    def dataReceived(self, data: bytes) -> None:
        """What comes through TLS (IProtocol)."""
        if self._inner is not None:
            self._inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over (IProtocol)."""
        self._lost = True
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.connectionLost(reason)
        elif not self._over:
            self._over = True
            self.done.errback(reason)

    def give_up(self) -> None:
        """End it before it stands."""
        self._over = True
        if self.transport is not None and not self._lost:
            self.transport.abortConnection()  # type: ignore[attr-defined]


@implementer(IStreamClientEndpoint)
class SecuredEndpoint:
    """Connects through another endpoint, and is connected once TLS stands there.

    :param endpoint: leads to the host.
    :param host: whom the certificate has to be for (RFC 6125): a name, or a numeric address.
    :param timeout: seconds for TLS to stand, from when the connection does.
    :param trust: who may have signed.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        endpoint: IStreamClientEndpoint,
        host: str,
        *,
        timeout: float,
        trust: Trust,
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._host = host
        self._timeout = timeout
        self._trust = trust

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect (IStreamClientEndpoint).

        :returns: fails with :class:`~wavesync.tunnel.errors.TunnelError` when TLS does not come about,
            and as the endpoint below when no connection does.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        verdict = _Verdict()
        handshake = _Handshake(factory)
        handshakes = Factory.forProtocol(lambda: handshake)
        handshakes.noisy = False
        creator = _Creator(self._trust.context, self._host, verdict)
        wrapping = TLSMemoryBIOFactory(creator, True, handshakes, self._reactor)
        wrapping.noisy = False
        await self._endpoint.connect(wrapping)
        timer = self._reactor.callLater(self._timeout, self._too_long, handshake)
        try:
            return await handshake.done
        except (SSL.Error, ConnectionDone, ConnectionLost) as error:
            raise self._explained(error, verdict) from None
        finally:
            if timer.active():
                timer.cancel()

    def _too_long(self, handshake: _Handshake) -> None:
        handshake.give_up()
        handshake.done.errback(
            TunnelError(f"no TLS came about with {self._host} in time", Why.SILENT)
        )

    def _explained(self, error: Exception, verdict: _Verdict) -> TunnelError:
        if verdict.sentence:
            return TunnelError(verdict.sentence, Why.TLS)
        if not isinstance(error, SSL.Error):
            return TunnelError(
                f"{self._host} closed the connection while TLS was agreed upon", Why.CLOSED
            )
        words = _words(error)
        if _NOT_TLS.search(words):
            return TunnelError(f"what answers for {self._host} does not speak TLS", Why.TLS)
        return TunnelError(f"TLS with {self._host} fails: {words or 'it is cut off'}", Why.TLS)


def _words(error: SSL.Error) -> str:
    """OpenSSL's queue of errors, each a tuple of texts; other subclasses have other arguments."""
    queue: Any = error.args[0] if error.args else ()
    if not isinstance(queue, list):
        return ""
    return ", ".join(_shown(str(each[-1])) for each in queue[:3] if each)


def _fault(certificate: x509.Certificate, error: int, host: str, depth: int) -> str:
    if error in (_CODES.ERR_CERT_HAS_EXPIRED, _CODES.ERR_CERT_NOT_YET_VALID):
        whose = f"the certificate for {host}"
        if depth:
            whose = f"the authority {_common_name(certificate.subject)} that signed {whose}"
        late = error == _CODES.ERR_CERT_HAS_EXPIRED
        when = certificate.not_valid_after_utc if late else certificate.not_valid_before_utc
        word = "has expired on" if late else "is not valid before"
        return f"{whose} {word} {when:%Y-%m-%d}, {_OWN_CLOCK}"
    if error in _UNKNOWN_SIGNER:
        if certificate.issuer == certificate.subject and depth == 0:
            return (
                f"the certificate for {host} was signed by nobody but itself: somebody else answers"
            )
        return (
            f"the certificate for {host} was signed by {_signer(certificate)}, which this host does"
            " not trust: somebody intercepts TLS here, unless that is your own authority"
        )
    return f"the certificate for {host}, signed by {_signer(certificate)}, is not valid (error {error})"


def _signer(certificate: x509.Certificate) -> str:
    return _common_name(certificate.issuer)


def _common_name(name: x509.Name) -> str:
    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in name.get_attributes_for_oid(kind):
            return f"'{_shown(str(attribute.value))}'"
    return "nobody who has a name"


def _names(certificate: x509.Certificate) -> str:
    """Whom a certificate is for, as far as that fits in a sentence."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension):
        return _common_name(certificate.subject)
    found = [*names.get_values_for_type(x509.DNSName)]
    found += [str(each) for each in names.get_values_for_type(x509.IPAddress)]
    shown = [f"'{_shown(each)}'" for each in found[:3]]
    return ", ".join(shown) + (" and others" if found[3:] else "") if shown else "nobody"


def _shown(text: str) -> str:
    """What a stranger has written, fit to be printed."""
    return "".join(each if each.isprintable() else "?" for each in text[:MAX_NAME])


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _ascii(host: str) -> str:
    return host if host.isascii() else host.encode("idna").decode("ascii")
