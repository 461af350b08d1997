"""The commands of ``adaptive-vq``: demo, fit, encode, decode, diagnose, compare, inspect."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

import adaptive_vq
from adaptive_vq import _reports
from adaptive_vq._config import LARGEST_SEED, build_pipeline, read_config
from adaptive_vq._console import Talk
from adaptive_vq._files import check_replaceable, file_path, refuse_existing
from adaptive_vq._streams import can_stream, map_parquet, parquet_pieces, parquet_rows
from adaptive_vq._tables_io import (
    STREAM,
    check_suffix,
    codes_frame,
    has_pyarrow,
    read_table,
    rows_frame,
    write_report,
    write_table,
)
from adaptive_vq._wording import counted
from adaptive_vq.streaming import drawn_rows

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Turn a numeric feature table into a few small integers per row.",
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print nothing but errors (and --json).")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists.")]
Model = Annotated[Path, typer.Argument(help="A file written by fit.", metavar="MODEL")]
TABLE = "CSV, TSV, Parquet, Feather, NPZ or NPY by its suffix; - is CSV on stdin or stdout."
Table = Annotated[str, typer.Argument(help=TABLE, metavar="TABLE")]
Out = Annotated[str, typer.Option("--output", "-o", help=TABLE)]
# By a parser, which sees a separator at the end; as Path it would be gone.
IN_ONE_FILE: dict[str, Any] = {"parser": file_path, "metavar": "<path>"}
Report = Annotated[
    Path | None, typer.Option("--output", "-o", help="Report: .html or .json.", **IN_ONE_FILE)
]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"adaptive-vq {adaptive_vq.__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def demo(
    rows: Annotated[int, typer.Option(min=50, help="Rows of the generated table.")] = 10_000,
    bits: Annotated[int, typer.Option(min=1, help="Budget in bits per row.")] = 64,
    strategy: Annotated[str, typer.Option(help="To compare with uniform.")] = "rate_distortion",
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of table, split and fits.")
    ] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for codes, picture and model; a new one."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Uniform against adaptive allocation on a generated table, at equal bits."""
    _require("matplotlib", "the picture of the demo")
    from adaptive_vq import _demo
    from adaptive_vq.strategies import check_strategy

    check_strategy(strategy, 3)  # before the fit that it is compared with
    talk = Talk(as_json, quiet)
    folder = _new_folder(output)
    _one_thread()
    with talk.warnings_as_remarks():
        found = _demo.run_demo(
            rows, bits, strategy, seed, callbacks=talk.callbacks, say=talk.remark
        )
        files = _write_demo(found, folder)
    figures = {**found.figures(), "files": {name: str(path) for name, path in files.items()}}
    talk.result(figures, lambda: _reports.show_demo(talk, found, files))


