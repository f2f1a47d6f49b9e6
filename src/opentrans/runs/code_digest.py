"""Which source files a command depends on, so that the workflow reruns exactly what a code change touches."""

import ast
import hashlib
import os
import sys
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


@cache
def get_imports(path: Path) -> frozenset[Path]:
    """The package's own files that the source file `path` imports, at its top or inside a function."""
    files: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            files |= {_locate(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            files |= {_locate(node.module), *(_locate(f"{node.module}.{alias.name}") for alias in node.names)}
        elif isinstance(node, ast.JoinedStr):
            files |= _locate_by_name(node)
    return frozenset(files - {PACKAGE})


def _locate_by_name(text: ast.JoinedStr) -> set[Path]:
    """All modules of a folder that is imported by name: ``f"opentrans.models.{kind}"``."""
    start = text.values[0].value if text.values and isinstance(text.values[0], ast.Constant) else ""
    first, *rest = str(start).split(".")
    named = first == PACKAGE.name and len(rest) == 2 and not rest[1]
    return set((PACKAGE / rest[0]).glob("*.py")) if named else set()


def _locate(module: str) -> Path:
    """The file of a module of this package; the package's folder itself for anything else."""
    first, *rest = module.split(".")
    if first != PACKAGE.name:
        return PACKAGE
    base = PACKAGE.joinpath(*rest)
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if rest and candidate.is_file():
            return candidate
    return PACKAGE


def list_commands() -> list[str]:
    """The names of all commands, as typed: the modules of `opentrans.commands`."""
    names = (path.stem for path in (PACKAGE / "commands").glob("*.py"))
    return sorted(name.replace("_", "-") for name in names if not name.startswith("_"))


def list_templates(path: Path) -> list[Path]:
    """The files of the folder ``templates`` beside a source file that names them."""
    source = path.read_bytes()
    return [file for file in (path.parent / "templates").glob("*") if file.name.encode() in source]


def get_sources(command: str) -> list[Path]:
    """All source files that a command can reach through imports, and their templates, sorted."""
    waiting, seen = [PACKAGE / "commands" / f"{command.replace('-', '_')}.py"], set[Path]()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting.extend(get_imports(path))
    return sorted({*seen, *(template for path in seen for template in list_templates(path))})


def hash_sources(command: str) -> str:
    """A digest of the content of `get_sources`."""
    digest = hashlib.sha256()
    for path in get_sources(command):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def export_interpreter() -> None:
    """Let ``python -m opentrans`` in child processes mean this interpreter and this source tree.

    An activated conda environment puts its own interpreter before this one and still finds the sources.
    """
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    os.environ["PYTHONPATH"] = str(PACKAGE.parent)
