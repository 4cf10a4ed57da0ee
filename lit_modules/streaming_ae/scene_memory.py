"""Memory of scenes, so that a stream which comes back to an old one finds what it knew of it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GRID = 28  # side of the thumbnail by which scenes are compared
PRIOR = 10  # frames that a new scene's inherited noise level counts for
RECALL_LIMIT = 2.0  # recalling a scene asks for a frame so much nearer than staying in it
RECALL_MARGIN = 4.0  # how much nearer another scene must be to leave one that still fits
STATE = ("means", "thumbnails", "counts", "noise", "seen", "scene", "left", "source", "clock")


class SceneMemory:
    """Running means of several scenes for each of b parallel streams, told apart by their looks.

    A learner that codes the difference from one running mean, with one set of weights, forgets: a
    stream that goes back from a second game to a first meets a mean and weights of the second. Here
    a frame goes to the scene whose mean it resembles, by the squared distance between thumbnails,
    and a frame that resembles none opens a scene of its own. This is online clustering with a few
    slots: no labels, no stored frames, nobody says where a scene ends, and one frame is enough.

    What "resembles" means follows the stream: a scene accepts frames up to `tolerance` times its
    usual distance. That is a running mean of clipped distances, so one outlier hardly widens it; a
    scene that opens starts wider than the one before, so a stream that never rests soon fits in
    one. A flash or a death screen becomes a short-lived scene of its own and leaves the means of
    the others alone. Scenes of fewer than `settle` frames in all are replaced first, and of settled
    ones the least recently seen gives way when no slot is left for newcomers: a flash costs a game
    its slot only after it has come back often enough to settle.

    `swap_weights` recalls weights and optimizer state together with the mean, like a mixture of
    experts routed by the picture; a new scene starts from the weights of the one before.

    A decoder needs the index of the scene beside the code: log2(slots) bits a frame. While a stream
    stays in one scene, all figures are those of the plain running mean, bit for bit. Nothing here
    is a parameter or a buffer: each rank sees its own streams.

    Args:
        slots: scenes that fit in, at least 2; at most `slots - 1` of them settled.
        horizon: frames a running mean looks back; the plain mean before so many were seen.
        tolerance: largest squared distance of a scene's own frames, in multiples of its mean one.
        least_distance: root mean square difference of thumbnails (pixels in [0, 1]) below which
            frames always count as one scene.
        settle: frames, over all its visits, after which a scene counts as settled.

    Raises:
        ValueError: there are fewer than two slots.
    """

    means: Tensor  # (b, slots, 3, h, w)
    thumbnails: Tensor  # (b, slots, 3 * 28 * 28), the same means, small
    counts: Tensor  # (b, slots) int64, frames taken in; 0: an empty slot
    noise: Tensor  # (b, slots), mean squared distance of a scene's frames from its mean
    seen: Tensor  # (b, slots) int64, clock at the last frame
    scene: Tensor  # (b,) int64, slot of the newest frame
    left: Tensor  # (b,) int64, slot of the frame before
    source: Tensor  # (b,) int64, slot to learn on from: `left` where `scene` is a new one
    clock: Tensor  # () int64, frames observed

    def __init__(
        self,
        slots: int = 8,
        horizon: int = 200,
        tolerance: float = 10.0,
        least_distance: float = 0.05,
        settle: int = 32,
    ) -> None:
        if slots < 2:
            raise ValueError(f"scene memory of {slots} slots holds no second scene; set at least 2")
        self.slots = slots
        self.horizon = horizon
        self.tolerance = tolerance
        self.least_distance = least_distance
        self.settle = settle
        self.weights: dict[str, Tensor] = {}  # (slots, ...) each: what `swap_weights` put away

    def fits(self, frame: Tensor) -> bool:
        """Whether `frame` holds as many streams of the same size on the same device as before."""
        if not hasattr(self, "means"):
            return False
        return self.means[:, 0].shape == frame.shape and self.means.device == frame.device

    @torch.no_grad()
    def observe(self, frame: Tensor) -> Tensor:
        """Take in a frame; call once a frame, before coding it. Nothing is read back to the host.

        Args:
            frame: `(b, 3, h, w)` in [0, 1].

        Returns:
            `(b, 3, h, w)`, the mean to code it against: that of all earlier frames of its scene, or
            of the scene before it where the frame opens a new one; black before the first frame.
        """
        if not self.fits(frame):
            self._start(frame)
        thumbnail = F.adaptive_avg_pool2d(frame, GRID).flatten(1)  # (b, 3, h, w) -> (b, 3*28*28)
        distance = (self.thumbnails - thumbnail[:, None]).square().mean(-1)  # (b, slots)
        limit = (self.tolerance * self.noise).clamp(min=self.least_distance**2)
        scene, new = self._route(distance.masked_fill(self.counts == 0, torch.inf), limit)

        before = self.scene.clone()
        source = torch.where(new, before, scene)
        mean = _at(self.means, source)  # a copy: what follows writes into the memory
        noise = _at(self.noise, source)
        surprise = torch.minimum(_at(distance, source), _at(limit, source))
        count = torch.where(new, 0, _at(self.counts, scene)) + 1
        self.clock += 1
        rate = 1 / count.clamp(max=self.horizon)
        noise_rate = 1 / (count + PRIOR).clamp(max=self.horizon)
        _put(self.means, scene, torch.lerp(mean, frame, rate[:, None, None, None]))
        small = torch.lerp(_at(self.thumbnails, source), thumbnail, rate[:, None])
        _put(self.thumbnails, scene, small)
        _put(self.noise, scene, torch.lerp(noise, surprise, noise_rate))
        _put(self.counts, scene, count)
        _put(self.seen, scene, self.clock.expand_as(scene))
        self._make_room()
        # In place, like all of the above: a CUDA graph replays writes, not new names.
        self.scene.copy_(scene)
        self.left.copy_(before)
        self.source.copy_(source)
        return mean

    def _route(self, distance: Tensor, limit: Tensor) -> tuple[Tensor, Tensor]:
        """The slot `(b,)` of each stream's frame, and where `(b,)` that opens a new scene."""
        near = distance.masked_fill(distance > limit / RECALL_LIMIT, torch.inf)
        best, nearest = near.min(1)
        current = _at(distance, self.scene)
        stay = (current <= _at(limit, self.scene)) & (current <= RECALL_MARGIN * best)
        new = ~stay & best.isinf()
        # Empty slots go first (never seen), then scenes that did not last, then the longest unseen.
        rank = torch.where(self.counts < self.settle, self.seen - 2**40, self.seen)
        rank = torch.where(self.counts == 0, -(2**41), rank)
        slot = torch.where(new, rank.argmin(1), nearest)
        return torch.where(stay, self.scene, slot), new

    def _make_room(self) -> None:
        """Empties the slot that went unseen longest in streams whose scenes are all settled."""
        full = (self.counts >= self.settle).all(1)
        oldest = self.seen.argmin(1)
        _put(self.counts, oldest, torch.where(full, 0, _at(self.counts, oldest)))

    @torch.no_grad()
    def swap_weights(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put the weights of the scene that was left away and fetch those of the one entered.

        Call after `observe` and before the forward pass. Covers parameters and the optimizer's
        state (momentum of another scene would push the weights back). On a CPU this returns at once
        unless the scene changed; elsewhere asking would stall the device, so both copies run for
        each frame. The streams of a batch share their weights, and so do ranks: this is for one
        stream on one rank.

        Args:
            net: the network that learns.
            optimizer: its optimizer, which keeps its state in `optimizer.state`.

        Raises:
            ValueError: the memory holds several streams.
        """
        if len(self.scene) != 1:
            raise ValueError(
                f"weights cannot follow the scenes of {len(self.scene)} streams; set data.streams 1"
            )
        if self.scene.device.type == "cpu" and torch.equal(self.scene, self.left):
            return
        for name, tensor in _learned(net, optimizer):
            if tensor.device != self.scene.device:  # Adam's step count may stay on the host
                continue
            if name not in self.weights:
                self.weights[name] = tensor.expand(self.slots, *tensor.shape).clone()
            bank = self.weights[name]
            bank.index_copy_(0, self.left, tensor[None])
            tensor.copy_(bank.index_select(0, self.source)[0])

    def state_dict(self) -> dict[str, Tensor]:
        """All that a resumed run needs, as tensors; empty before the first frame."""
        if not hasattr(self, "means"):
            return {}
        state = {name: getattr(self, name).clone() for name in STATE}
        return state | {f"weights.{name}": bank.clone() for name, bank in self.weights.items()}

    def load_state_dict(self, state: dict[str, Tensor], device: torch.device | str = "cpu") -> None:
        """Takes up, on `device`, what `state_dict` saved."""
        state = {name: value.to(device, copy=True) for name, value in state.items()}
        if state and state["counts"].shape[1] != self.slots:
            raise ValueError(
                f"saved scene memory has {state['counts'].shape[1]} slots, not {self.slots}; "
                "set as many as it was saved with"
            )
        for name in STATE:
            if name in state:
                setattr(self, name, state.pop(name))
        self.weights = {name.removeprefix("weights."): bank for name, bank in state.items()}

    def _start(self, frame: Tensor) -> None:
        streams, slots = len(frame), self.slots
        self.means = frame.new_zeros(streams, slots, *frame.shape[1:])
        self.thumbnails = frame.new_zeros(streams, slots, frame.shape[1] * GRID * GRID)
        self.noise = frame.new_zeros(streams, slots)
        self.counts = torch.zeros(streams, slots, dtype=torch.int64, device=frame.device)
        self.seen = torch.zeros_like(self.counts)
        self.scene = torch.zeros_like(self.counts[:, 0])
        self.left, self.source = self.scene.clone(), self.scene.clone()
        self.clock = torch.zeros_like(self.scene[0])
        self.weights = {}


def _at(bank: Tensor, slot: Tensor) -> Tensor:
    """One slot of each stream: `(b, slots, ...)` and `(b,)` -> a copy `(b, ...)`."""
    return bank[torch.arange(len(slot), device=slot.device), slot]


def _put(bank: Tensor, slot: Tensor, value: Tensor) -> None:
    bank[torch.arange(len(slot), device=slot.device), slot] = value


def _learned(net: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Parameters and optimizer state under names that a resumed run gives them again."""
    for name, parameter in net.named_parameters():
        yield name, parameter
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                yield f"{name}:{key}", value
