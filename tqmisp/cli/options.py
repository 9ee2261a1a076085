"""The options of the commands, each said once.

An option that is also a setting has the name that ``tqmisp.config.layers.SHORT`` gives it, which makes it a variable of
the environment, too; the others name their variable here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

SELECTION = "Selection"
EVENTS = "Events in MISP"
SANDBOX = "Sandbox"
COMMON = "Common options"


def _option(flag: str, text: str, panel: str, *more: str, metavar: str | None = None, **rest: Any) -> Any:  # noqa: ANN401  as typer.Option
    return typer.Option(
        flag, *more, help=text, rich_help_panel=panel, metavar=metavar, show_default=False, show_envvar=False, **rest
    )


def _own(flag: str, text: str, *, show_default: bool = False, **rest: Any) -> Any:  # noqa: ANN401  as typer.Option
    """An option of one command, without a heading."""
    return typer.Option(flag, help=text, show_default=show_default, show_envvar=False, **rest)


Config = Annotated[
    Path | None,
    _option(
        "--config",
        "Settings; by default ./tqmisp.toml, or tqmisp/tqmisp.toml in the user's configuration folder.",
        COMMON,
        metavar="FILE",
        envvar="TQMISP_CONFIG",
    ),
]
State = Annotated[
    str | None,
    _option("--state", "Where the journal is kept: a folder, or the URL of a database.", COMMON, metavar="PLACE"),
]
Json = Annotated[bool | None, _option("--json", "Print the result as one JSON document.", COMMON)]
Verbose = Annotated[
    int,
    _option("--verbose", "Log more: -v information, -vv everything of ours.", COMMON, "-v", metavar="", count=True),
]
LogFile = Annotated[str | None, _option("--log-file", "Log to the end of this file.", COMMON, metavar="FILE")]
LogFormat = Annotated[str | None, _option("--log-format", "How log lines look.", COMMON, metavar="text|json")]
Progress = Annotated[bool | None, _option("--progress/--no-progress", "Show on stderr how far the work is.", COMMON)]

Sandbox = Annotated[
    bool,
    _option(
        "--sandbox", "Export between simulated servers, which are started for it.", SANDBOX, envvar="TQMISP_SANDBOX"
    ),
]
Indicators = Annotated[
    int | None,
    _option("--indicators", "Generate so many indicators.", SANDBOX, metavar="N", min=1, envvar="TQMISP_INDICATORS"),
]
Seed = Annotated[
    int | None,
    _option("--seed", "Generate others of them.", SANDBOX, metavar="N", envvar="TQMISP_SEED"),
]
Corpus = Annotated[
    Path | None,
    _option(
        "--corpus",
        "Serve the indicators of this file: a JSON object a line, may be packed by gzip.",
        SANDBOX,
        metavar="FILE",
        envvar="TQMISP_CORPUS",
    ),
]
Faults = Annotated[
    str | None,
    _option(
        "--faults",
        "Let these go wrong, such as 'misp:events/edit=500-after@10%'; @FILE reads them.",
        SANDBOX,
        metavar="SPEC",
        envvar="TQMISP_FAULTS",
    ),
]
ReadyFile = Annotated[
    Path | None,
    _option(
        "--ready-file",
        "Write the line that says where the servers are to this file, too.",
        SANDBOX,
        metavar="FILE",
        envvar="TQMISP_READY_FILE",
    ),
]
SandboxState = Annotated[
    Path | None,
    _option(
        "--state", "Keep what was sent in this folder; otherwise it is gone at the end.", SANDBOX, metavar="FOLDER"
    ),
]

Full = Annotated[
    bool | None, _option("--full", "Read everything, not only what has changed since the last run.", SELECTION)
]
ConfirmRetire = Annotated[
    bool | None,
    _option("--confirm-retire", "Withdraw what has left the selection, however much it is.", SELECTION),
]
ScoreThreshold = Annotated[
    float | None, _option("--score-threshold", "Only a score of at least this, 0 to 10.", SELECTION, metavar="SCORE")
]
Status = Annotated[
    list[str] | None,
    _option("--status", "Only with this status; repeat it for several. [default: Active]", SELECTION, metavar="NAME"),
]
Type = Annotated[
    list[str] | None, _option("--type", "Only of this type, such as FQDN; repeat it.", SELECTION, metavar="NAME")
]
ExcludeType = Annotated[
    list[str] | None, _option("--exclude-type", "Not of this type; repeat it.", SELECTION, metavar="NAME")
]
Tag = Annotated[list[str] | None, _option("--tag", "Only with this tag; repeat it.", SELECTION, metavar="NAME")]
Source = Annotated[
    list[str] | None, _option("--source", "Only from this source; repeat it.", SELECTION, metavar="NAME")
]
Collection = Annotated[
    str | None, _option("--collection", "Only from this data collection of ThreatQ.", SELECTION, metavar="NAME")
]
Since = Annotated[str | None, _option("--since", "Only touched at or after this, UTC.", SELECTION, metavar="MOMENT")]
Until = Annotated[str | None, _option("--until", "Only touched before this, UTC.", SELECTION, metavar="MOMENT")]

Publish = Annotated[bool | None, _option("--publish/--no-publish", "Publish the events as the last step.", EVENTS)]
SliceSize = Annotated[
    int | None, _option("--slice-size", "Attributes an event at most, up to 25,000.", EVENTS, metavar="N")
]
RequestsInFlight = Annotated[
    int | None,
    _option("--requests-in-flight", "Writing requests at once; by default, as MISP gains from.", EVENTS, metavar="N"),
]
ChunkSize = Annotated[
    int | None,
    _option("--chunk-size", "Attributes a request; by default, as MISP takes best.", EVENTS, metavar="N"),
]
Distribution = Annotated[
    int | None,
    _option(
        "--distribution",
        "0 own organisation, 1 this community, 2 connected ones, 3 all, 4 a sharing group.",
        EVENTS,
        metavar="0-4",
    ),
]
SharingGroupId = Annotated[
    int | None, _option("--sharing-group-id", "The sharing group of distribution 4.", EVENTS, metavar="ID")
]
EventTag = Annotated[
    list[str] | None, _option("--event-tag", "Put this tag on each event; repeat it.", EVENTS, metavar="TAG")
]
MaxRejects = Annotated[
    int | None,
    _option("--max-rejects", "Exit with 5 when more are rejected or quarantined.", EVENTS, metavar="N"),
]
Every = Annotated[
    str | None,
    _option(
        "--every", "Stay, and begin a run this often, such as 30m or 4h; 0 is once.", "Schedule", metavar="INTERVAL"
    ),
]

SETUP = "Answers"
_REFERENCE = "is found: env:NAME, file:PATH or keyring:SERVICE/NAME."


def _answer(flag: str, text: str, metavar: str) -> Any:  # noqa: ANN401  as typer.Option
    return _option(flag, text, SETUP, metavar=metavar)


From = Annotated[
    Path | None,
    _option("--from", "Take over what this folder of an earlier tq-misp-export holds.", SETUP, metavar="FOLDER"),
]
ThreatQUrl = Annotated[str | None, _answer("--threatq-url", "The address of ThreatQ.", "URL")]
ClientId = Annotated[str | None, _answer("--client-id", "The client id of ThreatQ, or of a private client.", "ID")]
Email = Annotated[str | None, _answer("--email", "The user of ThreatQ.", "ADDRESS")]
Password = Annotated[str | None, _answer("--password", f"Where the password of the user {_REFERENCE}", "REFERENCE")]
ClientSecret = Annotated[
    str | None, _answer("--client-secret", f"Where the secret of a private client {_REFERENCE}", "REFERENCE")
]
MispUrl = Annotated[str | None, _answer("--misp-url", "The address of MISP.", "URL")]
MispKey = Annotated[str | None, _answer("--misp-key", f"Where the authentication key {_REFERENCE}", "REFERENCE")]
Secrets = Annotated[
    Literal["file", "keyring", "plain"],
    _answer(
        "--secrets", "Where to keep secrets that are typed; plain is in the configuration. [default: file]", "PLACE"
    ),
]
Yes = Annotated[bool, _option("--yes", "Ask nothing: the options and the defaults are the answers.", SETUP, "-y")]
Force = Annotated[bool, _option("--force", "Replace a configuration that is there.", SETUP)]
Try = Annotated[bool, _option("--check/--no-check", "Try the answers against the servers.", SETUP)]
Output = Annotated[
    Path | None,
    _option("--config", "The file to write; by default ./tqmisp.toml.", COMMON, metavar="FILE", envvar="TQMISP_CONFIG"),
]

RunsLimit = Annotated[
    int,
    _own("--runs", "How many runs to show.", metavar="N", min=1, envvar="TQMISP_RUNS", show_default=True),
]
Samples = Annotated[
    int,
    _own(
        "--samples",
        "How many indicators to show for each reason.",
        metavar="N",
        min=0,
        envvar="TQMISP_SAMPLES",
        show_default=True,
    ),
]

ReportOutput = Annotated[
    Path | None,
    _own("--output", "Where to write the page.", metavar="FILE", envvar="TQMISP_REPORT_OUTPUT"),
]
ReportRun = Annotated[
    str | None,
    _own("--run", "The id of the run to show, or its beginning.", metavar="ID", envvar="TQMISP_REPORT_RUN"),
]
RejectsOutput = Annotated[
    Path | None,
    _own(
        "--rejects",
        "Write every refused indicator to this file, as CSV without formulas.",
        metavar="FILE",
        envvar="TQMISP_REPORT_REJECTS",
    ),
]
ReportSamples = Annotated[
    int,
    _own(
        "--samples",
        "How many refused indicators to show for each reason; 2,000 in all at most.",
        metavar="N",
        min=0,
        envvar="TQMISP_SAMPLES",
        show_default=True,
    ),
]
