"""Whose certificates are taken, and which one is shown."""

from __future__ import annotations

import re
import ssl

from tqmisp.errors import ConfigError
from tqmisp.transport.options import PeerOptions
from tqmisp.transport.reply import NoReply
from tqmisp.transport.words import one_line

_EXPIRED, _SELF_SIGNED, _WRONG_NAME = {10}, {18, 19}, {62, 64}
"""Codes with which OpenSSL says why it does not trust a certificate."""
_NOT_LET_IN = re.compile(r"_ALERT_(\w*CERTIFICATE|UNKNOWN_CA|HANDSHAKE_FAILURE|ACCESS_DENIED)")


class FileUnusable(ConfigError):
    """A file of certificates or keys cannot be used.

    Attributes:
        key: of the setting that names it.
        reason: a sentence.
    """

    def __init__(self, section: str, key: str, reason: str) -> None:
        super().__init__(f"[{section}] {key}: {reason}")
        self.key = key
        self.reason = reason


def trust(section: str, options: PeerOptions) -> ssl.SSLContext:
    """Which certificates to take, and which one to show; reads files.

    Raises:
        FileUnusable: one of them cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=options.ca_file if options.verify_tls else None)
    except OSError as error:
        reason = f"{options.ca_file} cannot be used: {error.strerror or error}."
        raise FileUnusable(section, "ca_file", reason) from error
    if not options.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.client_cert_file is None:
        return context
    try:
        context.load_cert_chain(options.client_cert_file, options.client_key_file, password=_no_passphrase)
    except (OSError, ValueError) as error:
        files = " with ".join(filter(None, (options.client_cert_file, options.client_key_file)))
        reason = f"{files} cannot be used: {getattr(error, 'strerror', None) or error}."
        raise FileUnusable(section, "client_cert_file", reason) from error
    return context


def _no_passphrase() -> str:
    """OpenSSL would ask the terminal, in the middle of a run."""
    raise ValueError("the key has a passphrase")


def distrust(section: str, url: str, options: PeerOptions, error: ssl.SSLCertVerificationError) -> NoReply:
    """Why a certificate is not trusted, and what to do about that cause."""
    code = error.verify_code
    at_own_risk = f"[{section}] verify_tls = false takes any certificate, at your own risk."
    if code in _EXPIRED:
        fix = "Have the certificate of the server renewed, or mend the clock of this machine"
    elif code in _WRONG_NAME:
        fix = f"Use in [{section}] url the name for which the certificate was made"
    elif code in _SELF_SIGNED:
        fix = f"Save the certificate as a PEM file and name the file in [{section}] ca_file"
    else:
        named = f"{options.ca_file} does not hold it. " if options.ca_file else ""
        fix = f"{named}Name a PEM file with its authority in [{section}] ca_file"
    reason = f"The certificate of {url} is not trusted: {one_line(error.verify_message)}."
    return NoReply("certificate", "mend", reason, f"{fix}; {at_own_risk}")


def speaks_of_ours(said: str) -> bool:
    """Whether OpenSSL tells that the server is not content with our certificate; in TLS 1.3 it hears so late."""
    return _NOT_LET_IN.search(said) is not None


def no_tls(section: str, url: str, said: str) -> NoReply:
    """Why no encryption came about, beyond certificates that we do not trust, in OpenSSL's words."""
    if speaks_of_ours(said):
        reason = f"{url} does not let us in with the client certificate that we have, or without one: {said}."
        return NoReply("certificate", "mend", reason, f"Check [{section}] client_cert_file.")
    reason = f"What answers at {url} does not speak TLS with us: {said}."
    return NoReply("certificate", "mend", reason, f"Check the port and the scheme in [{section}] url.")
