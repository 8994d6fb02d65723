# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""No host is asked more often than the rate says, whoever asks."""

import random
from typing import Any

import pytest
from conftest import module

pace = module("net.pace")
Refused = module("errors").Refused


class Clock:
    """A time that passes when somebody waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def reserved(made: Any, key: str = "a", patience: float = 1e9, interval: float = 0) -> float:
    return float(made._reserve(key, patience, interval))


@pytest.mark.promise("WEB-2", "API-3")
def test_after_the_burst_the_rate_counts() -> None:
    """At once as many as the burst says, then one after another."""
    made = pace.Pace(2, 3, Clock())
    assert [reserved(made) for _ in range(6)] == [0, 0, 0, 0.5, 1.0, 1.5]
    assert reserved(made, "b") == 0  # others do not wait for this one


@pytest.mark.promise("WEB-2", "API-3")
@pytest.mark.parametrize("seed", range(20))
def test_no_second_sees_more_than_the_burst_and_the_rate(seed: int) -> None:
    """Whatever the order in which calls come, wait, give up and ask with an interval."""
    chance, clock = random.Random(seed), Clock()
    rate, burst = chance.choice([0.5, 1, 5]), chance.choice([1, 3, 10])
    made = pace.Pace(rate, burst, clock)
    times: list[float] = []
    for _ in range(400):
        clock.now += chance.choice([0, 0, 0.01, 0.3, 2])
        try:
            delay = reserved(made, patience=chance.choice([0, 1, 5]))
        except Refused:
            continue
        times.append(clock.now + delay)
    times.sort()
    for first, start in enumerate(times):
        for count, end in enumerate(times[first:], 1):
            assert count <= burst + (end - start) * rate + 1e-6


@pytest.mark.promise("WEB-1", "WEB-2")
def test_an_interval_is_longer_than_the_rate_and_has_no_burst() -> None:
    """A crawl-delay holds between any two requests."""
    made = pace.Pace(1, 3, Clock())
    assert [reserved(made, interval=5) for _ in range(3)] == [0, 5, 10]


@pytest.mark.promise("WEB-2", "API-3")
def test_who_would_wait_too_long_is_told_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """And takes no place in the row."""
    made = pace.Pace(1, 1, Clock())
    reserved(made)
    for _ in range(5):
        with pytest.raises(Refused, match=r"^busy: .* try again in 1 s$"):
            reserved(made, patience=0.5)
    assert reserved(made) == 1


@pytest.mark.promise("API-3")
def test_a_server_that_asks_for_rest_gets_it() -> None:
    """Retry-After: nobody asks before, and then one after another."""
    clock = Clock()
    made = pace.Pace(10, 5, clock)
    reserved(made)
    made.hold("a", 30)
    made.hold("a", 3)  # the longer one counts
    with pytest.raises(Refused, match="30 s"):
        reserved(made, patience=10)
    clock.now += 29
    assert reserved(made) == 1
    clock.now += 2
    assert reserved(made) == 0


@pytest.mark.promise("WEB-2")
def test_many_hosts_do_not_make_it_forget_a_busy_one() -> None:
    """Who walks through thousands of hosts gets no new burst at the first, and no memory."""
    made = pace.Pace(0.001, 1, Clock())
    for number in range(4096):
        assert reserved(made, str(number)) == 0
    with pytest.raises(Refused, match="too many servers"):
        reserved(made, "one more")
    with pytest.raises(Refused, match="asked slowly"):
        reserved(made, "0", patience=1)


@pytest.mark.anyio
async def test_waiting_takes_as_long_as_it_says() -> None:
    """With the real clock."""
    made = pace.Pace(20, 1)
    began = made._clock()
    for _ in range(5):
        await made.wait("a", patience=5)
    assert 0.19 < made._clock() - began < 2
