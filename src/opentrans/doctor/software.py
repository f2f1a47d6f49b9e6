"""Python, the environment in use, and the packages in it."""

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from opentrans.config.loading import REPOSITORY
from opentrans.doctor.checks import Check, fault, fine, warn
from opentrans.runs.machine import PACKAGES

OLDEST, TOO_NEW = (3, 11), (3, 14)
# Extras that a run of the workflow needs; `cluster` only where there is SLURM.
RUN_EXTRAS = ("workflow", "alpha", "report")
CLUSTER_EXTRA = "cluster"
# Of `cluster` only this one serves a run; the others are for the tests.
SLURM_PLUGIN = "snakemake-executor-plugin-slurm"
CONDA_ENVIRONMENTS = Path(".snakemake/conda")


@dataclass(frozen=True)
class Environment:
    """The Python environment: what made it, and which result-deciding packages differ from the lock.

    `differing`: package -> (installed, locked). `locked`: whether there is a lock to compare with.
    """

    kind: str
    differing: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    locked: bool = True


@dataclass(frozen=True)
class CondaFacts:
    """The program `conda`, and the build of pytorch in each environment that Snakemake has made here."""

    program: bool = False
    torch_builds: tuple[str, ...] = ()


def read_lock(path: Path) -> dict[str, set[str]]:
    """Package -> locked versions (several where they depend on the system); empty without a lock."""
    versions: dict[str, set[str]] = {}
    if path.is_file():
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", path.read_text(encoding="utf-8"), re.M):
            versions.setdefault(_normalise(name), set()).add(version)
    return versions


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _find_version(name: str) -> str | None:
    """The installed version without its build (2.15.0 of 2.15.0+cu132)."""
    try:
        return importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def compare_with_lock(lock: Mapping[str, set[str]]) -> dict[str, tuple[str, str]]:
    """The installed packages that decide results and are of another version than the lock's."""
    installed = {name: version for name in PACKAGES if (version := _find_version(name))}
    return {
        name: (version, min(lock[_normalise(name)]))
        for name, version in installed.items()
        if version not in lock.get(_normalise(name), {version})
    }


def find_environment() -> Environment:
    """The environment of this interpreter."""
    lock = read_lock(REPOSITORY / "requirements.lock")
    if (Path(sys.prefix) / "conda-meta").is_dir():
        kind = "conda"
    else:
        kind = "virtual" if sys.prefix != sys.base_prefix else "system"
    return Environment(kind, compare_with_lock(lock), bool(lock))


def read_requirements() -> dict[str, list[str]]:
    """Extra (empty: needed always) -> names of the packages that it asks for; empty where nothing says so."""
    project = REPOSITORY / "pyproject.toml"
    if project.is_file():
        content = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        named = {"": content.get("dependencies", []), **content.get("optional-dependencies", {})}
        return {extra: [_name_of(text) for text in texts] for extra, texts in named.items()}

    # Installed from a wheel: its metadata say the same.
    try:
        texts = importlib.metadata.requires("opentrans") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    requirements: dict[str, list[str]] = {"": []}
    for text in texts:
        extra = re.search(r"extra *== *['\"]([\w-]+)['\"]", text)
        requirements.setdefault(extra[1] if extra else "", []).append(_name_of(text))
    return requirements


def _name_of(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    return _normalise(match[0]) if match else requirement


def find_missing_packages(slurm: bool) -> dict[str, list[str]]:
    """Extra (empty: needed always) -> its packages that are not installed; only extras that a run needs."""
    wanted = read_requirements()
    missing: dict[str, list[str]] = {}
    for extra in ("", *RUN_EXTRAS):
        missing[extra] = [name for name in wanted.get(extra, []) if name != "opentrans" and not _find_version(name)]
    missing[CLUSTER_EXTRA] = [SLURM_PLUGIN] if slurm and not _find_version(SLURM_PLUGIN) else []
    return {extra: names for extra, names in missing.items() if names}


def find_torch_builds(folder: Path = CONDA_ENVIRONMENTS) -> tuple[str, ...]:
    """The build of pytorch in each environment that Snakemake has made: ``pytorch-2.13.0-cuda129_...``."""
    return tuple(sorted(path.stem for path in folder.glob("*/conda-meta/pytorch-[0-9]*.json")))


def check_python(version: Sequence[int]) -> Check:
    """Whether the package admits this Python."""
    text = ".".join(map(str, version[:3]))
    if OLDEST <= tuple(version[:2]) < TOO_NEW:
        return fine("Python", text)
    newest = f"{TOO_NEW[0]}.{TOO_NEW[1] - 1}"
    return fault("Python", f"{text} is not supported", f"take Python {OLDEST[0]}.{OLDEST[1]} to {newest}")


def check_environment(environment: Environment) -> Check:
    """Which environment is in use, and whether its versions are the lock's."""
    kinds = {"conda": "a conda environment", "virtual": "a virtual environment", "system": "the system's Python"}
    kind = kinds[environment.kind]
    if not environment.locked:
        return fine("environment", f"{kind}; no requirements.lock here to compare its versions with")
    if not environment.differing:
        return fine("environment", f"{kind}; its packages have the versions of requirements.lock")
    pairs = [f"{name} {here} (lock: {locked})" for name, (here, locked) in sorted(environment.differing.items())]
    remedy = "fine for trying; for the published digits take the lock (`make .venv/installed`)"
    return warn("environment", f"{kind}; other versions than the lock's: {', '.join(pairs)}", remedy)


def check_packages(missing: Mapping[str, Sequence[str]], conda: CondaFacts) -> Iterable[Check]:
    """Which packages a run needs and does not find."""
    if not missing:
        yield fine("packages", "everything that a run needs is installed")

    for extra, names in missing.items():
        text = f"not installed: {', '.join(names)}"
        if extra == CLUSTER_EXTRA:
            yield fault("packages", text, f"submitting to SLURM needs it: `pip install {' '.join(names)}`, or conda's")
        elif conda.program:
            yield warn(
                "packages", text, "add `--use-conda` to every snakemake command: its jobs get their own packages"
            )
        elif extra:
            remedy = f"`make .venv/installed`, `pip install '.[{extra}]'`, or conda and `--use-conda`"
            yield fault("packages", text, remedy)
        else:
            yield fault("packages", text, "`make .venv/installed`, `pip install .`, or conda and `--use-conda`")


def check_conda_builds(builds: Sequence[str], uses_gpu: bool) -> Iterable[Check]:
    """Whether the environments that Snakemake has made can use a GPU."""
    for build in dict.fromkeys(builds):
        if uses_gpu and build.rpartition("-")[2].startswith("cpu"):
            remedy = (
                "conda saw no driver: remove the folder .snakemake/conda, set CONDA_OVERRIDE_CUDA to the nodes' CUDA"
                " and make the environments again with `--conda-create-envs-only` (docs/cluster.md)"
            )
            yield fault("conda", f"{build} is a build for the CPU", remedy)
        else:
            yield fine("conda", f"Snakemake's environment holds {build}")
