"""The text of the rules: what every shell command quotes, and what is said once."""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "workflow/rules").glob("*.smk"))
SNAKEFILES = [*RULES, ROOT / "workflow/Snakefile"]
NUMBERS = ("threads", "resources.")  # never a path or a name


def get_commands():
    """Rule -> the text of its shell command."""
    commands = {}
    for path in RULES:
        blocks = re.split(r"^ *rule\b ?(\w*):\n", path.read_text(), flags=re.MULTILINE)
        for position, (name, body) in enumerate(zip(blocks[1::2], blocks[2::2], strict=True)):
            found = re.search(r"^( *)shell:\n((?:\1 +.*\n|\n)+)", body, re.MULTILINE)
            if found:
                commands[name or f"{path.stem} {position}"] = found[2]
    return commands


def test_every_rule_with_a_command_is_read():
    commands = get_commands()
    assert len(commands) == sum(path.read_text().count("shell:") for path in RULES)
    assert len(commands) > 20
    assert all("python -m opentrans" in command for command in commands.values())


@pytest.mark.parametrize("rule", get_commands())
def test_every_path_and_name_in_a_shell_command_is_quoted(rule):
    fields = re.findall(r"\{([^{}]+)\}", get_commands()[rule])
    assert fields
    assert [field for field in fields if not field.endswith(":q") and not field.startswith(NUMBERS)] == []


def test_no_rule_says_where_a_file_lies():
    places = re.compile(r"\b(results|data|teacher|text)/|/seed|\.(safetensors|json|tsv)\b")
    for path in SNAKEFILES:
        named = [text for text in re.findall(r'"[^"\n]*"', path.read_text()) if places.search(text)]
        assert not named, f"{path.name}: {named[0]}: ask the layout"


def test_the_glue_of_the_rules_is_short():
    assert len((ROOT / "workflow/rules/common.smk").read_text().splitlines()) <= 220


def test_no_message_of_the_package_names_a_rule():
    names = {name for path in RULES for name in re.findall(r"^ *rule (\w+):", path.read_text(), re.MULTILINE)}
    assert "train_teacher" in names
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                said = re.search(rf"\brule `*({'|'.join(names)})\b", node.value)
                assert said is None, f"{path.name}: line {node.lineno} names {said[0]}"


def test_the_workflow_and_the_package_ask_for_the_same_snakemake():
    import tomllib

    version = re.search(r'min_version\("([\d.]+)"\)', (ROOT / "workflow/Snakefile").read_text())[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = {entry for entries in lists for entry in entries if re.match(r"snakemake\b(?!-)", entry)}
    assert wanted == {f"snakemake>={version}"}


def test_every_table_has_its_caption_in_one_place():
    captions = {path.stem: path.read_text() for path in (ROOT / "workflow/report").glob("table*.rst")}
    assert captions.keys() >= {f"table{number}" for number in range(1, 11)}
    sources = "\n".join(path.read_text() for path in sorted((ROOT / "src/opentrans/reporting").rglob("*.py")))
    for name, text in captions.items():
        assert text.split(".")[0] not in sources, name


def test_every_rule_of_the_cluster_profiles_groups_exists():
    rules = "\n".join(path.read_text() for path in RULES)
    for group in yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())["groups"]:
        name = group.partition("=")[0].replace("_summary", "_{scope}").replace("_report", "_{scope}")
        assert re.search(rf'rule {name}:|f"{re.escape(name)}"', rules), group
