"""``mutants``: faults put into the source one by one (mutmut), and how many the tests notice.

Needs a checkout, and mutmut 3 (``pip install "mutmut>=3.8"``). The modules are changed in a copy.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.report import Results, Rows

ROOT = Path(__file__).resolve().parent.parent
#: Modules that are changed together, and the tests that have to notice.
GROUPS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "allocation": (["allocation"], ["test_allocation"]),
    "metrics": (
        ["metrics", "_distortion", "_usage", "_scorers"],
        ["test_metrics", "test_scorers"],
    ),
    "quantize": (["quantize", "beam"], ["test_quantize", "test_beam"]),
}
#: Threads that the tests of a fork's parent have started do not exist in the fork, which then waits
#: for them: for modules that use torch, mutants are forked from a process that only imports. It is
#: slower.
THREADED = frozenset({"quantize"})
_SETTINGS = """
[tool.mutmut]
source_paths = ["adaptive_vq"]
only_mutate = {modules}
pytest_add_cli_args_test_selection = {tests}
pytest_add_cli_args = ["-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
also_copy = ["adaptive_vq", "pyproject.toml"]
process_isolation = "{isolation}"
timeout_multiplier = 5.0
"""
#: Exit codes of mutmut's record: 0 no test failed, 33 no test reaches it.
_SURVIVED, _UNTESTED, _FAILED = 0, 33, (1, 3)


def run(results: Results, groups: Sequence[str], count: int, seeds: Sequence[int]) -> None:
    """Change every group of modules: all mutants, or a sample of `count` drawn with each seed."""
    for group in groups:
        for seed in seeds if count else seeds[:1]:
            with tempfile.TemporaryDirectory() as folder:
                codes = _exit_codes(Path(folder), group, count, seed)
            results.add({"set": group, "seed": seed, **_counted(codes)})


def _counted(codes: dict[str, int | None]) -> dict[str, Any]:
    """Numbers of mutants by their end, and the names of those that nothing noticed."""
    ends = Counter(_end(code) for code in codes.values())
    lived = [name for name, code in codes.items() if _end(code) not in ("failed", "stopped")]
    names = ("failed", "stopped", "survived", "untested")
    return {"mutants": len(codes), **{end: ends[end] for end in names}, "survivors": sorted(lived)}


def _end(code: int | None) -> str:
    if code in _FAILED:
        return "failed"
    if code == _SURVIVED:
        return "survived"
    return "untested" if code == _UNTESTED else "stopped"  # a time-out or a crash


def _exit_codes(folder: Path, group: str, count: int, seed: int) -> dict[str, int | None]:
    _copy(folder, group)
    if not count:
        _mutmut(folder)
        return _recorded(folder)
    _mutmut(folder, "none-of-them")  # writes the mutants, runs none
    names = sorted(_recorded(folder))
    chosen = random.Random(seed).sample(names, min(count, len(names)))
    _mutmut(folder, *chosen)
    return {name: code for name, code in _recorded(folder).items() if name in set(chosen)}


def _copy(folder: Path, group: str) -> None:
    modules, tests = GROUPS[group]
    for name in ("adaptive_vq", "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    settings = _SETTINGS.format(
        modules=json.dumps([f"adaptive_vq/{name}.py" for name in modules]),
        tests=json.dumps([f"tests/{name}.py" for name in tests]),
        isolation="forkserver" if group in THREADED else "fork",
    )
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text(text + settings, encoding="utf-8")


def _mutmut(folder: Path, *names: str) -> None:
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1", *names]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = _recorded(folder)
    asked = found if not names else [name for name in names if name in found]
    if not found or any(found[name] is None for name in asked):
        said = (done.stdout + done.stderr)[-2000:]
        raise RuntimeError(f"mutmut gave up ({len(found)} mutants made):\n{said}")


def _recorded(folder: Path) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for path in sorted((folder / "mutants" / "adaptive_vq").glob("*.meta")):
        found |= json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"]
    return found


def summarize(rows: Rows) -> str:
    """A line per group, and the survivors, to be read with ``mutmut show NAME``."""
    ends = ("mutants", "failed", "stopped", "survived", "untested")
    head = ["modules", "mutants", "a test fails", "time-out or crash", "survive", "no test"]
    lines = [[row["set"], *[str(row[end]) for end in ends]] for row in rows]
    return "\n\n".join([report.table(head, lines), *_lists(rows)])


def _lists(rows: Rows) -> Iterable[str]:
    for row in rows:
        yield "\n".join([f"### Nothing noticed: {row['set']}", *row["survivors"]])
