"""The README's code runs, and its commands are the ones that are tested."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_python_blocks_run():
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_ci_runs_the_readmes_test_command():
    command = re.search(r"<!-- install-and-test -->\n```bash\n(.*?)\n```", README, flags=re.DOTALL)
    assert command is not None
    steps = [step.strip() for step in command.group(1).split("&&")]
    script = ROOT / ".ci" / "run"
    if script.exists():  # not part of the source distribution
        text = script.read_text(encoding="utf-8")
        assert steps[-1] in text.splitlines()


def test_pictures_are_there():
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / path).is_file(), path
