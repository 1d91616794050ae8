"""What was built is kept by name: built once, forgotten when it is the oldest, never kept from a stopped build."""

import asyncio

import pytest

from services.contract.execution import Built, Executable, LimitHit, SandboxError
from services.green_agent.sandbox.builds import ENTRY_BYTES, Builds
from services.green_agent.sandbox.compiler import loaded_bytes
from services.green_agent.sandbox.jobs import Binary, digest


class Compiler:
    """Counts what it builds; ends as it is told to."""

    def __init__(self) -> None:
        self.built = 0
        self.go = asyncio.Event()
        self.go.set()
        self.fails = 0

    async def build(self, content: bytes = b"x", limit: LimitHit | None = None) -> Binary:
        self.built += 1
        await self.go.wait()
        if self.fails:
            self.fails -= 1
            raise SandboxError("no")
        return Binary(built=Built(ok=limit is None, limit=limit, cpu_s=1.0), content=content)


async def test_the_second_time_costs_nothing() -> None:
    compiler, builds = Compiler(), Builds()

    first, second = [await builds.get("a", compiler.build) for _ in range(2)]

    assert (first.built.cpu_s, second.built.cpu_s, second.content) == (1.0, 0.0, b"x")
    assert compiler.built == 1


async def test_many_that_ask_at_once_wait_for_one_build() -> None:
    compiler, builds = Compiler(), Builds()

    made = await asyncio.gather(*(builds.get("a", compiler.build) for _ in range(9)))

    assert (compiler.built, {each.content for each in made}) == (1, {b"x"})


async def test_when_the_first_is_cancelled_or_fails_the_next_builds() -> None:
    compiler, builds = Compiler(), Builds()
    compiler.go.clear()
    compiler.fails = 1
    asking = [asyncio.create_task(builds.get("a", compiler.build)) for _ in range(3)]
    await asyncio.sleep(0)

    asking[0].cancel()
    compiler.go.set()
    ends = await asyncio.gather(*asking, return_exceptions=True)

    assert [type(end) for end in ends] == [asyncio.CancelledError, SandboxError, Binary]
    assert compiler.built == 3


async def test_a_build_stopped_by_a_limit_is_tried_again_and_a_wrong_program_is_not() -> None:
    compiler, builds = Compiler(), Builds()

    for _ in range(2):
        await builds.get("slow", lambda: compiler.build(limit=LimitHit.WALL))
        await builds.get("wrong", lambda: compiler.build(content=b""))

    assert compiler.built == 3


async def test_the_least_recently_used_is_forgotten_first() -> None:
    compiler, builds = Compiler(), Builds(kept_bytes=2 * (ENTRY_BYTES + 10))

    for name in ("a", "b", "a", "c", "a", "b"):
        await builds.get(name, lambda: compiler.build(content=bytes(10)))

    assert compiler.built == 4  # a, b, c, and b again
    assert builds.size_bytes == 2 * (ENTRY_BYTES + 10)


async def test_what_is_larger_than_the_room_is_handed_out_and_not_kept() -> None:
    compiler, builds = Compiler(), Builds(kept_bytes=ENTRY_BYTES)

    made = await builds.get("a", lambda: compiler.build(content=bytes(10)))

    assert (made.content, builds.size_bytes) == (bytes(10), 0)


@pytest.mark.parametrize(
    "other",
    [
        {"source": "b"},
        {"source": "a", "headers": {"h": ""}},
        {"source": "a", "headers": {"h": "1", "i": "2"}},
        {"source": "a", "headers": {"h1": "i2"}},
    ],
)
def test_programs_that_differ_have_names_that_differ(other: dict[str, object]) -> None:
    assert digest(Executable(source="a", language="cpp")) != digest(
        Executable.model_validate({"language": "cpp", **other})
    )


@pytest.mark.parametrize("content", [b"", b"\x7fELF", bytes(64), b"\xff" * 200])
def test_what_is_no_executable_file_takes_no_memory(content: bytes) -> None:
    assert loaded_bytes(content) == 0
