"""What becomes of httpx's and httpcore's errors: ours, each with a sentence that says who did what, and what helps."""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime

import httpcore
import httpx

from p2pcdn.errors import LocalProtocolError, P2pcdnError, Unavailable
from p2pcdn_daemon.upstream.addresses import Origin

# What httpcore and httpx raise; ours pass between them untouched.
FOREIGN = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
)


@dataclass(frozen=True, slots=True)
class Patience:
    """What we wait for, in seconds: a connection, the next byte, and the head of an answer from the first word on.

    The head has a bound of its own: a server that gives one byte every 29 s is never silent.
    """

    connect_s: float = 10.0
    silence_s: float = 30.0
    head_s: float = 60.0


PATIENCE = Patience()


def ours(error: Exception, origin: Origin, proxy: str | None, patience: Patience) -> P2pcdnError:
    """The sentence for the user. No URL stands in it: the query of a signed one is a secret."""
    host = origin.host
    via = f" through the proxy {Origin.of(proxy).authority}" if proxy and proxy.startswith("http") else ""
    why = _root(error)
    match error:
        case httpcore.LocalProtocolError():
            return LocalProtocolError(f"The request to {host} could not be written: {error}.")
        case httpcore.ConnectTimeout():
            return Unavailable(f"{origin.authority} did not take a connection{via} within {patience.connect_s:g} s.")
        case httpcore.PoolTimeout():
            return Unavailable(f"All connections{via} are busy; {host} could not be asked.")
        case httpcore.TimeoutException():
            return Unavailable(f"{host} sent nothing{via} for {patience.silence_s:g} s; the connection was closed.")
        case httpcore.ProxyError():
            return Unavailable(f"The connection to {host}{via} was refused by the proxy: {error}.")
        case _ if isinstance(why, ssl.SSLCertVerificationError):
            return Unavailable(
                f"The certificate of {host} is not trusted{via}: {why.verify_message.rstrip('.')}."
                f" {_what_helps(why.verify_code)}"
            )
        case _ if isinstance(why, ssl.SSLError):
            return Unavailable(f"{origin.authority} does not speak TLS as we do{via}: {why.reason}.")
        case httpcore.ConnectError():
            return Unavailable(f"{origin.authority} cannot be reached{via}: {_strerror(why)}.")
        case httpx.RemoteProtocolError():  # of httpx's own there is only this one, before any redirect is followed
            return Unavailable(f"{host} redirects to something that is not a URL.")
        case httpcore.RemoteProtocolError():
            return Unavailable(f"{host} broke off or did not speak HTTP{via}: {error}.")
    return Unavailable(f"The connection to {host}{via} broke: {_strerror(why)}.")


def _what_helps(verify_code: int) -> str:
    """Against what OpenSSL found wrong with a certificate (X509_V_ERR_… of x509_vfy.h)."""
    match verify_code:
        case 9 | 10:  # not yet valid, expired
            today = datetime.now(UTC).date().isoformat()
            return f"The clock of this machine says {today}: if that is wrong, set it; else the server needs a new one."
        case 62 | 64:  # another host's, another address's
            return "Somebody else answers there, or its name is written wrong."
        case _:
            return "If that is right, name its authority by ca-file or SSL_CERT_FILE."


def _root(error: BaseException) -> BaseException:
    """The first of the chain that tells something: a certificate's fault stands deep inside."""
    deepest = error
    while (cause := _cause(deepest)) is not None:
        deepest = cause
        if isinstance(deepest, ssl.SSLError):
            break
    return deepest


def _cause(error: BaseException) -> BaseException | None:
    # Where trio tried several addresses, what went wrong with the first stands for all.
    return error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error.__context__


def _strerror(error: BaseException) -> str:
    # trio writes the address into the text, and we have said it already; a name's look-up has numbers of its own.
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
