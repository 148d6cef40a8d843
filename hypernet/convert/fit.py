"""Least squares on contexts: the nearest affine map to a chain of nets, the nearest matrix of lower rank."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from hypernet.convert.affine import Affine
from hypernet.network import Net

_RIDGE = 1e-4
"""As a part of the contexts' mean square: keeps directions that no context has at zero."""


def change(links: Iterable[tuple[Net, float]], x: Tensor) -> Tensor:
    """What a chain of nets adds to contexts. x: (rows, width), float32."""
    y = x[None]
    for net, strength in links:
        y = net.to("cpu", torch.float32)(y, strength)
    return y[0] - x


def fit_affine(x: Tensor, added: Tensor, *, constant: bool = True) -> Affine:
    """The map `x + D x + c` with D x + c nearest to `added`. x, added: (rows, width); constant: False makes c 0.

    In float64, with a small ridge on D.
    """
    x, added = x.double(), added.double()
    middle, target = (x.mean(0), added.mean(0)) if constant else (torch.zeros_like(x[0]), torch.zeros_like(x[0]))
    x, added = x - middle, added - target
    gram = x.T @ x
    ridge = _RIDGE * gram.diagonal().mean().clamp_min(1e-12)
    gram.diagonal().add_(ridge)
    delta = torch.linalg.solve(gram, x.T @ added).T
    return Affine(delta.float(), (target - delta @ middle).float())


@dataclass(frozen=True, eq=False)
class Factors:
    """up @ down, a matrix of low rank. up: (out, rank); down: (rank, in)."""

    up: Tensor
    down: Tensor

    @property
    def rank(self) -> int:
        """The width between the two factors."""
        return len(self.down)

    @property
    def matrix(self) -> Tensor:
        """Their product: (out, in)."""
        return self.up @ self.down


def factorise(matrix: Tensor, *, rank: int | None, energy: float, x: Tensor | None = None) -> Factors:
    """The nearest matrix of this rank; without a rank, of the lowest one that keeps this part of the energy.

    matrix: (out, in), float32; energy: 0 to 1, the part of the sum of squares that is kept. With contexts x,
    (rows, in), distance and energy are measured on the matrix's results for them, otherwise on the matrix itself.
    """
    metric = None if x is None else _root(x)
    seen = matrix if metric is None else matrix @ metric
    u, s, v = torch.linalg.svd(seen.double(), full_matrices=False)
    kept = min(rank, len(s)) if rank is not None else _enough(s, energy)
    root = s[:kept].sqrt()
    down = root[:, None] * v[:kept]
    if metric is not None:
        down = torch.linalg.solve_triangular(metric.double(), down, upper=False, left=False)
    return Factors((u[:, :kept] * root).float(), down.float())


def _enough(values: Tensor, energy: float) -> int:
    """How many of the singular values, the largest first, hold this part of the sum of squares; at least one."""
    squares = values.square().cumsum(0)
    return 1 + int((squares < energy * squares[-1]).sum()) if float(squares[-1]) else 1


def _root(x: Tensor) -> Tensor:
    """L, (in, in), such that L L^T is the contexts' mean square."""
    gram = x.double().T @ x.double() / len(x)
    gram.diagonal().add_(_RIDGE * gram.diagonal().mean().clamp_min(1e-12))
    root: Tensor = torch.linalg.cholesky(gram)
    return root.float()
