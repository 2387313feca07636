"""Interactive 3D segmentation of CT and MR volumes with SAM 2, headless or inside 3D Slicer.

Layers, each of which knows only those above it in this list:

- ``errors``, ``geometry``, ``volume``: a scalar volume as an ordered stack of 8-bit slices;
- ``prompts``: points, boxes and masks on slices;
- ``models``: registry, verified downloads, building SAM 2.1 networks;
- ``propagation``: prompts in, per-slice results out;
- ``files`` and ``cli`` (image files) and ``mrml`` (3D Slicer's scene) on top;
- ``training`` and ``evaluation`` beside them.

Nothing but the standard library is imported here: torch and sam2 are imported when first needed.
"""

__version__ = "0.1.0"
