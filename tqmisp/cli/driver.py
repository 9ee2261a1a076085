"""``tq-misp-export``: the command line of the 2018 connector, with its questions, its folder and its log lines."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from tqmisp.cli import common, first_run, job
from tqmisp.config import Settings, ThreatQSettings, load, load_part
from tqmisp.errors import ConfigError, TqmispError
from tqmisp.log import get_logger
from tqmisp.observe import logs
from tqmisp.observe.listener import Listener
from tqmisp.observe.streams import silence, stand_in
from tqmisp.threatq import connectors
from tqmisp.threatq.client import ThreatQClient

DRIVER, CONNECTOR = "tqMispExport.tq_driver", "threatqcc.custom_connector"
"""The names that the 2018 connector logged by; people search for them."""

log = get_logger(DRIVER)
connector_log = get_logger(CONNECTOR)


def main(argv: Sequence[str] | None = None) -> int:
    """Ask the questions of a first run, or export; return the exit code.

    Args:
        argv: the arguments without the name of the program; by default those of the process.
    """
    stand_in()
    try:
        given = _parser().parse_args(argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    to_folder = given.loglocation != "stdout"
    try:
        _start_logging(given)
        return _main(given)
    except BrokenPipeError:
        silence(sys.stdout)
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001  the outermost place: nobody else would tell
        for line in str(error).splitlines():
            log.error("%s", line)  # noqa: TRY400  a traceback is for those who ask for it by -vv of tqmisp
        if to_folder or not isinstance(error, TqmispError):
            return common.report_error(error)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tq-misp-export",
        description="Export indicators from ThreatQ to MISP. The first run asks how to reach ThreatQ.",
    )
    parser.add_argument(
        "-ll",
        "--loglocation",
        default="stdout",
        help="folder for the log, which must exist and be writable; 'stdout', the default, logs to the console",
    )
    parser.add_argument(
        "-c",
        "--config",
        help="folder of the configuration, to be read and written; by default the current folder",
    )
    parser.add_argument(
        "-v",
        "--verbosity",
        type=int,
        choices=(1, 2, 3),
        default=1,
        help="1 logs warnings (the default), 2 also information, 3 everything",
    )
    parser.add_argument("-ds", action="store_true", help="do not verify the certificate of MISP")
    parser.add_argument(
        "--register",
        action="store_true",
        help="try to register the connector in ThreatQ's user interface where it is not; not every ThreatQ lets us",
    )
    return parser


def _start_logging(given: argparse.Namespace) -> None:
    logs.register(())
    folder = None
    if given.loglocation != "stdout":
        folder = Path(given.loglocation)
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            logs.configure(form="classic")
            raise ConfigError(f"The log location {folder} must be a folder that exists and can be written to.")
    logs.configure(
        verbose=given.verbosity - 1,
        form="classic",
        file=folder / "tq-misp-export.log" if folder else None,
        stream="stdout",
        ours=("tqmisp", DRIVER, CONNECTOR),
    )


def _main(given: argparse.Namespace) -> int:
    log.debug("Set name of connector to %s.", first_run.CONNECTOR_NAME)
    if given.ds:
        log.debug("MISP SSL Verify is set to False.")
    log.debug("Successfully parsed command line arguments.")
    if given.config is None:
        connector_log.debug("Using Current working directory for config path")
    folder = Path(given.config or ".")
    if not folder.is_dir():
        raise ConfigError(f"The configuration folder {folder} does not exist; make it, or name another by -c.")
    file = folder.resolve() / first_run.FILE
    if not file.exists():
        first_run.configure(file, register=given.register)
        return 0
    return _export(file, verify_tls=False if given.ds else None, register=given.register)


def _export(file: Path, *, verify_tls: bool | None, register: bool) -> int:
    began = time.monotonic()
    base = load_part(ThreatQSettings, file)
    logs.register(base.secrets())
    found = common.run_async(partial(_ask_threatq, base, register=register))
    log.debug("Private Connection Established. Beginning execution of the MISP Export Connector.")
    if found is None:
        log.info("Further configuration is required in the UI.")
        log.warning("ThreatQ has no connector %r; the settings in %s are used.", base.connector.name, file)
    elif not found.active:
        log.warning(
            "The connector %r is switched off in ThreatQ's user interface; nothing is exported.", base.connector.name
        )
        return 0
    settings = _settings(file, base, found, verify_tls=verify_tls)
    logs.register(settings.secrets())
    for warning in settings.warnings:
        log.warning(warning)
    log.debug("Establishing MISP communications.")
    receipt = common.run_async(partial(job.export_until_signal, settings, _Lines()))
    for target in receipt.targets:
        for sentence in target.imbalance:
            log.error(sentence)
        log.info("%d of %d indicators accounted for.", target.accounted(), target.read)
    log.info("Completed execution of the MISP Export Connector in %.0f seconds", time.monotonic() - began)
    return common.exit_code(receipt, settings.run.max_rejects)


async def _ask_threatq(base: ThreatQSettings, *, register: bool) -> connectors.ConnectorSettings | None:
    """Read what the operator has set in ThreatQ's user interface."""
    async with ThreatQClient.connect(base.threatq) as client:
        try:
            return await first_run.find_connector(client, base.connector.name, register=register)
        except ValueError as error:
            raise ConfigError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from error


def _settings(
    file: Path, base: ThreatQSettings, found: connectors.ConnectorSettings | None, *, verify_tls: bool | None
) -> Settings:
    """All settings: what the user interface says counts more than the file."""
    overrides: dict[str, Any] = {"misp.verify_tls": verify_tls, "output.progress": False}
    where = f"of the connector {base.connector.name!r} in ThreatQ"
    names = {
        "misp.url": f"MISP URL {where}",
        "misp.key": f"MISP Authorization Key {where}",
        "selection.score_threshold": f"Score Threshold {where}",
        "misp.verify_tls": "misp.verify_tls, by -ds,",
    }
    if found is not None:
        overrides |= {
            "misp.url": found.misp_url,
            # not a reference to a file of this machine, whatever it says: others write it
            "misp.key": SecretStr(found.misp_key) if found.misp_key else None,
            "selection.score_threshold": found.score_threshold,
        }
    return load(file, overrides=overrides, names=names)


class _Lines(Listener):
    """The landmarks of a run, in the words of 2018."""

    def on_selected(self, indicators: int) -> None:
        log.debug("Processing [%d] indicators.", indicators)

    def on_event_created(self, number: int | None) -> None:
        log.debug("Creating Event in MISP.")
        log.debug("Event [%s] created in MISP.", "?" if number is None else number)

    def on_slice_stored(self, attributes: int, remaining: int | None) -> None:  # noqa: ARG002
        if remaining is not None:
            log.debug("Purged processed indicators - [%d] indicators remaining.", remaining)
