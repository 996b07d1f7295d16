"""TLS 1.3 between client and server, both with certificates of one system (docs/session).

* Trust is the system's pinned key and nothing else; every certificate is judged by
  :func:`wavesync.identity.verify.read_leaf` and its leaf's ``check``, at the time of a clock that is handed in.
* OpenSSL has to find the way from a leaf to the system, too.  It is asked for that once for each
  certificate, not in each handshake: a store in the context would have it build and verify the peer's chain,
  and our own to send it, every time, which is half of a handshake's work.  So a peer is sent our leaf alone.
* ALPN ``wavesync/1`` is required by both ends (RFC 7301).  No SNI: it would show the ids in clear.
* Key exchange is X25519, and encryption AES-128-GCM, if the other side has them (:mod:`wavesync.session.offers`).
* Nothing can be resumed, because a resumption would skip the check for revocation.  OpenSSL sends
  two NewSessionTickets whatever is set (the number of tickets is out of pyOpenSSL's reach), but with
  tickets and the session cache off they are random ids under which nothing is kept.
"""

import contextlib
import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

import service_identity
from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity.cryptography import verify_certificate_hostname
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from wavesync.errors import ConnectFailed, WavesyncError
from wavesync.identity.credentials import Credentials
from wavesync.identity.ids import Target
from wavesync.identity.verify import Leaf, Peer, Reason, Role, VerificationError, read_leaf
from wavesync.session.errors import CredentialsRejected, PeerNotTrusted
from wavesync.session.offers import choose_ciphers, choose_groups

__all__ = [
    "ALPN",
    "MAX_CLIENT_HELLO",
    "MAX_LEAVES",
    "ClientTLS",
    "ServerTLS",
    "Verdict",
    "client_context",
    "handshake_error",
    "rejection",
    "server_context",
    "verdict_of",
]

ALPN = b"wavesync/1"
"""The protocol both ends have to name."""

MAX_CLIENT_HELLO = 1200
"""Bytes that a ClientHello, with its record header, may have: one packet on every path."""

MAX_LEAVES = 256
"""Certificates of the system that one context remembers, so that they need not be read again."""

_TIME_ERRORS = frozenset(
    {
        SSL.X509VerificationCodes.ERR_CERT_NOT_YET_VALID,
        SSL.X509VerificationCodes.ERR_CERT_HAS_EXPIRED,
    }
)
_NO_WAY = frozenset(
    {
        SSL.X509VerificationCodes.ERR_UNABLE_TO_GET_ISSUER_CERT,
        SSL.X509VerificationCodes.ERR_SELF_SIGNED_CERT_IN_CHAIN,
        SSL.X509VerificationCodes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        SSL.X509VerificationCodes.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
        SSL.X509VerificationCodes.ERR_CERT_CHAIN_TOO_LONG,
    }
)
"""What OpenSSL has to say of any certificate in a handshake, since the context's store is empty."""

_NO_CHECK_TIME = 0x200000
"""``X509_V_FLAG_NO_CHECK_TIME`` of OpenSSL 1.1.0 and later, for which pyOpenSSL has no name."""
_TIME_REASONS = (Reason.NOT_YET_VALID, Reason.EXPIRED)
_BAD_CHAIN = "the certificate does not lead to the system"
_VERDICT = "wavesync_verdict"
_NO_ALPN = 120
_REJECTED = {
    42: "rejected-by-peer",
    43: "rejected-by-peer",
    44: "revoked",
    45: "expired",
    46: "rejected-by-peer",
    48: "rejected-by-peer",
    49: "rejected-by-peer",
    51: "rejected-by-peer",  # the signature on our certificate is not its system's
    116: "rejected-by-peer",
}
"""Alerts (RFC 8446, section 6.2) with which a peer turns a certificate down."""


@dataclass(slots=True)
class Verdict:
    """What became of one TLS handshake.

    :ivar peer: who the other side is; None until its certificate was found good.
    :ivar reason: short code of why it was not found good.
    :ivar sentence: the same for people.
    :ivar alert: the alert with which the other side ended TLS (RFC 8446, section 6), once that has
        :meth:`ended`; None without one, and for those that nobody here tells apart.
    """

    peer: Peer | None = None
    reason: str = ""
    sentence: str = ""
    alert: int | None = None
    chain_error: int = 0

    def reject(self, reason: str, sentence: str) -> bool:
        """Note why the certificate is not good; the first reason stays."""
        self.peer = None
        if not self.reason:
            self.reason, self.sentence = reason, sentence
        return False

    def ended(self, reason: Failure) -> bool:
        """Take why the path ended.

        :returns: whether the TLS library found a fault, or was told of one.
        """
        if reason.check(SSL.Error) is None:
            return False
        self.alert = _words_of_alerts().get(_last_words(reason.value))
        return True


