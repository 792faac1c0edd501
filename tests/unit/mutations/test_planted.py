"""Bugs that the suite must find: all still have their place, and CI's share of them is found."""

import pytest

from tests.mutations.__main__ import ROOT, try_out
from tests.mutations.bugs import BUGS, QUICK


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_given_a_bug_when_planted_then_its_place_is_there_and_the_source_compiles(bug):
    compile(bug.plant((ROOT / bug.file).read_text()), bug.file, "exec")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_given_a_bug_when_its_tests_are_named_then_their_files_are_there(bug):
    assert (ROOT / bug.tests[0]).is_file()


def test_given_another_source_when_planted_then_it_fails_loudly():
    with pytest.raises(ValueError, match="is not there, or not once"):
        BUGS[0].plant("nothing of it")


@pytest.mark.parametrize("bug", [one for one in BUGS if one.name in QUICK], ids=lambda b: b.name)
def test_given_a_planted_bug_when_its_tests_run_then_it_is_found(bug):
    finding = try_out(bug)
    assert finding.found, finding.by
