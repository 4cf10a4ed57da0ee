import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from lit_modules.layers.muon import Muon
from lit_modules.streaming_ae.pixel_shuffle import PixelShuffleAutoencoder
from lit_modules.streaming_ae.scene_memory import SceneMemory

SIZE = 32


def _scene(seed: int, frames: int, jitter: float = 0.02, streams: int = 1) -> list[Tensor]:
    """Frames of one still picture under a little noise; another seed is another picture."""
    generator = torch.Generator().manual_seed(seed)
    picture = torch.rand(1, 3, SIZE, SIZE, generator=generator)
    noise = torch.randn(frames, streams, 3, SIZE, SIZE, generator=generator)
    return list((picture + jitter * noise).clamp(0, 1))


def _observe(memory: SceneMemory, frames: list[Tensor]) -> list[int]:
    scenes = []
    for frame in frames:
        memory.observe(frame)
        scenes.append(int(memory.scene))
    return scenes


def test_one_scene_has_the_plain_running_mean_bit_for_bit():
    memory, mean = SceneMemory(horizon=10), torch.zeros(1, 3, SIZE, SIZE)
    for count, frame in enumerate(_scene(0, 30), start=1):
        assert torch.equal(memory.observe(frame), mean)
        mean = mean.lerp(frame, torch.tensor(1 / min(count, 10)))


def test_returning_stream_finds_the_mean_it_left_at_the_first_frame():
    memory, frames = SceneMemory(), _scene(0, 21)
    home = _observe(memory, frames[:20])
    expected = torch.stack(frames[:20]).mean(0)
    away = _observe(memory, _scene(1, 50))
    assert set(home) == {home[0]}
    assert set(away) == {away[0]} != set(home)
    torch.testing.assert_close(memory.observe(frames[20]), expected)
    assert int(memory.scene) == home[0]


def test_mean_holds_nothing_of_the_frame_it_codes():
    for change in (0.01, 1.0):  # within the scene, and the first frame of a new one
        memory, (*past, frame) = SceneMemory(), _scene(0, 11)
        _observe(memory, past)
        other = copy.deepcopy(memory)
        mean = memory.observe(frame)
        assert torch.equal(mean, other.observe((frame + change) % 1))


def test_first_frame_of_a_new_scene_is_coded_against_the_scene_before():
    memory, frames = SceneMemory(), _scene(0, 10)
    _observe(memory, frames)
    first, second = _scene(1, 2)
    torch.testing.assert_close(memory.observe(first), torch.stack(frames).mean(0))
    assert torch.equal(memory.observe(second), first)


def test_flashes_neither_touch_a_scene_nor_push_out_settled_ones():
    memory = SceneMemory(slots=3, settle=8)
    home, away = _scene(0, 40), _scene(1, 40)
    away_slot = _observe(memory, away)[-1]
    slot = _observe(memory, home[:20])[-1]
    before = memory.means[0, slot].clone()
    for colour in (0.0, 1.0, 0.3, 0.7, 0.15):  # more colours than slots, two frames each
        _observe(memory, [torch.full_like(home[0], colour)] * 2)
    assert torch.equal(memory.means[0, slot], before)
    assert set(_observe(memory, home[20:])) == {slot}
    assert set(_observe(memory, away[:5])) == {away_slot}


def test_longest_unseen_scene_gives_way():
    memory = SceneMemory(slots=3, settle=8)  # two settled scenes and a free slot
    for seed in (0, 1, 2):
        _observe(memory, _scene(seed, 20))
    slots = [_observe(memory, _scene(seed, 1))[0] for seed in (2, 1)]
    assert [int(memory.counts[0, slot]) for slot in slots] == [21, 21]
    _observe(memory, _scene(0, 1))
    assert int(memory.counts[0, memory.scene]) == 1


