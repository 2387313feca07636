"""Random anatomy-like volumes: shapes on a canvas make parts, parts a trunk, a head or a limb,
and a scanner's appearance is given to the whole."""

from .volume import SHAPE, SyntheticVolume, synthesise_volume

__all__ = ["SHAPE", "SyntheticVolume", "synthesise_volume"]
