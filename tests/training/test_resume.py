import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from killing import count_moments, draw_moments, kill_at, run_child, watch_calls, watch_files
from opentrans import cli
from opentrans.config import OptimizerConfig
from opentrans.errors import UserError
from opentrans.system.files import hash_path, sha256
from opentrans.system.signals import INTERRUPTED_STATUS
from opentrans.training.checkpoint import Checkpoint, load_checkpoint, restore, save_checkpoint
from opentrans.training.checkpoint_folder import CheckpointFolder
from opentrans.training.engine import train, write_log
from opentrans.training.randomness import get_random_state, seed_generators

ADAM = OptimizerConfig(name="adamw", lr=0.01, weight_decay=0.01, milestones=[3], clip_norm=5.0)


def finish(run, folder, until=5):
    """What the command does once a run is built or resumed; returns the hashes of the results."""
    folder.mkdir(exist_ok=True)
    checkpoints = CheckpointFolder.beside(folder / "checkpoint.safetensors")
    with checkpoints.hold():
        found = checkpoints.find()
        if found:
            run.resume(found)
        train(run, until, checkpoints)
        run.save(folder / "checkpoint.safetensors")
        write_log(folder / "log.csv", run.log)
        checkpoints.remove()
    return hash_results(folder)


def hash_results(folder):
    return {path.name: sha256(path) for path in sorted(folder.iterdir())}


@pytest.fixture
def adam_run(make_run):
    def make(**changes):
        seed_generators(0)
        return make_run(optimizer=ADAM, checkpoint_every=1, **changes)

    return make


@pytest.fixture
def whole(adam_run, tmp_path):
    return finish(adam_run(), tmp_path / "whole")


@pytest.mark.workflow
@pytest.mark.parametrize("seed", range(3))
def test_a_training_killed_again_and_again_ends_with_the_same_bytes(adam_run, whole, tmp_path, seed):
    folder = tmp_path / "killed"
    total = count_moments(watch_calls, lambda: finish(adam_run(), tmp_path / "counted"), tmp_path / "count")
    died = [kill_at(moment, watch_calls, lambda: finish(adam_run(), folder)) for moment in draw_moments(seed, 4, total)]
    assert any(died)
    assert finish(adam_run(), folder) == whole


@pytest.mark.workflow
def test_a_kill_at_every_file_system_call_of_a_checkpoint_loses_nothing(adam_run, whole, tmp_path):
    run, folder = adam_run(), tmp_path / "before"
    checkpoints = CheckpointFolder.beside(folder / "checkpoint.safetensors")
    train(run, 3, checkpoints)
    checkpoints.save(3, run.save)  # three of three: two are kept
    before = hash_results(checkpoints.path)

    def save_next(place):
        train(run, 4, CheckpointFolder.beside(place / "checkpoint.safetensors"))
        CheckpointFolder.beside(place / "checkpoint.safetensors").save(4, run.save)

    shutil.copytree(folder, tmp_path / "counted")
    total = count_moments(watch_files, lambda: save_next(tmp_path / "counted"), tmp_path / "count")
    assert total > 15
    places = {}
    for moment in range(total):
        place = shutil.copytree(folder, tmp_path / f"kill{moment}")
        assert kill_at(moment, watch_files, lambda place=place: save_next(place))
        now = hash_results(place / "checkpoint.unfinished")
        found = CheckpointFolder(place / "checkpoint.unfinished").find().name
        assert found not in before or now[found] == before[found]
        places[found] = place
    assert list(places) == ["00000003.safetensors", "00000004.safetensors"]
    for place in places.values():  # what follows depends only on the checkpoint that is taken up
        assert finish(adam_run(), place) == whole


@pytest.mark.workflow
def test_a_kill_at_every_file_system_call_of_the_ending_loses_nothing(adam_run, whole, tmp_path):
    run, folder = adam_run(), tmp_path / "before"
    train(run, 5, CheckpointFolder.beside(folder / "checkpoint.safetensors"))

    def end(place):
        run.save(place / "checkpoint.safetensors")
        write_log(place / "log.csv", run.log)
        CheckpointFolder.beside(place / "checkpoint.safetensors").remove()

    shutil.copytree(folder, tmp_path / "counted")
    total = count_moments(watch_files, lambda: end(tmp_path / "counted"), tmp_path / "count")
    for moment in range(0, total, 4):
        place = shutil.copytree(folder, tmp_path / f"kill{moment}")
        assert kill_at(moment, watch_files, lambda place=place: end(place))
        assert finish(adam_run(), place) == whole


