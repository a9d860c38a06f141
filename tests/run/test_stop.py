"""Laws of stopping: at once where nothing is lost by it, else when the batch is done, and never later than promised."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from dynaflex.errors import DynaflexError, StoppedOnRequest
from dynaflex.run import stop as stopping
from dynaflex.run.stop import ABORT, ABORTED, FAILURE, SUCCESS, Stop, exit_markers, stoppable

ASKING = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]


def ask(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def wait(seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.01)


def stops(folder: Path, work: Callable[[Stop], None]) -> StoppedOnRequest:
    """How work ends that is asked to stop in a run."""
    (folder / "config.json").touch()

    def inside() -> None:
        with exit_markers(folder), stoppable(folder, "dynaflex resume it") as stop:
            work(stop)

    with pytest.raises(StoppedOnRequest) as stopped:
        inside()
    return stopped.value


@pytest.mark.parametrize("number", ASKING)
def test_a_signal_stops_at_once_and_handlers_come_back(tmp_path: Path, number: signal.Signals) -> None:
    def work(_stop: Stop) -> None:
        ask(number)
        wait()
        pytest.fail("the signal was not heard")

    before = signal.getsignal(number)
    stopped = stops(tmp_path, work)
    assert stopped.exit_code == 75 and "dynaflex resume it" in str(stopped) and number.name in str(stopped)
    assert signal.getsignal(number) == before


def test_an_error_that_a_library_makes_of_a_stop_is_a_stop(tmp_path: Path) -> None:
    """NumPy raises its own TypeError where a comparison of types is interrupted."""

    def work(_stop: Stop) -> None:
        try:
            ask(signal.SIGINT)
            wait()
        except StoppedOnRequest:
            raise TypeError("cannot compare") from None

    assert "SIGINT" in str(stops(tmp_path, work))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("nothing_there", [True, False])
def test_where_nothing_was_begun_nothing_is_to_be_resumed(
    tmp_path: Path, number: signal.Signals, nothing_there: bool
) -> None:
    def inside() -> None:
        with stoppable(None if nothing_there else tmp_path):
            ask(number)
            wait()

    with pytest.raises(StoppedOnRequest) as stopped:
        inside()
    assert str(stopped.value) == f"stopped by {number.name} [run.stopped]" and stopped.value.fix is None


def test_what_works_in_a_run_within_a_command_gives_the_signals_back_to_it(tmp_path: Path) -> None:
    def ask_inside(folder: Path | None) -> None:
        with stoppable(folder):
            ask()
            wait()

    with stoppable() as outer:
        heard = signal.getsignal(signal.SIGINT)
        with pytest.raises(StoppedOnRequest):
            ask_inside(tmp_path)
        assert signal.getsignal(signal.SIGINT) == heard and not outer.requested
    with pytest.raises(StoppedOnRequest):
        ask_inside(None)


def test_what_goes_on_after_errors_does_not_go_on_after_a_stop() -> None:
    def carefree() -> None:
        with suppress(Exception):
            ask()
            wait()

    with pytest.raises(StoppedOnRequest), stoppable():
        carefree()


@pytest.mark.parametrize("number", ASKING)
def test_a_stop_waits_for_what_holds_it(tmp_path: Path, number: signal.Signals) -> None:
    done = []

    def work(stop: Stop) -> None:
        with stop.hold():
            ask(number)
            wait(0.05)
            done.append("saved")
        done.append("not reached")

    stops(tmp_path, work)
    assert done == ["saved"]


def test_it_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(stop: Stop) -> None:
        with stop.hold():
            ask()
            wait()
            pytest.fail("the stop was forgotten")

    assert stopping.PATIENCE <= 25.0
    monkeypatch.setattr(stopping, "PATIENCE", 0.05)
    stops(tmp_path, work)


@pytest.mark.parametrize(
    ("number", "done"),
    [(signal.SIGINT, ["once"]), (signal.SIGTERM, ["once", "twice"]), (signal.SIGUSR1, ["once", "twice"])],
)
def test_a_second_interrupt_does_not_wait_and_other_signals_do(
    tmp_path: Path, number: signal.Signals, done: list[str]
) -> None:
    """A person who asks twice means it; batch systems send the same signal again and again, and kill only later."""
    reached = []

    def work(stop: Stop) -> None:
        with stop.hold():
            for name in ("once", "twice"):
                ask(number)
                wait(0.05)
                reached.append(name)

    stops(tmp_path, work)
    assert reached == done


def test_the_third_interrupt_ends_the_process(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with stoppable(tmp_path) as stop, stop.hold():
            for _ in range(3):
                with suppress(StoppedOnRequest):
                    ask(signal.SIGINT)
                    wait(0.05)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGINT


def test_a_closed_terminal_is_not_heard(tmp_path: Path) -> None:
    with stoppable(tmp_path) as stop:
        ask(signal.SIGHUP)
        wait(0.02)
        assert not stop.requested


def test_relions_abort_file_stops_too(tmp_path: Path) -> None:
    def work(_stop: Stop) -> None:
        (tmp_path / ABORT).touch()
        wait(10.0)

    assert ABORT in str(stops(tmp_path, work))
    assert (tmp_path / ABORTED).exists() and not (tmp_path / ABORT).exists()


def test_other_threads_have_no_signals_and_are_not_refused(tmp_path: Path) -> None:
    seen = []

    def work() -> None:
        with stoppable(tmp_path) as stop, stop.hold():
            seen.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


@pytest.mark.parametrize(
    ("error", "marker"),
    [(None, SUCCESS), (StoppedOnRequest("run.stopped", ""), ABORTED), (DynaflexError("x.y", ""), FAILURE),
     (KeyError(), FAILURE)],
)  # fmt: skip
@pytest.mark.parametrize("relion", [True, False])
def test_relion_is_told_how_its_job_ended_and_others_are_not(
    tmp_path: Path, error: BaseException | None, marker: str, relion: bool
) -> None:
    (tmp_path / FAILURE).touch()  # of an earlier start
    if relion:
        (tmp_path / "job.star").touch()
    expected = nullcontext() if error is None else pytest.raises(type(error))
    with expected, exit_markers(tmp_path):
        if error is not None:
            raise error
    assert {path.name for path in tmp_path.iterdir()} == ({"job.star", marker} if relion else set())
