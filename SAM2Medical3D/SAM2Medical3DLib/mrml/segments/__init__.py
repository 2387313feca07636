"""Masks in and out of segments, whole or slice by slice, beside other segments."""
