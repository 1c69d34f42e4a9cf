"""How a signal ends a process of the command line, at any moment of its life."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

_DEAF = """
import threading
from omni_batch import interrupts
interrupts.before_leaving(lambda: print("left", flush=True))
interrupts.unwind()
while True:
    try:
        print("at work", flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        pass  # as libraries may have it
"""
_TIDY = """
import time
from omni_batch import interrupts
interrupts.unwind()
try:
    print("at work", flush=True)
    while True:
        time.sleep(0.05)  # a signal just before it would be heard of at its end
except KeyboardInterrupt:
    print("unwound", flush=True)
interrupts.end_at_once(7)
print("done", flush=True)
time.sleep(60)
"""
_NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def begin(code: str, cwd: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=cwd, stdout=subprocess.PIPE, text=True
    )
    expect(process, "at work")
    return process


def expect(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == text


@pytest.mark.parametrize("number", _NUMBERS)
def test_one_signal_unwinds_and_when_all_is_done_one_ends_it_with_its_own_code(
    tmp_path: Path, number: signal.Signals
) -> None:
    with begin(_TIDY, tmp_path) as process:
        process.send_signal(number)
        expect(process, "unwound")
        expect(process, "done")
        process.send_signal(number)
        assert process.wait(20) in (7, 130)  # 130: its time was over on a machine that is busy


@pytest.mark.parametrize("number", _NUMBERS)
def test_a_process_that_does_not_unwind_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    with begin(_DEAF, tmp_path) as process:
        process.send_signal(number)
        expect(process, "at work")
        expect(process, "left")
        assert process.wait(20) == 130


def test_what_is_ignored_from_the_start_stays_ignored() -> None:
    """As nohup has it."""
    code = """if True:
        import signal
        from omni_batch import interrupts
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for listen in (interrupts.end_at_once, interrupts.unwind):
            listen()
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
        """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_ctrl_c_while_modules_are_loaded_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "omni_batch", "list"], cwd=tmp_path, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
