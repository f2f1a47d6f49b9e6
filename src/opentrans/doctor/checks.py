"""One line of the doctor's report: what was looked at, what was found, what to do about it."""

import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from opentrans.errors import UserError, shorten

Level = Literal["ok", "warning", "problem"]
WIDTH = 110
TOPIC_COLUMN, TEXT_COLUMN = 9, 24


@dataclass(frozen=True)
class Check:
    """What was looked at (`topic`), what was found (`text`) and the `remedy` (empty where all is well)."""

    level: Level
    topic: str
    text: str
    remedy: str = ""

    def format(self) -> str:
        """The finding in aligned columns, the remedy on lines of its own."""
        head = f"{self.level:<{TOPIC_COLUMN}}{self.topic:<{TEXT_COLUMN - TOPIC_COLUMN}}"
        lines = _wrap(self.text, head)
        if self.remedy:
            lines += _wrap(self.remedy, " " * TEXT_COLUMN + "-> ")
        return "\n".join(lines)


def _wrap(text: str, head: str) -> list[str]:
    indent = " " * len(head)
    # A path or a command is copied: it must not be cut at a hyphen.
    return textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


def fine(topic: str, text: str) -> Check:
    """All is well."""
    return Check("ok", topic, text)


def warn(topic: str, text: str, remedy: str) -> Check:
    """The run works, but slower or otherwise than planned, or it could not be told."""
    return Check("warning", topic, text, remedy)


def fault(topic: str, text: str, remedy: str) -> Check:
    """The run will fail."""
    return Check("problem", topic, text, remedy)


def attempt(topic: str, look: Callable[[], Iterable[Check]]) -> Iterator[Check]:
    """The checks that `look` gives; what stops it becomes a check, so that the others are still made."""
    try:
        yield from look()
    except UserError as error:
        yield fault(topic, f"{error.where}: {error.problem}", error.remedy)
    except Exception as error:  # whatever a strange machine brings: the report goes on
        yield warn(topic, f"could not be checked ({type(error).__name__}: {shorten(error)})", "look at it by hand")


def count_levels(checks: Iterable[Check]) -> dict[Level, int]:
    """How many checks there are of each level."""
    counts: dict[Level, int] = {"ok": 0, "warning": 0, "problem": 0}
    for check in checks:
        counts[check.level] += 1
    return counts


def format_size(size: float) -> str:
    """A number of bytes as people say it: ``5.4 GB``."""
    units = ["bytes", "KB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.0f} {units[0]}" if size >= 10 or units[0] == "bytes" else f"{size:.1f} {units[0]}"
