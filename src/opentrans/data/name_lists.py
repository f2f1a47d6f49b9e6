"""Files with a vocabulary's names, such as FC-CLIP's prompt-engineered lists: more synonyms than a data set has."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from opentrans.config import Benchmark
from opentrans.data.prepared import Vocabulary
from opentrans.data.sources.base import read_lines, split_names
from opentrans.errors import UserError

Names = tuple[str, ...]
_INDEXED = re.compile(r"(\d+)\s*:(.*)")
_NO_CLASS = "invalid_class_id"  # FC-CLIP's lists keep a place for numbers that are no class
_SAME_ORDER = 0.75  # share of the classes whose line must hold one of their names; lists rename up to a tenth
_REMEDY = "write one class a line in the vocabulary's order, synonyms separated by commas"


def take_names(vocabulary: Vocabulary, lists: Mapping[Benchmark, str]) -> Vocabulary:
    """`vocabulary` with the names of the list that `lists` holds for its data set; as it is where there is none.

    Raises:
        UserError: the list is missing, damaged, or of another vocabulary.
    """
    files = {str(name): Path(file) for name, file in lists.items()}
    path = files.get(vocabulary.dataset)
    if path is None:
        return vocabulary
    return dataclasses.replace(vocabulary, names=_order(read_names(path, len(vocabulary)), vocabulary, path))


def read_names(path: Path, classes: int) -> list[Names]:
    """The names of each line of a list.

    A line holds synonyms separated by commas, in all lines or in none after an index and a colon: ``7:floor,flooring``.
    Of indexed lines, ``0:invalid_class_id`` and the like are left out, and so is index 0 where it is one line too many
    (the background of PASCAL VOC).

    Raises:
        UserError: missing file, a line without a name, an index twice, or not as many lines as `classes`.
    """
    lines = read_lines(path, _REMEDY)
    matches = [_INDEXED.fullmatch(line) for line in lines]
    if not any(matches):
        named = list(enumerate(lines))
    else:
        if not all(matches):
            raise UserError(f"{path}: line {matches.index(None) + 1}", "has no index, other lines have one", _REMEDY)
        named = [(int(match[1]), match[2]) for match in matches if match and match[2].strip() != _NO_CLASS]
        indices = [index for index, _ in named]
        if len(set(indices)) < len(indices):
            twice = next(index for index in indices if indices.count(index) > 1)
            raise UserError(path, f"index {twice} is listed twice", _REMEDY)
        if len(named) == classes + 1:
            named = [(index, text) for index, text in named if index != 0]

    if len(named) != classes:
        raise UserError(path, f"names {len(named)} classes, the vocabulary has {classes}", _REMEDY)
    names = [split_names(text) for _, text in named]
    for (index, _), synonyms in zip(named, names, strict=True):
        if not synonyms:
            raise UserError(f"{path}: class {index}", "has no name", _REMEDY)
    return names


def _order(names: Sequence[Names], vocabulary: Vocabulary, path: Path) -> tuple[Names, ...]:
    """`names` in the order of the classes.

    The lists follow the official order of the classes, but in one case: ADE20K-847's is OpenSeg's, while the classes
    here are in the order of the data set's index. Where lines and classes do not agree one by one they are paired by
    the names that they share.
    """
    same = [_rate(own, line) >= 1 for own, line in zip(vocabulary.names, names, strict=True)]
    if sum(same) >= _SAME_ORDER * len(same):
        return tuple(names)

    scores = np.array([[_rate(own, line) for line in names] for own in vocabulary.names])
    return tuple(names[line] for line in _pair(scores, vocabulary, path))


def _pair(scores: Float[np.ndarray, "k k"], vocabulary: Vocabulary, path: Path) -> list[int]:
    """The line of each class, so that the sum of scores is largest; a pair that shares no word is a `UserError`."""
    rows, lines = linear_sum_assignment(scores, maximize=True)
    for row, line in zip(rows.tolist(), lines.tolist(), strict=True):
        if scores[row, line] == 0:
            problem = f"no line fits class {row} ({', '.join(vocabulary.names[row])})"
            raise UserError(path, problem, f"take the list of this data set, or {_REMEDY}")
    return [int(line) for line in lines]


def _rate(own: Sequence[str], line: Sequence[str]) -> float:
    """How well a line fits a class: from 1 on where they share a name, below where they only share words."""
    first, second = (list(map(_normalise, names)) for names in (own, line))
    words = [set(" ".join(names).split()) for names in (first, second)]
    score = 0.01 * _overlap(*words)
    if set(first) & set(second):
        score += 1 + _overlap(set(first), set(second))
        if first[0] in second:  # the name that the class is known by
            score += 0.5
    return score


def _overlap(first: set[str], second: set[str]) -> float:
    return len(first & second) / max(1, len(first | second))


def _normalise(name: str) -> str:
    return " ".join(name.lower().replace("-", " ").split())