@pytest.mark.workflow
def test_what_a_killed_writer_left_behind_is_cleared_away(adam_run, tmp_path):
    place = tmp_path / "checkpoint.safetensors"
    run = adam_run()
    assert kill_at(12, watch_files, lambda: run.save(place))
    left = [path for path in tmp_path.iterdir() if path.suffix == ".part"]
    run.save(place)
    assert sorted(path.name for path in tmp_path.iterdir()) == [place.name, hash_path(place).name]
    assert left


def spoil(path, how):
    content = path.read_bytes()
    if how == "flipped":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "unhashed":
        hash_path(path).unlink()
    else:
        hash_path(path).write_bytes(b"\xff\xfe" * 40)


@pytest.mark.parametrize("how", ["flipped", "truncated", "empty", "unhashed", "hash destroyed"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(adam_run, tmp_path, capsys, whole, how):
    folder = tmp_path / "damaged"
    checkpoints = CheckpointFolder.beside(folder / "checkpoint.safetensors")
    train(adam_run(), 4, checkpoints)
    newest, before = checkpoints.list()
    spoil(newest, how)
    assert checkpoints.find() == before
    assert f"checkpoint skipped: {newest}" in capsys.readouterr().err
    assert finish(adam_run(), folder) == whole


def test_two_damaged_checkpoints_mean_a_start_from_the_beginning(adam_run, tmp_path, capsys, whole):
    folder = tmp_path / "damaged"
    checkpoints = CheckpointFolder.beside(folder / "checkpoint.safetensors")
    train(adam_run(), 4, checkpoints)
    for path in checkpoints.list():
        spoil(path, "truncated")
    assert finish(adam_run(), folder) == whole
    assert capsys.readouterr().err.count("checkpoint skipped") == 2


def test_two_checkpoints_are_kept_with_hashes_that_sha256sum_reads(adam_run, tmp_path):
    checkpoints = CheckpointFolder(tmp_path / "u")
    train(adam_run(), 5, checkpoints)
    names = sorted(path.name for path in checkpoints.path.iterdir())
    kept = [f"0000000{number}.safetensors" for number in (3, 4)]
    assert names == sorted(kept + [f"{name}.sha256" for name in kept])
    for name in kept:
        assert (tmp_path / f"u/{name}.sha256").read_text() == f"{sha256(tmp_path / 'u' / name)}  {name}\n"


def test_a_checkpoint_that_was_changed_after_the_run_is_refused(adam_run, tmp_path):
    finish(adam_run(), tmp_path / "run")
    spoil(tmp_path / "run/checkpoint.safetensors", "flipped")
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(tmp_path / "run/checkpoint.safetensors")


def test_every_random_generator_is_put_back(tmp_path):
    import random

    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1)
    random.gauss(0, 1), np.random.standard_normal()  # noqa: NPY002 (half of a pair is left over in each)
    save_checkpoint(tmp_path / "c", 1, model, optimizer, {})
    draws = [random.gauss(0, 1), np.random.standard_normal(), torch.rand(3).tolist()]  # noqa: NPY002
    random.seed(9), np.random.seed(9), torch.manual_seed(9)  # noqa: NPY002
    restore(load_checkpoint(tmp_path / "c"), model, optimizer, tmp_path / "c")
    assert draws == [random.gauss(0, 1), np.random.standard_normal(), torch.rand(3).tolist()]  # noqa: NPY002


@pytest.mark.workflow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_iteration_and_exits_with_a_status_of_its_own(
    adam_run, whole, tmp_path, capfd, monkeypatch, number
):
    folder = tmp_path / "stopped"

    def run_command(_):
        run = adam_run()
        loss = run.target.loss

        def signal_at_the_third(batch):
            if run.iteration == 2:
                os.kill(os.getpid(), number)
                os.kill(os.getpid(), number)  # schedulers send it to a process and to its group
            return loss(batch)

        run.target.loss = signal_at_the_third
        finish(run, folder)

    monkeypatch.setattr(cli, "run_command", run_command)
    assert run_child(lambda: cli.main(["make-world", "--output", "x"])) == INTERRUPTED_STATUS
    name = signal.Signals(number).name
    assert f"interrupted by {name}: iteration 3 is saved in {folder}/checkpoint.unfinished" in capfd.readouterr().err
    assert load_checkpoint(CheckpointFolder.beside(folder / "checkpoint.safetensors").find()).iteration == 3
    assert finish(adam_run(), folder) == whole


@pytest.mark.workflow
def test_a_signal_outside_training_ends_the_command_at_once(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(cli, "run_command", lambda _: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(60)))
    assert run_child(lambda: cli.main(["make-world", "--output", "x"])) == INTERRUPTED_STATUS
    assert "interrupted by SIGTERM" in capfd.readouterr().err


def test_handlers_are_put_back_after_a_command(tmp_path, capsys):
    before = signal.getsignal(signal.SIGTERM)
    cli.main(["record-settings", "--output", str(tmp_path / "settings.json")])
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_command_runs_in_a_thread_that_may_not_handle_signals(tmp_path):
    thread = threading.Thread(target=cli.main, args=(["record-settings", "--output", str(tmp_path / "settings.json")],))
    thread.start()
    thread.join()
    assert (tmp_path / "settings.json").exists()


@pytest.mark.workflow
def test_two_trainings_for_one_output_do_not_mix(adam_run, tmp_path, capfd):
    checkpoints = CheckpointFolder.beside(tmp_path / "checkpoint.safetensors")

    def hold():
        with checkpoints.hold():
            pass

    with checkpoints.hold():
        assert run_child(hold) == 1
        assert "another process is training for the same output" in capfd.readouterr().err
    assert run_child(hold) == 0  # free again


def test_a_loss_that_is_not_a_number_names_the_images_of_its_batch(adam_run, tmp_path):
    run, checkpoints = adam_run(), CheckpointFolder(tmp_path / "u")
    train(run, 3, checkpoints)
    kept = {path: sha256(path) for path in checkpoints.list()}
    run.target.loss = lambda batch: {"bad": run.target.head.weight.sum() * float("inf")}
    with pytest.raises(UserError, match=r"iteration 3: the loss is -?inf"):
        train(run, 5, checkpoints)
    assert {path: sha256(path) for path in checkpoints.list()} == kept
    content = json.loads((tmp_path / "u/bad_batch.json").read_text())
    wanted = [run.data.dataset.records[run.data.get_record(12 + place)].image_id for place in range(4)]
    assert [image["image_id"] for image in content["images"]] == wanted
    assert content["iteration"] == 3


def test_weights_that_are_not_numbers_replace_no_checkpoint(adam_run, tmp_path):
    run, checkpoints = adam_run(), CheckpointFolder(tmp_path / "u")
    train(run, 3, checkpoints)
    with torch.no_grad():
        run.target.head.weight[0, 0] = float("nan")
    run.target.loss = lambda batch: {"good": run.target.head.bias.square().sum() * batch.share}
    kept = checkpoints.list()
    with pytest.raises(UserError, match=r"not saved: model\.head\.weight is not finite"):
        train(run, 5, checkpoints)
    assert checkpoints.list() == kept


@pytest.mark.parametrize(("fused", "device"), [(True, "meta"), (False, "cpu")])
def test_a_restored_step_lies_where_the_optimizer_counts(fused, device):
    """A fused optimiser's kernel reads the count on the device; `meta` stands for a GPU, which is not here."""
    model = torch.nn.Linear(2, 2, device="meta")
    optimizer = torch.optim.AdamW(model.parameters())
    for group in optimizer.param_groups:
        group["fused"] = fused  # torch refuses it on `meta` when the optimiser is made
    weights = {name: torch.zeros(value.shape) for name, value in model.named_parameters()}
    moments = {f"{name}|{key}": value for name, value in weights.items() for key in ("exp_avg", "exp_avg_sq")}
    steps = {f"{name}|step": torch.tensor(3.0) for name in weights}
    states = get_random_state()
    checkpoint = Checkpoint(3, weights, moments | steps, states, {}, {})
    restore(checkpoint, model, optimizer, Path("checkpoint"))
    for parameter in model.parameters():
        state = optimizer.state[parameter]
        assert state["step"].device.type == device
        assert state["exp_avg"].device.type == "meta"
