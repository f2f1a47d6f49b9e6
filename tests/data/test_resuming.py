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


class Interrupted(Exception):
    pass


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the pictures that are decoded; the third of a preparation interrupts it while `stop` is set."""
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


def test_a_picture_whose_annotation_changed_since_is_made_again(config, raw, decoded, tmp_path, monkeypatch):
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


def test_what_belongs_to_a_picture_that_is_gone_is_removed(config, raw, decoded, tmp_path, monkeypatch):
    interrupt(config, tmp_path / "out", monkeypatch)
    (raw / f"coco/val2017/{decoded[0]}.jpg").unlink()
    prepare("coco", "val", config.model_copy(update={"allow_subset": True}), tmp_path / "out")
    assert len(PreparedDataset.open(tmp_path / "out")) == 2
    assert not (tmp_path / f"out/labels/{decoded[0]}.png").exists()


def test_two_preparations_of_one_place_at_once_are_refused(config, tmp_path):
    folder = tmp_path / ".out.unfinished"
    folder.mkdir()
    with (folder / "journal.jsonl").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another preparation is writing here"):
            prepare("coco", "val", config, tmp_path / "out")


def _prepare_slowly(config: DataConfig, out: Path) -> None:
    make = module.prepare_item

    def slow(*arguments):
        time.sleep(0.5)
        return make(*arguments)

    module.prepare_item = slow
    prepare("coco", "val", config, out)


def test_a_killed_preparation_leaves_no_result_and_no_lock(config, tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_prepare_slowly, args=(config, tmp_path / "out"))
    process.start()
    labels = tmp_path / ".out.unfinished/labels"
    while not (labels.is_dir() and any(labels.iterdir())):
        assert process.is_alive()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (tmp_path / "out").exists()
    prepare("coco", "val", config, tmp_path / "out")
    assert len(PreparedDataset.open(tmp_path / "out")) == 3
