"""Classes in a user's own words: ``dog|puppy, cat, grass``."""

from pathlib import Path

from opentrans.data.prepared import Vocabulary
from opentrans.errors import UserError

REMEDY = 'write for example --classes "dog|puppy, cat, grass" or --classes @words.txt'
NO_IGNORE = 65535


def parse_classes(text: str) -> Vocabulary:
    """A vocabulary from names separated by commas, synonyms by ``|``; ``@FILE`` reads a class from each line.

    Raises:
        UserError: no name, an empty synonym, or a name that stands for two classes.
    """
    parts = _read_lines(Path(text[1:])) if text.startswith("@") else text.split(",")
    names = tuple(tuple(" ".join(name.split()) for name in part.split("|")) for part in parts if part.strip())
    if not names:
        raise UserError("--classes", "names no class", REMEDY)
    seen: dict[str, str] = {}
    for synonyms in names:
        for name in synonyms:
            if not name:
                raise UserError("--classes", f"{'|'.join(synonyms)!r} has an empty synonym", REMEDY)
            if name.lower() in seen:
                raise UserError("--classes", f"{name!r} is there twice", "give each name to one class")
            seen[name.lower()] = name
    return Vocabulary("words", names, NO_IGNORE)


def _read_lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if not line.startswith("#")]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(path, f"not readable as a list of words ({error})", REMEDY) from None
