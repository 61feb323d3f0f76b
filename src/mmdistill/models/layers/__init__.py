"""Layers that several encoders and fusions share."""
