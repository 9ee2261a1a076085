from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import started
from tqmisp.cli import main


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal(number: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says where the servers are; the configuration that it names works; a signal is the ordinary end."""
    argv = ["-m", "tqmisp", "sandbox", "--indicators", "300", "--state", str(tmp_path / "kept")]
    with started(*argv, "--ready-file", str(tmp_path / "ready.json")) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        ready = json.loads(line)
        assert (tmp_path / "ready.json").read_text() == line
        assert set(ready["threatq"]) == {"url", "client_id", "email", "password", "client_secret"}
        assert set(ready["misp"]) == {"url", "key"}
        assert main(["run", "--config", ready["config"], "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["targets"][0]["balanced"]
        process.send_signal(number)
        rest, err = process.communicate(timeout=30)
        assert (process.returncode, rest, err) == (0, "", "")


def test_a_corpus_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Is told as a mistake of usage."""
    assert main(["sandbox", "--corpus", "absent.ndjson"]) == 2
    assert "error: The corpus absent.ndjson cannot be read" in capsys.readouterr().err


def test_faults_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Are told as a mistake of usage, with the part that is wrong, by both commands that take them."""
    assert main(["sandbox", "--faults", "misp:*=explode"]) == 2
    assert "error: Fault 'misp:*=explode': There is no kind of fault 'explode'." in capsys.readouterr().err
    assert main(["run", "--sandbox", "--faults", "misp:nowhere=500"]) == 2
    assert "'misp:nowhere': there is no such route." in capsys.readouterr().err


def test_a_run_meets_the_faults_that_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """The simulators of ``run --sandbox`` fail as they are told to, and the run gets through."""
    argv = ["run", "--sandbox", "--indicators", "100", "--faults", "misp:events/edit=500@1x", "--json"]
    assert main(argv) == 0
    [target] = json.loads(capsys.readouterr().out)["targets"]
    assert target["balanced"]
    assert target["retries"] > 0
