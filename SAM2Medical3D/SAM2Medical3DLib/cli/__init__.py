"""The command line: ``sam2medical3d`` or ``python -m SAM2Medical3DLib``."""
