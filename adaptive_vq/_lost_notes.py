"""Notice that an earlier step of the pipeline wrote a note which did not arrive."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adaptive_vq.annotations import ROLES


def refuse_lost_note(context: Any, note: Mapping[str, Any] | None, owner: str) -> None:
    """Raise if a characterizer or selector ran earlier in this pipeline but its note got lost.

    A step in between that builds a new table (a scaler, an imputer) drops the note; without this
    error ``ratios__strategy`` would silently do nothing.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext
        Of the fit of the step that asks.
    note : dict or None
        What arrived.
    owner : str
        Class name of the step that asks, for the message.

    Raises
    ------
    ValueError
        Naming the step at which the note was lost.

    Notes
    -----
    A step that ``Pipeline(memory=...)`` takes from its cache does not run and cannot be seen here.
    """
    arrived = set() if note is None else set(note.get("by", []))
    steps = _steps_before(context)
    for place in reversed(range(len(steps))):
        writer = steps[place][0].estimator_name
        role = ROLES.get(writer)
        if role == "codec":
            return  # what was written before has been used
        if role is not None and writer not in arrived:
            culprit = steps[min(place + 1, len(steps) - 1)][1]
            raise ValueError(
                f"The note of {writer} was lost on the way to {owner}: {culprit} returns a table "
                f"without it, so what {writer} decided would be ignored. Move {culprit} in front "
                f"of {writer}, or leave scaling to {owner}(scaler=...)."
            )


def _steps_before(context: Any) -> list[tuple[Any, str]]:
    """Contexts and names of the steps that ran before this one, around it and inside them."""
    steps: list[tuple[Any, str]] = []
    while context.parent is not None and context.parent.estimator_name == "Pipeline":
        siblings = list(context.parent._children_map.values())
        before = siblings[: siblings.index(context)]
        steps = [leaf for step in before for leaf in _leaves(step, "the pipeline")] + steps
        context = context.parent
    return steps


def _leaves(step: Any, owner: str) -> list[tuple[Any, str]]:
    name = str(step.source_task_name or step.task_name)
    own = f"the last step of {owner}"
    if not name.endswith("final-estimator"):
        own = f"step {name.removeprefix('fit-transform-')!r}"
    inner = list(step._children_map.values()) if step.estimator_name == "Pipeline" else []
    return [leaf for child in inner for leaf in _leaves(child, own)] or [(step, own)]
