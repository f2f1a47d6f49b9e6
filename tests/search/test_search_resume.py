import shutil

import pytest
import torch

from killing import count_moments, draw_moments, kill_at, watch_calls, watch_files
from opentrans.errors import UserError
from opentrans.search.find import find_subnetwork
from opentrans.search.search import Search
from opentrans.system.files import sha256, write_csv
from opentrans.training.checkpoint_folder import CheckpointFolder
from opentrans.training.randomness import seed_generators


@pytest.fixture(autouse=True)
def one_thread():
    """As in the children that are killed: with more threads sums are in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def search(recipe, teacher, text, data):
    """A whole search from files to files, as the command does it; returns the hashes of what it wrote."""

    def run(folder, **changes):
        seed_generators(0)
        folder.mkdir(exist_ok=True)
        checkpoints, settings = CheckpointFolder.beside(folder / "subnetwork.safetensors"), recipe(**changes)
        with checkpoints.hold():
            found, log = find_subnetwork(
                settings, teacher, text, data, 3, checkpoints=checkpoints, identity={"seed": "3"}
            )
            write_csv(folder / "rounds.csv", list(log[0]), log)
            found.save(folder / "subnetwork.safetensors")
            checkpoints.remove()
        return {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}

    return run


@pytest.mark.workflow
@pytest.mark.parametrize("changes", [{"checkpoint_every": 1}, {"checkpoint_every": 3}], ids=["each", "every third"])
def test_a_search_killed_again_and_again_ends_with_the_same_bytes(search, tmp_path, changes):
    whole = search(tmp_path / "whole", **changes)
    total = count_moments(watch_calls, lambda: search(tmp_path / "counted", **changes), tmp_path / "count")
    for seed in range(2):
        folder = tmp_path / f"killed{seed}"
        moments = draw_moments(seed, 4, total)
        died = [kill_at(moment, watch_calls, lambda to=folder: search(to, **changes)) for moment in moments]
        assert any(died)
        assert search(folder, **changes) == whole


def test_every_saved_state_of_a_search_leads_to_the_same_end(search, tmp_path, monkeypatch):
    """In a round, at its end before the pruning, after it, and in the recovery: all states that there are."""
    monkeypatch.setattr("opentrans.training.checkpoint_folder.N_KEPT", 100)
    monkeypatch.setattr(CheckpointFolder, "remove", lambda self: None)
    whole = search(tmp_path / "all", checkpoint_every=1)
    monkeypatch.undo()
    states = CheckpointFolder(tmp_path / "all/subnetwork.unfinished").list()
    assert len(states) > 12
    for state in states[1::3]:
        folder = tmp_path / state.stem / "subnetwork.unfinished"
        folder.mkdir(parents=True)
        for path in (state, state.with_name(state.name + ".sha256")):
            shutil.copy(path, folder)
        assert search(folder.parent, checkpoint_every=1) == whole


@pytest.mark.workflow
def test_a_search_killed_at_any_call_of_its_checkpoint_loses_nothing(recipe, teacher, text, data, tmp_path):
    running = Search(recipe(), teacher, text, data, checkpoints=CheckpointFolder(tmp_path / "u"))
    running.checkpoints.save(0, running.save)
    before = sha256(running.checkpoints.find())
    total = count_moments(
        watch_files, lambda: CheckpointFolder(tmp_path / "counted").save(1, running.save), tmp_path / "count"
    )
    for moment in range(total):
        folder = CheckpointFolder(shutil.copytree(tmp_path / "u", tmp_path / f"kill{moment}"))
        kill_at(moment, watch_files, lambda to=folder: to.save(1, running.save))
        assert folder.find() is not None
        assert sha256(folder.path / "00000000.safetensors") == before


def test_a_search_does_not_go_on_from_anothers_state(recipe, teacher, text, data, tmp_path):
    checkpoints = CheckpointFolder(tmp_path / "u")
    one = Search(recipe(), teacher, text, data, checkpoints=checkpoints, identity={"seed": "1"})
    checkpoints.save(0, one.save)
    two = Search(recipe(), teacher, text, data, checkpoints=checkpoints, identity={"seed": "2"})
    with pytest.raises(UserError, match="checkpoint of another run: seed is 1, this run's is 2"):
        two.resume()


def test_a_search_whose_loss_is_not_a_number_names_the_images(recipe, teacher, text, data, tmp_path, monkeypatch):
    running = Search(recipe(), teacher, text, data, checkpoints=CheckpointFolder(tmp_path / "u"))
    monkeypatch.setattr(
        running, "get_loss", lambda batch: {"loss": running.student.backbone.conv2.weight.sum() * float("nan")}
    )
    with pytest.raises(UserError, match=r"iteration 0: the loss is nan \(images"):
        running.run()
    assert (tmp_path / "u/bad_batch.json").exists()
