import json

import pytest

from opentrans.errors import UserError
from opentrans.system.files import atomic_path, read_csv, read_json, sha256, write_csv, write_json


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(AttributeError), atomic_path(path) as temporary:
        temporary.write_text("half").fail()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_a_write_makes_its_folder_and_is_readable_by_others(tmp_path):
    path = tmp_path / "a" / "b" / "file.json"
    write_json(path, {"b": 1, "a": "ä"})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": "ä", "b": 1}
    assert path.stat().st_mode & 0o777 == 0o644


def test_equal_content_is_equal_bytes(tmp_path):
    write_json(tmp_path / "one", {"a": 1, "b": 2})
    write_json(tmp_path / "two", {"b": 2, "a": 1})
    assert sha256(tmp_path / "one") == sha256(tmp_path / "two")


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe\x00"])
def test_broken_json_is_one_clear_line(tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.json: not readable as JSON") as caught:
        read_json(path)
    assert "\n" not in str(caught.value)


def test_csv_with_byte_order_mark_is_read_and_a_missing_column_named(tmp_path):
    path = tmp_path / "table.csv"
    write_csv(path, ["a", "b"], [{"a": 1, "b": 2}])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_csv(path, ["a", "b"]) == [{"a": "1", "b": "2"}]
    with pytest.raises(UserError, match="column c is missing"):
        read_csv(path, ["a", "c"])


def test_missing_files_are_named(tmp_path):
    for read in (read_json, lambda path: read_csv(path, [])):
        with pytest.raises(UserError, match="nothing: no such file"):
            read(tmp_path / "nothing")
