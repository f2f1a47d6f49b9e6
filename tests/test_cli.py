import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from opentrans import __version__, cli
from opentrans.cli import GROUPS, SPINS, format_help, import_command, main, spare_waiting_threads
from opentrans.errors import UserError
from opentrans.runs.code_digest import list_commands

EXPECTED = {
    "make-world", "prepare", "train-teacher", "import-teacher", "embed-vocabularies", "embed-regions",
    "prepare-nouns", "embed-nouns",
    "find-subnetwork", "fit-alphas", "plan-freeze", "plan", "train", "evaluate", "profile-target", "count-costs",
    "compare-backbones", "data", "predict", "collect-results", "make-tables", "plot-results", "plot-subnetworks",
    "plot-training", "plot-alphas", "plot-predictions", "plot-claims", "predict-benchmark", "make-report",
    "trace-alphas", "doctor",
}  # fmt: skip
SCREEN = 24  # lines


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def command(monkeypatch):
    """A command that does what the test sets as `run`."""
    module = SimpleNamespace(HELP="", NEEDS_CONFIG=False, add_arguments=lambda parser: None, run=lambda args: None)
    monkeypatch.setattr(cli, "list_commands", lambda: ["do"])
    monkeypatch.setattr(cli, "import_command", lambda name: module)
    return module


def raise_error(error):
    def run(args):
        raise error

    return run


def test_every_step_of_the_workflow_is_a_command():
    assert set(list_commands()) >= EXPECTED


@pytest.mark.parametrize("command", sorted(EXPECTED))
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert "--config" in capsys.readouterr().out


@pytest.mark.parametrize("command", list_commands())
def test_every_command_says_its_group_and_what_people_use_has_an_example(command):
    module = import_command(command)
    assert module.GROUP in GROUPS
    assert hasattr(module, "EXAMPLE") == (module.GROUP == "use")


def test_the_help_starts_with_what_people_use_and_an_example_each():
    lines = format_help().splitlines()
    screen = "\n".join(lines[:SCREEN])
    assert max(map(len, lines)) <= 80
    for command in list_commands():
        module = import_command(command)
        if module.GROUP == "use":
            assert f"\n  {command} " in screen
            assert module.EXAMPLE.startswith(f"opentrans {command} ")
            assert module.EXAMPLE in screen


@pytest.mark.parametrize("command", [c for c in list_commands() if import_command(c).GROUP == "use"])
def test_the_examples_of_the_help_are_understood(command):
    words = shlex.split(import_command(command).EXAMPLE.replace("\\\n", ""))
    cli.build_parser(command).parse_args(words[2:])


def test_the_help_lists_every_command_once_and_is_what_no_command_prints(capsys):
    printed = []
    for words in ([], ["--help"], ["-h"]):
        assert main(words) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] == printed[2] == format_help()
    for command in list_commands():
        assert printed[0].count(f"\n  {command} ") == 1


def test_an_argument_of_several_commands_says_the_same():
    shared = {"--target", "--teacher", "--train-text", "--regions", "--freeze", "--experiments", "--costs", "--cka"}
    said = {option: set() for option in shared}
    for command in list_commands():
        for action in cli.build_parser(command)._actions:
            for option in shared & {*action.option_strings}:
                if action.default is None or action.default == []:
                    said[option].add((action.help, action.required))
    assert {option: len(entries) for option, entries in said.items()} == dict.fromkeys(shared, 1)


def test_a_command_that_ends_well_has_status_0(command):
    assert main(["do"]) == 0


def test_a_users_error_is_one_line_and_status_2(command, capsys):
    command.run = raise_error(UserError("file.txt", "is\nodd", "mend it"))
    assert main(["do"]) == 2
    assert capsys.readouterr().err == "opentrans do: file.txt: is odd; mend it\n"


def test_a_failure_of_the_machine_is_a_users_error_too(command, capsys):
    command.run = raise_error(OSError(28, "No space left on device", "results.csv"))
    assert main(["do"]) == 2
    assert capsys.readouterr().err.startswith("opentrans do: results.csv: No space left on device; free some space")


def test_a_defect_of_ours_keeps_its_traceback(command):
    command.run = raise_error(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        main(["do"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_one_line_and_status_75(command, capsys, number):
    command.run = lambda args: os.kill(os.getpid(), number)
    assert main(["do"]) == 75
    message = f"opentrans do: interrupted by {signal.Signals(number).name}: nothing was lost that was saved;"
    assert capsys.readouterr().err == f"{message} run the same command again to resume\n"


def test_commands_joined_by_then_run_in_turn_up_to_the_first_that_fails(command, capsys):
    done = []
    command.run = lambda args: done.append(args)
    assert main(["do", "--then", "do"]) == 0
    assert len(done) == 2
    command.run = raise_error(UserError("file.txt", "is odd", "mend it"))
    assert main(["do", "--then", "xyz"]) == 2
    assert capsys.readouterr().err == "opentrans do: file.txt: is odd; mend it\n"


def test_wrong_arguments_have_status_2(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["verify", "a", "b"])
    assert caught.value.code == 2
    assert "usage: opentrans verify" in capsys.readouterr().err


@pytest.mark.parametrize(("word", "said"), [("predit", "did you mean predict"), ("xyz", "opentrans --help lists all")])
def test_an_unknown_command_is_a_users_error_with_the_nearest_ones(capsys, word, said):
    assert main([word]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"opentrans {word}: {word}: no such command; {said}")
    assert error.count("\n") == 1


def test_a_missing_configuration_is_named_and_nothing_written(tmp_path, capsys):
    status = main(["make-world", "--config", str(tmp_path / "none.yaml"), "--output", str(tmp_path / "world")])
    error = capsys.readouterr().err
    assert status == 2
    assert error.count("\n") == 1
    assert "none.yaml" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.workflow
def test_the_module_and_the_installed_command_answer():
    result = subprocess.run(
        [sys.executable, "-m", "opentrans", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == __version__


@pytest.mark.workflow
def test_help_imports_neither_torch_nor_pydantic():
    code = "import sys, opentrans.cli as cli; cli.format_help(); print({'torch', 'pydantic'} & sys.modules.keys())"
    assert run_python(code) == "set()"


@pytest.mark.workflow
def test_the_parser_of_a_command_does_not_import_torch():
    build = "[cli.build_parser(command) for command in cli.list_commands()]"
    assert run_python(f"import sys; from opentrans import cli; {build}; print('torch' in sys.modules)") == "False"


def test_only_the_commands_know_argparse():
    package = Path(cli.__file__).parent
    knows = {path.relative_to(package).parts[0] for path in package.rglob("*.py") if "argparse" in path.read_text()}
    assert knows == {"cli.py", "commands"}


@pytest.mark.parametrize(
    ("given", "spins"), [({}, SPINS), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)]
)
def test_waiting_threads_sleep_soon_unless_the_user_says_otherwise(monkeypatch, given, spins):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    spare_waiting_threads()
    assert os.environ.get("GOMP_SPINCOUNT") == spins
