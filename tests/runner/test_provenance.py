from pydantic import JsonValue

from services.runner.provenance import moved_images

BEFORE: dict[str, JsonValue] = {"image_digests": {"green": "sha256:" + "a" * 8, "mine": "sha256:" + "b" * 8}}


def test_an_agent_whose_tag_names_another_image_now_is_told() -> None:
    now: dict[str, JsonValue] = {"image_digests": {"green": "sha256:" + "c" * 8, "mine": "sha256:" + "d" * 8}}

    assert moved_images(BEFORE, now, ["mine"]) == ["mine was sha256:bbbbbbbb, is sha256:dddddddd"]


def test_the_same_image_and_agents_without_one_are_not_told() -> None:
    assert moved_images(BEFORE, BEFORE, ["mine"]) == []
    assert moved_images({}, BEFORE, ["mine"]) == []
    assert moved_images(BEFORE, {"image_digests": None}, ["mine", "command"]) == []
