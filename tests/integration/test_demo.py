"""The main job, whole."""

from tests.integration.conftest import Demo


def test_given_the_demo_when_it_has_run_then_every_line_of_its_table_holds(demo: Demo) -> None:
    failed = [line for line in demo.report["lines"] if not line["holds"]]

    assert failed == []
    assert demo.code == 0


def test_given_the_demo_when_it_has_run_then_it_says_what_stood_in_for_what(demo: Demo) -> None:
    assert "Juju is emulated" in demo.output
    assert "stand-in" in demo.output


def test_given_default_passwords_when_tried_all_the_while_then_each_unit_refused_them(
    demo: Demo,
) -> None:
    figures = next(line["figures"] for line in demo.report["lines"] if "let in" in line["figures"])

    assert figures["let in"] == 0
    assert figures["refused"] > 100
