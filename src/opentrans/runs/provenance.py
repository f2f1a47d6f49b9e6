"""Where results come from: beside each output, a record of code, configuration, inputs, versions and machine.

The record of ``training/.../checkpoint.safetensors``, written by ``train``, is
``training/.../checkpoint.safetensors.train.provenance.json``; one record covers all files that the command wrote. It
holds no time and no path of the machine, so that equal runs leave equal bytes. Paths are relative to its own folder.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentrans.config import Config
from opentrans.errors import UserError
from opentrans.runs.code_digest import hash_sources
from opentrans.runs.machine import describe_hardware, describe_versions
from opentrans.system.files import HASH_SUFFIX, get_written, read_json, sha256, write_json

SUFFIX = ".provenance.json"
FIELDS = ("command", "code", "configuration_sha256", "arguments", "seed", "inputs", "outputs", "versions", "hardware")


def write_provenance(
    command: str, arguments: Mapping[str, Any], config: Config | None, config_files: Iterable[Path]
) -> None:
    """After a command succeeded: write its record, if it has an output.

    Args:
        command: its name, as typed.
        arguments: values by the names of its options, ``output`` and ``output_dir`` among them.
        config: what it read.
        config_files: where it read it.
    """
    written = _list_outputs(arguments)
    if not written or os.environ.get("RANK", "0") != "0":  # of several processes the first writes
        return

    output = arguments.get("output")
    if not isinstance(output, Path) or (output.is_dir() and written[0] in get_written()):
        output = written[0]  # several jobs of a command may share a folder
    record = output.with_name(f"{output.name}.{command}{SUFFIX}")

    inputs = sorted({*config_files, *_list_inputs(arguments)} - set(written))
    content = {
        "command": command,
        "code": hash_sources(command),
        "configuration_sha256": hashlib.sha256(config.model_dump_json().encode()).hexdigest() if config else None,
        "arguments": {name: value for name, value in sorted(arguments.items()) if isinstance(value, str | int)},
        "seed": arguments.get("seed", config.world.seed if config and config.world else None),
        "inputs": _hash_files(inputs, record.parent),
        "outputs": _hash_files(written, record.parent),
        "versions": describe_versions(),
        "hardware": describe_hardware(),
    }
    write_json(record, content)


def _list_outputs(arguments: Mapping[str, Any]) -> list[Path]:
    """What the command wrote where its arguments say; for a folder that was built elsewhere and renamed, its files."""
    written, named = set(get_written()), [path for path in arguments.values() if isinstance(path, Path)]
    found = {path for path in written if path in named or any(folder in path.parents for folder in named)}
    found = {path for path in found if path.is_file() and path.suffix != HASH_SUFFIX}
    output = arguments.get("output")
    return sorted(found or (_list_files(output) if isinstance(output, Path) else set()))


def _list_files(path: Path) -> set[Path]:
    """A file, or the files right inside a folder: those of a prepared data set hold the hashes of the others."""
    if path.is_dir():
        return {entry for entry in path.iterdir() if entry.is_file() and not entry.name.endswith(SUFFIX)}
    return {path} if path.is_file() else set()


def _list_inputs(arguments: Mapping[str, Any]) -> Iterator[Path]:
    """Files and folders that the arguments name, also as ``NAME=PATH``."""
    for name, value in arguments.items():
        if name not in ("config", "output", "output_dir", "command"):
            for item in value if isinstance(value, list) else [value]:
                path = item if isinstance(item, Path) else Path(item.partition("=")[2] if "=" in str(item) else "")
                if path != Path():
                    yield from _list_files(path)


def _hash_files(paths: Iterable[Path], folder: Path) -> dict[str, str]:
    return {Path(os.path.relpath(path, folder)).as_posix(): sha256(path) for path in paths}


@dataclass(frozen=True)
class Mismatch:
    """Something that no longer matches: `where` the record or file, `problem` what differs; `fatal` for files."""

    where: Path
    problem: str
    fatal: bool = True


def verify(folder: Path, on_record: Callable[[Path], object] = lambda _: None) -> list[Mismatch]:
    """Recompute the hashes of all records under `folder`.

    Args:
        folder: the results, anywhere; inputs outside of it are looked for relative to the records.
        on_record: called with each record.

    Returns:
        What no longer matches: files that changed or are gone, and, not fatal, code and versions that are others now.

    Raises:
        UserError: there is no record, or one is unreadable.
    """
    records = sorted(folder.rglob(f"*{SUFFIX}"))
    if not records:
        raise UserError(folder, "holds no provenance record", "give the folder of results that opentrans wrote")

    # Many records name the same input; it is hashed once.
    known: dict[Path, str] = {}
    findings: list[Mismatch] = []
    for record in records:
        on_record(record)
        findings += _verify_record(record, known)
    return findings


def _verify_record(record: Path, known: dict[Path, str]) -> Iterator[Mismatch]:
    content = read_record(record)
    for kind, changed in (("outputs", "changed since it was written"), ("inputs", "not what this was made from")):
        for name, expected in content[kind].items():
            path = Path(os.path.normpath(record.parent / name))

            if not path.is_file():
                yield Mismatch(record, f"{kind[:-1]} {name} is gone")
            elif known.setdefault(path, sha256(path)) != expected:
                yield Mismatch(record, f"{kind[:-1]} {name} is {changed}" if kind == "inputs" else f"{name} {changed}")

    try:
        code = hash_sources(content["command"])
    except FileNotFoundError:
        code = "gone"
    if code != content["code"]:
        yield Mismatch(record, f"made by other code of {content['command']}", fatal=False)

    now, then = describe_versions(), content["versions"]
    other = [f"{name} {then[name]} (now {now.get(name, 'none')})" for name in then if now.get(name) != then[name]]
    if other:
        yield Mismatch(record, f"made with {', '.join(other)}", fatal=False)


def read_record(record: Path) -> dict[str, Any]:
    """Read a record; a damaged one is a `UserError`."""
    content: dict[str, Any] = read_json(record)
    if isinstance(content, dict) and "verb" in content:  # what records of version 0.1.0 call it
        content["command"] = content.pop("verb")
    wrong = [field for field in FIELDS if not isinstance(content, dict) or field not in content]
    if wrong or not all(isinstance(content[field], dict) for field in ("inputs", "outputs", "versions")):
        raise UserError(record, f"field {wrong[0] if wrong else 'inputs or outputs'} is missing", "make it again")
    return content
