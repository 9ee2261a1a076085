"""Everything that is looked at, by area and name."""

from __future__ import annotations

from collections.abc import Mapping

_BOTH = {
    "address": "the name of the server is known; quiet where the address is a number",
    "proxy": "the proxy, where one is set, lets us through",
    "connection": "something answers at the port",
    "encryption": "login and data travel encrypted and to whom they should; quiet where they do",
    "certificate": "the certificate is trusted, for this name, for 30 days and more",
    "clock": "its clock and ours are at most a minute apart",
    "redirect": "it does not send us on, which loses what is sent; quiet where it does not",
    "answer": "what answers is what it should be, and is up",
}
CATALOGUE: Mapping[str, str] = {
    "local.config_file": "nobody else can read a secret in it, or write to it",
    "local.ca_file": "the file of certificates can be used; quiet where it can",
    "local.client_cert_file": "the client certificate and its key can be used; quiet where they can",
    "local.proxy_environment": "no HTTPS_PROXY is set that is not looked at; quiet where none is",
    "local.state_folder": "it can be written to, and others cannot read the journal in it",
    "local.free_space": "the journal has room to grow, 1 GiB and more",
    "local.journal": "a journal that is there can be opened",
    "local.lock": "no other run is at work on the same target",
    "local.selection": "ThreatQ knows each type, status and collection that the selection names",
    **{f"threatq.{name}": text for name, text in _BOTH.items()},
    "threatq.login": "ThreatQ takes the login",
    "threatq.token": "ThreatQ accepts the token that it gave",
    "threatq.names": "the account sees the names of types and statuses, so that slips are noticed",
    "threatq.read": "the account may read indicators, and the server can select them",
    "threatq.selection_count": "the selection is not empty",
    **{f"misp.{name}": text for name, text in _BOTH.items()},
    "misp.maintenance": "MISP is open to others than its administrators; quiet where it is",
    "misp.key": "MISP takes the key: it is known, not expired, of an enabled user, and allowed from here",
    "misp.version": "it is at least the oldest version that was tested",
    "misp.key_expiry": "the key is good for 30 days and more",
    "misp.organisation": "the events will belong to a real organisation of this server",
    "misp.write": "role and key may add and modify events",
    "misp.publish": "the role may publish, where that is asked for",
    "misp.sync": "the key may not do everything; whether it may synchronise",
    "misp.searches": "the role may read back what was written; quiet without a limit",
    "misp.sharing_group": "with distribution 4, our organisation is in the sharing group",
    "misp.taxonomies": "the taxonomies of the tags that we send are enabled",
    "misp.tags": "the role may make the tags that MISP lacks",
    "misp.body_size": "the largest request that we send gets through",
    "misp.php": "PHP's limits, where the key may see them, are as large as they should be",
    "misp.correlation": "the server correlates, where the key may see it",
    "misp.logging": "no setting makes logging dear, where the key may see it",
}


def table() -> str:
    """The catalogue in Markdown."""
    rows = (f"| `{name}` | {text} |" for name, text in CATALOGUE.items())
    return "\n".join(["| finding | is `ok` when |", "| --- | --- |", *rows]) + "\n"
