"""``python -m benchmarks COMMAND``: measure, print tables, write JSON."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import (
    ablation,
    beams,
    cleaning,
    device,
    downstream,
    mutants,
    objectives,
    parquet,
    passes,
    quality,
    report,
    resume,
    scaling,
    speed,
    synthetic,
    trials,
)
from benchmarks.methods import DEFAULT, check_methods
from benchmarks.protocol import SETS

_LABELED = ("mfeat", "spambase", "online_news", "credit_default")
_SYNTHETIC_METHODS = ("ours", "rq_beam5", "rq_beam32")
_DOWNSTREAM_METHODS = ("ours", "ours:rate_distortion", "rq_beam5", "pq", "kbins")
_DEVICE_SETS = ("online_news", "10000x64x6")
_SPEED_METHODS = ("ours", "ours:rate_distortion", "rq_beam5", "pq", "residual_vq")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    add = _Adder(commands)

    command = add("quality", quality.__doc__, sets=SETS, methods=DEFAULT, bits=(64,))
    command.add_argument("--pictures", type=Path, help="folder for a picture per set")
    command.add_argument(
        "--rows", type=int, default=10_000, help="training rows at most (default: 10000)"
    )

    add("synthetic", synthetic.__doc__, sets=tuple(synthetic.SOURCES), methods=_SYNTHETIC_METHODS)

    command = add("ablation", ablation.__doc__, sets=(*SETS, "blocks", "families"), bits=(64,))
    command.add_argument(
        "--strategies", nargs="+", default=list(ablation.STRATEGIES), metavar="STRATEGY"
    )

    objective_sets = ("spambase", "credit_default", "families")
    command = add("objectives", objectives.__doc__, sets=objective_sets, bits=(64,))
    command.add_argument("--options", nargs="+", default=list(objectives.OPTIONS), metavar="OPTION")
    command.add_argument("--rows", type=int, default=2500, help="most training rows")
    command.add_argument(
        "--keep", nargs="+", choices=list(objectives.KEEP), default=list(objectives.KEEP)
    )

    add("downstream", downstream.__doc__, sets=_LABELED, methods=_DOWNSTREAM_METHODS, bits=(64,))

    command = add("beams", beams.__doc__, sets=SETS[:3], bits=(64,))
    command.add_argument("--beams", nargs="+", type=int, default=list(beams.BEAMS))

    command = add("speed", speed.__doc__, sets=("online_news",), methods=_SPEED_METHODS, bits=(64,))
    command.add_argument(
        "--factors", nargs="+", type=int, default=[1, 10], help="times the rows (default: 1 10)"
    )

    command = add("device", device.__doc__, sets=_DEVICE_SETS, bits=(64,))
    command.add_argument("--rows", type=int, default=100_000, help="to encode (default: 100000)")

    command = add("scaling", scaling.__doc__, sets=None)
    command.add_argument("--rows", nargs="+", type=int, default=[10_000, 100_000, 300_000])
    command.add_argument("--columns", nargs="+", type=int, default=[128])
    command.add_argument("--categories", type=int, default=8)
    command.add_argument("--bits", type=int, help="budget (default: that of the codec)")
    command.add_argument("--dtype", choices=("float32", "float64"), default="float32")

    command = add("parquet", parquet.__doc__, sets=None)
    command.add_argument("--rows", nargs="+", type=int, default=[100_000, 1_000_000])
    command.add_argument("--columns", type=int, default=32)
    command.add_argument("--categories", type=int, default=4)
    command.add_argument("--bits", type=int, default=32)
    command.add_argument("--beam", type=int, default=4)

    command = add("passes", passes.__doc__, sets=("families",), bits=(64,))
    command.add_argument("--rows", type=int, default=500_000, help="rows (default: 500000)")
    command.add_argument("--fit-rows", type=int, default=50_000, help="drawn (default: 50000)")
    command.add_argument("--beam", type=int, default=4)
    command.add_argument("--passes", type=int, default=1, help="over all rows (default: 1)")

    command = add("resume", resume.__doc__, sets=("online_news",))
    command.add_argument("--kills", type=int, default=10, help="fits to kill (default: 10)")
    command.add_argument(
        "--rows", type=int, default=10_000, help="training rows at most (default: 10000)"
    )

    command = add("cleaning", cleaning.__doc__, sets=(), bits=(64,))
    command.add_argument("--rows", type=int, default=6_000, help="rows (default: 6000)")

    command = add("mutants", mutants.__doc__, sets=tuple(mutants.GROUPS))
    command.add_argument("--count", type=int, default=0, help="so many drawn at random; 0: all")

    command = add("trials", trials.__doc__, sets=trials.FILES)
    command.add_argument("--profile", default="default", help="of hypothesis: default or long")
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
        sets: Sequence[str] | None,
        methods: Sequence[str] | None = None,
        bits: Sequence[int] | None = None,
    ) -> argparse.ArgumentParser:
        text = (doc or "").split(": ", 1)[-1]
        command: argparse.ArgumentParser = self.commands.add_parser(
            name, help=text, description=text
        )
        if sets is not None:
            command.add_argument("--sets", nargs="+", default=list(sets), metavar="SET")
        if methods is not None:
            command.add_argument(
                "--methods",
                nargs="+",
                default=list(methods),
                metavar="METHOD",
                help="peers by name, or ours[:STRATEGY[:CONTEXT[:CUT_TOLERANCE]]]",
            )
        if bits is not None:
            command.add_argument("--bits", nargs="+", type=int, default=list(bits))
        command.add_argument("--seeds", nargs="+", type=int, default=[0])
        command.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
        command.add_argument("--out", type=Path, help="JSON file for every row")
        return command


Run = Callable[[report.Results, argparse.Namespace], None]
Summarize = Callable[[report.Rows], str]


def _quality(results: report.Results, o: argparse.Namespace) -> None:
    quality.run(results, o.sets, o.methods, o.bits, o.seeds, o.rows)
    if o.pictures:
        quality.draw(results.rows, o.pictures)


def _ablation(results: report.Results, o: argparse.Namespace) -> None:
    for bits in o.bits:
        ablation.run(results, o.sets, o.strategies, bits, o.seeds)


#: What each command runs, and how it sums up.
COMMANDS: dict[str, tuple[Run, Summarize]] = {
    "quality": (_quality, quality.summarize),
    "synthetic": (
        lambda r, o: synthetic.run(r, o.sets, o.methods, o.seeds),
        synthetic.summarize,
    ),
    "ablation": (_ablation, ablation.summarize),
    "objectives": (
        lambda r, o: objectives.run(r, o.sets, o.options, o.bits, o.seeds, o.rows, o.keep),
        objectives.summarize,
    ),
    "downstream": (
        lambda r, o: downstream.run(r, o.sets, o.methods, o.bits, o.seeds),
        downstream.summarize,
    ),
    "beams": (
        lambda r, o: beams.run(r, o.sets, o.bits, o.seeds, o.beams),
        beams.summarize,
    ),
    "speed": (
        lambda r, o: speed.run(r, o.sets, o.methods, o.bits, o.seeds, o.factors, o.threads),
        speed.summarize,
    ),
    "device": (
        lambda r, o: device.run(r, o.sets, o.bits, o.seeds, o.rows),
        device.summarize,
    ),
    "scaling": (
        lambda r, o: scaling.run(
            r, o.rows, o.columns, o.categories, o.bits, o.dtype, o.seeds, o.threads
        ),
        scaling.summarize,
    ),
    "parquet": (
        lambda r, o: parquet.run(
            r, o.rows, o.columns, o.categories, o.bits, o.beam, o.seeds, o.threads
        ),
        parquet.summarize,
    ),
    "passes": (
        lambda r, o: passes.run(r, o.sets, o.rows, o.fit_rows, o.bits, o.beam, o.passes, o.seeds),
        passes.summarize,
    ),
    "resume": (
        lambda r, o: resume.run(r, o.sets, o.seeds, o.kills, o.rows, o.threads),
        resume.summarize,
    ),
    "mutants": (
        lambda r, o: mutants.run(r, o.sets, o.count, o.seeds),
        mutants.summarize,
    ),
    "trials": (
        lambda r, o: trials.run(r, o.sets, o.profile),
        trials.summarize,
    ),
    "cleaning": (
        lambda r, o: cleaning.run(r, o.bits, o.seeds, o.rows),
        cleaning.summarize,
    ),
}


def _run(results: report.Results, options: argparse.Namespace) -> str:
    """Run one command and give its tables."""
    run, summarize = COMMANDS[options.command]
    run(results, options)
    return summarize(results.rows)


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
