import shutil
import subprocess
import sys

import pytest
import yaml

from builders import SMALL
from opentrans.config import parse_config
from opentrans.data.downloads import describe_missing


def configure(raw_root, *benchmarks, **data):
    content = yaml.safe_load(SMALL) | {"benchmarks": list(benchmarks), "data": {"raw_root": str(raw_root)} | data}
    content["teacher"] = {"architecture": "RN50", "pretrained": "openai", "templates": ["{}"]}
    return parse_config(content, "test")


def test_missing_downloads_are_named_once_with_the_command_that_tells_more(tmp_path):
    line = describe_missing(configure(tmp_path, "coco", "pc59"))
    assert line.startswith(f"data.raw_root ({tmp_path}): missing or incomplete: coco, pc59.")
    assert "`opentrans data check`" in line
    assert "\n" not in line


def test_missing_downloads_are_none_where_all_are_there(raw):
    config = configure(raw, "coco", "cityscapes", "ade150", "ade847", "pas20", "pc59", "pc459")
    assert describe_missing(config) is None
    shutil.rmtree(raw / "cityscapes/gtFine")
    assert "incomplete: cityscapes." in describe_missing(config)


def test_missing_downloads_of_a_borrowed_split_are_named(raw):
    shutil.rmtree(raw / "coco/train2017")
    assert describe_missing(configure(raw, "coco")) is not None
    assert describe_missing(configure(raw, "coco", splits={"coco_train": "val"})) is None


def test_missing_downloads_do_not_matter_once_prepared_or_generated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = configure(tmp_path / "absent", "pc59")
    for name in ("coco/train", "pc59/val"):
        assert describe_missing(config) is not None
        folder = tmp_path / "data/test/prepared" / name
        folder.mkdir(parents=True)
        (folder / "stats.json").touch()
    assert describe_missing(config) is None
    assert describe_missing(configure("elsewhere/world", "ade150")) is not None
    assert describe_missing(configure("data/test/world", "ade150")) is None


@pytest.mark.workflow
@pytest.mark.parametrize("module", ["torch", "numpy", "tqdm", "PIL"])
def test_downloads_are_described_without_heavy_imports(module):
    program = f"import sys, opentrans.data.downloads; print({module!r} in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
