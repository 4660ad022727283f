"""Floating-point operations of a ViT by formula, for what cannot be run: a token for each band and patch.

Counts the multiply-adds of matrix products, two operations each, as torch's ``FlopCounterMode`` does; norms,
activations and softmax are left out.
"""

from __future__ import annotations

from focus_core.model import Focus
from focus_core.model.blocks import Vit


def pass_flops(vit: Vit, *, tokens: int, patches: int, channels: int) -> int:
    """Return the operations of a forward pass over one sequence.

    For ``n`` tokens of width ``D``, an MLP of width ``H`` and ``L`` blocks it is ``2 (L (n (4 D² + 2 D H) + 2 n² D)``
    ``+ patches · channels · p² · D)``.

    Parameters
    ----------
    vit
        Width, depth and patch side ``p`` are read from it.
    tokens
        Length of the sequence.
    patches
        Tokens of it that are embedded from pixels.
    channels
        Channels of a patch.
    """
    width, side = vit.embed_dim, vit.patch_embed.patch_size[0]
    block = tokens * _of_token(vit) + 2 * tokens**2 * width
    return int(2 * (len(vit.blocks) * block + patches * channels * side**2 * width))


def explain_flops(model: Focus) -> int:
    """Return the operations of explaining one window for every class.

    Each group's image passes all blocks but the last, whose patch tokens nobody reads; in each block that is read,
    keys and values are computed again, and the row of every class and prompt seed looks at the patches and adds up
    what they say.
    """
    vit, layout, spec = model.vit, model.layout, model.spec
    width, tokens = vit.embed_dim, layout.prefix + layout.patches
    whole = pass_flops(vit, tokens=tokens, patches=layout.patches, channels=3)
    last = tokens * _of_token(vit) + 2 * tokens**2 * width
    keys_and_values = 2 * tokens * width**2
    row = width**2 + 2 * layout.patches * width  # its query, where it looks, and what is said there
    read = len(spec.read_blocks) * (keys_and_values + spec.prompt_seeds * len(spec.classes) * row)
    directions = len(spec.read_blocks) * len(spec.groups) * spec.prompt_seeds * len(spec.classes) * spec.rank * width
    return int(len(spec.groups) * (whole + 2 * (read - last)) + 2 * directions)


def token_per_band_flops(model: Focus) -> int:
    """Return the operations of one joint pass with a token for each band and patch."""
    layout, bands = model.layout, len(model.spec.wavelength_nm)
    patches = bands * layout.patches
    return pass_flops(model.vit, tokens=layout.prefix + patches, patches=patches, channels=1)


def _of_token(vit: Vit) -> int:
    """Multiply-adds of a token in a block, attention's products with other tokens left out."""
    return int(4 * vit.embed_dim**2 + 2 * vit.embed_dim * vit.blocks[0].mlp.fc1.out_features)
