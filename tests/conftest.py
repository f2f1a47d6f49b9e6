import shutil

import pytest
from filelock import FileLock

from builders import write_finished_profile
from clones import Clone, make_repository


@pytest.fixture(scope="session")
def finished_profile(tmp_path_factory):
    """The results folder of the mini profile with an untrained run of each target; leave it as it is."""
    folder = tmp_path_factory.mktemp("finished") / "mini"
    write_finished_profile(folder)
    return folder


@pytest.fixture(scope="session")
def reproduced(tmp_path_factory, worker_id):
    """A fresh clone after one `dvc repro`, its results pushed to a local remote and its state committed.

    Made once for all test processes, so it must be left as it is: take `copy` or `clone`.
    """

    base = tmp_path_factory.getbasetemp()
    base = (base if worker_id == "master" else base.parent) / "reproduced"
    with FileLock(f"{base}.lock"):
        clone = Clone(base / "clone")
        if not (base / "store").exists():
            shutil.rmtree(base, ignore_errors=True)
            base.mkdir()
            make_repository(base / "origin").clone(clone.folder)
            clone.dvc("repro")
            clone.dvc("remote", "add", "--default", "local", base / "store")
            clone.commit("The nano profile's results")
            clone.dvc("push")
    return clone


@pytest.fixture
def copy(reproduced, tmp_path):
    """A working copy of `reproduced`, results and all."""
    folder = tmp_path / "copy"
    shutil.copytree(reproduced.folder, folder, symlinks=True)
    return Clone(folder)


@pytest.fixture
def clone(reproduced, tmp_path):
    """What another person gets: the commits of `reproduced` and its remote, no results."""
    return reproduced.clone(tmp_path / "clone")
