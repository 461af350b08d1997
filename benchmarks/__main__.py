"""``python -m benchmarks COMMAND``: measure, print tables, write JSON."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import ablation, cleaning, downstream, quality, report, resume, speed, synthetic
from benchmarks.methods import DEFAULT, check_methods
from benchmarks.protocol import SETS

_LABELED = ("mfeat", "spambase", "online_news", "credit_default")
_SYNTHETIC_METHODS = ("ours", "rq_beam5", "rq_beam32")
_DOWNSTREAM_METHODS = ("ours", "ours:rate_distortion", "rq_beam5", "pq", "kbins")
_SPEED_METHODS = ("ours", "ours:rate_distortion", "rq_beam5", "pq", "residual_vq")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    add = _Adder(commands)

    command = add("quality", quality.__doc__, sets=SETS, methods=DEFAULT, bits=(64,))
    command.add_argument("--pictures", type=Path, help="folder for a picture per set")

    add("synthetic", synthetic.__doc__, sets=tuple(synthetic.SOURCES), methods=_SYNTHETIC_METHODS)

    command = add("ablation", ablation.__doc__, sets=(*SETS, "blocks", "families"), bits=(64,))
    command.add_argument(
        "--strategies", nargs="+", default=list(ablation.STRATEGIES), metavar="STRATEGY"
    )

    add("downstream", downstream.__doc__, sets=_LABELED, methods=_DOWNSTREAM_METHODS, bits=(64,))

    command = add("speed", speed.__doc__, sets=("online_news",), methods=_SPEED_METHODS, bits=(64,))
    command.add_argument(
        "--factors", nargs="+", type=int, default=[1, 10], help="times the rows (default: 1 10)"
    )

    command = add("resume", resume.__doc__, sets=("online_news",))
    command.add_argument("--kills", type=int, default=10, help="fits to kill (default: 10)")

    command = add("cleaning", cleaning.__doc__, sets=(), bits=(64,))
    command.add_argument("--rows", type=int, default=6_000, help="rows (default: 6000)")
    return top


class _Adder:
    """Adds a command with the options that commands share."""

    def __init__(self, commands: Any) -> None:
        self.commands = commands

    def __call__(
        self,
        name: str,
        doc: str | None,
        *,
        sets: Sequence[str],
        methods: Sequence[str] | None = None,
        bits: Sequence[int] | None = None,
    ) -> argparse.ArgumentParser:
        text = (doc or "").split(": ", 1)[-1]
        command: argparse.ArgumentParser = self.commands.add_parser(
            name, help=text, description=text
        )
        command.add_argument("--sets", nargs="+", default=list(sets), metavar="SET")
        if methods is not None:
            command.add_argument(
                "--methods",
                nargs="+",
                default=list(methods),
                metavar="METHOD",
                help="peers by name, ours, ours:STRATEGY or ours:STRATEGY:joint",
            )
        if bits is not None:
            command.add_argument("--bits", nargs="+", type=int, default=list(bits))
        command.add_argument("--seeds", nargs="+", type=int, default=[0])
        command.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
        command.add_argument("--out", type=Path, help="JSON file for every row")
        return command


def _run(results: report.Results, options: argparse.Namespace) -> str:
    """Run one command and give its tables."""
    match options.command:
        case "quality":
            quality.run(results, options.sets, options.methods, options.bits, options.seeds)
            if options.pictures:
                quality.draw(results.rows, options.pictures)
        case "synthetic":
            synthetic.run(results, options.sets, options.methods, options.seeds)
        case "ablation":
            for bits in options.bits:
                ablation.run(results, options.sets, options.strategies, bits, options.seeds)
        case "downstream":
            downstream.run(results, options.sets, options.methods, options.bits, options.seeds)
        case "speed":
            speed.run(
                results,
                options.sets,
                options.methods,
                options.bits,
                options.seeds,
                options.factors,
                options.threads,
            )
        case "resume":
            resume.run(results, options.sets, options.seeds, options.kills, options.threads)
        case "cleaning":
            cleaning.run(results, options.bits, options.seeds, options.rows)
    summarize: dict[str, Callable[[report.Rows], str]] = {
        "quality": quality.summarize,
        "synthetic": synthetic.summarize,
        "ablation": ablation.summarize,
        "downstream": downstream.summarize,
        "speed": speed.summarize,
        "resume": resume.summarize,
        "cleaning": cleaning.summarize,
    }
    return summarize[options.command](results.rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a benchmark."""
    top = parser()
    options = top.parse_args(arguments)
    try:
        check_methods(getattr(options, "methods", []))
    except ValueError as error:
        top.error(str(error))
    report.use_threads(options.threads)
    shown = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in vars(options).items()
    }
    results = report.Results(options.command, shown, options.out)
    print(_run(results, options))


if __name__ == "__main__":
    main()
