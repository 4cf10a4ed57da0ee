"""A generator that has seen one clip alone gives it back."""

import pytest
import torch
from made_recordings import scroll
from torch.nn.functional import mse_loss

from lit_modules import LitFlowVideo, Muon
from lit_modules.base import unit


@pytest.mark.slow
def test_one_clip_comes_back_at_thirty_decibels() -> None:
    pictures, _ = scroll(0, 8, (32, 32))
    video = torch.from_numpy(pictures).permute(3, 0, 1, 2)[None]  # (t, h, w, 3) -> (1, 3, t, h, w)
    torch.manual_seed(0)
    module = LitFlowVideo(
        size=(32, 32), clip_length=8, widths=[32, 64], depths=[1, 1], time_dim=64, known_frames=0
    )
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    optimizer = Muon(module.parameters(), relative_step=None)
    batch = {"video": video.expand(4, -1, -1, -1, -1)}
    for step in range(300):
        for group in optimizer.param_groups:
            group["lr"], group["adam_lr"] = 0.02 * (1 - step / 300), 0.001 * (1 - step / 300)
        loss = module.training_step(batch | {"sample": 4 * step + torch.arange(4)}, step)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    samples = module.eval().sample(3, seed=1)
    errors = [mse_loss(unit(clip), video[0] / 255) for clip in samples.video]
    assert -10 * torch.stack(errors).log10().max() >= 30
