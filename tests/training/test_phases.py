"""Commands killed at random moments: a warm-up and what continues it under a freeze plan, pruning inside a target."""

import pytest

from killing import count_moments, draw_moments, kill_at, watch_calls
from opentrans import cli
from opentrans.clip.backbone import ClipBackbone
from opentrans.freezing.plan import FreezePlan, PlannedLayer
from opentrans.system.files import sha256

pytestmark = pytest.mark.workflow

KILLS = 6


@pytest.fixture
def plan(project, teacher):
    """A freeze plan that freezes every second layer of the backbone."""
    parameters = ClipBackbone.of_teacher(teacher).named_parameters()
    weights = {name: weight for name, weight in parameters if weight.ndim == 4}
    rows = [
        PlannedLayer(name, tuple(weight.shape), 2.0, 0.1, 1.0, place % 2 == 1)
        for place, (name, weight) in enumerate(weights.items())
    ]
    FreezePlan(tuple(rows)).write(project.folder / "plan.csv")
    return project.folder / "plan.csv"


@pytest.fixture
def often(project):
    """A configuration that saves after every iteration and knows a recipe of method joint."""
    path = project.folder / "config.yaml"
    joint = "  joint: {method: joint, prune_share: 0.5, density: 0.3, iterations: 2, recovery_iterations: 1}\n"
    text = path.read_text().replace("freezing:\n", f"{joint}freezing:\n")
    path.write_text(text.replace("log_every: 1\n", "log_every: 1\n      checkpoint_every: 1\n"))
    return project


def run_in_turn(commands):
    """The commands one after another; one whose record is there has ended: it is not run again, as in the workflow."""
    for output, words in commands:
        if not list(output.parent.glob(f"{output.name}.*.provenance.json")):
            assert cli.main(words) == 0


def hash_files(folder, name):
    return {
        str(path.relative_to(folder)).replace(name, ""): sha256(path)
        for path in sorted(folder.glob(f"{name}*/*"))
        if not path.name.endswith(".provenance.json")  # the paths of inputs are in it
    }


def check_kills(project, make_commands, note):
    """Kill the commands again and again at random moments of the whole; they must end as if nothing had happened."""
    run_in_turn(make_commands("whole"))
    total = count_moments(watch_calls, lambda: run_in_turn(make_commands("counted")), note)
    moments = draw_moments(5, KILLS, total // 2)  # a life that goes on is a shorter one
    died = [kill_at(moment, watch_calls, lambda: run_in_turn(make_commands("killed"))) for moment in moments]
    assert sum(died) >= KILLS // 2
    run_in_turn(make_commands("killed"))
    whole = hash_files(project.folder, "whole")
    assert len(whole) >= 6
    assert hash_files(project.folder, "killed") == whole


def test_a_warm_up_and_its_continuation_killed_end_with_the_same_bytes(often, plan, tmp_path):
    def make_commands(name):
        warm, rest = (often.folder / f"{name}_{part}/checkpoint.safetensors" for part in ("warm", "rest"))
        options = ["--start", str(warm), "--plan", str(plan)]
        yield warm, often.train("deeplabv3", "warm-up", f"{name}_warm")
        yield rest, often.train("deeplabv3", name=f"{name}_rest", options=options)

    check_kills(often, make_commands, tmp_path / "count")


def test_joint_pruning_killed_again_and_again_ends_with_the_same_bytes(often, tmp_path):
    def make_commands(name):
        start, run = often.folder / f"{name}_start/subnetwork.safetensors", f"{name}_run"
        search = [word.replace("ours", "joint") if word == "ours" else word for word in often.search(f"{name}_start")]
        words = [str(start) if word.endswith("dense.safetensors") else word for word in often.train("han", name=run)]
        yield start, search
        yield often.folder / run / "checkpoint.safetensors", words

    check_kills(often, make_commands, tmp_path / "count")
