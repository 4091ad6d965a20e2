import pytest

from medio.loading.stats import LoaderStats


def test_the_share_of_waiting_is_of_the_time_since_the_first_request(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([2.0, 11.0])
    monkeypatch.setattr("medio.loading.stats.perf_counter", lambda: next(clock))
    stats = LoaderStats(workers=2)
    stats.handed_out(1.0, 4)  # asked at 1, came at 2
    stats.handed_out(10.9995, 4)  # asked at 10.9995, came at 11: no stall
    assert stats.elapsed_s == 10.0
    assert stats.wait_share == pytest.approx(1.0005 / 10)
    assert (stats.batches, stats.samples, stats.stalls) == (2, 8, 1)


@pytest.mark.parametrize(("read_s", "mend"), [(18.0, "add workers"), (5.0, "raise prefetch")])
def test_a_loader_that_is_waited_for_says_the_mend(read_s: float, mend: str) -> None:
    stats = LoaderStats(workers=2, batches=5, samples=10, wait_s=6.0, read_s=read_s, first=0.0, last=10.0)
    assert "waited 6.0 s (60 %)" in stats.summary()
    assert mend in stats.summary()
    quiet = LoaderStats(workers=2, batches=5, samples=10, wait_s=0.1, read_s=read_s, first=0.0, last=10.0)
    assert mend not in quiet.summary()