def test_stream_that_never_rests_soon_fits_in_one_scene():
    """What counts as far follows the stream: else each of these frames would open a scene."""
    frames = torch.rand(120, 1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    scenes = _observe(SceneMemory(), list(frames))
    assert len(set(scenes[20:])) == 1


def test_streams_do_not_meet():
    first, second = [*_scene(0, 10), *_scene(1, 10)], [*_scene(2, 5), *_scene(3, 15)]
    both = SceneMemory()
    apart = SceneMemory(), SceneMemory()
    for frame, other in zip(first, second, strict=True):
        means = both.observe(torch.cat([frame, other]))
        expected = [memory.observe(x) for memory, x in zip(apart, (frame, other), strict=True)]
        torch.testing.assert_close(means, torch.cat(expected), rtol=0, atol=1e-6)
        assert both.scene.tolist() == [int(memory.scene) for memory in apart]


def _learner(seed: int = 0) -> tuple[PixelShuffleAutoencoder, Muon, SceneMemory]:
    torch.manual_seed(seed)
    net = PixelShuffleAutoencoder((SIZE, SIZE), latent_channels=2, width=16)
    return net, Muon(net.parameters()), SceneMemory()


def _learn(net: nn.Module, optimizer: Muon, memory: SceneMemory, frames: list[Tensor]):
    errors = []
    for frame in frames:
        mean = memory.observe(frame)
        memory.swap_weights(net, optimizer)
        loss = mse_loss(mean + net(frame - mean)[0], frame)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    return errors


def _snapshot(net: nn.Module, optimizer: Muon) -> list[Tensor]:
    state = optimizer.state_dict()["state"]
    tensors = [*net.parameters(), *(v for entry in state.values() for v in entry.values())]
    return [tensor.detach().clone() for tensor in tensors]


def test_weights_and_momentum_return_with_their_scene():
    net, optimizer, memory = _learner()
    _learn(net, optimizer, memory, _scene(0, 12))
    left = _snapshot(net, optimizer)
    _learn(net, optimizer, memory, _scene(1, 12))
    assert any(not torch.equal(a, b) for a, b in zip(left, _snapshot(net, optimizer), strict=True))
    memory.observe(_scene(0, 1)[0])
    memory.swap_weights(net, optimizer)
    for kept, found in zip(left, _snapshot(net, optimizer), strict=True):
        assert torch.equal(kept, found)


def test_new_scene_learns_on_from_the_weights_before():
    net, optimizer, memory = _learner()
    _learn(net, optimizer, memory, _scene(0, 5))
    before = _snapshot(net, optimizer)
    memory.observe(_scene(1, 1)[0])
    memory.swap_weights(net, optimizer)
    for a, b in zip(before, _snapshot(net, optimizer), strict=True):
        assert torch.equal(a, b)


def test_swapping_copies_every_frame_gives_what_copying_on_change_gives(monkeypatch):
    """Where a host read would stall the device both copies run each frame: same result."""
    frames = [*_scene(0, 8), *_scene(1, 8), *_scene(0, 4)]
    lazy, eager = _learner(), _learner()
    _learn(*lazy, frames)
    monkeypatch.setattr(torch, "equal", lambda a, b: False)
    _learn(*eager, frames)
    monkeypatch.undo()
    for a, b in zip(_snapshot(*lazy[:2]), _snapshot(*eager[:2]), strict=True):
        assert torch.equal(a, b)


def test_nothing_is_read_back_to_the_host():
    """Tensors on the meta device have shapes and no values: a value read raises."""
    net, _, memory = _learner()
    net = net.to("meta")
    optimizer = torch.optim.SGD(net.parameters())
    frame = torch.empty(1, 3, SIZE, SIZE, device="meta")
    for _ in range(2):
        assert memory.observe(frame).device.type == "meta"
        memory.swap_weights(net, optimizer)
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(memory.scene == memory.left)


def test_returning_stream_learns_on_as_if_it_had_never_left():
    home, away = _scene(0, 30), _scene(1, 20)
    whole = _learn(*_learner(), home)
    interrupted = _learn(*_learner(), [*home[:20], *away, *home[20:]])
    assert interrupted[:20] + interrupted[40:] == whole


@pytest.mark.parametrize("weights", [False, True])
def test_resumed_memory_goes_on_bit_for_bit(weights):
    first = [*_scene(0, 10), *_scene(1, 10)]
    second = [*_scene(1, 5), *_scene(0, 5), *_scene(2, 5), *_scene(1, 5)]
    net, optimizer, memory = _learner()
    _learn(net, optimizer, memory, first) if weights else _observe(memory, first)

    state = copy.deepcopy((net.state_dict(), optimizer.state_dict(), memory.state_dict()))
    resumed_net, resumed_optimizer, resumed = _learner(seed=1)
    resumed_net.load_state_dict(state[0])
    resumed_optimizer.load_state_dict(state[1])
    resumed.load_state_dict(state[2])
    if weights:
        assert _learn(net, optimizer, memory, second) == _learn(
            resumed_net, resumed_optimizer, resumed, second
        )
    else:
        assert _observe(memory, second) == _observe(resumed, second)
    expected, found = memory.state_dict(), resumed.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_saved_state_is_not_written_by_later_frames(tmp_path):
    memory = SceneMemory()
    _observe(memory, _scene(0, 3))
    state = memory.state_dict()
    torch.save(state, tmp_path / "memory.pt")
    _observe(memory, _scene(1, 3))
    loaded = torch.load(tmp_path / "memory.pt", weights_only=True)
    assert all(torch.equal(state[name], loaded[name]) for name in loaded)


def test_memory_starts_anew_for_frames_of_another_size():
    memory = SceneMemory()
    _observe(memory, _scene(0, 3))
    frame = torch.rand(2, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    assert not memory.fits(frame)
    assert torch.equal(memory.observe(frame), torch.zeros_like(frame))
    assert memory.fits(frame)


def test_what_cannot_work_is_refused():
    with pytest.raises(ValueError, match="1 slots"):
        SceneMemory(slots=1)
    net, optimizer, memory = _learner()
    memory.observe(torch.rand(2, 3, SIZE, SIZE))
    with pytest.raises(ValueError, match="of 2 streams"):
        memory.swap_weights(net, optimizer)
    with pytest.raises(ValueError, match="8 slots, not 4"):
        SceneMemory(slots=4).load_state_dict(memory.state_dict())
