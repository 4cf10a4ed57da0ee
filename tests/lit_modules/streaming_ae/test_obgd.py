"""ObGD against trajectories of its reference, against a loop over parameters, and under upsets."""

import copy
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.obgd import LoopAdaptiveObGD, LoopObGD
from lit_modules.streaming_ae.obgd import AdaptiveObGD, ObGD

GOLDEN = Path(__file__).parents[2] / "golden"
both = pytest.mark.parametrize("optimizer_class", [ObGD, AdaptiveObGD])


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.Tanh(), nn.ConvTranspose2d(5, 2, 3), nn.Flatten(), nn.Linear(72, 4)
    )
    return layers.double()


def set_gradients(net: nn.Module, seed: int, scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in net.parameters():
        p.grad = scale * torch.randn(p.shape, generator=generator, dtype=torch.float64)


def assert_same(net: nn.Module, other: nn.Module, **tolerance: float) -> None:
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, **(tolerance or {"rtol": 0, "atol": 0}))


@pytest.mark.parametrize(
    ("name", "optimizer_class"), [("obgd", ObGD), ("adaptive_obgd", AdaptiveObGD)]
)
@pytest.mark.parametrize("as_tensors", [False, True])
def test_trajectory_equals_that_of_reference(
    name: str, optimizer_class: type[ObGD], as_tensors: bool
) -> None:
    golden = np.load(GOLDEN / f"{name}.npz")
    params = [nn.Parameter(torch.from_numpy(golden[f"param{i}_start"])) for i in range(3)]
    hyperparameters = {k: float(golden[f"hp_{k}"]) for k in ("lr", "gamma", "lamda", "kappa")}
    optimizer = optimizer_class(params, **hyperparameters)
    for t, delta in enumerate(golden["delta"]):
        for i, p in enumerate(params):
            p.grad.copy_(torch.from_numpy(golden[f"grad{i}_{t}"]))
        reset = t in golden["reset_at"]
        if as_tensors:
            optimizer.step(torch.tensor(delta), torch.tensor(reset))
        else:
            optimizer.step(float(delta), reset)
        for i, p in enumerate(params):
            expected = torch.from_numpy(golden[f"param{i}_after{t}"])
            torch.testing.assert_close(p.detach(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("optimizer_class", "loop_class"), [(ObGD, LoopObGD), (AdaptiveObGD, LoopAdaptiveObGD)]
)
@pytest.mark.parametrize("scale", [1e-4, 1.0])  # below and above the bound
def test_flat_buffers_equal_loop_over_parameters(
    optimizer_class: type[ObGD], loop_class: type[LoopObGD], scale: float
) -> None:
    net, looped_net = network(), network()
    optimizer, loop = optimizer_class(net.parameters()), loop_class(list(looped_net.parameters()))
    for t, delta in enumerate((0.3, -2.5, 4.0, 0.01, -0.7)):
        set_gradients(net, t, scale)
        set_gradients(looped_net, t, scale)
        optimizer.step(delta, reset=t == 2)
        loop.step(delta, reset=t == 2)
    # The reference counts β₂ᵗ in Python floats, ours in float32.
    assert_same(net, looped_net, rtol=1e-6, atol=1e-6 if loop_class is LoopAdaptiveObGD else 1e-13)


@both
def test_no_step_moves_parameters_beyond_bound(optimizer_class: type[ObGD]) -> None:
    net = network()
    optimizer = optimizer_class(net.parameters(), kappa=3.0)
    for t in range(5):
        before = torch.cat([p.detach().clone().flatten() for p in net.parameters()])
        set_gradients(net, t, scale=10.0**t)
        optimizer.step(10.0 * t)
        after = torch.cat([p.detach().flatten() for p in net.parameters()])
        assert (after - before).abs().sum() <= 1 / 3.0 + 1e-9


def test_root_of_twice_the_loss_descends_the_loss() -> None:
    net, sgd_net = network(), network()
    x, y = torch.rand(1, 3, 6, 6).double(), torch.rand(1, 4).double()
    optimizer = ObGD(net.parameters(), lr=1e-6, lamda=0.0)
    error = (net(x) - y).square().mean().mul(2).sqrt()
    error.backward()
    optimizer.step(error)
    (sgd_net(x) - y).square().mean().backward()
    torch.optim.SGD(sgd_net.parameters(), lr=1e-6).step()
    assert_same(net, sgd_net, rtol=1e-12, atol=1e-15)


@both
def test_resumed_run_equals_uninterrupted_bit_for_bit(optimizer_class: type[ObGD]) -> None:
    net = network().float()
    optimizer = optimizer_class(net.parameters())

    def learn(net: nn.Module, optimizer: ObGD, frames: range) -> None:
        for t in frames:
            optimizer.zero_grad()
            x = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(t))
            error = (2 * net(x).square().mean()).sqrt()
            error.backward()
            optimizer.step(error)

    learn(net, optimizer, range(4))
    file = io.BytesIO()
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, file)
    learn(net, optimizer, range(4, 8))

    file.seek(0)
    checkpoint = torch.load(file, weights_only=True)
    resumed = network(seed=1).float()
    resumed_optimizer = optimizer_class(resumed.parameters())
    learn(resumed, resumed_optimizer, range(2))
    resumed.load_state_dict(checkpoint["net"])
    resumed_optimizer.load_state_dict(checkpoint["optimizer"])
    learn(resumed, resumed_optimizer, range(4, 8))
    assert_same(net, resumed)
    for one, two in zip(optimizer.state.values(), resumed_optimizer.state.values(), strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)


