import copy

import pytest
import torch
from torch import Tensor, nn

from lit_modules.layers.muon import Muon, orthogonalize


def _randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.GELU(), nn.Conv2d(6, 6, 3), nn.Conv2d(6, 6, 3))


def _train(network: nn.Module, optimizer: torch.optim.Optimizer, seeds: range) -> None:
    for seed in seeds:
        optimizer.zero_grad()
        network(_randn(2, 3, 9, 9, seed=seed)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("shape", [(8, 8), (6, 20), (20, 6)])
def test_orthogonalize_keeps_singular_vectors_and_brings_values_near_one(shape):
    left, _, right = torch.linalg.svd(_randn(3, *shape).double(), full_matrices=False)
    values = torch.linspace(0.05, 1.0, min(shape), dtype=torch.float64)
    result = torch.stack(orthogonalize(list(left * values @ right)))
    diagonal = left.mT @ result @ right.mT
    found = diagonal.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(diagonal, torch.diag_embed(found))
    assert found.min() > 0.6
    assert found.max() < 1.25


def test_orthogonalize_equals_the_iteration_written_out():
    x = _randn(12, 5).double()
    expected = x.T / x.norm()
    for _ in range(5):
        gram = expected @ expected.T
        expected = 3.4445 * expected + (-4.7750 * gram + 2.0315 * gram @ gram) @ expected
    torch.testing.assert_close(orthogonalize([x])[0], expected.T)


def test_orthogonalize_leaves_zero_at_zero_and_stays_finite_at_rank_one():
    assert orthogonalize([torch.zeros(4, 6)])[0].abs().sum() == 0
    rank_one = _randn(64, 1) @ _randn(1, 96, seed=1)
    values = torch.linalg.svdvals(orthogonalize([rank_one])[0])
    assert 0.6 < values[0] < 1.25
    assert values[1] < 0.02


@pytest.mark.parametrize("nesterov", [True, False])
def test_matrices_follow_the_trajectory_of_torch_muon(nesterov, monkeypatch):
    # The peer orthogonalises in bfloat16: in float32 the two agree to rounding.
    monkeypatch.setattr(Tensor, "bfloat16", Tensor.clone)
    ours = [nn.Parameter(_randn(*shape)) for shape in ((6, 20), (20, 6), (6, 9), (7, 7))]
    peers = copy.deepcopy(ours)
    optimizer = Muon(ours, lr=0.03, momentum=0.8, nesterov=nesterov, relative_step=None)
    peer = torch.optim.Muon(peers, lr=0.03, momentum=0.8, nesterov=nesterov, weight_decay=0.0)
    for step in range(5):
        for i, (p, q) in enumerate(zip(ours, peers, strict=True)):
            p.grad = _randn(*p.shape, seed=10 * step + i)
            q.grad = p.grad.clone()
        optimizer.step()
        peer.step()
    for p, q in zip(ours, peers, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)


def test_relative_steps_shorten_as_the_formula_says():
    weight = nn.Parameter(torch.zeros(4, 4))
    optimizer = Muon([weight], lr=0.1, momentum=0.5, nesterov=False, relative_step=1.0)
    direction = torch.eye(4)
    lengths = []
    for size in (1.0, 1.0, -0.5):
        before = weight.detach().clone()
        weight.grad = size * direction
        optimizer.step()
        lengths.append((weight - before).norm() / orthogonalize([direction])[0].norm())
    average = (0.125 + 0.25 - 0.25) / 0.875
    rms = ((0.01 * (0.99**2 + 0.99 + 0.25)) / (1 - 0.99**3)) ** 0.5
    torch.testing.assert_close(
        torch.stack(lengths), torch.tensor([0.1, 0.1, 0.1 * average / rms]), rtol=1e-3, atol=0
    )


def test_a_step_is_never_longer_than_lr():
    weights = [nn.Parameter(torch.zeros(4, 4)) for _ in range(2)]
    for weight, relative_step in zip(weights, (100.0, None), strict=True):
        optimizer = Muon([weight], relative_step=relative_step)
        for seed in range(3):
            weight.grad = _randn(4, 4, seed=seed)
            optimizer.step()
    torch.testing.assert_close(weights[0], weights[1])


def test_a_convolution_learns_like_the_matrix_of_its_kernel():
    kernel = nn.Parameter(_randn(4, 3, 3, 3))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    kernel.grad = _randn(4, 3, 3, 3, seed=1)
    matrix.grad = kernel.grad.flatten(1)
    Muon([kernel]).step()
    Muon([matrix]).step()
    assert torch.equal(kernel.flatten(1), matrix)


def test_vectors_follow_the_trajectory_of_torch_adam():
    ours = [nn.Parameter(_randn(5)), nn.Parameter(_randn(3, seed=1))]
    peers = copy.deepcopy(ours)
    optimizer = Muon(ours, adam_lr=0.01, adam_betas=(0.8, 0.95))
    peer = torch.optim.Adam(peers, lr=0.01, betas=(0.8, 0.95))
    for step in range(10):
        for i, (p, q) in enumerate(zip(ours, peers, strict=True)):
            p.grad = _randn(*p.shape, seed=10 * step + i)
            q.grad = p.grad.clone()
        optimizer.step()
        peer.step()
    for p, q in zip(ours, peers, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-7)


def test_a_saved_and_loaded_optimizer_continues_bit_for_bit(tmp_path):
    whole = _network()
    optimizer = Muon(whole.parameters())
    _train(whole, optimizer, range(3))
    torch.save((whole.state_dict(), optimizer.state_dict()), tmp_path / "state.pt")
    weights, state = torch.load(tmp_path / "state.pt", weights_only=True)
    _train(whole, optimizer, range(3, 6))

    resumed = _network()
    resumed.load_state_dict(weights)
    restored = Muon(resumed.parameters())
    restored.load_state_dict(state)
    _train(resumed, restored, range(3, 6))
    for p, q in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(p, q)


def test_parameters_without_a_gradient_stay():
    still, moving = nn.Parameter(_randn(3, 3)), nn.Parameter(_randn(3, 3))
    before = still.detach().clone()
    moving.grad = _randn(3, 3, seed=1)
    Muon([still, moving]).step()
    assert torch.equal(still, before)
    assert not torch.equal(moving, before)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"lr": -1.0}, "lr -1.0"),
        ({"momentum": 1.0}, "momentum 1.0"),
        ({"adam_lr": -1.0}, "adam_lr"),
    ],
)
def test_an_impossible_setting_is_named(argument, message):
    with pytest.raises(ValueError, match=message):
        Muon([nn.Parameter(_randn(2, 2))], **argument)


