"""Classes in a user's own words: ``dog|puppy, cat, grass``."""

from collections.abc import Sequence
from pathlib import Path

from opentrans.data.prepared import Vocabulary
from opentrans.errors import UserError

_REMEDY = 'write for example "dog|puppy, cat, grass", or @words.txt for a file'
_NO_IGNORE = 65535


def parse_classes(text: str) -> Vocabulary:
    """A vocabulary from names separated by commas, synonyms by ``|``; ``@FILE`` reads a class from each line.

    Raises:
        UserError: no name, an empty synonym, or a name that stands for two classes.
    """
    return make_vocabulary(_read_lines(Path(text[1:])) if text.startswith("@") else text.split(","))


def make_vocabulary(words: Sequence[str]) -> Vocabulary:
    """A vocabulary from one class each, synonyms separated by ``|``; the first names the class.

    Raises:
        UserError: no name, an empty synonym, or a name that stands for two classes.
    """
    names = tuple(tuple(" ".join(name.split()) for name in part.split("|")) for part in words if part.strip())
    if not names:
        raise UserError("classes", "none is named", _REMEDY)

    seen: set[str] = set()
    for synonyms in names:
        for name in synonyms:
            if not name:
                raise UserError("classes", f"{'|'.join(synonyms)!r} has an empty synonym", _REMEDY)
            if name.lower() in seen:
                raise UserError("classes", f"{name!r} is there twice", "give each name to one class")
            seen.add(name.lower())
    return Vocabulary("words", names, _NO_IGNORE)


def _read_lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if not line.startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"not readable as a list of words ({error})", _REMEDY) from None
