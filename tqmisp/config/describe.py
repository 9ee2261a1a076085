"""What the settings are for, in the words of the option objects themselves."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields
from functools import cache
from typing import Any

_WIDTH = 100
ORDER = (
    "threatq",
    "selection",
    "misp",
    "events",
    "mapping",
    "retire",
    "run",
    "schedule",
    "metrics",
    "notify",
    "state",
    "output",
    "pipeline",
    "connector",
)
"""As somebody would ask who sets it up."""

_SAMPLES = {
    "threatq.url": '"https://threatq.example"',
    "threatq.client_id": '"c630f44fcef84aeb22e2c62e2ab7573f"',
    "threatq.email": '"misp@example.org"',
    "threatq.password": '"env:THREATQ_PASSWORD"',
    "threatq.client_secret": '"file:/run/secrets/threatq"',
    "threatq.ca_file": '"/etc/ssl/certs/internal.pem"',
    "threatq.client_cert_file": '"/etc/tqmisp/client.pem"',
    "threatq.client_key_file": '"/etc/tqmisp/client.key"',
    "threatq.page_size": "1000",
    "threatq.proxy": '"http://proxy.example:3128"',
    "misp.url": '"https://misp.example"',
    "misp.key": '"env:MISP_KEY"',
    "misp.ca_file": '"/etc/ssl/certs/internal.pem"',
    "misp.client_cert_file": '"/etc/tqmisp/client.pem"',
    "misp.client_key_file": '"/etc/tqmisp/client.key"',
    "misp.proxy": '"http://proxy.example:3128"',
    "misp.requests_in_flight": "3",
    "misp.chunk_size": "1000",
    "selection.collection": '"Shared with partners"',
    "selection.since": '"2026-01-01"',
    "selection.until": '"2026-12-31 23:59:59"',
    "events.namespace": '"threatq.example"',
    "events.sharing_group_id": "7",
    "mapping.default_tlp": '"AMBER"',
    "mapping.max_tlp": '"AMBER"',
    "mapping.clusters": '{ "Fancy Bear" = "misp-galaxy:threat-actor=\\"APT28\\"" }',
    "mapping.types": '{ "FQDN" = { type = "hostname", to_ids = false } }',
    "retire.statuses": '{ "Whitelisted" = "delete" }',
    "retire.types": '{ "FQDN" = "leave" }',
    "metrics.textfile": '"/var/lib/node_exporter/tqmisp.prom"',
    "metrics.port": "9464",
    "notify.webhook": '"env:TQMISP_WEBHOOK"',
    "state.path": '"/var/lib/tqmisp"',
    "run.max_rejects": "1000",
    "schedule.every": '"4h"',
    "schedule.health_port": "8642",
    "output.log_file": '"/var/log/tqmisp.log"',
}
"""Values, in TOML, for keys that have no default to show."""
_NEEDED = {"threatq.url", "threatq.client_id", "threatq.email", "threatq.password", "misp.url", "misp.key"}
"""What the example sets; all else stands in it as a comment."""


@cache
def purposes(kind: type) -> dict[str, str]:
    """Read the text that follows each attribute in the source of an option object.

    Python keeps no docstring of an attribute, so this parses the source; it is meant for errors and documentation.
    """
    found: dict[str, str] = {}
    for parent in kind.__mro__[1:-1]:
        found |= purposes(parent)
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    name = None
    for node in tree.body if isinstance(tree, ast.ClassDef) else ():
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif name and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            found[name] = " ".join(str(node.value.value).replace("``", "").split())
            name = None
        else:
            name = None
    return found


def example(sections: Mapping[str, type]) -> str:
    """Write a configuration file with every setting, what it is for, and its default as a comment."""
    ordered = sorted(sections, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    return "\n".join(line for name in ordered for line in _section(name, sections[name]))


def _section(name: str, kind: type) -> Iterator[str]:
    yield from _comment(" ".join((inspect.getdoc(kind) or "").replace("``", "").partition("\n\n")[0].split()))
    yield f"[{name}]"
    for each in _own_first(kind):
        dotted = f"{name}.{each.name}"
        yield from _comment(purposes(kind).get(each.name, ""))
        yield f"{'' if dotted in _NEEDED else '# '}{each.name} = {_SAMPLES.get(dotted) or _toml(_default(each))}"
    yield ""


def _own_first(kind: type) -> list[Field[Any]]:
    """What a server of this kind alone has stands before what all have."""
    inherited = {name for parent in kind.__mro__[1:-1] for name in parent.__annotations__}
    return sorted(fields(kind), key=lambda each: each.name in inherited)


def _comment(text: str) -> Iterator[str]:
    yield from (f"## {line}" for line in textwrap.wrap(text, _WIDTH))


def _default(each: Field[Any]) -> Any:  # noqa: ANN401
    return each.default if each.default_factory is MISSING else each.default_factory()


def _toml(value: Any) -> str:  # noqa: ANN401
    """A default as TOML writes it: as JSON does, for text, numbers, truth and lists."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)
