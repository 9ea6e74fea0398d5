"""TLS handshakes that come out the same however often they are tried, by gRPC's words for them.

It has such words only where this side ends the handshake. Where the server does, as one that wants
a certificate, or is asked in plain text, gRPC says no more than that the socket was closed, which a
server that stops or starts may do too.
"""

from __future__ import annotations

import re
from typing import Final

_KNOWN: Final = tuple(
    (re.compile(pattern), meaning)
    for pattern, meaning in (
        (
            r"handshake failed .*CERTIFICATE_VERIFY_FAILED(?:: (?P<why>[^:]+))?",
            "The certificate of the model server at {target} is not trusted ({why}). Check the TLS "
            "options: --tls-ca names the certificate of the authority that signed it.",
        ),
        (
            r"(?P<why>Hostname Verification Check failed)",
            "The certificate of the model server at {target} is one for another name. Name the "
            "server in --target as its certificate does.",
        ),
        (
            r"(?P<why>handshake failed .*WRONG_VERSION_NUMBER)",
            "The server at {target} does not speak TLS. Leave the TLS options out, or give it "
            "certificates with --ssl_config_file.",
        ),
    )
)


def hopeless(details: str, target: str) -> str | None:
    """What is wrong and what helps; None where another attempt may succeed.

    Args:
        details: of a call that ended as UNAVAILABLE.
        target: of the server.
    """
    for pattern, told in _KNOWN:
        if found := pattern.search(details):
            return told.format(target=target, why=found["why"] or "it can't be verified")
    return None
