import os
import sys
from pathlib import Path

import pytest
import yaml
from local_slurm import start_slurm, stop_slurm, why_not

from clones import make_repository

SITE = Path("workflow/profiles/slurm")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A real SLURM of one node."""
    reason = why_not()
    if reason:
        # A skip that nobody sees would be as good as no test.
        stop = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        stop(f"SLURM cannot run here: {reason}")
    running = start_slurm(tmp_path_factory.mktemp("slurm"))
    yield running
    stop_slurm(running)


@pytest.fixture(scope="session")
def site(slurm, tmp_path_factory):
    """A clone whose SLURM profile names this site's partitions, as docs/cluster.md tells a user to do."""
    programs = [str(slurm.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    settings = {"PATH": os.pathsep.join(programs), "WORKFLOW_PROFILE": str(SITE)}
    clone = make_repository(tmp_path_factory.mktemp("cluster") / "clone", **settings)
    profile = yaml.safe_load((clone.folder / SITE / "config.yaml").read_text())
    profile["default-resources"]["slurm_partition"] = "main"
    profile["set-resources"] = {"train": {"slurm_partition": "long", "gpu": 1}}
    profile |= {"jobs": 2, "latency-wait": 5, "slurm-init-seconds-before-status-checks": 3}
    (clone.folder / SITE / "config.yaml").write_text(yaml.safe_dump(profile))
    clone.commit("This site's partitions")
    return clone
