import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_results_give():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.page", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_plot_of_the_page_is_there():
    page = (ROOT / "docs/performance.md").read_text()
    for name in re.findall(r"!\[.*?\]\((.*?)\)", page):
        assert (ROOT / "docs" / name).is_file(), name


def test_every_measurement_names_its_hardware_and_versions():
    for path in (ROOT / "benchmarks/results").glob("*.json"):
        for name, record in json.loads(path.read_text()).items():
            machine = record["machine"]
            assert machine["cpu"], (path.name, name)
            assert machine["cores"] >= 1, (path.name, name)
            assert machine["versions"]["torch"], (path.name, name)
