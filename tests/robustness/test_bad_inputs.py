import pytest
from bad_inputs import CASES, ROOT, render

from opentrans.errors import UserError, explain


@pytest.mark.parametrize("case", CASES, ids=[f"{case.reader}: {case.what}" for case in CASES])
def test_a_bad_input_does_what_the_table_says(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if case.fits:
        assert case.fits(case.act(tmp_path))
        return
    with pytest.raises(Exception) as caught:  # noqa: PT011 (the kind is asserted below)
        case.act(tmp_path)
    error = caught.value if isinstance(caught.value, UserError) else explain(caught.value)
    assert isinstance(error, UserError)
    assert case.says.casefold() in str(error).casefold()
    assert "\n" not in str(error)
    assert error.remedy is not None
    assert not (tmp_path / "hacked").exists()


def test_the_table_is_long_enough_and_names_each_input_once():
    assert len(CASES) >= 40
    assert len({(case.reader, case.what) for case in CASES}) == len(CASES)


def test_the_page_is_what_the_table_gives():
    assert (ROOT / "docs/robustness.md").read_text(encoding="utf-8") == render()