@both
def test_loading_leaves_the_source_alone(optimizer_class: type[ObGD]) -> None:
    net, other = network(), network()
    optimizer, copied = optimizer_class(net.parameters()), optimizer_class(other.parameters())
    set_gradients(net, 0)
    optimizer.step(1.0)
    copied.load_state_dict(optimizer.state_dict())
    before = copy.deepcopy(optimizer.state_dict()["state"])
    set_gradients(other, 1)
    copied.step(1.0)
    for index, state in optimizer.state_dict()["state"].items():
        assert all(torch.equal(value, before[index][name]) for name, value in state.items())


@both
def test_deep_copies_go_on_alike(optimizer_class: type[ObGD]) -> None:
    net = network()
    optimizer = optimizer_class(net.parameters())
    set_gradients(net, 0)
    optimizer.step(1.0)
    other, copied = copy.deepcopy((net, optimizer))
    for model, stepping in ((net, optimizer), (other, copied)):
        stepping.zero_grad()
        model(torch.ones(1, 3, 6, 6).double()).sum().backward()
        stepping.step(1.0)
    assert_same(net, other)


def test_missing_gradients_count_as_zero() -> None:
    net, other = network(), network()
    optimizer, zeros = ObGD(net.parameters()), ObGD(other.parameters())
    for t in range(3):
        set_gradients(net, t)
        set_gradients(other, t)
        net[0].weight.grad = None
        other[0].weight.grad.zero_()
        optimizer.step(1.0)
        zeros.step(1.0)
    assert_same(net, other)
    net.zero_grad()  # sets all of them to None
    optimizer.step(1.0)


def upset_gradients(net: nn.Module) -> None:
    for p in list(net.parameters())[::2]:
        p.grad = p.grad.clone()


def upset_storage(net: nn.Module) -> None:
    for p in list(net.parameters())[1::2]:
        p.data = p.data.clone()


def upset_dtype(net: nn.Module) -> None:
    net.to(torch.float32).to(torch.float64)


@pytest.mark.parametrize("upset", [upset_gradients, upset_storage, upset_dtype])
@both
def test_new_storage_is_taken_up(
    optimizer_class: type[ObGD], upset: Callable[[nn.Module], None]
) -> None:
    net, calm_net = network(), network()
    optimizer, calm = optimizer_class(net.parameters()), optimizer_class(calm_net.parameters())
    for t in range(4):
        for model, stepping in ((net, optimizer), (calm_net, calm)):
            stepping.zero_grad()
            torch.manual_seed(t)
            model(torch.rand(1, 3, 6, 6).double()).square().sum().backward()
            if model is net and t == 2:
                upset(net)
            stepping.step(0.5)
    assert_same(net, calm_net, rtol=1e-5, atol=1e-6)  # one upset rounds to float32


