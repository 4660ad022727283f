"""FOCUS: which wavelengths told a frozen Vision Transformer so.

Importing this package loads none of torch, mlflow or kfp.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
