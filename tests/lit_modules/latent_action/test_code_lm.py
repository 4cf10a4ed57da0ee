"""The language model of codes: foretelling without peeping, padding without a trace."""

from __future__ import annotations

import math

import pytest
import torch

from lit_modules.latent_action.code_lm import PAD, CodeLM


def make(cell: str = "gru") -> CodeLM:
    torch.manual_seed(0)
    return CodeLM(15, embed_dim=8, hidden_dim=16, cell=cell).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_code_is_foretold_from_those_before_it_alone(cell: str) -> None:
    net = make(cell)
    codes = torch.randint(0, 15, (2, 10), generator=torch.manual_seed(0))
    before = net(codes)
    codes[:, 6] = (codes[:, 6] + 1) % 15
    differs = (net(codes) != before).any(-1).any(0)
    assert differs.nonzero().flatten().tolist() == [7, 8, 9]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_what_lies_behind_the_end_changes_nothing(cell: str) -> None:
    net = make(cell)
    codes = torch.randint(0, 15, (3, 10), generator=torch.manual_seed(0))
    lengths = [10, 4, 7]
    padded = codes.clone()
    for row, length in enumerate(lengths):
        padded[row, length:] = PAD
    together = net.embed(padded), net.loss(padded)
    for row, length in enumerate(lengths):
        alone = codes[row : row + 1, :length]
        torch.testing.assert_close(together[0][row], net.embed(alone)[0])
        torch.testing.assert_close(together[1][row], net.loss(alone)[0])


def test_loss_is_the_chain_rule_of_one_code_after_the_other() -> None:
    net = make()
    codes = torch.tensor([[3, 1, 4, 1, 5]])
    steps = [net(codes[:, : i + 1])[0, i].log_softmax(-1)[codes[0, i]] for i in range(5)]
    torch.testing.assert_close(net.loss(codes)[0], -torch.stack(steps).mean())


def test_it_learns_the_entropy_of_a_chain() -> None:
    """Codes go up or down by one, each with probability one half: ln 2 nats a code."""
    generator = torch.Generator().manual_seed(0)
    moves = 2 * torch.randint(0, 2, (64, 30), generator=generator) - 1
    codes = moves.cumsum(1) % 15
    net = make().train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        net.loss(codes).mean().backward()
        optimizer.step()
    assert net.eval().loss(codes).mean().item() == pytest.approx(math.log(2), rel=0.2)


def test_a_code_of_a_larger_codebook_is_named() -> None:
    with pytest.raises(ValueError, match=r"code 20 .* model\.codebook_size"):
        make()(torch.tensor([[20]]))
