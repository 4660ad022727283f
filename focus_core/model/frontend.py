"""From sensor bands to one 3-channel image per wavelength group; nothing here mixes groups."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

CHANNELS = 3
SMALLEST_STD = 1e-6
_CACHE_VALUES = 2**18
"""Values that are standardised at a time: 1 MB, which the caches of a core hold."""


class BandScale(NamedTuple):
    """What training pixels are like, band by band, in the campaign's quantity."""

    mean: Float[Tensor, " band"]
    std: Float[Tensor, " band"]
    low: Float[Tensor, " band"] | None = None
    """The least that is usual in a training plot; none: everything is."""
    high: Float[Tensor, " band"] | None = None
    """The most."""


class GroupImages(NamedTuple):
    """What the backbone is shown."""

    images: Float[Tensor, "batch group 3 height width"]
    """Standardised sub-range means; 0 outside the plot and at outliers."""
    occupied: Float[Tensor, "batch patch"]
    """Share of each patch that lies inside the plot."""
    outlier_share: Float[Tensor, "batch group"]
    """Share of the plot's pixels that are outliers in the group."""


class FrontEnd(nn.Module):
    """Fixed sub-range means, standardised per band on training pixels.

    Each group's bands are cut into three contiguous sub-ranges of equal count, in order of wavelength; a
    channel is the mean of the standardised bands of one of them. A group of fewer than three bands repeats
    its bands. Pixels outside the plot are NaN on entry and the training mean, 0, afterwards. So are, in a group in
    which one of its channels lies beyond what is usual in training plots, pixels of what is no crop: a sheet, a pole,
    somebody's coat. Other groups of the pixel stay as they are, so that nothing mixes groups. There is nothing to
    learn, so the backbone's keys and values can be cached.

    Parameters
    ----------
    group_of_band
        ``(band,)``, -1 outside all groups.
    scale
        What training pixels are like.
    input_px
        Side of the backbone's input, pixels.
    patch_px
        Side of the backbone's patch, pixels.
    """

    band_mean: Tensor
    band_std: Tensor
    band_low: Tensor
    band_high: Tensor

    def __init__(
        self,
        group_of_band: npt.NDArray[np.int64],
        scale: BandScale,
        *,
        input_px: int,
        patch_px: int,
    ) -> None:
        super().__init__()
        thirds = [part for group in _bands_of_groups(group_of_band) for part in _thirds(group)]
        self.channels = [_as_slice(part) for part in thirds]
        self.widest = max(len(part) for part in thirds)
        self.groups = len(self.channels) // CHANNELS
        self.input_px = input_px
        self.patch_px = patch_px
        unlimited = torch.full_like(scale.mean, torch.inf)
        self.register_buffer("band_mean", scale.mean.to(torch.float32))
        self.register_buffer("band_std", scale.std.to(torch.float32).clamp_min(SMALLEST_STD))
        self.register_buffer("band_low", (-unlimited if scale.low is None else scale.low).to(torch.float32))
        self.register_buffer("band_high", (unlimited if scale.high is None else scale.high).to(torch.float32))

    @property
    def scale(self) -> BandScale:
        """What training pixels are like."""
        return BandScale(self.band_mean, self.band_std, self.band_low, self.band_high)

    def forward(self, reflectance: Float[Tensor, "batch band ty tx"]) -> GroupImages:
        """Build the group images of a batch of windows; a pixel that is NaN in all groups lies outside the plot."""
        pixels = reflectance.shape[-2] * reflectance.shape[-1]
        some = max(1, _CACHE_VALUES // (self.widest * pixels)) if reflectance.is_cpu else len(reflectance)
        limits = [self._of_channels(limit) for limit in (self.band_low, self.band_high)]
        parts = [self._standardised(part, *limits) for part in reflectance.split(some)]
        images, inside, outlier_share = (torch.cat(each) for each in zip(*parts, strict=True))
        images = self._resampled(images)
        share = nn.functional.avg_pool2d(self._resampled(inside[:, None].to(images.dtype)), self.patch_px)
        return GroupImages(images.unflatten(1, (self.groups, CHANNELS)), share.flatten(1), outlier_share)

    def _of_channels(self, limit: Float[Tensor, " band"]) -> Float[Tensor, " channel"]:
        """Return a limit of each band as one of each channel, which is a mean of standardised bands."""
        scaled = (limit - self.band_mean) / self.band_std
        return torch.stack([scaled[bands].mean() for bands in self.channels])

    def _standardised(
        self,
        reflectance: Float[Tensor, "some band ty tx"],
        low: Float[Tensor, " channel"],
        high: Float[Tensor, " channel"],
    ) -> tuple[Float[Tensor, "some channel ty tx"], Bool[Tensor, "some ty tx"], Float[Tensor, "some group"]]:
        """Return the channels, where there is a value, and the share of outliers.

        One sub-range after the other, as they fit into a cache.
        """
        images, outside = [], torch.ones_like(reflectance[:, 0], dtype=torch.bool)
        outlier = outside.new_zeros((len(reflectance), self.groups, *outside.shape[1:]))
        for channel, bands in enumerate(self.channels):
            scaled = (reflectance[:, bands] - self.band_mean[bands, None, None]).div_(self.band_std[bands, None, None])
            for band in scaled.unbind(dim=1):
                outside &= band.isnan()
            image = scaled.nan_to_num_(nan=0.0).mean(dim=1)
            outlier[:, channel // CHANNELS] |= (image < low[channel]) | (image > high[channel])
            images.append(image)
        outlier &= ~outside[:, None]
        kept = torch.stack(images, dim=1).unflatten(1, (self.groups, CHANNELS)).masked_fill_(outlier[:, :, None], 0.0)
        pixels = (~outside).sum(dim=(1, 2)).clamp_min(1)
        return kept.flatten(1, 2), ~outside, outlier.sum(dim=(2, 3)) / pixels[:, None]

    def _resampled(self, images: Float[Tensor, "batch channel ty tx"]) -> Float[Tensor, "batch channel h w"]:
        if images.shape[-2:] == (self.input_px, self.input_px):
            return images
        return nn.functional.interpolate(
            images, size=(self.input_px, self.input_px), mode="bilinear", align_corners=False, antialias=True
        )


def _bands_of_groups(group_of_band: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    return [np.flatnonzero(group_of_band == group) for group in range(int(group_of_band.max()) + 1)]


def _thirds(bands: npt.NDArray[np.int64]) -> list[list[int]]:
    """Cut the bands of a group into three runs, as equal as they come; repeat bands where there are fewer."""
    if len(bands) < CHANNELS:
        bands = np.resize(bands, CHANNELS)
        bands.sort()
    return [part.tolist() for part in np.array_split(bands, CHANNELS)]


def _as_slice(bands: list[int]) -> list[int] | slice:
    """Return neighbouring bands as a slice: what it takes is not copied."""
    neighbours = bands == list(range(bands[0], bands[0] + len(bands)))
    return slice(bands[0], bands[0] + len(bands)) if neighbours else bands
