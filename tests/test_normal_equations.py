"""Normal equations of chains of codebooks."""

import pytest
import torch

from adaptive_vq._normal_equations import BLOCK, factorize, gram, solved, sums_of_codewords
from adaptive_vq._parallel import one_thread_each


def drawn(n, sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    codes = [torch.randint(size, (n,), generator=generator) for size in sizes]
    weight = torch.rand(n, generator=generator)
    factor = 0.5 + torch.rand(n, len(sizes), generator=generator, dtype=torch.float64)
    return torch.stack(codes, 1), weight, factor


def design(codes, sizes, factor=None):
    parts = [torch.nn.functional.one_hot(codes[:, j], size) for j, size in enumerate(sizes)]
    parts = [part.double() for part in parts]
    if factor is not None:
        parts = [part * factor[:, j, None] for j, part in enumerate(parts)]
    return torch.cat(parts, 1)


@pytest.mark.parametrize("sizes", [[4], [3, 8, 2]])
@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("n", [50, 9_000])
def test_counts_and_sums_are_those_of_the_design_matrix(n, spread, sizes):
    codes, weight, factor = drawn(n, sizes)
    factor = factor if spread else None
    A, W = design(codes, sizes, factor), weight.double()[:, None]
    torch.testing.assert_close(gram(codes, sizes, weight, factor), A.T @ (W * A))
    rows = torch.randn(n, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(sums_of_codewords(codes, sizes, rows, factor), A.T @ rows)


@pytest.mark.parametrize("n", [1, 5, BLOCK, BLOCK + 1, 3 * BLOCK - 7])
def test_a_factor_solves_the_equations_with_the_same_bits_in_any_number_of_threads(n, threads):
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(n, n + 5, dtype=torch.float64, generator=generator)
    matrix = root @ root.T + torch.eye(n)
    right = torch.randn(n, 300, dtype=torch.float64, generator=generator)
    found = []
    for n_threads in (1, 2, 3):
        threads(n_threads)
        with one_thread_each():
            factor = factorize(matrix.clone())
            found.append((factor.tril(), solved(factor, right)))
    torch.testing.assert_close(found[0][0], torch.linalg.cholesky(matrix))
    torch.testing.assert_close(matrix @ found[0][1], right)
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))


def test_what_has_no_factor_is_refused():
    with pytest.raises(torch.linalg.LinAlgError):
        factorize(-torch.eye(2 * BLOCK))
