"""Residual vector quantisation: each codebook says what those before it left over."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lit_modules.layers.noise import splitmix64

CHUNK = 2048  # vectors at a time: their scores of 512 codes stay in a core's cache
LLOYD = 10  # rounds of k-means at the start
DEAD, REVIVED = 0.03, 0.1  # shares of a codebook's mean use
REVIVE_EVERY = 10  # steps


class ResidualQuantizer(nn.Module):
    """Codebooks of which each quantises what the sum of those before it misses.

    Zeghidour et al. 2021, "SoundStream", section III-C; codebooks follow moving averages of the
    vectors that choose them (van den Oord et al. 2017, appendix A.1), begin as k-means, and a code
    that nobody chooses any more is put where there is a vector. All of it sums over ranks, so the
    codebooks are the same on each.

    Args:
        dim: values of a vector.
        codebooks: how many there are.
        size: codes of each.
        decay: of the moving averages, a step.
        seed: seed of the vectors that codes begin with.
    """

    codebooks: Tensor
    use: Tensor
    sums: Tensor
    left: Tensor
    begun: Tensor

    def __init__(
        self, dim: int, codebooks: int = 6, size: int = 512, decay: float = 0.99, seed: int = 0
    ) -> None:
        super().__init__()
        self.count, self.size, self.dim, self.decay, self.seed = codebooks, size, dim, decay, seed
        self.register_buffer("codebooks", torch.zeros(codebooks, size, dim))
        self.register_buffer("use", torch.ones(codebooks, size))  # moving average of choices
        self.register_buffer("sums", torch.zeros(codebooks, size, dim))  # and of what chose them
        # Mean squared error (summed over a vector) after 0, 1, ... codebooks.
        self.register_buffer("left", torch.zeros(codebooks + 1))
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def encode(self, vectors: Tensor, count: int | None = None) -> Tensor:
        """Codes of vectors, greedily.

        Args:
            vectors: float32 `(n, dim)`.
            count: codebooks to use; all if absent.

        Returns:
            int64 `(n, count)`.
        """
        count = self.count if count is None else count
        indices = torch.empty(len(vectors), count, dtype=torch.int64, device=vectors.device)
        # |x - c|² is least where x c - |c|² / 2 is greatest: one product a codebook.
        halves = self.codebooks.square().sum(-1) / 2
        for start in range(0, len(vectors), CHUNK):
            rest = vectors[start : start + CHUNK].clone()
            for stage, codes in enumerate(self.codebooks[:count]):
                chosen = torch.addmm(halves[stage], rest, codes.mT, beta=-1).argmax(1)
                indices[start : start + CHUNK, stage] = chosen
                rest -= codes[chosen]
        return indices

    def partial_sums(self, indices: Tensor) -> Tensor:
        """What the first 1, 2, ... codebooks say: `(..., count)` -> `(..., count, dim)`."""
        stages = torch.arange(indices.shape[-1], device=indices.device)
        return self.codebooks[stages, indices].cumsum(-2)

    def decode(self, indices: Tensor, depth: Tensor) -> Tensor:
        """Vectors of codes.

        Args:
            indices: int64 `(..., count)`.
            depth: how many of them count, int64 `(...)` in [0, count].

        Returns:
            float32 `(..., dim)`, zero where the depth is 0.
        """
        out = self.codebooks.new_zeros(*indices.shape[:-1], self.dim)
        for stage in range(indices.shape[-1]):
            said = self.codebooks[stage][indices[..., stage]]
            out = out + said * (depth > stage)[..., None]
        return out

    @torch.no_grad()
    def begin(self, vectors: Tensor) -> None:
        """Starts each codebook as the k-means of what the ones before it leave of `(n, dim)`."""
        rest = vectors.float().clone()
        for stage in range(self.count):
            self.left[stage] = rest.square().sum(1).mean()
            codes = self._k_means(rest, self._generator(-1 - stage))
            self.codebooks[stage] = codes
            chosen = torch.addmm(codes.square().sum(1) / 2, rest, codes.mT, beta=-1).argmax(1)
            rest -= codes[chosen]
        self.left[self.count] = rest.square().sum(1).mean()
        self.use.fill_(1.0)
        self.sums.copy_(self.codebooks)
        self.begun.fill_(True)
        self._agree()

    @torch.no_grad()
    def learn(self, vectors: Tensor, indices: Tensor, depth: Tensor, step: int) -> None:
        """Moves the codebooks towards the vectors of one step.

        Args:
            vectors: float32 `(n, dim)`.
            indices: their codes, `(n, count)`.
            depth: how many codebooks each uses, `(n,)`; the others learn nothing of it.
            step: number of the step, from which the choice of new places for dead codes follows.
        """
        rest = vectors.clone()
        seen = vectors.new_zeros(self.count, self.size, self.dim + 1)
        left = vectors.new_zeros(self.count + 1, 2)
        # What the codebooks leave over counts for all; it is what their worth is measured by.
        left[0] = torch.stack([rest.square().sum(), rest.new_tensor(float(len(rest)))])
        places: list[Tensor] = []
        for stage in range(self.count):
            chosen, used = indices[:, stage], (depth > stage).to(rest.dtype)[:, None]
            places.append(rest.clone())
            seen[stage].index_add_(0, chosen, torch.cat([rest * used, used], 1))
            rest -= self.codebooks[stage][chosen]
            left[stage + 1] = torch.stack([rest.square().sum(), rest.new_tensor(float(len(rest)))])
        places.append(rest)
        if dist.is_initialized():
            for part in (seen, left):
                dist.all_reduce(part)
        learning = 1 - self.decay
        self.sums.lerp_(seen[..., :-1], learning)
        self.use.lerp_(seen[..., -1], learning)
        self.left.lerp_(left[:, 0] / left[:, 1], learning)
        self.codebooks.copy_(self.sums / self.use.clamp_min(1e-6)[..., None])
        if step % REVIVE_EVERY == 0:
            self._revive(places, step)

    def _revive(self, places: list[Tensor], step: int) -> None:
        """Puts dead codes where this step had vectors, their averages with them."""
        generator = self._generator(step)
        for stage, (vectors, rest) in enumerate(pairwise(places)):
            # Where the error is: frequent vectors are well said already (Arthur and Vassilvitskii
            # 2007, "k-means++"), and two codes of one place would be a tie.
            wrong = rest.square().sum(1).cpu().double() + 1e-12
            drawn = torch.multinomial(wrong, self.size, replacement=True, generator=generator)
            mean = self.use[stage].mean()
            dead = self.use[stage] < DEAD * mean
            new = vectors[drawn.to(vectors.device)]
            self.codebooks[stage] = torch.where(dead[:, None], new, self.codebooks[stage])
            self.use[stage] = torch.where(dead, REVIVED * mean, self.use[stage])
            whole = self.codebooks[stage] * self.use[stage][:, None]
            self.sums[stage] = torch.where(dead[:, None], whole, self.sums[stage])
        self._agree()

    def _k_means(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        """Lloyd's algorithm from vectors drawn at random, `(size, dim)`; empty cells draw anew."""
        draw = self._draw(vectors, generator)
        codes = draw
        for _ in range(LLOYD):
            chosen = torch.addmm(codes.square().sum(1) / 2, vectors, codes.mT, beta=-1).argmax(1)
            sums = torch.zeros_like(codes).index_add_(0, chosen, vectors)
            counts = torch.bincount(chosen, minlength=self.size)[:, None]
            draw = self._draw(vectors, generator)
            codes = torch.where(counts > 0, sums / counts.clamp_min(1), draw)
        return codes

    def _draw(self, vectors: Tensor, generator: torch.Generator) -> Tensor:
        drawn = torch.randint(len(vectors), (self.size,), generator=generator)
        return vectors[drawn.to(vectors.device)]

    def _generator(self, step: int) -> torch.Generator:
        return torch.Generator().manual_seed(splitmix64(self.seed) ^ splitmix64(step))

    def _agree(self) -> None:
        """Takes what rank 0 has, where ranks drew from vectors of their own."""
        if dist.is_initialized():
            for part in (self.codebooks, self.use, self.sums, self.left):
                dist.broadcast(part, 0)