class _NoProtocol(SSL.Error):
    """Ends a handshake without a common ALPN protocol by the alert that is made for it."""


class _TLS:
    """What both ends do alike."""

    def __init__(
        self,
        credentials: Credentials,
        method: int,
        role: Role,
        wall_clock: Callable[[], float],
        revoked: Callable[[int], bool] | None,
    ) -> None:
        self._system_key = credentials.system_key_bytes
        self._role = role
        self._wall_clock = wall_clock
        self._revoked = revoked
        self.leaves: dict[bytes, Leaf] = {}
        """Certificates that were found good lately; time and revocation are judged anew."""
        context = SSL.Context(method)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_max_proto_version(SSL.TLS1_3_VERSION)
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        choose_groups(context)
        choose_ciphers(context)
        context.use_certificate(credentials.certificate)
        context.use_privatekey(credentials.private_key)
        self._store = crypto.X509Store()
        self._store.add_cert(crypto.X509.from_cryptography(credentials.system_certificate))
        self._store.set_flags(_NO_CHECK_TIME)
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)
        # No certificate stands between a leaf and its system: none that a stranger sends is checked.
        context.set_verify_depth(0)
        self._context = context

    def _connection(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        vars(protocol)[_VERDICT] = Verdict()
        connection = SSL.Connection(self._context, None)
        connection.set_app_data(protocol)  # where the callbacks find it; Twisted sets the same
        return connection

    def _verify(
        self, connection: SSL.Connection, shown: crypto.X509, error: int, depth: int, ok: int
    ) -> bool:
        """Take what OpenSSL finds, and judge the leaf.

        It calls this for each fault, and in the end for each certificate, the leaf last.  Its opinion
        counts, except about time, where our clock is asked, and about the way to the system.
        """
        verdict = verdict_of(connection.get_app_data())
        if not ok and error not in _TIME_ERRORS and error not in _NO_WAY:
            verdict.chain_error = error
        if depth > 0:
            return True
        if verdict.peer is None and not verdict.reason:
            self._believe(verdict, shown)
        if verdict.chain_error:
            verdict.reject("bad-chain", _BAD_CHAIN)
        if verdict.peer is None:
            # OpenSSL complains of the time later: then the alert says so, too.
            return error in _NO_WAY and verdict.reason in _TIME_REASONS
        return True

    def _believe(self, verdict: Verdict, shown: crypto.X509) -> None:
        """Judge a leaf: read it, or remember it, for the same peer comes again and again."""
        # What OpenSSL has parsed may still be no certificate to cryptography: it is judged as
        # bytes, and parsed only when it was found good.
        der = crypto.dump_certificate(crypto.FILETYPE_ASN1, shown)
        known = self.leaves.pop(der, None)
        try:
            leaf = known if known is not None else read_leaf(der, self._system_key)
            peer = leaf.check(role=self._role, at=self._wall_clock(), revoked=self._revoked)
        except VerificationError as e:
            verdict.reject(e.reason, str(e))
            return
        if known is None:
            try:
                crypto.X509StoreContext(self._store, shown).verify_certificate()
            except crypto.X509StoreContextError:
                verdict.reject("bad-chain", _BAD_CHAIN)
                return
            if not self._judge(verdict, peer, shown.to_cryptography()):
                return
        verdict.peer = peer
        self.leaves[der] = leaf  # the newest is the last
        if len(self.leaves) > MAX_LEAVES:
            del self.leaves[next(iter(self.leaves))]

    def _judge(self, verdict: Verdict, peer: Peer, certificate: x509.Certificate) -> bool:
        """Judge what else never changes of a certificate in this context."""
        return True


@implementer(IOpenSSLClientConnectionCreator)
class ClientTLS(_TLS):
    """Makes a client's TLS connections to one target."""

    def __init__(
        self,
        credentials: Credentials,
        target: Target,
        *,
        wall_clock: Callable[[], float],
        revoked: Callable[[int], bool] | None,
    ) -> None:
        self._target = target
        super().__init__(credentials, SSL.TLS_CLIENT_METHOD, Role.SERVER, wall_clock, revoked)
        self._context.set_alpn_protos([ALPN])

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make one connection; no server name is sent."""
        connection = self._connection(tlsProtocol)
        connection.set_connect_state()
        return connection

    def _judge(self, verdict: Verdict, peer: Peer, certificate: x509.Certificate) -> bool:
        server = self._target.server if self._target.server is not None else peer.server
        try:
            verify_certificate_hostname(certificate, f"{server}.{self._target.system}")
        except (service_identity.VerificationError, service_identity.CertificateError):
            return verdict.reject(
                "wrong-server", f"this is the server {peer.text}, not {self._target}"
            )
        return True


@implementer(IOpenSSLServerConnectionCreator)
class ServerTLS(_TLS):
    """Makes a server's TLS connections to clients of its system."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        wall_clock: Callable[[], float],
        revoked: Callable[[int], bool] | None,
    ) -> None:
        super().__init__(credentials, SSL.TLS_SERVER_METHOD, Role.CLIENT, wall_clock, revoked)
        self._context.set_alpn_select_callback(_select)

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Make one connection."""
        connection = self._connection(tlsProtocol)
        connection.set_accept_state()
        return connection


def client_context(
    credentials: Credentials,
    target: Target,
    *,
    wall_clock: Callable[[], float] = time.time,
    revoked: Callable[[int], bool] | None = None,
) -> ClientTLS:
    """Make what a client's :class:`twisted.protocols.tls.TLSMemoryBIOFactory` needs.

    :param target: the server to be found; without a server's id any server of the system is right.
    :param wall_clock: seconds since the epoch, for the certificates' validity.
    :param revoked: whether the certificate with this serial number is revoked.
    """
    return ClientTLS(credentials, target, wall_clock=wall_clock, revoked=revoked)


def server_context(
    credentials: Credentials,
    *,
    wall_clock: Callable[[], float] = time.time,
    revoked: Callable[[int], bool] | None = None,
) -> ServerTLS:
    """Make what a server's :class:`twisted.protocols.tls.TLSMemoryBIOFactory` needs.

    Parameters as for :func:`client_context`.
    """
    return ServerTLS(credentials, wall_clock=wall_clock, revoked=revoked)


def _select(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    if ALPN not in offered:
        raise _NoProtocol([("wavesync", "alpn", "no application protocol in common")])
    return ALPN


@functools.cache
def _words_of_alerts() -> dict[str, int]:
    """What this OpenSSL says when one of the alerts comes that we tell apart.

    It has no other way to tell, but for a callback in each of the many steps of every handshake.  The
    words differ between its versions, so it is shown each alert and says them.
    """
    words = {}
    for alert in (*_REJECTED, _NO_ALPN):
        connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        connection.set_connect_state()
        with contextlib.suppress(SSL.WantReadError):
            connection.do_handshake()
        connection.bio_write(bytes([21, 3, 3, 0, 2, 2, alert]))  # RFC 8446, sections 5.1 and 6
        try:
            connection.do_handshake()
        except SSL.Error as error:
            words[_last_words(error)] = alert
    return words


def _last_words(error: BaseException | None) -> str:
    match getattr(error, "args", ()):
        case ([*_, (_, _, str(words))],):
            return words
    return ""


def verdict_of(transport: TLSMemoryBIOProtocol) -> Verdict:
    """What the handshake of a TLS transport made by these contexts came to."""
    verdict: Verdict = vars(transport)[_VERDICT]
    return verdict


def handshake_error(verdict: Verdict, tls_spoken: bool) -> WavesyncError:
    """Why a handshake did not end well, for people.

    :param tls_spoken: the TLS library found a fault; otherwise the path just ended.
    """
    if verdict.reason:
        return PeerNotTrusted(verdict.sentence, verdict.reason)
    rejected = rejection(verdict)
    if rejected is not None:
        return rejected
    if verdict.alert == _NO_ALPN:
        return PeerNotTrusted("the other side does not speak wavesync", "no-alpn")
    if tls_spoken:
        return ConnectFailed("the other side does not speak TLS 1.3 as wavesync does")
    return ConnectFailed("the path ended before the two sides had identified themselves")


def rejection(verdict: Verdict) -> CredentialsRejected | None:
    """The error for a peer that turned our certificate down by an alert; None if it did not."""
    reason = _REJECTED.get(verdict.alert) if verdict.alert is not None else None
    if reason is None:
        return None
    why = {"expired": ": they have expired", "revoked": ": they were revoked"}.get(reason, "")
    return CredentialsRejected(f"the other side did not accept these credentials{why}", reason)
