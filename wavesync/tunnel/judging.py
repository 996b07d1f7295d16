"""Turns what went wrong with a tunnel into one sentence that names the cause."""

import re
from http import HTTPStatus

import h11
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.error import ConnectionClosed, ConnectionLost
from twisted.python.failure import Failure

from wavesync.errors import WavesyncError
from wavesync.tunnel.answers import REASON
from wavesync.tunnel.errors import TunnelError, Why
from wavesync.tunnel.heads import HeadError, Headers, field_map, seconds_field
from wavesync.tunnel.place import Place

__all__ = ["breaks_uploads", "explain", "judge", "silence"]

_SINGLE = frozenset({"content-length", "location"})
_BUSY = (429, 503)
_SPEAKER = re.compile(r"[!-~][ -~]{0,59}")


def judge(answer: h11.Response | h11.InformationalResponse, place: Place) -> TunnelError:
    """Tell what an answer means that is not the one that was asked for.

    :param answer: its head.
    :param place: who was asked.
    """
    status = answer.status_code
    headers: Headers
    try:
        headers = field_map(answer.headers, frozenset())
    except HeadError:
        headers = {}
    html = "html" in headers.get("content-type", "").lower()
    said = f"HTTP {status}{_phrase(status)}{_by(headers)}"
    after = _retry_after(headers)
    if status == 407:
        wrong = any(name.lower() == "proxy-authorization" for name, _ in place.headers)
        how = "refuses the password" if wrong else "wants a password"
        return TunnelError(f"the proxy {how} ({said})", Why.PROXY_PASSWORD, status=status)
    if REASON.lower() in headers:
        if status in _BUSY:
            return TunnelError(
                f"{place} has no room now ({said})", Why.BUSY, status=status, retry_after=after
            )
        return TunnelError(f"{place} refuses the tunnel: {said}", Why.REFUSED, status=status)
    if 300 <= status < 400 or status == 511 or (status < 300 and html):
        what = "a redirect" if 300 <= status < 400 else "a page"
        sentence = f"{what} came instead of a tunnel: a captive portal or a proxy's page ({said})"
        return TunnelError(sentence, Why.PAGE, status=status)
    if status < 300 and breaks_uploads(headers):
        sentence = f"Squid is on the way, which breaks off long uploads ({said})"
        return TunnelError(sentence, Why.REFUSED, status=status)
    if status < 300:
        sentence = f"something on the way answered or changed the answer ({said})"
        return TunnelError(sentence, Why.CHANGED, status=status)
    page = ", with a page that is not ours" if html else ""
    sentence = f"the request was refused by {said}{page}"
    return TunnelError(sentence, Why.REFUSED, status=status, retry_after=after)


def breaks_uploads(headers: Headers) -> bool:
    """Tell whether an answer came through Squid: until version 6 it takes a full buffer for the end.

    Once half a megabyte of a request's body waits for a slower server, the connection is closed (Squid's bug
    5405).  Short bodies never fill it.
    """
    return "squid" in headers.get("via", "").lower()


def explain(failure: Failure, place: Place) -> TunnelError:
    """Tell what the end of a connection means, or that none was made.

    :param failure: why.
    :param place: where to.
    """
    error = failure.value
    host = place.authority.rpartition(":")[0]
    match error:
        case TunnelError():
            return error
        case WavesyncError():
            return TunnelError(str(error), Why.UNREACHABLE)
        case HeadError():
            sentence = f"what answers for {place} does not speak HTTP/1.1 ({error})"
            return TunnelError(sentence, Why.NOT_HTTP)
        case VerificationError():
            sentence = f"the certificate that came for {host} is another host's"
            return TunnelError(sentence, Why.TLS)
        case SSL.Error():
            return TunnelError(_tls_sentence(error, host), Why.TLS)
        case ConnectionLost():
            return TunnelError("the connection was broken off", Why.CLOSED)
        case ConnectionClosed():
            return TunnelError("the connection was closed without an answer", Why.CLOSED)
    words = failure.getErrorMessage().rstrip(".")
    return TunnelError(f"no connection for {place}: {words}", Why.UNREACHABLE)


def silence(stage: str, seconds: float, place: Place) -> TunnelError:
    """Tell that nothing came in time.

    :param stage: what was waited for.
    """
    sentence = f"no {stage} from {place} within {seconds:g} s"
    return TunnelError(sentence, Why.SILENT)


def _tls_sentence(error: SSL.Error, host: str) -> str:
    reasons = [str(entry[-1]) for entry in error.args[0]] if error.args else []
    if any("certificate verify failed" in reason for reason in reasons):
        return (
            f"the certificate that came for {host} is signed by nobody that this host trusts: "
            "something may intercept TLS here"
        )
    return f"TLS with {host} failed ({'; '.join(filter(None, reasons)) or 'no reason given'})"


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def _by(headers: Headers) -> str:
    """Tell who says it, as far as that is told: a proxy names itself mostly."""
    for name in ("via", "server"):
        speaker = headers.get(name, "")
        if _SPEAKER.fullmatch(speaker):
            return f" by {speaker}"
    return ""


def _retry_after(headers: Headers) -> float | None:
    try:
        return seconds_field(headers, "retry-after")
    except HeadError:
        return None
