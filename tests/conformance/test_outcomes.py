"""What conformance runs are compared with."""

from pathlib import Path

from tests.conformance.outcomes import Check, SuiteRun, Verdict, compare, from_junit, from_requirements, read_expected

JUNIT = """<testsuites><testsuite>
<testcase classname="tests.a" name="test_good"/>
<testcase classname="tests.a" name="test_bad"><failure message="no"/></testcase>
<testcase classname="tests.a" name="test_broken"><error message="worse"/></testcase>
<testcase classname="tests.a" name="test_left_out"><skipped message="not offered"/></testcase>
</testsuite></testsuites>"""


def run(**statuses: str) -> SuiteRun:
    checks = tuple(Check(id=name, level="must", status=status) for name, status in statuses.items())  # type: ignore[arg-type] # literals, from a test
    return SuiteRun(suite="kit", commit="1", checks=checks)


def test_new_failures_and_healed_ones_are_both_differences() -> None:
    expected = {("kit", "old"): "known", ("kit", "mended"): "known", ("other kit", "elsewhere"): "known"}

    verdict = compare([run(old="failed", mended="passed", new="failed", fine="passed")], expected)

    assert verdict == Verdict(unexpected=["kit new"], healed=["kit mended"])


def test_an_expected_failure_that_is_no_longer_tested_is_a_difference() -> None:
    verdict = compare([run(old="skipped")], {("kit", "old"): "known", ("kit", "gone"): "known"})

    assert verdict == Verdict(healed=["kit gone", "kit old"])


def test_what_is_expected_is_no_difference() -> None:
    assert compare([run(old="failed")], {("kit", "old"): "known"}) == Verdict()


def test_a_pytest_report_is_read(tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    report.write_text(JUNIT)

    checks = from_junit(report, "mandatory")

    assert [(check.id, check.status, check.text) for check in checks] == [
        ("tests.a::test_good", "passed", ""),
        ("tests.a::test_bad", "failed", "no"),
        ("tests.a::test_broken", "failed", "worse"),
        ("tests.a::test_left_out", "skipped", ""),
    ]
    assert SuiteRun(suite="kit", commit="1", checks=checks).counts() == {
        "mandatory": {"failed": 2, "passed": 1, "skipped": 1}
    }


def test_the_report_of_the_1_0_kit_is_read(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    report.write_text(
        """{"per_requirement": {
        "A-1": {"level": "MUST", "status": "PASS", "errors": []},
        "A-2": {"level": "SHOULD", "status": "FAIL", "errors": ["one", "two"]},
        "A-3": {"level": "MAY", "status": "NOT TESTED", "errors": []}}}"""
    )

    assert from_requirements(report) == (
        Check(id="A-1", level="must", status="passed"),
        Check(id="A-2", level="should", status="failed", text="one; two"),
        Check(id="A-3", level="may", status="not tested"),
    )


def test_every_expected_failure_has_a_reason() -> None:
    expected = read_expected(Path(__file__).parent / "expected.json")

    assert {suite for suite, _ in expected} == {"tck10"}
    assert all(len(reason) > 3 for reason in expected.values())
