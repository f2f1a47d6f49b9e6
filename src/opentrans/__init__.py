"""Reproduction of *Transferable and Principled Efficiency for Open-Vocabulary Segmentation* (CVPR 2024)."""

__version__ = "0.1.0"
