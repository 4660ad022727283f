import torch
from torch import nn

from focus_core.bench.memory import peak_bytes

ROWS, WIDTH, HIDDEN = 50, 100, 400
NET = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, WIDTH))
IMAGES = torch.randn(ROWS, WIDTH)


def test_a_pass_peaks_where_the_wide_layer_and_its_activation_live_at_once() -> None:
    with torch.inference_mode():
        found = peak_bytes(lambda: NET(IMAGES), uncounted=[*NET.parameters(), IMAGES])
        with_input = peak_bytes(lambda: NET(IMAGES), uncounted=NET.parameters(), given=[IMAGES])
    assert found == 2 * ROWS * HIDDEN * 4
    assert with_input == found + IMAGES.nbytes


def test_views_count_once_and_what_is_gone_no_more() -> None:
    def call() -> None:
        first = torch.zeros(1000)
        first.view(10, 100).T[2:]
        del first
        torch.zeros(700)

    assert peak_bytes(call, uncounted=[]) == 4000


def test_what_waits_for_the_backward_pass_counts() -> None:
    def call() -> None:
        images = IMAGES.clone().requires_grad_()
        NET(images)[:, 0].sum().backward()

    # Held at the backward of GELU: the clone, its wide layer, the gradients behind and before GELU.
    frozen = [parameter.requires_grad_(False) for parameter in NET.parameters()]
    assert peak_bytes(call, uncounted=frozen) >= IMAGES.nbytes + 3 * ROWS * HIDDEN * 4
