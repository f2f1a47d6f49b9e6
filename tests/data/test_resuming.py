import fcntl
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from opentrans.config import DataConfig
from opentrans.data import prepare as module
from opentrans.data.prepare import prepare
from opentrans.data.prepared import PreparedDataset
from opentrans.errors import UserError
from opentrans.system import signals
from opentrans.system.signals import INTERRUPTED_STATUS, catch_signals


class Interrupted(Exception):
    pass


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the images that are decoded; the third of a preparation interrupts it while `stop` is set."""
    seen: list[str] = []
    make = module.prepare_item

    def record(source, folder, destination, item, stamp):
        if os.environ.get("OPENTRANS_TEST_STOP") and len(seen) == 2:
            raise Interrupted
        seen.append(item.image_id)
        return make(source, folder, destination, item, stamp)

    monkeypatch.setattr(module, "prepare_item", record)
    return seen


def interrupt(config: DataConfig, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENTRANS_TEST_STOP", "1")
    with pytest.raises(Interrupted):
        prepare("coco", "val", config, out)
    monkeypatch.delenv("OPENTRANS_TEST_STOP")


def test_an_interrupted_preparation_goes_on_where_it_was(config, decoded, tmp_path, monkeypatch):
    interrupt(config, tmp_path / "out", monkeypatch)
    assert not (tmp_path / "out").exists()
    prepare("coco", "val", config, tmp_path / "out")
    assert len(decoded) == len(set(decoded)) == 3
    prepare("coco", "val", config, tmp_path / "whole")
    names = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.*"))
    assert names == sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.*"))
    assert all((tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes() for name in names)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_label_map_that_changed_since_is_made_again(config, decoded, tmp_path, monkeypatch):
    interrupt(config, tmp_path / "out", monkeypatch)
    (tmp_path / f".out.unfinished/labels/{decoded[0]}.png").write_bytes(b"half")
    prepare("coco", "val", config, tmp_path / "out")
    assert decoded.count(decoded[0]) == 2
    assert decoded.count(decoded[1]) == 1
    assert PreparedDataset.open(tmp_path / "out").label(0).shape == (64, 64)


def test_a_image_whose_annotation_changed_since_is_made_again(config, raw, decoded, tmp_path, monkeypatch):
    interrupt(config, tmp_path / "out", monkeypatch)
    path = raw / "coco/annotations/panoptic_val2017.json"
    content = json.loads(path.read_text())
    entry = next(e for e in content["annotations"] if e["file_name"] == f"{decoded[0]}.png")
    known = {category["id"] for category in content["categories"]}
    segment = entry["segments_info"][0]
    segment["category_id"] = min(known - {segment["category_id"]})
    path.write_text(json.dumps(content))
    prepare("coco", "val", config, tmp_path / "out")
    assert decoded.count(decoded[0]) == 2
    assert decoded.count(decoded[1]) == 1


def test_a_journal_whose_last_line_was_cut_off_is_used_up_to_it(config, decoded, tmp_path, monkeypatch):
    interrupt(config, tmp_path / "out", monkeypatch)
    journal = tmp_path / ".out.unfinished/journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    prepare("coco", "val", config, tmp_path / "out")
    assert (decoded.count(decoded[0]), decoded.count(decoded[1])) == (1, 2)


def test_what_belongs_to_a_image_that_is_gone_is_removed(config, raw, decoded, tmp_path, monkeypatch):
    interrupt(config, tmp_path / "out", monkeypatch)
    (raw / f"coco/val2017/{decoded[0]}.jpg").unlink()
    prepare("coco", "val", config.model_copy(update={"allow_subset": True}), tmp_path / "out")
    assert len(PreparedDataset.open(tmp_path / "out")) == 2
    assert not (tmp_path / f"out/labels/{decoded[0]}.png").exists()


def _hold(path: Path, ready: Path) -> None:
    with path.open("w") as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX)
        ready.touch()
        signal.pause()


@pytest.mark.workflow
def test_two_preparations_of_one_place_at_once_are_refused(config, tmp_path):
    (tmp_path / ".out.unfinished").mkdir()
    paths = tmp_path / ".out.unfinished/journal.jsonl", tmp_path / "ready"
    process = multiprocessing.get_context("fork").Process(target=_hold, args=paths)
    process.start()
    while not paths[1].exists():
        time.sleep(0.01)
    with pytest.raises(UserError, match="another preparation is writing here"):
        prepare("coco", "val", config, tmp_path / "out")
    process.kill()
    process.join()


def _prepare_slowly(config: DataConfig, out: Path) -> int:
    """In a session of its own; the third image takes long, so that the signal finds it at work."""
    os.setsid()
    make = module.prepare_item

    def slow(source, folder, destination, item, stamp):
        if item.image_id == source.items[2].image_id:
            time.sleep(30)
        return make(source, folder, destination, item, stamp)

    module.prepare_item = slow
    try:
        with catch_signals():
            prepare("coco", "val", config, out, workers=2)
    except signals.Interrupted:
        return INTERRUPTED_STATUS
    return 0


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("number", "ending"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, INTERRUPTED_STATUS)]
)
def test_a_preparation_stopped_or_killed_leaves_no_result_and_no_process(config, tmp_path, number, ending):
    out = tmp_path / "out"
    pid = os.fork()
    if pid == 0:
        os._exit(_prepare_slowly(config, out))
    labels = tmp_path / ".out.unfinished/labels"
    while not (labels.is_dir() and len(list(labels.iterdir())) == 2):
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
        time.sleep(0.02)
    os.kill(pid, number)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == ending
    assert not out.exists()
    prepare("coco", "val", config, out)
    assert len(PreparedDataset.open(out)) == 3
    end = time.monotonic() + 20  # far below the 30 s that a worker would work on
    while is_group_alive(pid):
        assert time.monotonic() < end
        time.sleep(0.02)


def is_group_alive(pid: int) -> bool:
    """Whether a process of the group is left: a worker that nobody ended."""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True
