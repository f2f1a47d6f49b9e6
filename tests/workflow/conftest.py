import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Project:
    """A working folder with the tiny profile."""

    folder: Path

    def snakemake(self, *arguments, check=True):
        command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "workflow/Snakefile", "--cores", "2"]
        command += ["--directory", self.folder, "--configfile", self.folder / "tiny.yaml", *arguments]
        environment = os.environ | {"HOME": str(self.folder)}
        result = subprocess.run(
            [str(word) for word in command], capture_output=True, text=True, cwd=self.folder, env=environment
        )
        assert not check or result.returncode == 0, result.stdout + result.stderr + self.logs()
        return result

    def logs(self):
        """The logs of the jobs, for a failing test's message."""
        return "\n".join(f"== {path.name}\n{path.read_text()[-2000:]}" for path in self.folder.rglob("*.log"))

    @property
    def results(self):
        return self.folder / "results" / "tiny"


def make_project(folder):
    for name in ("tiny.yaml", "experiments.csv", "claims.csv"):
        shutil.copy(HERE / name, folder)
    return Project(folder)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The tiny profile, run through the whole graph: what a run makes by default, and all of the paper's.

    It is run once for all test processes; each gets a copy, so that none locks another's folder.
    """
    shared = tmp_path_factory.getbasetemp().parent / "tiny_graph"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            making = make_project(tmp_path_factory.mktemp("making"))
            making.snakemake("--", "all", "paper")
            shutil.move(making.folder, shared)

    folder = tmp_path_factory.mktemp("tiny")
    shutil.copytree(shared, folder, symlinks=True, dirs_exist_ok=True)
    return Project(folder)


@pytest.fixture
def fresh(tmp_path):
    return make_project(tmp_path)
