from __future__ import annotations

import json
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.cli.conftest import started
from tqmisp.cli import main


def test_what_misp_has_lost_is_found_mended_and_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the command line: run, lose an attribute, verify, repair, replay; for people and for machines."""
    with started("-m", "tqmisp", "sandbox", "--indicators", "1000") as process:
        assert process.stdout is not None
        _try(json.loads(process.stdout.readline()), tmp_path, capsys)
        process.terminate()
        process.communicate()


def _try(servers: dict[str, dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--config", str(servers["config"]), "--state", str(tmp_path / "state"), "--no-progress"]
    assert main(["run", *common, "--json", "--type", "FQDN"]) == 0
    created = json.loads(capsys.readouterr().out)["targets"][0]["created"]
    assert main(["verify", *common, "--all", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["holds"]

    [lost] = _ask(servers, "/attributes/restSearch", {"returnFormat": "json", "limit": 1, "page": 1})["response"][
        "Attribute"
    ]
    _ask(servers, f"/attributes/delete/{lost['uuid']}/1", {})
    assert main(["verify", *common]) == 6
    out = capsys.readouterr().out
    assert "Something is missing or stale" in out
    assert lost["uuid"] in out
    assert main(["verify", *common, "--repair", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["missing"], document["to_deliver_again"]) == (1, 1)
    assert document["repair"]["targets"][0]["created"] >= 1
    assert main(["verify", *common, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["missing"] == 0
    assert created > 0

    assert main(["replay", *common, "--json"]) == 0
    [target] = json.loads(capsys.readouterr().out)["targets"]
    assert sum(target["rejected"].values()) == target["read"] > 0, "nothing has been mended"
    assert main(["replay", *common, "--run", "no such run"]) == 0


def _ask(
    servers: dict[str, dict[str, str]], path: str, body: dict[str, object]
) -> dict[str, dict[str, list[dict[str, str]]]]:
    misp = servers["misp"]
    headers = {"Authorization": misp["key"], "Accept": "application/json", "Content-Type": "application/json"}
    with urlopen(Request(misp["url"] + path, json.dumps(body).encode(), headers)) as answer:  # noqa: S310  our own server
        found: dict[str, dict[str, list[dict[str, str]]]] = json.loads(answer.read())
    return found
