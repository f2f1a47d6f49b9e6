"""Other programs, asked with a time limit: whatever goes wrong, there is simply no answer."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

PROGRAM_SECONDS = 10
IMPORT_SECONDS = 120  # the first import of torch from a network file system


def ask_program(command: Sequence[str], seconds: float = PROGRAM_SECONDS) -> str | None:
    """What a program prints; None if it is not there, fails, or takes longer than `seconds`."""
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return result.stdout


def ask_python(program: str, *words: str) -> Any:
    """The JSON that a Python program prints in a process of its own; None as above.

    A library that hangs or crashes while it is loaded (torch with a broken driver) thus harms nobody.
    """
    answer = ask_program([sys.executable, "-c", program, *words], IMPORT_SECONDS)
    try:
        return json.loads(answer.strip().splitlines()[-1]) if answer and answer.strip() else None
    except ValueError:
        return None
