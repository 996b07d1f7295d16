"""What our TLS contexts offer: groups for the exchange of keys, and ciphers, in order of preference.

* Key exchange is X25519, so that a ClientHello fits one packet: OpenSSL 4 would offer X25519MLKEM768
  first, whose share alone has 1216 bytes (RFC 8446, section 4.2.8).  P-256 is accepted as well.
  pyOpenSSL 26 has no call for the list of groups, so the one that cryptography's bindings export is
  called if it is there, and :meth:`OpenSSL.SSL.Context.set_tmp_ecdh` with P-256 otherwise; the two
  choices work together at the price of one more round trip.
* AES-128-GCM is as strong as X25519 and Ed25519 are, and takes two thirds of the time of AES-256, which
  OpenSSL would offer first.  The others are accepted as well, and pyOpenSSL before 25.2 offers its own order.
"""

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

__all__ = ["choose_ciphers", "choose_groups"]

_GROUPS = b"X25519:P-256"
_SUITES = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
_SET_LIST = getattr(getattr(SSL, "_lib", None), "SSL_CTX_set1_curves_list", None)


def choose_groups(
    context: SSL.Context, set_list: Callable[[object, bytes], int] | None = _SET_LIST
) -> None:
    """Let a context offer X25519 first, or P-256 alone where that cannot be said.

    :param set_list: the library's ``SSL_CTX_set1_curves_list``, None when it is not there.
    """
    handle = getattr(context, "_context", None)
    if set_list is None or handle is None or set_list(handle, _GROUPS) != 1:
        context.set_tmp_ecdh(ec.SECP256R1())


def choose_ciphers(context: SSL.Context) -> None:
    """Let a context prefer AES-128, where that can be said."""
    set_suites = getattr(context, "set_tls13_ciphersuites", None)
    if set_suites is not None:
        set_suites(_SUITES)
