import re
import shutil
from pathlib import Path

import pytest
import yaml

from opentrans.cli import main
from opentrans.data.downloads import DOWNLOADS


@pytest.fixture
def settings(raw: Path, tmp_path: Path) -> Path:
    """A configuration that needs every data set, with all downloads there as subsets."""
    (raw / "world.json").unlink()
    path = tmp_path / "own.yaml"
    data = {"raw_root": str(raw), "allow_subset": True}
    path.write_text(yaml.safe_dump({"profile": "own", "world": None, "data": data}))
    return path


def check(settings: Path, *options: str) -> int:
    try:
        return main(["data", "check", "--config", "config/mini.yaml", str(settings), *options])
    except SystemExit as done:
        return int(done.code or 0)


def test_what_is_there_is_listed_and_the_exit_status_is_zero(settings, capsys):
    assert check(settings) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:10]] == [
        "coco", "coco", "cityscapes", "ade150", "ade847", "pas20", "pc59", "pc459",
    ]  # fmt: skip
    assert "subset of 118287, which the configuration allows" in lines[2]
    assert lines[-1].startswith("8 of 8 are there")


def test_everything_that_is_missing_is_told_with_what_to_do(settings, raw, capsys):
    shutil.rmtree(raw / "cityscapes")
    (raw / "VOCdevkit/VOC2010/labels.txt").unlink()
    assert check(settings) == 1
    out = capsys.readouterr().out
    states = {tuple(line.split()[:2]): line.split()[-1] for line in out.splitlines()[2:10]}
    assert states["cityscapes", "val"] == "MISSING"
    assert states["pc59", "val"] == states["pc459", "val"] == "INCOMPLETE"
    assert "cityscapes val: " in out
    assert "missing: leftImg8bit/val, gtFine/val" in out
    assert f"gtFine_trainvaltest.zip (cityscapes-dataset.com, needs an account) so that these lie in {raw}" in out
    assert "labels.txt: no such file" in out
    assert "5 of 8 are there" in out


def test_a_half_unpacked_download_is_told_all_that_is_missing_at_once(settings, raw, capsys):
    shutil.rmtree(raw / "coco/panoptic_val2017")
    (raw / "coco/annotations/panoptic_val2017.json").unlink()
    assert check(settings) == 1
    out = capsys.readouterr().out
    assert re.search(r"^coco +val .*INCOMPLETE$", out, re.MULTILINE)
    assert "missing: panoptic_val2017, annotations/panoptic_val2017.json" in out
    assert "train2017" not in out.partition("missing: ")[2].partition("\n")[0]


@pytest.mark.parametrize("dataset", DOWNLOADS)
def test_what_the_check_looks_for_is_what_lies_in_an_official_folder(dataset, raw):
    place = raw / DOWNLOADS[dataset].folder
    assert DOWNLOADS[dataset].find_missing(place, "val") == []
    assert len(DOWNLOADS[dataset].find_missing(raw / "absent", "val")) == len(DOWNLOADS[dataset].entries)


def test_an_incomplete_download_is_missing_unless_a_subset_is_allowed(settings, capsys):
    content = yaml.safe_load(settings.read_text())
    content["data"]["allow_subset"] = False
    settings.write_text(yaml.safe_dump(content))
    assert check(settings) == 1
    assert "3 images found, the data set has 2000" in capsys.readouterr().out


@pytest.mark.parametrize("workers", ["1", "2"])
def test_only_the_deep_check_decodes_every_image(workers, settings, raw, capsys):
    label = sorted((raw / "ADEChallengeData2016/annotations/validation").glob("*.png"))[1]
    for copy in ("ADE_val_00000000", "ADE_val_00000002x", "ADE_val_00000009"):
        shutil.copy(label, label.with_name(f"{copy}.png"))
        image = raw / f"ADEChallengeData2016/images/validation/{label.stem}.jpg"
        shutil.copy(image, image.with_name(f"{copy}.jpg"))
    labels = sorted(label.parent.glob("*.png"))
    labels[1].write_bytes(labels[1].read_bytes()[:60])
    assert check(settings) == 0
    assert check(settings, "--deep", "--workers", workers) == 1
    assert "unreadable image" in capsys.readouterr().out


def test_a_world_that_is_not_generated_yet_is_no_fault_of_the_user(tmp_path, capsys):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"data": {"raw_root": str(tmp_path / "absent")}}))
    assert check(path) == 0
    assert "not there yet: the workflow generates it" in capsys.readouterr().out
