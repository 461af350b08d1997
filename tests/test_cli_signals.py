"""The command line ends in order where it is told to: no half-written file stays behind."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, signal, sys, time
from adaptive_vq import _commands, cli
from adaptive_vq._files import replacing

name, ignored = sys.argv[1], sys.argv[2] == "ignored"
# As nohup does, which may have started these tests, or not.
signal.signal(getattr(signal, name), signal.SIG_IGN if ignored else signal.SIG_DFL)

def app(**_):
    with replacing("codes.parquet") as place:
        place.write_text("half")
        os.kill(os.getpid(), getattr(signal, name))
        time.sleep(0.1 if ignored else 60.0)

_commands.app = app
cli.main([])
"""


def ended(folder: Path, name: str, how: str = "not ignored") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, name, how]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_half_written_files_go_where_a_scheduler_or_terminal_ends_the_command(tmp_path, name, code):
    done = ended(tmp_path, name)
    assert list(tmp_path.iterdir()) == []
    assert done.returncode == code
    assert done.stderr == f"adaptive-vq: error: ended by {name}\n"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_a_signal_that_is_ignored_stays_so(tmp_path):
    done = ended(tmp_path, "SIGHUP", "ignored")
    assert (done.returncode, done.stderr) == (0, "")
    assert [found.name for found in tmp_path.iterdir()] == ["codes.parquet"]
