"""What people already exchange: tables, GeoPackage, NetCDF and cloud-optimised GeoTIFF of the stores."""

from focus_core.export.files import export

__all__ = ["export"]