@pytest.mark.gpu
def test_a_step_captured_in_a_cuda_graph_equals_the_eager_step():
    eager = _network().cuda()
    captured = copy.deepcopy(eager)
    batch = _randn(2, 3, 9, 9).cuda()
    optimizers = [Muon(network.parameters()) for network in (eager, captured)]

    def learn(network: nn.Module, optimizer: Muon) -> None:
        optimizer.zero_grad(set_to_none=False)
        network(batch).square().mean().backward()
        optimizer.step()

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            learn(captured, optimizers[1])
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        learn(captured, optimizers[1])
    for _ in range(5):
        graph.replay()
    for _ in range(8):
        learn(eager, optimizers[0])
    for p, q in zip(eager.parameters(), captured.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-4)


def test_weights_of_a_long_short_side_take_adam() -> None:
    torch.manual_seed(0)
    small, large = (torch.nn.Parameter(torch.randn(n, 2 * n)) for n in (4, 8))
    reference = torch.nn.Parameter(large.detach().clone())
    muon = Muon([small, large], lr=0.1, relative_step=None, max_side=4, adam_lr=1e-2)
    adam = torch.optim.Adam([reference], lr=1e-2)
    before = small.detach().clone()
    for p in (small, large, reference):
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    muon.step()
    adam.step()
    torch.testing.assert_close(large, reference)
    singular = torch.linalg.svdvals(small.detach() - before)
    assert singular.min() > 0.05  # turned: every direction moved about equally far
