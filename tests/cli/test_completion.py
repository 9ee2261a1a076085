from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None or not (BIN / "tqmisp").exists(), reason="needs bash, and the command beside Python"
)


def complete(*words: str) -> list[str]:
    """What bash offers for the last of the words, once it has taken over what the command prints for it."""
    script = (
        'eval "$(tqmisp --show-completion)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        '_tqmisp_completion tqmisp; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    env = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", "-c", script, "bash", "tqmisp", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)  # noqa: S603  our own program
    assert done.stderr == ""
    return done.stdout.split()


def test_a_shell_completes_commands_and_options() -> None:
    """With the script that the command itself prints."""
    assert complete("re") == ["replay", "report"]
    assert complete("run", "--sand") == ["--sandbox"]
