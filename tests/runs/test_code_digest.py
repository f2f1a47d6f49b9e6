import shutil

import opentrans.runs.code_digest
from opentrans.runs.code_digest import PACKAGE, get_sources, hash_sources, list_commands


def names(command):
    return {path.relative_to(PACKAGE).as_posix() for path in get_sources(command)}


def test_sources_follow_imports_inside_functions():
    assert {"commands/train.py", "training/engine.py", "models/han.py", "errors.py"} <= names("train")


def test_a_table_does_not_depend_on_the_training_code():
    assert not any(name.startswith(("training", "models")) for name in names("make-tables"))


def test_the_digest_follows_the_content_of_reachable_files_only(tmp_path, monkeypatch):
    package = tmp_path / "opentrans"
    shutil.copytree(PACKAGE, package)
    monkeypatch.setattr(opentrans.runs.code_digest, "PACKAGE", package)
    before = hash_sources("make-tables")
    (package / "training" / "engine.py").write_text("# changed\n")
    assert hash_sources("make-tables") == before
    (package / "errors.py").write_text((package / "errors.py").read_text() + "# changed\n")
    assert hash_sources("make-tables") != before


def test_report_and_tables_depend_on_their_own_templates():
    assert "reporting/templates/report.html" in names("make-report")
    assert "reporting/templates/report.html" not in names("make-tables")
    assert "reporting/templates/table.html" in names("make-tables")


def test_every_command_has_sources():
    assert all(f"commands/{command.replace('-', '_')}.py" in names(command) for command in list_commands())
