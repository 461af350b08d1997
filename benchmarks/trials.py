"""``trials``: how many inputs and files the tests generate, and how many faults they inject."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from benchmarks import report
from benchmarks.report import Results, Rows

ROOT = Path(__file__).resolve().parent.parent
FILES = (
    "test_any_table",
    "test_properties",
    "test_sequences",
    "test_allocation",
    "test_metrics",
    "test_fuzz_files",
    "test_faults",
    "test_checkpoints",
)
_TEST = re.compile(r"^tests/(\w+)\.py::.+:$")
_INPUTS = re.compile(r"- (\d+) passing(?: examples)?, (\d+) failing")  # older and newer hypothesis


def run(results: Results, files: Sequence[str], profile: str) -> None:
    """Run test files, and count tests and what hypothesis generated for them."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "tests.xml"
        text = _pytest(files, profile, record)
        outcomes = _outcomes(record)
    passing, failing = _examples(text)
    for name in files:
        row = {"set": name, "profile": profile, **outcomes[name]}
        results.add(row | {"inputs": passing[name], "failing_inputs": failing[name]})


def _pytest(files: Sequence[str], profile: str, record: Path) -> str:
    options = ["--hypothesis-show-statistics", "--hypothesis-profile", profile]
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *options]
    command += [f"--junitxml={record}", *[f"tests/{name}.py" for name in files]]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False
    )
    if not record.is_file():
        raise RuntimeError(f"pytest ran no test:\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def _examples(text: str) -> tuple[Counter[str], Counter[str]]:
    """Inputs per file that tests ran on, and those that they failed on."""
    passing, failing, name = Counter[str](), Counter[str](), ""
    for line in text.splitlines():
        if found := _TEST.match(line):
            name = found[1]
        elif found := _INPUTS.search(line):
            passing[name] += int(found[1])
            failing[name] += int(found[2])
    return passing, failing


def _outcomes(record: Path) -> dict[str, dict[str, int]]:
    """Tests per file, and how many of them failed or were skipped."""
    found: dict[str, dict[str, int]] = {}
    for case in ElementTree.parse(record).iter("testcase"):
        name = str(case.get("classname")).split(".")[1]
        counts = found.setdefault(name, {"tests": 0, "failed": 0, "skipped": 0})
        counts["tests"] += 1
        counts["failed"] += any(child.tag in ("failure", "error") for child in case)
        counts["skipped"] += any(child.tag == "skipped" for child in case)
    return found


def summarize(rows: Rows) -> str:
    """A line per file of tests."""
    keys = ("tests", "failed", "skipped", "inputs", "failing_inputs")
    total = {key: sum(row[key] for row in rows) for key in keys}
    lines = [[row["set"], *[f"{row[key]:,}" for key in keys]] for row in [*rows]]
    lines.append(["all", *[f"{total[key]:,}" for key in keys]])
    return report.table(["file", "tests", "failed", "skipped", "inputs", "failing inputs"], lines)
