"""Whether generated clips are copies of what the model was trained on."""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.distributed import gather_all_tensors

FRAMES, SIDE = 4, 16


class NearestTraining(Metric):
    """Distance of generated clips to the nearest training clip, against that of held-out ones.

    Clips are compared as four frames of 16x16 pixels; a distance is the root mean square over
    their values, in units of [0, 1]. First hand in the clips in question by `update_queries`, then
    all training clips, batch by batch, by `update`; only the smallest distances are kept. A model
    that copies has a ratio near 0, one that does not about 1. (A model that blurs, too, is nearer
    to everything than real clips are: below 1, look at the clips.)

    Over several ranks each hands in its own queries and its own share of the training clips; the
    first `update` on each gathers the queries, so every rank must come to it.
    """

    full_state_update = False
    nearest: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("nearest", torch.tensor(torch.inf), dist_reduce_fx="min")
        self._pending: dict[bool, list[Tensor]] = {True: [], False: []}
        self._queries: Tensor | None = None
        self._generated = 0

    @torch.no_grad()
    def update_queries(
        self, generated: Tensor | None = None, held_out: Tensor | None = None
    ) -> None:
        """Takes clips `(b, 3, t, h, w)` in [0, 1] whose neighbours are to be found.

        Raises:
            RuntimeError: training clips have been handed in already.
        """
        if self._queries is not None:
            raise RuntimeError("queries come before training clips; call reset to begin anew")
        for clips, is_generated in ((generated, True), (held_out, False)):
            if clips is not None and len(clips):
                self._pending[is_generated].append(thumbnails(clips))

    @torch.no_grad()
    def update(self, training: Tensor) -> None:
        """Takes training clips `(b, 3, t, h, w)` in [0, 1].

        Raises:
            RuntimeError: there is nothing to compare them with.
        """
        if self._queries is None:
            self._gather_queries()
        assert self._queries is not None
        # Not by a matrix product, whose rounding keeps a copy from being at distance 0.
        mode = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(self._queries, thumbnails(training), compute_mode=mode)
        self.nearest = torch.minimum(self.nearest, distances.amin(1))

    def _gather_queries(self) -> None:
        if not all(self._pending.values()):
            raise RuntimeError("nothing to compare with; call update_queries with both kinds first")
        generated, held_out = (torch.cat(self._pending[kind]) for kind in (True, False))
        if dist.is_initialized():
            generated = torch.cat(gather_all_tensors(generated))
            held_out = torch.cat(gather_all_tensors(held_out))
        self._generated = len(generated)
        self._queries = torch.cat((generated, held_out))

    def compute(self) -> dict[str, Tensor]:
        """Mean distances to the nearest training clip and their ratio.

        Returns:
            `memorisation_distance` of generated, `memorisation_distance_held_out` of held-out
            clips, and `memorisation_ratio`, the first by the second.
        """
        generated = self.nearest[: self._generated].mean()
        held_out = self.nearest[self._generated :].mean()
        return {
            "memorisation_distance": generated,
            "memorisation_distance_held_out": held_out,
            "memorisation_ratio": generated / held_out,
        }

    def reset(self) -> None:
        """Forgets all clips."""
        super().reset()
        self._pending = {True: [], False: []}
        self._queries = None


def thumbnails(video: Tensor) -> Tensor:
    """Clips `(b, 3, t, h, w)` -> `(b, d)`, whose distances are root mean squares of pixels."""
    t = video.shape[2]
    chosen = torch.linspace(0, t - 1, min(t, FRAMES), device=video.device).round().long()
    small = F.adaptive_avg_pool3d(video[:, :, chosen].float(), (len(chosen), SIDE, SIDE))
    flat = small.flatten(1)
    return flat / math.sqrt(flat.shape[1])