def test_parameters_and_gradients_share_buffers() -> None:
    net = network()
    optimizer = ObGD(net.parameters())
    storages = {p.untyped_storage().data_ptr() for p in net.parameters()}
    gradients = {p.grad.untyped_storage().data_ptr() for p in net.parameters()}
    assert len(storages) == len(gradients) == 1
    net(torch.rand(1, 3, 6, 6).double()).sum().backward()
    assert {p.grad.untyped_storage().data_ptr() for p in net.parameters()} == gradients
    assert any(p.grad.any() for p in net.parameters())
    optimizer.zero_grad()
    assert not any(p.grad.any() for p in net.parameters())


def test_gradients_of_others_are_zeroed_in_their_place() -> None:
    net = network()
    optimizer = ObGD(net.parameters())
    bucket = torch.ones(200, dtype=torch.float64)
    net[4].bias.grad = bucket[:4]  # as DDP does with gradient_as_bucket_view
    (net[0].weight.grad,) = torch.autograd.grad(
        (net[0].weight ** 2).sum(), [net[0].weight], create_graph=True
    )
    optimizer.zero_grad()
    assert not any(p.grad.any() or p.grad.requires_grad for p in net.parameters())
    assert net[4].bias.grad.data_ptr() == bucket.data_ptr()
    assert bucket.sum() == 196


@pytest.mark.parametrize("limit", [0.5, 1e6])
def test_clipping_equals_clip_grad_norm(limit: float) -> None:
    net, other = network(), network()
    clipped, plain = ObGD(net.parameters(), max_grad_norm=limit), ObGD(other.parameters())
    for t in range(3):
        set_gradients(net, t, scale=0.01 * 10**t)
        set_gradients(other, t, scale=0.01 * 10**t)
        nn.utils.clip_grad_norm_(other.parameters(), limit)
        clipped.step(1.0)
        plain.step(1.0)
    assert_same(net, other, rtol=1e-5, atol=1e-7)  # torch adds 1e-6 to the norm


def test_scheduled_learning_rate_takes_effect() -> None:
    net = network()
    optimizer = ObGD(net.parameters(), lr=1e-6)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: 0.5**t)
    moves: list[Tensor] = []
    for _ in range(2):
        before = net[0].weight.detach().clone()
        set_gradients(net, 0)
        optimizer.step(1.0, reset=True)
        scheduler.step()
        moves.append(net[0].weight.detach() - before)
    torch.testing.assert_close(moves[1], moves[0] / 2, rtol=1e-6, atol=1e-12)


def test_closure_runs_first_with_gradients() -> None:
    net = network()
    optimizer = ObGD(net.parameters())
    before = net[4].bias.detach().clone()

    def closure() -> Tensor:
        loss = net(torch.ones(1, 3, 6, 6).double()).sum()
        loss.backward()
        return loss

    assert optimizer.step(delta=1.0, closure=closure).requires_grad
    assert not torch.equal(net[4].bias, before)


def test_what_cannot_be_bounded_is_refused() -> None:
    one, two = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    with pytest.raises(ValueError, match="2 parameter groups"):
        ObGD([{"params": [one]}, {"params": [two], "lr": 0.1}])
    with pytest.raises(ValueError, match="float64"):
        ObGD([one, nn.Parameter(torch.zeros(2, dtype=torch.float64))])
    for name, value in (("lr", 0.0), ("gamma", 1.5), ("lamda", -0.1), ("kappa", 0.0)):
        with pytest.raises(ValueError, match=rf"{name} {value} .*set optimizer.{name}"):
            ObGD([one], **{name: value})
    with pytest.raises(ValueError, match="beta2"):
        AdaptiveObGD([one], beta2=1.0)
