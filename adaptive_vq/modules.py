"""The network: category encoders, residual codebooks, joint decoder.

It starts as the classical codec.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adaptive_vq import _joint_tables, _lookup, quantize
from adaptive_vq._codebook import Codebook
from adaptive_vq._layout import CategoryLayout, Layout
from adaptive_vq._own_encoders import output_shape
from adaptive_vq._rows import holes_of
from adaptive_vq._spread import Chain, Spreading, spreads_of
from adaptive_vq.beam import ChainSearch, in_tiles, tile_of
from adaptive_vq.classical import Codec

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}
"""Nonlinearities of the learned parts by name."""

_JOINT_SWEEPS = 2
_ABSORB_RIDGE = 30.0
"""Rows of a later chunk that where a codeword stands counts for."""


class CategoryEncoder(nn.Module):
    """Principal axes plus a learned correction that starts at zero.

    The correction is a network of the category's own columns (or a module given by the user),
    scaled by a gate per latent that starts at zero: the encoder begins exactly as the classical one
    (Bachlechner et al., 2021, "ReZero"). What all rows have in common, and no codebook says, is
    `shift`.
    """

    columns: Tensor
    mean: Tensor
    basis: Tensor
    shift: Tensor

    def __init__(self, layout: CategoryLayout, network: Layout, custom: nn.Module | None) -> None:
        super().__init__()
        k = len(layout.columns)
        self.register_buffer("columns", torch.tensor(layout.columns, dtype=torch.long))
        self.register_buffer("mean", torch.zeros(k))
        self.register_buffer("basis", torch.zeros(k, layout.width))
        self.register_buffer("shift", torch.zeros(layout.width))
        if custom is None:
            activation = ACTIVATIONS[network.activation]()
            dropout = nn.Dropout(network.dropout)
            custom = nn.Sequential(nn.Linear(k, network.hidden), activation, dropout)
            width = network.hidden
        else:
            width = output_shape(custom, k)[-1]
        self.body = custom
        self.head = nn.Linear(width, layout.width)
        self.gate = nn.Parameter(torch.zeros(layout.width))

    def forward(self, table: Tensor, learned: bool = True) -> Tensor:
        """Latents (n, width) of rows of the whole table.

        Without `learned` the correction is left out, which is all the same where the gate is zero.
        """
        rows = table[:, self.columns] - self.mean
        latents = rows @ self.basis - self.shift
        if learned:
            body = self.body(rows).to(rows.dtype)  # a user's own may compute in another precision
            latents = latents + self.gate * self.head(body)
        return latents


def _zero_linear(n_in: int, n_out: int) -> nn.Linear:
    layer = nn.Linear(n_in, n_out)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


@dataclass
class Quantized:
    """Result of the residual levels on a batch, per category."""

    latents: list[Tensor]
    codes: Tensor
    values: list[Tensor]


class CodecModule(nn.Module):
    """Encoders, codebooks, joint tables of every prefix, and the learned correction of the whole.

    Parameters
    ----------
    layout : Layout
    sizes : list of int
        Codewords of every codebook.
    encoders : dict of str to torch.nn.Module, default=None
        Own encoder body per category.
    """

    encoders: Sequence[CategoryEncoder]
    codebooks: Sequence[Codebook]
    offsets: Tensor
    corrects: Tensor

    def __init__(
        self, layout: Layout, sizes: Sequence[int], encoders: Mapping[str, nn.Module] | None = None
    ) -> None:
        super().__init__()
        custom = encoders or {}
        self.layout = layout
        self.encoders = nn.ModuleList(  # type: ignore[assignment]
            CategoryEncoder(c, layout, custom.get(c.name)) for c in layout.categories
        )
        widths = [w for c in layout.categories for w in c.book_widths]
        self.codebooks = nn.ModuleList(  # type: ignore[assignment]
            Codebook(k, w, spread)
            for k, w, spread in zip(sizes, widths, layout.book_spreads, strict=True)
        )
        self.register_buffer("offsets", torch.zeros(layout.n_levels, layout.n_features))
        for prefix in range(1, layout.n_levels + 1):
            for j in layout.books_of_prefix(prefix):
                self.register_buffer(
                    f"delta_{prefix}_{j}", torch.zeros(sizes[j], layout.n_features)
                )
        self.correction = nn.Sequential(
            nn.Linear(max(layout.latent_width, 1), layout.embedding),
            ACTIVATIONS[layout.activation](),
            nn.Dropout(layout.dropout),
            _zero_linear(layout.embedding, layout.n_features),
        )
        self.register_buffer("corrects", torch.zeros((), dtype=torch.bool))

    @property
    def offset(self) -> Tensor:
        """What the full decode gives where no code says anything, shape (n_features,)."""
        return self.offsets[-1]

    @torch.no_grad()
    def start_from(self, codec: Codec, counts: Sequence[Tensor]) -> None:
        """Take over the classical start; `counts` are the codewords' rows per batch."""
        own = _joint_tables.own_tables(codec.parts, codec.n_features)
        position, at = 0, dict(enumerate(counts))
        coded = [part for part in codec.parts if part.chain]
        for encoder, part in zip(self.encoders, coded, strict=True):
            encoder.mean.copy_(part.mean)
            encoder.basis.copy_(part.basis)
            position = self.start_chain(position, part.chain, at)
        self.offsets.copy_(codec.offset.expand_as(self.offsets))
        for prefix, tables in enumerate(codec.tables, start=1):
            for j, table in zip(self.layout.books_of_prefix(prefix), tables, strict=True):
                self.delta(prefix, j).copy_(table - own[j])

    @torch.no_grad()
    def start_chain(self, position: int, chain: Chain, counts: Mapping[int, Tensor]) -> int:
        """Set the codebooks from a position on; `counts` by position.

        Returns the position after them.
        """
        spreads: Sequence[Tensor | None] = spreads_of(chain) or [None] * len(chain)
        for codewords, spread in zip(chain, spreads, strict=True):
            self.codebooks[position].start(codewords, counts[position])
            if spread is not None:
                self.codebooks[position].spread.copy_(spread)
            position += 1
        return position

    def chain(self, category: int) -> Chain:
        """Codewords of one category in coding order."""
        start, end = self.layout.spans()[category]
        return self.with_spreads(category, [self.codebooks[j].weight for j in range(start, end)])

    def with_spreads(self, category: int, words: Sequence[Tensor]) -> Chain:
        """Chain of the first codebooks of a category with other codewords."""
        if not self.layout.categories[category].spread:
            return list(words)
        start, _ = self.layout.spans()[category]
        return Spreading(words, [self.codebooks[start + j].spread for j in range(len(words))])

    def spread_books(self, n_levels: int, reach: int | None = None) -> list[int]:
        """Codebooks that are multiplied by what comes before them in the decoder of first levels.

        Those of the first `reach` levels; None: as far as spreads count in this decoder.
        """
        if not self.layout.has_spreads:
            return []
        spread = self.layout.book_spreads
        firsts = {start for start, _ in self.layout.spans()}
        reach = self.layout.spread_reach(n_levels) if reach is None else reach
        books = self.layout.books_of_prefix(reach)
        return [j for j in books if spread[j] and j not in firsts]

    def quantize(self, table: Tensor, beam: int, tile: int) -> Quantized:
        """Latents, codes and quantized latents of rows; the search itself has no gradient."""
        latents = [encoder(table) for encoder in self.encoders]
        codes, values = [], []
        for g, z in enumerate(latents):
            chain = self.chain(g)
            with torch.no_grad():
                found = quantize.codes_of(z, chain, beam, tile)
                values.append(quantize.decode(found, chain, z.shape[1]))
            codes.append(found)
        empty = table.new_zeros((len(table), 0), dtype=torch.long)
        return Quantized(latents, torch.cat([empty, *codes], 1), values)

    @torch.no_grad()
    def encode(self, table: Tensor, beam: int, *, joint: bool = False) -> Tensor:
        """Codes of a table, in tiles of fixed size: a row's codes never depend on its neighbors.

        With `joint` they are refined against the joint decoder's error in all columns.
        """
        if len(table) == 0 or len(self.codebooks) == 0:
            return table.new_zeros((len(table), len(self.codebooks)), dtype=torch.long)
        codes = self.search(table, beam, range(len(self.encoders)))
        if joint:
            if self.layout.has_spreads:  # which a codec fitted with it does without
                raise ValueError(
                    "context='joint' refines codes without spreads, and codewords of this codec "
                    "have some: fit it again with context='joint'."
                )
            tables = self.tables(self.layout.n_levels)[1]
            codes = quantize.refine(table - self.offset, codes, tables, _JOINT_SWEEPS)
        return codes

    @torch.no_grad()
    def search(self, table: Tensor, beam: int, categories: Sequence[int]) -> Tensor:
        """Codes of some categories side by side, as `encode` finds them before it refines any."""
        self.eval()
        encoders = [self.encoders[g] for g in categories]
        # Asked once: on an accelerator each question would wait for all that is under way.
        learned = torch.stack([(encoder.gate != 0).any() for encoder in encoders]).tolist()
        widths = [self.layout.categories[g].width for g in categories]
        pairs = zip(categories, widths, strict=True)
        searches = [ChainSearch(self.chain(g), width, beam) for g, width in pairs]

        def codes_of(rows: Tensor) -> Tensor:
            parts = zip(encoders, searches, learned, strict=True)
            return torch.cat([find.codes(encoder(rows, use)) for encoder, find, use in parts], 1)

        return in_tiles(codes_of, table, tile=tile_of(beam))

    def delta(self, prefix: int, j: int) -> Tensor:
        """What the decoder of a prefix adds to the own table of a codebook, as it is stored."""
        found: Tensor = getattr(self, f"delta_{prefix}_{j}")
        return found

    def tables(self, prefix: int) -> tuple[list[int], list[Tensor]]:
        """Codebooks of a prefix and what each of their codewords adds to every column.

        What spreads add to that depends on several codes: `excess`.
        """
        books, owners = self.layout.books_of_prefix(prefix), self.layout.owners()
        tables = []
        for j in books:
            columns, own = self._own(j, owners[j])
            table = self.delta(prefix, j).clone()
            table[:, columns] += own
            tables.append(table)
        return books, tables

    def shared_part(self, codes: Tensor) -> Tensor:
        """What the full linear decode adds to what the chains say of their own columns."""
        n_levels = self.layout.n_levels
        rows = self.offset.repeat(len(codes), 1)
        for j in range(codes.shape[1]):
            rows += self.delta(n_levels, j)[codes[:, j]]
        # Where the decoder does without spreads of late levels, so does what is decoded.
        heard = self.spread_books(n_levels)
        unheard = [j for j in self.spread_books(n_levels, reach=n_levels) if j not in heard]
        add = _lookup.excess(self, unheard, n_levels)
        return rows if add is None else rows - add(codes)

    def own_table(self, j: int) -> Tensor:
        """What the codewords of a codebook say of every column by themselves."""
        columns, own = self._own(j, self.layout.owners()[j])
        table = own.new_zeros(len(own), self.layout.n_features)
        table[:, columns] = own
        return table

    def _own(self, j: int, category: int) -> tuple[Tensor, Tensor]:
        """Columns that a codebook of a category codes, and its codewords in them."""
        encoder, weight = self.encoders[category], self.codebooks[j].weight
        return encoder.columns, weight @ encoder.basis[:, : weight.shape[1]].T

    def excess(self, codes: Tensor, n_levels: int) -> Tensor | None:
        """What spreads add to the tables of the first levels (n, n_features); None if nothing."""
        add = _lookup.excess(self, self.spread_books(n_levels), n_levels)
        return None if add is None else add(codes)

    def embed(self, codes: Tensor) -> Tensor:
        """Quantized latents of all categories side by side, shape (n, latent width)."""
        return _lookup.latents(self)(codes)

    @torch.no_grad()
    def decode(self, codes: Tensor, n_levels: int) -> Tensor:
        """Rows in codec units (n, n_features) from the codes of the first `n_levels` levels.

        `codes` has a column per codebook; columns of later levels are not read.
        """
        self.eval()
        if len(codes) == 0:
            return self.offsets.new_zeros(0, self.layout.n_features)
        linear = _lookup.decoder(self, n_levels)
        correct = _lookup.correction(self) if n_levels == self.layout.n_levels else None

        def rows_of(tile: Tensor) -> Tensor:
            rows = linear(tile)
            return rows if correct is None else rows.add_(correct(tile))

        return in_tiles(rows_of, codes)

    def _corrected(self, codes: Tensor) -> Tensor:
        """What the learned correction adds to the full decode, in tiles of fixed size."""
        correct = _lookup.correction(self)
        if correct is None or len(codes) == 0:
            return self.offsets.new_zeros(len(codes), self.layout.n_features)
        return in_tiles(correct, codes)

    @torch.no_grad()
    def absorb(self, table: Tensor, weight: Tensor, beam: int, *, joint: bool = False) -> Tensor:
        """Move codewords, then the tables of every prefix, towards new rows; sizes and units stay.

        Least squares with a ridge towards where they stand. Returns the codes of the rows (n, m),
        with `joint` those found before the tables moved.
        """
        self.eval()
        self._absorb_words(table, weight.amax(1), beam)
        codes = self.encode(table, beam, joint=joint)
        self._absorb_tables(table, weight, codes)
        return codes

    def _absorb_words(self, table: Tensor, row_weight: Tensor, beam: int) -> None:
        for g, (start, end) in enumerate(self.layout.spans()):
            if start == end:
                continue
            latents = self.encoders[g](table)
            codes = quantize.codes_of(latents, self.chain(g), beam)
            moved = quantize.refit(latents, codes, self.chain(g), _ABSORB_RIDGE, row_weight)
            for j, codebook in zip(range(start, end), moved, strict=True):
                self.codebooks[j].start(codebook, self.codebooks[j].count)

    def _absorb_tables(self, table: Tensor, weight: Tensor, codes: Tensor) -> None:
        row_weight, holes = weight.amax(1), holes_of(weight)
        for prefix in range(1, self.layout.n_levels + 1):
            books, tables = self.tables(prefix)
            if not books:
                continue
            # The tables are to fit what the learned correction leaves.
            decoded = table if holes is None else self.decode(codes, prefix)
            target = torch.where(weight > 0, table, decoded) - self.offsets[prefix - 1]
            excess = self.excess(codes, prefix)
            target = target if excess is None else target - excess
            if prefix == self.layout.n_levels:
                target = target - self._corrected(codes)
            chosen = codes[:, books]
            moved = quantize.refit(target, chosen, tables, _ABSORB_RIDGE, row_weight, holes)
            for j, old, new in zip(books, tables, moved, strict=True):
                self.delta(prefix, j).add_(new - old)
