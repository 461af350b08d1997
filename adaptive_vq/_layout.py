"""Shape of the network: what is not a weight, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from adaptive_vq._spread import spreads_of
from adaptive_vq.classical import CategoryCodec, Codec

__all__ = ["CategoryLayout", "Layout", "category_layout", "layout_of"]


@dataclass(frozen=True)
class CategoryLayout:
    """Shape of one category: its columns, latent width, and the level of each of its codebooks.

    `spread` says whether its codewords have spreads.
    """

    name: str
    columns: list[int]
    width: int
    levels: list[int]
    book_widths: list[int]
    spread: bool = False


@dataclass(frozen=True)
class Layout:
    """Everything about the network that is not a weight; JSON values only.

    `spread_levels` says up to which level spreads count in the decoders of the first 1, 2, ...
    levels; empty where they do in all of their levels.
    """

    n_features: int
    n_levels: int
    hidden: int
    embedding: int
    dropout: float
    categories: list[CategoryLayout] = field(default_factory=list)
    activation: str = "gelu"
    spread_levels: list[int] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the layout as JSON values."""
        values = asdict(self)
        for category in values["categories"]:
            if not category["spread"]:  # as in files of before there were any
                del category["spread"]
        if not self.spread_levels:
            del values["spread_levels"]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Layout:
        """Read what `to_json` gave."""
        categories = [CategoryLayout(**c) for c in values["categories"]]
        return cls(**{**values, "categories": categories})

    @property
    def book_levels(self) -> list[int]:
        """Level of every codebook in the order of the codes."""
        return [level for category in self.categories for level in category.levels]

    @property
    def has_spreads(self) -> bool:
        """Whether codewords of any category have spreads."""
        return any(category.spread for category in self.categories)

    @property
    def book_spreads(self) -> list[bool]:
        """Whether each codebook's codewords have spreads, in the order of the codes."""
        return [category.spread for category in self.categories for _ in category.levels]

    def books_of_prefix(self, n_levels: int) -> list[int]:
        """Positions of the codebooks of the first `n_levels` levels."""
        return [j for j, level in enumerate(self.book_levels) if level < n_levels]

    def spread_reach(self, n_levels: int) -> int:
        """Number of levels whose spreads count in the decoder of the first `n_levels` levels."""
        return self.spread_levels[n_levels - 1] if self.spread_levels else n_levels

    def owners(self) -> list[int]:
        """Category of every codebook in the order of the codes."""
        return [g for g, category in enumerate(self.categories) for _ in category.levels]

    def spans(self) -> list[tuple[int, int]]:
        """First and last-plus-one codebook of every category."""
        spans, start = [], 0
        for category in self.categories:
            spans.append((start, start + len(category.levels)))
            start += len(category.levels)
        return spans

    @property
    def latent_width(self) -> int:
        """Sum of the latent widths of all categories."""
        return sum(category.width for category in self.categories)


def category_layout(part: CategoryCodec) -> CategoryLayout:
    """Layout of a category of a classical codec."""
    return CategoryLayout(
        part.spec.name,
        part.spec.columns.tolist(),
        part.basis.shape[1],
        list(part.levels),
        [codebook.shape[1] for codebook in part.chain],
        spreads_of(part.chain) is not None,
    )


def layout_of(
    codec: Codec, hidden: int, embedding: int, dropout: float, activation: str = "gelu"
) -> Layout:
    """Layout of the network that starts as `codec`; categories without a codebook need no part."""
    categories = [category_layout(part) for part in codec.parts if part.chain]
    return Layout(
        codec.n_features, codec.n_levels, hidden, embedding, dropout, categories, activation
    )
