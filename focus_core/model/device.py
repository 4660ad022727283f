"""Where a model runs and in which precision its frozen pass does: decided here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A device, and the precision of what is not trained there; whatever is trained or summed stays float32."""

    device: torch.device
    dtype: torch.dtype
    """Of the matrix products of a frozen pass, and of the keys and values it leaves."""

    def autocast(self) -> torch.autocast:
        """Return the context of a forward pass (Micikevicius et al., ICLR 2018); it changes nothing at float32."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)


CPU = Placement(device=torch.device("cpu"), dtype=torch.float32)


def placement(device: Literal["auto", "cpu"]) -> Placement:
    """Choose the GPU where there is one and ``auto`` asks for it, in bfloat16 where it computes in that.

    On the processor everything is float32, and the same seed gives the same bits.
    """
    if device == "cpu" or not torch.cuda.is_available():
        return CPU
    bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return Placement(device=torch.device("cuda"), dtype=torch.bfloat16 if bfloat16 else torch.float32)
