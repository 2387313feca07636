"""What only the Slicer application has: pip and extensions, settings, sample data, translation.

``weights``, ``downloading`` and ``device`` use no Qt, ``packages`` decides and ``installer`` acts.
"""
