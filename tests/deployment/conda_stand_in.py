"""A stand-in for the program `conda`: it links installed packages where the real one would solve and download.

An environment holds a bare interpreter and the packages that its file names, with what they require, nothing else;
so a rule that imports something its environment lacks fails. What this cannot show: that the channel has these
versions, and that they go together.
"""

import importlib.metadata
import json
import re
import sys
import venv
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

# Names on conda-forge that differ from those on PyPI.
NAMES = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
# In an environment file, but no package of the tests' interpreter.
NOT_LINKED = {"python", "pip"}


def read_versions(path):
    """Package (PyPI's name) -> the versions that an environment file admits, conda's and pip's entries alike."""
    entries = yaml.safe_load(Path(path).read_text())["dependencies"]
    flat = [e for entry in entries for e in (entry["pip"] if isinstance(entry, dict) else [entry])]
    parts = (re.fullmatch(r"([a-z0-9-]+) *(.*)", entry).groups() for entry in flat)
    return {NAMES.get(name, name): parse_versions(text) for name, text in parts}


def parse_versions(text):
    """What conda means by ``=2.15`` (2.15 and 2.15.1, not 2.16), or a range or an exact version as PyPI writes it."""
    fuzzy = text.startswith("=") and not text.startswith("==")
    return SpecifierSet(f"={text}.*" if fuzzy else text)


def get_closure(names):
    """The installed distributions behind `names` and everything that they require here."""
    waiting, found = list(names), {}
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        for text in found[name].requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def link(distribution, site):
    """Link the top-level entries of one distribution into the folder `site`."""
    for file in distribution.files or []:
        top = file.parts[0]
        source = Path(str(distribution.locate_file(top)))
        if top not in ("..", "__pycache__") and source.exists() and not (site / top).exists():
            (site / top).symlink_to(source)


def create(prefix, file):
    """Make the environment that `file` describes."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(prefix)
    site = next(Path(prefix).glob("lib/python*/site-packages"))
    for distribution in get_closure(name for name in read_versions(file) if name not in NOT_LINKED).values():
        link(distribution, site)


def install(folder):
    """Write a `conda` into `folder/bin`, and the script that activates an environment; returns `folder/bin`."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    (programs / "conda").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "{folder}" "$@"\n')
    (programs / "conda").chmod(0o755)
    (programs / "activate").write_text('export CONDA_PREFIX="$1" PATH="$1/bin:$PATH"\n')
    return programs


def main(base, words):
    """Answer what Snakemake asks of conda."""
    if words[0] == "info":
        print(json.dumps({"conda_prefix": base, "platform": "linux-64"}))
    elif words[0] == "--version":
        print("conda 25.1.0")
    elif words[0] == "clean":
        pass
    elif words[0] == "config":
        print(json.dumps({"get": {"channel_priority": "strict"}}))
    elif words[:2] == ["env", "create"]:
        create(words[words.index("--prefix") + 1], words[words.index("--file") + 1])
    else:
        sys.exit(f"stand-in for conda: unexpected {words}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
