"""Picture and table of the modules of adaptive_vq, from the imports that stand in their source.

``python docs/draw_modules.py`` writes ``docs/generated/modules.svg`` and ``modules.inc``. Modules
with a leading underscore count as parts of the modules that use them: an arrow through them is an
arrow of the module that imports them.
"""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "adaptive_vq"
SKIPPED = {"__init__", "__main__"}
_MOST_IN_LINE = 8


def imports_of(path: Path, known: set[str]) -> set[str]:
    """Modules of the package that a file imports when it is loaded or when it is called."""
    found: set[str] = set()
    for node in _runtime_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        if node.module == "adaptive_vq":
            found |= {alias.name for alias in node.names} & known
        elif node.module.startswith("adaptive_vq."):
            found |= {node.module.split(".")[1]} & known
    return found - {path.stem}


def _runtime_nodes(tree: ast.AST):
    """Walk a tree, but not into what only type checkers read."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _runtime_nodes(node)


def arrows() -> dict[str, set[str]]:
    """Public module to the public modules it uses, directly or through private ones."""
    paths = {path.stem: path for path in sorted(PACKAGE.glob("*.py")) if path.stem not in SKIPPED}
    direct = {name: imports_of(path, set(paths)) for name, path in paths.items()}

    def public(name: str, seen: frozenset[str]) -> set[str]:
        used: set[str] = set()
        for other in direct[name] - seen:
            used |= public(other, seen | {other}) if other.startswith("_") else {other}
        return used

    return {
        name: public(name, frozenset({name})) - {name} for name in paths if not name.startswith("_")
    }


def layers(uses: dict[str, set[str]]) -> dict[str, int]:
    """Length of the longest path of arrows below each module; a circle counts once."""
    depth: dict[str, int] = {}

    def of(name: str, above: frozenset[str]) -> int:
        if name not in depth:
            below = [of(other, above | {name}) for other in uses[name] - above]
            depth[name] = 1 + max(below, default=-1)
        return depth[name]

    for name in sorted(uses):
        of(name, frozenset({name}))
    return depth


def places(uses: dict[str, set[str]], depth: dict[str, int]) -> dict[str, tuple[float, float]]:
    """One row per layer (two where it is long); modules stand near what they use."""
    at: dict[str, tuple[float, float]] = {}
    for level in range(max(depth.values()) + 1):
        row = sorted(name for name in uses if depth[name] == level)
        wish = {
            name: sum(at[o][0] for o in uses[name] if o in at) / max(len(uses[name] & set(at)), 1)
            for name in row
        }
        row.sort(key=lambda name: (wish[name], name))
        crowded = len(row) > _MOST_IN_LINE
        for i, name in enumerate(row):
            at[name] = ((i + 0.5) / len(row), level + (0.3 if crowded and i % 2 else 0.0))
    return at


def without_shortcuts(uses: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out an arrow where a longer way leads to the same module: the picture stays legible."""

    def below(name: str, seen: set[str]) -> set[str]:
        for other in uses[name] - seen:
            seen.add(other)
            below(other, seen)
        return seen

    return {
        name: {o for o in used if not any(o in below(p, set()) for p in used - {o})}
        for name, used in uses.items()
    }


def draw(uses: dict[str, set[str]], path: Path) -> None:
    """Write the picture."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    at = places(uses, layers(uses))
    figure = Figure(figsize=(12, 9), layout="constrained")
    FigureCanvasSVG(figure)
    ax = figure.subplots()
    ax.set_axis_off()
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.5, max(y for _, y in at.values()) + 0.5))
    arrow = {"arrowstyle": "-|>", "color": "#9aa7b8", "lw": 0.8, "shrinkA": 11, "shrinkB": 11}
    for name, used in without_shortcuts(uses).items():
        for other in sorted(used):
            ax.annotate("", xy=at[other], xytext=at[name], arrowprops=arrow)
    box = {"boxstyle": "round,pad=0.35", "fc": "#eef3fa", "ec": "#3b6ea5", "lw": 0.8}
    for name, (x, y) in at.items():
        ax.text(x, y, name, ha="center", va="center", fontsize=9, bbox=box, color="#12263f")
    figure.savefig(path, metadata={"Date": None})


def table(uses: dict[str, set[str]]) -> str:
    """Return a list table: module, first line of its docstring, what it uses."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 15 50 35", ""]
    depth = layers(uses)
    lines += ["   * - module", "     - what it does", "     - uses"]
    for name in sorted(uses, key=lambda name: (depth[name], name)):
        tree = ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
        first = (ast.get_docstring(tree) or "").split("\n\n")[0].replace("\n", " ")
        lines += [
            f"   * - ``{name}``",
            f"     - {first}",
            f"     - {', '.join(sorted(uses[name]))}",
        ]
    return "\n".join(lines) + "\n"


def main(folder: Path) -> None:
    """Write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    uses = arrows()
    draw(uses, folder / "modules.svg")
    (folder / "modules.inc").write_text(table(uses), encoding="utf-8")


if __name__ == "__main__":
    main(Path(__file__).resolve().parent / "generated")
