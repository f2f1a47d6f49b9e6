import errno
import os
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import torch

from killing import die, run_child
from opentrans import cli
from opentrans.errors import UserError, explain
from opentrans.system.files import atomic_path, sha256, write_bytes, write_json
from opentrans.system.tensors import load_tensors, save_tensors
from opentrans.training.checkpoint import save_checkpoint
from opentrans.training.checkpoint_folder import CheckpointFolder


@pytest.fixture
def mount(tmp_path):
    """Mounts a small file system in memory; skips, visibly, where that is not permitted (injected errors remain)."""
    mounted = []

    def make(options):
        folder = tmp_path / f"mount{len(mounted)}"
        folder.mkdir()
        result = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True, check=False
        )
        if result.returncode:
            pytest.skip(f"mounting is not permitted here: {result.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)


def save(checkpoints, iteration):
    model = torch.nn.Linear(1000, 100, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    checkpoints.save(iteration, lambda path: save_checkpoint(path, iteration, model, optimizer, {}))


@pytest.mark.workflow
def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(mount):
    checkpoints = CheckpointFolder(mount("size=1m") / "run.unfinished")
    save(checkpoints, 1)
    save(checkpoints, 2)
    kept = {path: sha256(path) for path in checkpoints.list()}
    with pytest.raises(UserError, match=r"00000003.*No space left on device; free some space"):
        save(checkpoints, 3)
    assert {path: sha256(path) for path in checkpoints.list()} == kept
    assert not list(checkpoints.path.glob(".*"))
    assert checkpoints.find().name == "00000002.safetensors"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.write_bytes"])
def test_an_error_of_the_disk_at_any_step_keeps_what_was_there(tmp_path, monkeypatch, number, call):
    (tmp_path / "file").write_bytes(b"before")

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(call, fail)
    with pytest.raises(UserError, match=os.strerror(number)):
        write_bytes(tmp_path / "file", b"after")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"before"


@pytest.mark.workflow
def test_a_read_only_output_is_found_out_before_the_training(mount):
    folder = mount("ro")
    checkpoints = CheckpointFolder(folder / "run.unfinished")
    with pytest.raises(OSError, match="Read-only file system") as caught, checkpoints.hold():
        pass
    assert "write to another folder" in str(explain(caught.value))
    with pytest.raises(UserError, match="Read-only file system; write to another folder"):
        write_bytes(folder / "file", b"x")


@pytest.mark.workflow
def test_a_read_only_output_is_one_line_at_the_command_line(mount, capsys):
    folder = mount("ro")
    assert cli.main(["record-settings", "--output", str(folder / "settings.json")]) == 2
    text = capsys.readouterr().err
    assert "Read-only file system" in text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
        np._core._exceptions._ArrayMemoryError((10**9, 10**9), np.dtype(float)),
    ],
)
def test_too_little_memory_is_one_line(monkeypatch, capsys, error):
    def fail(_):
        raise error

    monkeypatch.setattr("opentrans.commands.record_settings.run", fail)
    assert cli.main(["record-settings", "--output", "x"]) == 2
    text = capsys.readouterr().err
    assert "memory: not enough" in text
    assert "lower the batch size" in text
    assert text.count("\n") == 1


def test_a_real_allocation_that_fails_is_explained():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert "lower the batch size" in str(explain(caught.value))


def test_a_missing_package_is_explained_by_the_extra_that_brings_it():
    explained = explain(ModuleNotFoundError("No module named 'pandas'", name="pandas"))
    assert str(explained) == "pandas: not installed; pip install 'opentrans[report]'"
    assert explain(ModuleNotFoundError("No module named 'opentrans.pandas'", name="opentrans.pandas")) is None


def _die(_):
    die()


def _use_pool(_):
    with ProcessPoolExecutor(1) as pool:
        list(pool.map(_die, [1]))


class _Dying(torch.utils.data.Dataset):
    def __getitem__(self, index):
        die()

    def __len__(self):
        return 1


def _use_loader(_):
    list(torch.utils.data.DataLoader(_Dying(), num_workers=1, multiprocessing_context="fork"))


@pytest.mark.workflow
@pytest.mark.parametrize("use", [_use_pool, _use_loader])
def test_a_worker_process_that_is_killed_is_one_line(monkeypatch, capfd, use):
    """As the kernel's out-of-memory killer does it."""
    monkeypatch.setattr("opentrans.commands.record_settings.run", use)
    assert run_child(lambda: cli.main(["record-settings", "--output", "x"])) == 2
    text = capfd.readouterr().err
    assert "worker process: died" in text
    assert "Traceback" not in text


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("opentrans.commands.record_settings.run", lambda _: {}["missing"])
    with pytest.raises(KeyError):
        cli.main(["record-settings", "--output", "x"])


def fork(action):
    pid = os.fork()
    if pid == 0:
        torch.set_num_threads(1)
        try:
            action()
        finally:
            os._exit(0)
    return pid


@pytest.mark.workflow
def test_two_writers_of_one_artefact_leave_it_whole_at_every_moment(tmp_path):
    """Two jobs that make the same teacher cache: a reader finds one of the two, never a mixture."""
    path = tmp_path / "teacher.safetensors"

    def write(value):
        for _ in range(15):
            save_tensors(path, {"a": torch.full((50_000,), value), "b": torch.full((7,), value)})

    write(0.0)
    children = [fork(lambda value=value: write(value)) for value in (1.0, 2.0)]
    end = time.monotonic() + 60
    while children and time.monotonic() < end:
        tensors, _ = load_tensors(path, "")
        assert len({*tensors["a"].tolist(), *tensors["b"].tolist()}) == 1
        children = [pid for pid in children if os.waitpid(pid, os.WNOHANG)[0] == 0]
    assert not children
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.workflow
def test_a_living_writers_temporary_file_is_left_alone(tmp_path):
    ready = tmp_path / "ready"

    def write_slowly():
        with atomic_path(tmp_path / "file") as temporary:
            temporary.write_text("slow")
            ready.touch()
            while not (tmp_path / "go").exists():
                time.sleep(0.01)

    pid = fork(write_slowly)
    while not ready.exists():
        time.sleep(0.01)
    write_json(tmp_path / "file", "fast")
    assert len(list(tmp_path.glob(".*.part"))) == 1
    (tmp_path / "go").touch()
    os.waitpid(pid, 0)
    assert (tmp_path / "file").read_text() == "slow"
