"""What a request may do with green's judge, through the real green."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.greens import Seen, assess, green
from tests.support.purples import purple, replay
from tests.support.raw_http import raw_server, response


async def asked(folder: Path, judge: Mapping[str, object], *, own: str) -> Seen:
    suite = folder / "eval.yaml"
    suite.write_text(f"name: t\ndatasets: [{{type: options, limit: 1}}]\nllm_eval: {own}\n")
    async with green(suite=suite) as green_url, purple(replay({})) as agent:
        return await assess(green_url, agent.url, {"judge": dict(judge)})


@pytest.mark.parametrize("where", ["judge", "panel"])
async def test_a_judge_of_a_request_is_never_looked_for_where_clouds_keep_credentials(
    tmp_path: Path, where: str
) -> None:
    place = {"api_base": "http://169.254.169.254/v1", "api_key": "of-the-request"}
    judge = place if where == "judge" else {"panel": [place | {"model": "m"}]}

    seen = await asked(tmp_path, judge, own="{model: m, api_key: suite-key}")

    assert seen.state == "rejected"
    assert "api_base: 169.254.169.254 is a metadata address" in seen.text


async def test_a_server_that_a_request_names_as_judge_never_sees_a_key_of_the_suite(tmp_path: Path) -> None:
    own = (
        '{model: m, api_key: suite-key, panel: [{model: a, api_key: member-key}], api_base: "https://judge.example/v1"}'
    )

    async with raw_server([response({"error": {"message": "no"}}, status=401)]) as server:
        for key in ({}, {"api_key": "of-the-request"}):
            seen = await asked(tmp_path, {"api_base": server.url, **key}, own=own)
            assert seen.state == "rejected"

    said = [request.headers for request in [*server.seen, *server.others]]
    assert said
    assert "suite-key" not in repr(said)
    assert "member-key" not in repr(said)
