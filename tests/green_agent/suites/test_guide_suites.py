"""The three suites of the finance guide: they load as written, and give the pools and plans of finance specification 1.3."""

from collections import Counter
from pathlib import Path

import pytest

from services.contract.assessment import Plan, parse_config
from services.green_agent.precedence import settle
from services.green_agent.preparation import prepare
from services.green_agent.suite import Suite, SuiteError, bundled_suite, load_suite
from tests.green_agent.suites import mirror
from tests.support.peer_files import needs_peer_files

GUIDE = Path(__file__).parent / "guide"
KEY = "sk-" + "0" * 20


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory beside the private markets, with every data set in its mirror."""
    root = tmp_path_factory.mktemp("guide")
    mirror.hidden_markets(root / "agentbusters-eval-data" / "crypto" / "eval_hidden", number=12)
    mirror.fill(root / "mirror", rows_each=110)
    (root / "work").mkdir()
    return root


@pytest.fixture
def at_home(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data / "work")
    monkeypatch.setenv("ASSAY_DATA_FROM", str(data / "mirror"))
    monkeypatch.setenv("OPENAI_EVAL_API_KEY", KEY)


def plan_of(suite: Suite, **config: object) -> Plan:
    return prepare(settle(parse_config(config), suite, variables={}), has_judge=True).plan


def counts(plan: Plan) -> dict[str, int]:
    return dict(Counter(trial.benchmark for trial in plan.trials))


@pytest.mark.parametrize("name", ["eval_quick_test", "eval_medium", "eval_large"])
def test_a_suite_loads_as_written_with_its_key_kept_secret(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_EVAL_API_KEY", KEY)

    suite = load_suite(GUIDE / f"{name}.yaml")

    assert suite.timeout_seconds == 21600
    assert suite.llm_eval is not None
    assert suite.llm_eval.model
    assert KEY not in repr(suite)
    assert KEY not in repr(settle(parse_config({}), suite, variables={}).recorded)


def test_the_key_that_is_not_there_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_EVAL_API_KEY", raising=False)

    with pytest.raises(SuiteError, match=r"eval_medium\.yaml:\d+ llm_eval\.api_key: the variable OPENAI_EVAL_API_KEY"):
        load_suite(GUIDE / "eval_medium.yaml")


@pytest.mark.parametrize(
    ("old", "name"),
    [
        ("config/eval_quick_test.yaml", "quick"),
        ("eval_medium.yaml", "medium"),
        ("config/eval_large.yaml", "large"),
        ("eval_config.yaml", "default"),
        ("config/eval_all.yaml", "default"),
    ],
)
def test_the_old_names_lead_to_our_suites_and_are_recorded(
    old: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    suite = load_suite(Path(old))

    assert suite.name == name
    recorded = settle(parse_config({}), suite, variables={}).recorded
    assert recorded["suite_asked_as"] == {"value": Path(old).name, "source": "old name"}


@needs_peer_files
@pytest.mark.usefixtures("at_home")
class TestPlans:
    def test_quick_asks_all_ten(self) -> None:
        plan = plan_of(load_suite(GUIDE / "eval_quick_test.yaml"))

        assert counts(plan) == {"bizfinbench": 3, "synthetic": 4, "options": 3}
        assert not plan.shortfalls

    def test_medium_gives_small_pools_whole_and_shares_the_rest(self) -> None:
        suite = load_suite(GUIDE / "eval_medium.yaml")

        pools = counts(plan_of(suite, num_tasks=10**7))
        chosen = counts(plan_of(suite))

        assert pools == {
            "bizfinbench": 48,
            "prbench": 40,
            "synthetic": 15,
            "options": 14,
            "crypto": 6,
            "gdpval": 10,
        }
        assert {chosen.pop("bizfinbench"), chosen.pop("prbench")} == {27, 28}
        assert chosen == {"synthetic": 15, "options": 14, "crypto": 6, "gdpval": 10}

    def test_what_medium_cannot_reach_is_listed(self) -> None:
        plan = plan_of(load_suite(GUIDE / "eval_medium.yaml"))

        assert [(short.stratum, short.requested, short.available) for short in plan.shortfalls] == [
            ("synthetic", 20, 15),
            ("options", 20, 14),
        ]

    def test_large_takes_everything_and_fills_up_with_bizfinbench(self) -> None:
        suite = load_suite(GUIDE / "eval_large.yaml")

        pools = counts(plan_of(suite, num_tasks=10**7))
        filled = counts(plan_of(suite, fill="generate"))

        small = {"synthetic": 15, "options": 14, "crypto": 12, "gdpval": 50}
        assert pools == {"bizfinbench": 700, "prbench": 400, **small}
        assert counts(plan_of(suite)) == {"bizfinbench": 509, "prbench": 400, **small}
        assert filled == {
            "bizfinbench": 438,
            "prbench": 400,
            "synthetic": 50,
            "options": 50,
            "crypto": 12,
            "gdpval": 50,
        }

    def test_the_limits_of_a_scenario_make_exactly_its_number_of_tasks(self) -> None:
        limits = {"bizfinbench": 30, "prbench": 20, "synthetic": 12, "options": 20, "gdpval": 18}
        config = {f"{name}_limit": limit for name, limit in limits.items()}

        plan = plan_of(
            load_suite(GUIDE / "eval_large.yaml"),
            datasets=list(limits),
            num_tasks=100,
            fill="generate",
            **config,
        )

        assert counts(plan) == limits
        strata = Counter(trial.stratum for trial in plan.trials if trial.benchmark == "bizfinbench")
        assert sorted(strata.values()) == [4, 4, 4, 4, 4, 5, 5]


@needs_peer_files
@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize(("name", "total"), [("quick", 10), ("medium", 100), ("large", 1000), ("default", 60)])
def test_our_suites_reach_their_counts_with_nothing_private(
    name: str, total: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    plan = plan_of(load_suite(bundled_suite(name)))

    assert len(plan.trials) == total
    assert not plan.shortfalls
