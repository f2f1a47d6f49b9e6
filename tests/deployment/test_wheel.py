"""The wheel without extras: what `pip install opentrans` brings is enough for a mask, a freeze plan and `predict`."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import numpy as np
import pytest
from conda_stand_in import get_closure, link
from packaging.requirements import Requirement
from PIL import Image

from clones import ROOT

pytestmark = pytest.mark.workflow

# host_samples.py: somebody's model with a CLIP trunk; it imports builders.py
HOSTS = f"{ROOT / 'tests/integrations'}:{ROOT / 'tests'}"
PROJECT = """
from host_samples import make_examples, make_host as build_model

batches = [make_examples(4)] * 2


def loss_of(model, batch):
    return model(*batch)["loss"]
"""
FIND = "import importlib.util, sys; print(*[name for name in sys.argv[1:] if importlib.util.find_spec(name)])"


def call(*words, folder, **variables):
    """Run a program in `folder` with a bare environment."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "OMP_NUM_THREADS": "1", **variables}
    words = [str(word) for word in words]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: setuptools writes beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder / "dist")
    result = call(sys.executable, "-m", "pip", "wheel", *options, folder, folder=folder)
    assert result.returncode == 0, result.stdout + result.stderr
    return next((folder / "dist").glob("opentrans-*.whl"))


@pytest.fixture(scope="module")
def needed(wheel):
    """The installed distributions that the wheel asks for without extras, with what those require."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        wanted = [Requirement(text) for text in message_from_bytes(archive.read(name)).get_all("Requires-Dist")]
    names = [entry.name for entry in wanted if entry.marker is None or entry.marker.evaluate({"extra": ""})]
    found = get_closure(names)
    assert {name.lower().replace("_", "-") for name in names} <= found.keys()
    return found


@pytest.fixture(scope="module")
def programs(wheel, needed, tmp_path_factory):
    """The ``bin`` of an empty environment that holds the wheel and links to what it needs: nothing is downloaded."""
    prefix = tmp_path_factory.mktemp("light") / "env"
    venv.EnvBuilder(with_pip=False, symlinks=True).create(prefix)
    site = next(prefix.glob("lib/python*/site-packages"))
    for distribution in needed.values():
        link(distribution, site)
    pip = (sys.executable, "-m", "pip", "--python", prefix / "bin/python")
    result = call(*pip, "install", "--no-deps", "--no-index", wheel, folder=prefix)
    assert result.returncode == 0, result.stdout + result.stderr
    return prefix / "bin"


@pytest.fixture
def folder(tmp_path):
    """A project with a model of its own."""
    (tmp_path / "my_project.py").write_text(PROJECT)
    return tmp_path


def plan(programs, folder, *words):
    """``opentrans plan`` for the project's model."""
    options = ("--model", "my_project:build_model", "--prefix", "*.visual", "--layers", "conv", "--output", "plan.csv")
    return call(programs / "opentrans", "plan", *options, *words, folder=folder, PYTHONPATH=f"{folder}:{HOSTS}")


def test_a_wheel_holds_the_files_that_are_no_modules(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*") if path.is_file()}
    wanted = {name for name in wanted if not re.search(r"__pycache__|\.egg-info", name)}
    assert wanted - names == set()


def test_an_environment_without_extras_has_nothing_else(programs, needed, folder):
    providers = importlib.metadata.packages_distributions()
    names = {name.lower().replace("_", "-") for name in needed} | {"opentrans"}
    others = {
        module
        for module, distributions in providers.items()
        if module.isidentifier() and not names & {name.lower().replace("_", "-") for name in distributions}
    }
    assert {"snakemake", "dvc", "boto3", "pandas", "matplotlib", "weightwatcher", "pytest"} <= others
    result = call(programs / "python", "-c", FIND, *sorted(others - {"pip"}), folder=folder)
    assert result.stdout.split() == []
    assert result.returncode == 0, result.stderr


def test_help_works_without_extras(programs, folder):
    result = call(programs / "opentrans", "--help", folder=folder)
    assert result.returncode == 0, result.stderr
    assert "predict" in result.stdout
    place = call(programs / "python", "-c", "import opentrans; print(opentrans.__file__)", folder=folder).stdout
    assert Path(place.strip()).is_relative_to(programs.parent)


def test_predict_works_without_extras(programs, finished_profile, folder):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(image).save(folder / "photo.jpg")
    run = finished_profile / "training/deeplabv3/dense/none/seed0"
    words = ("photo.jpg", "--classes", "sky, dog|puppy, tree", "--run", run)
    result = call(programs / "opentrans", "predict", *words, folder=folder)
    assert result.returncode == 0, result.stderr
    with Image.open(folder / "predictions/photo_labels.png") as labels:
        assert labels.size == (60, 40)
        assert np.asarray(labels).max() < 3
    assert (folder / "predictions/photo_overlay.png").stat().st_size > 0


def test_the_plain_pytorch_program_of_the_docs_works_without_extras(programs, folder):
    result = plan(programs, folder, "--estimator", "released")
    assert result.returncode == 0, result.stderr
    subnetwork = "from host_samples import make_subnetwork; make_subnetwork().save(Path('subnetwork.safetensors'))"
    page = (ROOT / "docs/integrations.md").read_text()
    (program,) = re.findall(r"^## Plain PyTorch\n+```python\n(.*?)```", page, re.DOTALL | re.MULTILINE)
    (folder / "program.py").write_text(f"from pathlib import Path\n{subnetwork}\n{program}")
    result = call(programs / "python", "program.py", folder=folder, PYTHONPATH=HOSTS)
    assert result.returncode == 0, result.stderr
    assert re.match(r"0 weights outside the masks; \d+ layers frozen", result.stdout)


def test_a_missing_extra_is_named_in_one_line(programs, folder):
    result = plan(programs, folder)
    assert result.returncode == 2
    assert result.stderr == "opentrans plan: weightwatcher: not installed; pip install 'opentrans[alpha]'\n"
