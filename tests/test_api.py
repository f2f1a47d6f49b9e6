"""The names at the top of the package: what they are, and that they cost nothing before they are used."""

import importlib
import subprocess
import sys
from importlib.resources import files

import pytest

import opentrans

NAMES = {
    "Subnetwork": "opentrans.pruning.subnetwork",
    "FreezePlan": "opentrans.freezing.plan",
    "apply_freeze_plan": "opentrans.freezing.apply",
    "apply_subnetwork": "opentrans.pruning.apply",
    "plan_model": "opentrans.freezing.planning",
    "load_run": "opentrans.evaluation.loading",
    "predict": "opentrans.prediction.segment",
}
MOST_MODULES = 10  # that `import opentrans` may bring; torch alone brings over a thousand


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_public_names_are_those_of_their_modules():
    assert {*NAMES} == {*opentrans.__all__}
    for name, home in NAMES.items():
        value = getattr(opentrans, name)
        assert value is getattr(importlib.import_module(home), name)
        assert value.__module__ == home


def test_editors_see_the_public_names():
    assert {*opentrans.__all__, "__version__"} <= {*dir(opentrans)}
    assert (files("opentrans") / "py.typed").is_file()


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'opentrans' has no attribute 'predit'"):
        opentrans.predit  # noqa: B018


@pytest.mark.workflow
def test_importing_the_package_imports_hardly_anything():
    code = "import sys; before = {*sys.modules}; import opentrans, json; print(len({*sys.modules} - before))"
    plain = "import sys; before = {*sys.modules}; import json, importlib, typing; print(len({*sys.modules} - before))"
    assert int(run_python(code)) <= int(run_python(plain)) + MOST_MODULES
    assert run_python("import sys, opentrans; dir(opentrans); print('torch' in sys.modules)") == "False"
    assert run_python("import sys; from opentrans import predict; print('torch' in sys.modules)") == "True"
