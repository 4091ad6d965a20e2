"""Cuboids: where they lie, how large they are, what they hold."""

import numpy as np
import torch

from medaug.draws import Draws
from medaug.intensity.dropout import CoarseDropout, blank, channel_means
from medaug.kernels import serving

KEYS = [(0, 0, str(i), 0) for i in range(200)]


def test_cuboids_are_filled_as_slices_say():
    x = torch.rand(2, 2, 7, 8, 9, generator=torch.Generator().manual_seed(0))
    expected = x.clone()
    for channel in range(2):
        expected[0, channel, 1:4, 0:8, 5:9] = [7.0, 8.0][channel]
        expected[0, channel, 2:6, 3:5, 0:6] = [7.0, 8.0][channel]
        expected[1, channel, 0:1, 7:8, 8:9] = [9.0, 10.0][channel]
    low = np.array([[[1, 0, 5], [2, 3, 0]], [[0, 7, 8], [3, 3, 3]]])
    high = np.array([[[4, 8, 9], [6, 5, 6]], [[1, 8, 9], [0, 0, 0]]])
    blank(x, low, high, torch.tensor([[7.0, 8.0], [9.0, 10.0]]))
    assert torch.equal(x, expected)


def test_edges_have_their_length_in_mm():
    # one cuboid a sample of 6 mm at spacings 2 and 1: 3 rows and 6 columns where the edge of the image does not cut it
    changed = CoarseDropout(count=1, size_mm=6.0, fill=-1.0).change(torch.zeros(200, 1, 40, 60), Draws(KEYS), np.tile([2.0, 1.0], (200, 1)))
    hole = changed[:, 0] == -1
    rows, columns = hole.any(2).sum(1), hole.any(1).sum(1)
    assert (hole.sum((1, 2)) == rows * columns).all()
    assert rows.max() <= 4
    assert columns.max() <= 7
    assert (rows == 3).float().mean() > 0.7
    assert (columns == 6).float().mean() > 0.7


def test_centres_are_uniform_and_a_share_is_of_the_extent():
    changed = CoarseDropout(count=1, share=0.2, fill=1.0).change(torch.zeros(200, 1, 50, 50), Draws(KEYS), None)
    # a fixed voxel is within 10 of 50 of a uniform centre with chance 1/5 an axis; 200 samples have a standard error of 0.014
    assert abs(changed[:, 0, 25, 25].mean().item() - 0.04) < 5 * 0.014


def test_counts_are_drawn_with_both_ends():
    # half the extent about a centre within the image always covers some of it: a sample without a hole has drawn none
    changed = CoarseDropout(count=(0, 1), share=0.5, fill=1.0).change(torch.zeros(200, 1, 30, 30), Draws(KEYS), None)
    holes = changed.flatten(1).amax(1).mean().item()
    assert abs(holes - 0.5) < 5 * 0.036  # binomial(200, 1/2)


def test_a_cuboid_holds_the_mean_or_the_minimum_of_its_channel():
    x = torch.randn(3, 2, 12, 12, 12, generator=torch.Generator().manual_seed(0)) + torch.tensor([5.0, -5.0]).view(2, 1, 1, 1)
    for fill, expected in (("mean", x.double().mean((2, 3, 4))), ("minimum", x.double().amin((2, 3, 4)))):
        changed = CoarseDropout(count=4, share=0.4, fill=fill).change(x.clone(), Draws(KEYS[:3]), None)
        for row in range(3):
            for channel in range(2):
                hole = changed[row, channel] != x[row, channel]
                assert 0 < hole.float().mean() < 0.9
                assert (changed[row, channel][hole].double() - expected[row, channel]).abs().max() < 1e-5


def test_means_by_loops_and_by_tensors_agree(monkeypatch):
    x = torch.randn(3, 2, 12, 12, generator=torch.Generator().manual_seed(0)) + 100
    looped = channel_means(x)
    monkeypatch.setattr(serving, "loops", lambda device: False)
    torch.testing.assert_close(looped, channel_means(x), atol=1e-4, rtol=0)
