"""Clones of this working tree for the tests that need a whole repository: DVC, SLURM, use as a module."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
NANO = Path(__file__).parent / "versioning"
IDENTITY = {f"GIT_{who}_{what}": "tests@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@dataclass(frozen=True)
class Clone:
    """A repository with the nano profile, and a home of its own so that no setting of this machine gets in."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def results(self):
        return self.folder / "results" / "nano"

    def get_environment(self):
        """This interpreter's programs first; no PYTHONPATH, since a clone must find its own sources."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "GIT_"))}
        home = self.folder.parent / "home"
        home.mkdir(exist_ok=True)
        programs = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
        return kept | IDENTITY | {"HOME": str(home), "PATH": programs, "DVC_NO_ANALYTICS": "1"} | self.environment

    def start(self, *words):
        return subprocess.Popen(
            [str(word) for word in words],
            cwd=self.folder,
            env=self.get_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words, check=True):
        process = self.start(*words)
        text = process.communicate()[0]
        assert not check or process.returncode == 0, text + self.read_logs()
        return text

    def dvc(self, *words, check=True):
        return self.run("dvc", *words, check=check)

    def snakemake(self, *words, check=True):
        return self.run("snakemake", *words, "--configfile", "config/nano.yaml", check=check)

    def commit(self, message):
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)
        return self.run("git", "rev-parse", "HEAD").strip()

    def clone(self, folder):
        """What another person gets: the commits, no results."""
        self.run("git", "clone", "--quiet", self.folder, folder)
        return Clone(folder, self.environment)

    def change(self, key, value):
        """Set one setting of the nano profile."""
        path = self.folder / "config/nano.yaml"
        content = place = yaml.safe_load(path.read_text())
        *sections, name = key.split(".")
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
        path.write_text(yaml.safe_dump(content))

    def read_logs(self):
        """The logs of the jobs, for a failing test's message."""
        return "\n".join(f"== {path.name}\n{path.read_text()[-1500:]}" for path in self.results.glob("logs/**/*.log"))


def make_repository(folder, **environment):
    """A fresh repository of this working tree's files, committed or not, whose DVC parameter names the nano profile."""
    folder.mkdir()
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    for name in ("nano.yaml", "nano.csv"):
        shutil.copy(NANO / name, folder / "config")
    (folder / "params.yaml").write_text("profile: nano\n")
    clone = Clone(folder, environment)
    clone.run("git", "init", "--quiet", "--initial-branch", "main")
    clone.commit("The nano profile")
    return clone


def get_jobs(text):
    """The rules that Snakemake ran or plans to run, with the number of their jobs."""
    return {rule: int(count) for rule, count in re.findall(r"^([a-z_0-9]+)\s+(\d+)$", text, re.MULTILINE)}