@app.command()
def fit(
    table: Table,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File for the model (.safetensors).", **IN_ONE_FILE),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file of settings.")] = None,
    bits: Annotated[int | None, typer.Option(min=1, help="Budget in bits per row.")] = None,
    strategy: Annotated[str | None, typer.Option(help="How the budget is divided.")] = None,
    levels: Annotated[int | None, typer.Option(min=1, help="Levels, coarse to fine.")] = None,
    categories: Annotated[
        str | None, typer.Option(help="auto, prefix, a number, or a JSON file.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=0, help="Most epochs of training.")] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=LARGEST_SEED, help="Seed of all random choices.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print categories, ratios, bits and sizes only.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a codec to a table. Options override the settings of --config."""
    if not dry_run:
        output = _required(output)
        _check_output(output, overwrite, table, config)
    options = {
        "ratios__bits": bits,
        "ratios__strategy": strategy,
        "ratios__n_levels": levels,
        "characterize__categories": _categories(categories),
        "vq__max_epochs": epochs,
        "seed__random_state": seed,
    }
    settings = read_config(config) if config is not None else {}
    settings |= {name: value for name, value in options.items() if value is not None}
    talk = Talk(as_json, quiet)
    pipeline = build_pipeline(settings)
    with talk.warnings_as_remarks():
        X = _rows_to_fit(pipeline, table, talk)
        if output is None or dry_run:
            plan = _reports.plan_figures(pipeline, X)
            talk.result(plan, lambda: _reports.show_plan(talk, plan))
            return
        talk.remark(f"Fitting on {counted(X.shape[0], 'row')} x {counted(X.shape[1], 'column')}")
        if callbacks := talk.callbacks():
            pipeline.set_callbacks(*callbacks)
        pipeline.fit(X)
        adaptive_vq.save(pipeline, output)
        figures = {"model": str(output), **_reports.fit_figures(pipeline, X)}
    talk.result(figures, lambda: _reports.show_fit(talk, figures))


@app.command()
def encode(
    model: Model,
    table: Table,
    output: Out,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn rows into codes, one column per category and level.

    From Parquet to Parquet the rows are read, encoded and written in pieces.
    """
    _check_table_output(output, overwrite, model, table)
    talk = Talk(as_json, quiet, output == STREAM)
    estimator = _loaded_codec(model, "encode")

    def codes_of(rows: Any) -> Any:
        return codes_frame(estimator, estimator.transform(rows))

    n_rows = _map_table(codes_of, table, output, talk, "Encoding")
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    columns = [str(name) for name in last.get_feature_names_out()]
    figures = {"codes": output, "rows": n_rows, "columns": columns}
    size = f"{counted(n_rows, 'row')} x {counted(len(columns), 'code')}"
    talk.result(figures, lambda: talk.line(f"{size} -> {output}"))


@app.command()
def decode(
    model: Model,
    codes: Annotated[str, typer.Argument(help=f"Codes. {TABLE}", metavar="CODES")],
    output: Out,
    levels: Annotated[int | None, typer.Option(min=1, help="Decode the first levels only.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn codes back into rows in the original units.

    From Parquet to Parquet the codes are read, decoded and written in pieces.
    """
    _check_table_output(output, overwrite, model, codes)
    talk = Talk(as_json, quiet, output == STREAM)
    estimator = _loaded_codec(model, "decode")

    n_columns = 0

    def rows_of(given: Any) -> Any:
        nonlocal n_columns
        rows = rows_frame(_reports.decoded(estimator, given, levels))
        n_columns = rows.shape[1]
        return rows

    n_rows = _map_table(rows_of, codes, output, talk, "Decoding")
    figures = {"table": output, "rows": n_rows, "columns": n_columns}
    size = f"{counted(n_rows, 'row')} x {counted(n_columns, 'column')}"
    talk.result(figures, lambda: talk.line(f"{size} -> {output}"))


@app.command()
def diagnose(
    model: Model,
    table: Table,
    output: Report = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge a model on a table: error per category and column, use of codebooks, advice."""
    _check_report(output, overwrite, model)
    talk = Talk(as_json, quiet)
    estimator, X = _loaded(model), read_table(table)
    with talk.warnings_as_remarks():
        found = adaptive_vq.diagnose(estimator, X)
        figures = json.loads(found.to_json())
        if output is not None:
            write_report(found, figures, output)
    talk.result(figures, lambda: _show_report(talk, found, output))


@app.command()
def compare(
    models: Annotated[list[Path], typer.Argument(help="Files written by fit.", metavar="MODEL...")],
    table: Table,
    output: Report = None,
    max_bits_difference: Annotated[
        float, typer.Option(min=0, help="Bits per row by which rates may differ.")
    ] = 1.0,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge models on the same rows, at equal bits per row."""
    _check_report(output, overwrite, *models)
    talk = Talk(as_json, quiet)
    if len(models) < 2:
        raise ValueError(
            f"compare takes two or more models, and after them the table; {models[0]} is taken for "
            f"the only model and {table} for the table."
        )
    if twice := [path for i, path in enumerate(models) if path in models[:i]]:
        raise ValueError(f"{twice[0]} is given twice; compare takes two or more different models.")
    names = [path.stem for path in models]
    if len(set(names)) < len(names):
        names = [str(path) for path in models]
    estimators = {name: _loaded(path) for name, path in zip(names, models, strict=True)}
    X = read_table(table)
    with talk.warnings_as_remarks():
        found = adaptive_vq.compare(estimators, X, max_bits_difference=max_bits_difference)
        figures = {"rows": found.n_rows, "units": found.units, "codecs": found.to_frame()}
        if output is not None:
            write_report(found, figures, output)
    talk.result(figures, lambda: _show_report(talk, found, output))


@app.command()
def inspect(model: Model, as_json: Json = False) -> None:
    """Print what a model file holds: versions, columns, categories, ratios, bits, codebooks."""
    talk = Talk(as_json)
    figures = _reports.file_figures(model, _loaded(model))
    talk.result(figures, lambda: _reports.show_file(talk, figures))


# ------------------------------------------------------------------------------ inside
def _show_report(talk: Talk, found: Any, output: Path | None) -> None:
    talk.line(found.to_text())
    if output is not None:
        talk.line(f"Report: {output}")


def _loaded(path: Path) -> Any:
    return adaptive_vq.load(path)


def _loaded_codec(path: Path, command: str) -> Any:
    """Load a codec that has something to write."""
    from adaptive_vq._diagnostic_tables import last_step, why_no_codebook

    estimator = _loaded(path)
    codec = last_step(estimator, command)
    if not codec.codebooks_:
        raise ValueError(
            f"{path} has no codebook ({why_no_codebook(codec)}): its codes would be a table "
            "without columns."
        )
    return estimator


def _map_table(
    function: Callable[[Any], Any], source: str, output: str, talk: Talk, doing: str
) -> int:
    """Write what a function makes of a table to another one; return the number of rows."""
    with talk.warnings_as_remarks():
        if can_stream(source, output):
            with talk.progress(doing) as progress:
                return map_parquet(function, source, output, progress)
        made = function(_without_index(read_table(source), talk))
        write_table(made, output)
        return len(made)


def _without_index(table: Any, talk: Talk) -> Any:
    """Say that an index, such as row ids in a Parquet file, is not written."""
    if isinstance(table, pd.DataFrame) and not table.index.identical(pd.RangeIndex(len(table))):
        name = "" if table.index.name is None else f" {table.index.name!r}"
        talk.remark(f"The index{name} of the rows is not written; from Parquet to Parquet it is.")
        return table.reset_index(drop=True)
    return table


def _rows_to_fit(pipeline: Any, table: str, talk: Talk) -> Any:
    """Read a table; of a large Parquet file only the rows that are drawn from it."""
    most = pipeline[-1].fit_rows
    if most is None or not (can_stream(table) and has_pyarrow()):
        return read_table(table)
    n_rows = parquet_rows(table)
    if n_rows <= most:
        return read_table(table)
    talk.remark(f"Drawing {most:,} of {n_rows:,} rows")
    return drawn_rows(pipeline, parquet_pieces(table))


def _categories(given: str | None) -> str | int | None:
    return int(given) if given is not None and given.isdecimal() else given


def _required(output: Path | None) -> Path:
    if output is None:
        raise ValueError("fit needs -o MODEL for the model, or --dry-run.")
    if str(output) == STREAM:
        raise ValueError("A model is no CSV, which - stands for: give -o the name of a file.")
    return output


def _require(library: str, what: str) -> None:
    if find_spec(library) is None:
        raise ImportError(f"{what} needs {library}: pip install 'adaptive-vq[cli,plot]'.")


def _check_output(path: Path, overwrite: bool, *inputs: str | Path | None) -> None:
    """Refuse before the work what could not be written after it, and to lose what is read."""
    for given in inputs:
        # --overwrite means an earlier result: nobody gets a table back from its codes.
        if given is not None and path.exists() and Path(given).exists() and path.samefile(given):
            raise ValueError(f"{path} is read here and can not be replaced: give another -o.")
    if not overwrite:
        try:
            refuse_existing(path)
        except FileExistsError as error:
            raise FileExistsError(f"{error} Give --overwrite or another -o.") from None
    check_replaceable(path)


def _check_table_output(output: str, overwrite: bool, *inputs: str | Path) -> None:
    path = file_path(output)
    check_suffix(output)
    if output != STREAM:
        _check_output(path, overwrite, *inputs)


def _check_report(output: Path | None, overwrite: bool, *inputs: Path) -> None:
    if output is None:
        return
    if output.suffix.lower() not in (".html", ".json"):
        raise ValueError(f"{output}: a report ends in .html or .json.")
    if output.suffix.lower() == ".html":
        _require("matplotlib", "an HTML report")
    _check_output(output, overwrite, *inputs)


def _new_folder(given: Path | None) -> Path:
    """Return a folder that was not there before, so that nothing is overwritten."""
    if str(given) == STREAM:
        raise ValueError("A folder is not written to stdout, which - stands for: give -o its name.")
    if given is not None:
        refuse_existing(given)
    names = ["adaptive-vq-demo", *(f"adaptive-vq-demo-{i}" for i in range(2, 1000))]
    folder = given or next(Path(name) for name in names if not Path(name).exists())
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    check_replaceable(above / folder.name)
    return folder


def _write_demo(found: Any, folder: Path) -> dict[str, Path]:
    from adaptive_vq import _demo

    folder.mkdir(parents=True)
    files = {"codes": _demo.write_codes(found, folder)}
    files["picture"] = folder / "demo.png"
    _demo.draw(found, files["picture"])
    files["model"] = folder / "model.safetensors"
    adaptive_vq.save(found.after.pipeline, files["model"])
    return files


def _one_thread() -> None:
    """Keep torch to one thread.

    Its operations are small here; where cores are shared, more threads wait for each other.
    """
    import torch

    torch.set_num_threads(1)
